//! `servo measure`

use std::time::Duration as StdDuration;

use jiff::Timestamp;
use servo_dispatch::{Measure, Metrics};
use servo_messages::{Control, Duration, Measurement, Reading};

use super::{Context, Failure, Output, live, print_data, table};

/// Measure once
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only these metrics
    metrics: Vec<String>,
    /// Only these connectors
    #[arg(
        short = 'c',
        long = "connectors",
        value_name = "NAME",
        value_delimiter = ','
    )]
    connectors: Vec<String>,
    /// How long to measure
    #[arg(short, long, default_value = "0")]
    duration: String,
    /// How long to wait before
    #[arg(short, long, default_value = "0")]
    warmup: String,
    /// What it looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let control = Control {
        duration: duration("duration", &arguments.duration)?,
        warmup: duration("warmup", &arguments.warmup)?,
        ..Control::default()
    };
    live::with_servos(context, async |servo| {
        let wanted = &arguments.metrics;
        if !wanted.is_empty() {
            let known: Vec<String> = servo
                .dispatcher
                .dispatch(Metrics, servo.options(&arguments.connectors))
                .await
                .map_err(live::failure)?
                .values()
                .flatten()
                .map(|metric| metric.name)
                .collect();
            if let Some(unknown) = wanted.iter().find(|m| !known.contains(m)) {
                return Err(Failure::Usage(format!(
                    "no metric found named '{unknown}': there are {}",
                    known.join(", ")
                )));
            }
        }
        let event = Measure {
            metrics: (!wanted.is_empty()).then(|| wanted.clone()),
            control: control.clone(),
        };
        let mut options = servo.options(&arguments.connectors);
        options.timeout = control.total().as_std() + StdDuration::from_secs(300);
        let measurement = servo
            .dispatcher
            .dispatch(event, options)
            .await
            .map_err(live::failure)?
            .values()
            .fold(Measurement::default(), Measurement::merge);
        match arguments.output {
            Output::Json | Output::Yaml => {
                let wire = measurement.to_wire(Timestamp::now());
                for warning in wire.warnings {
                    tracing::warn!("{warning}");
                }
                print_data(
                    arguments.output,
                    &serde_json::json!({
                        "metrics": wire.metrics,
                        "annotations": wire.annotations,
                    }),
                )
            }
            Output::Table => servo.print(&table::render(
                ["METRIC", "UNIT", "READINGS"],
                rows(&measurement),
            )),
        }
    })
}

fn duration(name: &str, text: &str) -> Result<Duration, Failure> {
    text.parse()
        .map_err(|e| Failure::Usage(format!("invalid {name} parameter: {e}")))
}

/// One row for each metric, one line for each reading.
fn rows(measurement: &Measurement) -> Vec<[String; 3]> {
    let mut names: Vec<_> = measurement
        .readings
        .iter()
        .map(|r| (r.metric().name.clone(), r.metric().unit))
        .collect();
    names.sort_by(|a, b| a.0.cmp(&b.0));
    names.dedup();
    names
        .into_iter()
        .map(|(name, unit)| {
            let mut lines: Vec<(Timestamp, f64)> = measurement
                .readings_of(&name)
                .flat_map(|reading| match reading {
                    Reading::Point(point) => vec![(point.time(), point.value())],
                    Reading::Series(series) => series.points().to_vec(),
                })
                .collect();
            lines.sort_by_key(|(time, _)| *time);
            let text = lines
                .iter()
                .map(|(time, value)| format!("{value:.2} ({})", time.strftime("%F %T")))
                .collect::<Vec<_>>()
                .join("\n");
            [name, unit.symbol().to_owned(), text]
        })
        .collect()
}
