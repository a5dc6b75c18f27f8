//! Waits while something outside Servo does the measuring (`spec/metrics-and-load.md` §5).
//!
//! It measures nothing itself: its part is to keep the optimizer informed for as long as the
//! measurement takes. It must not know what is being measured, or by whom.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use servo_dispatch::{
    BoxError, Connector, ConnectorContext, Describe, HandlerContext, Maturity, Measure, Metadata,
    On, Routes,
};
use servo_messages::{Description, EventError, Measurement};

/// The longest time between two progress reports (`spec/metrics-and-load.md` §0.8).
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// Waits for an external measurement to complete.
pub struct Wait {
    config: Arc<WaitConfig>,
}

/// The `wait` stanza of `servo.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitConfig {
    /// Wait for warm-up, duration and delay of each measurement; otherwise it is over at once.
    pub measure_enabled: bool,
}

impl Connector for Wait {
    type Config = WaitConfig;

    const METADATA: Metadata = Metadata::new("wait", "Wait", "0.0.1")
        .describe("Wait (no-op) Connector for Opsani")
        .homepage("https://github.com/opsani/servox")
        .maturity(Maturity::Stable)
        .license("Apache 2.0");

    fn build(config: Arc<WaitConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
        Ok(Self { config })
    }

    fn routes(_: &WaitConfig, routes: &mut Routes<Self>) {
        routes.on::<Describe>().on::<Measure>();
    }
}

impl On<Describe> for Wait {
    async fn on(&self, _: &Describe, _: &HandlerContext) -> Result<Description, EventError> {
        Ok(Description::default())
    }
}

impl On<Measure> for Wait {
    async fn on(&self, measure: &Measure, cx: &HandlerContext) -> Result<Measurement, EventError> {
        let total = measure.control.total();
        if self.config.measure_enabled && total.as_std() > Duration::ZERO {
            let text = format!("Waiting for {total} for external measurement to complete");
            tracing::info!("{text}");
            cx.sleep_with_progress(total.as_std(), LONGEST_SILENCE, &text)
                .await?;
        }
        Ok(Measurement::default())
    }
}
