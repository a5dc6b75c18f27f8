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

/// Keeps a measurement going while something outside Servo measures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitConfig {
    /// Whether each measurement lasts for its warm-up, duration and delay. With `false` it is over
    /// at once.
    pub measure_enabled: bool,
}

impl Connector for Wait {
    type Config = WaitConfig;

    const METADATA: Metadata = Metadata::new("wait", "Wait", "0.0.1")
        .describe("Wait (no-op) Connector for Opsani")
        .homepage("https://github.com/opsani/servox")
        .maturity(Maturity::Stable)
        .license("Apache 2.0");

    fn sample() -> &'static str {
        "measure_enabled: false\n"
    }

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use servo_dispatch::ConnectorType;

    use super::*;

    #[test]
    fn the_sample_is_valid_and_says_that_nothing_waits() {
        let kind = ConnectorType::of::<Wait>();
        assert_eq!(kind.sample(), "measure_enabled: false\n");
        let sample: serde_yaml::Value = serde_yaml::from_str(kind.sample()).unwrap();
        let stanza = kind.parse(sample.clone()).unwrap();
        assert_eq!(stanza.problems(), []);
        assert_eq!(stanza.effective(), sample);
    }

    /// There is nothing that could be wrong beforehand (`spec/metrics-and-load.md` §5).
    #[test]
    fn it_has_no_checks() {
        let kind = ConnectorType::of::<Wait>();
        let stanza = kind
            .parse(serde_yaml::from_str("measure_enabled: true").unwrap())
            .unwrap();
        let events = stanza.events();
        assert!(events.iter().any(|(event, _)| &**event == "measure"));
        assert!(events.iter().all(|(event, _)| &**event != "check"));
    }

    #[test]
    fn schema_and_types_want_the_same_single_key() {
        let kind = ConnectorType::of::<Wait>();
        let schema = kind.schema();
        let schema = schema.as_value();
        assert_eq!(schema["required"], serde_json::json!(["measure_enabled"]));
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["measure_enabled"]["type"], "boolean");
        for (yaml, part) in [
            ("{}", "measure_enabled"),
            ("{measure_enabled: true, bogus: 1}", "bogus"),
            ("{measure_enabled: [1]}", "boolean"),
        ] {
            let Err(error) = kind.parse(serde_yaml::from_str(yaml).unwrap()) else {
                panic!("accepted: {yaml}");
            };
            assert!(error.message.contains(part), "{yaml}: {error}");
        }
    }
}
