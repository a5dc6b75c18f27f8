//! A connector of one's own: a servo that also knows spool directories.
//!
//! Some worker takes files from a directory, so many at a time. The connector adjusts how many, in
//! a file that the worker reads, and measures how many files are waiting.
//!
//! ```console
//! $ cargo run --example spool -- generate spool     # a servo.yaml to begin with
//! $ cargo run --example spool -- spool waiting      # a command of the connector's own
//! $ cargo run --example spool -- measure -d 5s
//! ```

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use servo::{
    jiff::Timestamp,
    serde_json::{Value, json},
    servo_dispatch::{
        Adjust, BoxError, Check, CheckEvent, Checks, Components, Connector, ConnectorCommand,
        ConnectorContext, Describe, Detach, DynamicEvent, EventDeclaration, EventName,
        HandlerContext, Maturity, Measure, Metadata, Metrics, On, Routes, Shutdown, Stage,
        ValueKind, ensure,
    },
    servo_messages::{
        Component, Description, EventError, Measurement, Metric, RangeSetting, Setting,
        SettingValue, TimeSeries, Unit,
    },
};

fn main() -> ExitCode {
    servo::cli::main(servo::connectors::bundled().with::<Spool>())
}

/// The stanza. Its doc comments are what `servo schema` and `servo generate --comments` tell.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SpoolConfig {
    /// The directory that files wait in.
    directory: PathBuf,
    /// The file with the number of files that the worker takes at a time.
    batch_file: PathBuf,
    /// The largest number of them.
    #[serde(default = "hundred")]
    max_batch: u32,
    /// Whether to wait at the end until the worker has taken all files.
    #[serde(default)]
    drain: bool,
}

fn hundred() -> u32 {
    100
}

/// Built anew from its configuration whenever it starts. Its handlers run on one thread.
struct Spool {
    config: Arc<SpoolConfig>,
}

impl Connector for Spool {
    type Config = SpoolConfig;

    const METADATA: Metadata = Metadata::new("spool", "Spool", "0.1.0")
        .describe("Files that wait in a directory")
        .maturity(Maturity::Experimental);

    const COMMANDS: &'static [ConnectorCommand] = &[ConnectorCommand {
        name: "waiting",
        about: "Count the files that wait",
        arguments: &[],
        event: "waiting",
        columns: &[("DIRECTORY", "directory"), ("FILES", "files")],
    }];

    fn sample() -> &'static str {
        "directory: /var/spool/mail\nbatch_file: /etc/worker/batch\n"
    }

    fn build(config: Arc<SpoolConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
        Ok(Self { config })
    }

    /// What it takes part in. For each typed event the compiler asks for an `On`.
    fn routes(_: &SpoolConfig, routes: &mut Routes<Self>) {
        routes
            .on::<Metrics>()
            .on::<Components>()
            .on::<Describe>()
            .on::<Measure>()
            .on::<Adjust>()
            .on::<CheckEvent>()
            .on::<Shutdown>()
            .on::<Detach>();
        // An event of its own: what it takes and gives is looked at before and after any handler.
        if let Ok(waiting) = EventName::try_new("waiting") {
            routes.declare(EventDeclaration::new(waiting.clone()).gives(ValueKind::Object));
            routes.dynamic(waiting, Stage::On, |spool, event, _| async move {
                Ok(Some(spool.answer(&event).await?))
            });
        }
    }
}

impl Spool {
    fn metric() -> Metric {
        Metric::new("files_waiting", Unit::Count)
    }

    async fn waiting(&self) -> Result<u32, EventError> {
        let directory = &self.config.directory;
        count(directory).await.map_err(|e| {
            EventError::measurement_failed(format!("cannot list {}: {e}", directory.display()))
        })
    }

    async fn component(&self) -> Component {
        let mut batch = RangeSetting::new("batch", 1, i64::from(self.config.max_batch), 1);
        let text = tokio::fs::read_to_string(&self.config.batch_file).await;
        batch.value = text
            .ok()
            .and_then(|text| text.trim().parse::<i64>().ok())
            .map(Into::into);
        Component::new("worker", [Setting::Range(batch)])
    }

    async fn description(&self) -> Description {
        Description {
            components: vec![self.component().await],
            metrics: vec![Self::metric()],
        }
    }

    async fn answer(&self, _: &DynamicEvent) -> Result<Value, EventError> {
        let files = self.waiting().await?;
        Ok(json!({"directory": self.config.directory, "files": files}))
    }
}

/// Nothing may block the thread that handlers share: files are read asynchronously.
async fn count(directory: &Path) -> io::Result<u32> {
    let mut entries = tokio::fs::read_dir(directory).await?;
    let mut files = 0;
    while let Some(entry) = entries.next_entry().await? {
        files += u32::from(entry.file_type().await?.is_file());
    }
    Ok(files)
}

impl On<Metrics> for Spool {
    async fn on(&self, _: &Metrics, _: &HandlerContext) -> Result<Vec<Metric>, EventError> {
        Ok(vec![Self::metric()])
    }
}

impl On<Components> for Spool {
    async fn on(&self, _: &Components, _: &HandlerContext) -> Result<Vec<Component>, EventError> {
        Ok(vec![self.component().await])
    }
}

impl On<Describe> for Spool {
    async fn on(&self, _: &Describe, _: &HandlerContext) -> Result<Description, EventError> {
        Ok(self.description().await)
    }
}

impl On<Measure> for Spool {
    /// Counts once a second. Waiting goes through the context, which ends it when the measurement
    /// is cancelled and keeps the optimizer informed.
    async fn on(&self, measure: &Measure, cx: &HandlerContext) -> Result<Measurement, EventError> {
        const SECOND: Duration = Duration::from_secs(1);
        cx.sleep(measure.control.warmup.into()).await?;
        let mut left = Duration::from(measure.control.duration);
        let mut points = vec![(Timestamp::now(), f64::from(self.waiting().await?))];
        while !left.is_zero() {
            let step = left.min(SECOND);
            cx.sleep_with_progress(step, SECOND, "counting files")
                .await?;
            left -= step;
            points.push((Timestamp::now(), f64::from(self.waiting().await?)));
        }
        Ok(Measurement::new([
            TimeSeries::new(Self::metric(), points).into()
        ]))
    }
}

impl On<Adjust> for Spool {
    /// An adjustment may be for other connectors: what is not ours is left to them.
    async fn on(&self, adjust: &Adjust, _: &HandlerContext) -> Result<Description, EventError> {
        for wanted in &adjust.adjustments {
            if (wanted.component.as_str(), wanted.setting.as_str()) != ("worker", "batch") {
                continue;
            }
            let SettingValue::Number(batch) = &wanted.value else {
                return Err(EventError::adjustment_rejected(
                    "invalid-value",
                    format!("worker.batch must be a number, not {}", wanted.value),
                ));
            };
            let file = &self.config.batch_file;
            tokio::fs::write(file, format!("{batch}\n"))
                .await
                .map_err(|e| {
                    EventError::adjustment_failed(format!("cannot write {}: {e}", file.display()))
                })?;
            tracing::info!(%batch, "the worker takes another number of files at a time");
        }
        Ok(self.description().await)
    }
}

impl On<Shutdown> for Spool {
    /// May take as long as the servo gives it: then `sleep` ends with an error.
    async fn on(&self, _: &Shutdown, cx: &HandlerContext) -> Result<(), EventError> {
        while self.config.drain && self.waiting().await? > 0 {
            cx.sleep(Duration::from_millis(200)).await?;
        }
        Ok(())
    }
}

impl On<Detach> for Spool {
    async fn on(&self, _: &Detach, _: &HandlerContext) -> Result<(), EventError> {
        let directory = self.config.directory.display();
        tracing::debug!(%directory, "left to its worker");
        Ok(())
    }
}

impl On<CheckEvent> for Spool {
    async fn on(&self, event: &CheckEvent, cx: &HandlerContext) -> Result<Vec<Check>, EventError> {
        let config = &self.config;
        let mut checks = Checks::new();
        checks
            .require("Directory can be listed", async || {
                count(&config.directory).await.map(|n| format!("{n} files"))
            })
            .id("check_directory")
            .hint("is the path right, and may Servo read it?");
        checks.warn("A batch size is set", async || {
            let text = tokio::fs::read_to_string(&config.batch_file).await?;
            ensure(text.trim().parse::<u32>().is_ok(), "it is no number")
        });
        checks.run(event, cx).await
    }
}
