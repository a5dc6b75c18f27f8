//! `servo measure`

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration as StdDuration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::{Timestamp, Zoned, tz::TimeZone};
use servo_dispatch::{DispatchOptions, Measure, Metrics, ProgressSink, Scope};
use servo_messages::{Control, Duration, Measurement, Reading, Unit};
use servo_shape::nearest;

use super::{
    Context, Failure, Output,
    live::{self, LiveServo},
    table,
};
use crate::daemon::logging;

/// What connectors have for stopping beyond the time of the measurement.
const SLACK: StdDuration = StdDuration::from_secs(300);

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
    #[arg(short, long, default_value = "0", allow_hyphen_values = true)]
    duration: String,
    /// How long to wait before
    #[arg(short, long, default_value = "0", allow_hyphen_values = true)]
    warmup: String,
    /// Say also whose each reading is, and what its source says of it
    #[arg(short, long)]
    verbose: bool,
    /// Say how long ago each reading was taken, which is what happens anyway
    #[arg(long, overrides_with = "no_humanize")]
    humanize: bool,
    /// Say when each reading was taken
    #[arg(long)]
    no_humanize: bool,
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
    let bars = Bars::new(context.colour);
    let offered = RefCell::new(BTreeSet::new());
    let done = live::with_connectors(context, &arguments.connectors, async |servo: LiveServo| {
        servo.tell_of_silent::<Measure>(&arguments.connectors);
        let answering = servo.answering::<Measure>();
        let asked = |name: &Arc<str>| {
            arguments.connectors.is_empty() || arguments.connectors.iter().any(|c| **c == **name)
        };
        if !answering.iter().any(asked) {
            return Err(Failure::Failed(
                "measurement failed: no connector handled the request".to_owned(),
            ));
        }
        let wanted = Wanted::of(&servo, arguments, &offered).await?;
        let measured = match wanted {
            // Another servo may have what is wanted.
            Wanted::Nothing => return Ok(()),
            Wanted::From { metrics, options } => {
                let event = Measure {
                    metrics,
                    control: control.clone(),
                };
                let bar = bars.of(&servo);
                let options = DispatchOptions {
                    timeout: control.total().as_std().saturating_add(SLACK),
                    progress: bar.as_ref().map(|(_, sink)| sink.clone()),
                    ..options
                };
                let outcome = servo.dispatcher.dispatch(event, options).await;
                if let Some((bar, _)) = bar {
                    bar.finish_and_clear();
                }
                outcome
            }
        };
        let measured: Vec<(Arc<str>, Measurement)> = live::results::<Measure>(measured)?
            .into_iter()
            .filter_map(|result| Some((result.connector, result.value.ok()?)))
            .map(|(connector, mut measurement)| {
                measurement
                    .readings
                    .retain(|r| arguments.wants(&r.metric().name));
                (connector, measurement)
            })
            .collect();
        show(&servo, arguments, measured)
    });
    drop(bars);
    done.and_then(|()| arguments.known(&offered.into_inner()))
}

fn duration(name: &str, text: &str) -> Result<Duration, Failure> {
    text.parse()
        .map_err(|e| Failure::Usage(format!("invalid {name} parameter: {e}")))
}

/// What is asked of one servo.
enum Wanted {
    /// It has none of the metrics.
    Nothing,
    From {
        metrics: Option<Vec<String>>,
        options: DispatchOptions,
    },
}

impl Wanted {
    /// Finds out which connectors have a metric that is wanted. All metrics that there are go to
    /// `offered`.
    async fn of(
        servo: &LiveServo,
        arguments: &Arguments,
        offered: &RefCell<BTreeSet<String>>,
    ) -> Result<Self, Failure> {
        let mut options = servo.options(&arguments.connectors);
        if arguments.metrics.is_empty() {
            let metrics = None;
            return Ok(Self::From { metrics, options });
        }
        let outcome = servo.dispatcher.dispatch(Metrics, options.clone()).await;
        let mut connectors = Vec::new();
        let mut found = BTreeSet::new();
        for result in live::results::<Metrics>(outcome)? {
            let names: Vec<String> = result.value.into_iter().flatten().map(|m| m.name).collect();
            if names.iter().any(|name| arguments.wants(name)) {
                connectors.push(result.connector);
            }
            found.extend(names.iter().filter(|name| arguments.wants(name)).cloned());
            offered.borrow_mut().extend(names);
        }
        // With a single servo a wrong name ends it here, before anything is measured.
        let is_wrong = !servo.is_one_of_several() && found.len() < arguments.distinct();
        if connectors.is_empty() || is_wrong {
            return Ok(Self::Nothing);
        }
        options.scope = Scope::Only(connectors);
        Ok(Self::From {
            metrics: Some(found.into_iter().collect()),
            options,
        })
    }
}

impl Arguments {
    fn wants(&self, metric: &str) -> bool {
        self.metrics.is_empty() || self.metrics.iter().any(|wanted| wanted == metric)
    }

    fn distinct(&self) -> usize {
        self.metrics.iter().collect::<BTreeSet<_>>().len()
    }

    /// Refuses metrics that no servo has.
    fn known(&self, offered: &BTreeSet<String>) -> Result<(), Failure> {
        let Some(unknown) = self.metrics.iter().find(|m| !offered.contains(*m)) else {
            return Ok(());
        };
        let names = || offered.iter().map(String::as_str);
        let hint = match nearest(unknown, names()) {
            Some(near) => format!(" (did you mean '{near}'?)"),
            None => String::new(),
        };
        let known = if offered.is_empty() {
            "there are none".to_owned()
        } else {
            format!("there are {}", Vec::from_iter(names()).join(", "))
        };
        Err(Failure::Usage(format!(
            "no metric found named '{unknown}'{hint}: {known}"
        )))
    }
}

fn show(
    servo: &LiveServo,
    arguments: &Arguments,
    measured: Vec<(Arc<str>, Measurement)>,
) -> Result<(), Failure> {
    match arguments.output {
        Output::Json | Output::Yaml => {
            let measurement = measured
                .into_iter()
                .fold(Measurement::default(), |all, (_, m)| all.merge(m));
            let wire = measurement.to_wire(Timestamp::now());
            for warning in wire.warnings {
                tracing::warn!("{warning}");
            }
            let result = serde_json::json!({
                "metrics": wire.metrics,
                "annotations": wire.annotations,
            });
            servo.print_data(arguments.output, result)
        }
        Output::Table => {
            let style = Style {
                now: (!arguments.no_humanize).then(Timestamp::now),
                named: arguments.connectors.len() > 1,
            };
            let rows = rows(&measured, &style);
            let text = if arguments.verbose {
                let headers = [
                    "METRIC",
                    "UNIT",
                    "READINGS",
                    "CONNECTOR",
                    "ID",
                    "ANNOTATION",
                    "METADATA",
                ];
                table::render(headers, rows)
            } else {
                let rows: Vec<Vec<String>> = rows
                    .into_iter()
                    .map(|row| row.into_iter().take(3).collect())
                    .collect();
                table::render(["METRIC", "UNIT", "READINGS"], rows)
            };
            servo.print(&text)
        }
    }
}

/// How readings look.
struct Style {
    /// What ages are counted from; times are shown without it.
    now: Option<Timestamp>,
    /// Whether each says its connector and series.
    named: bool,
}

/// One value of a reading.
struct Line<'m> {
    time: Timestamp,
    value: f64,
    connector: &'m str,
    id: Option<&'m str>,
    annotation: Option<&'m str>,
    metadata: String,
}

/// One row for each metric, with one line for each reading, in the order of their times.
fn rows(measured: &[(Arc<str>, Measurement)], style: &Style) -> Vec<[String; 7]> {
    let mut metrics: BTreeMap<&str, (Unit, Vec<Line<'_>>)> = BTreeMap::new();
    for (connector, measurement) in measured {
        for reading in &measurement.readings {
            let metric = reading.metric();
            let (_, lines) = metrics
                .entry(&metric.name)
                .or_insert((metric.unit, Vec::new()));
            lines.extend(self::lines(connector, reading));
        }
    }
    metrics
        .into_iter()
        .map(|(metric, (unit, mut lines))| {
            lines.sort_by_key(|line| line.time);
            let column = |cell: &dyn Fn(&Line<'_>) -> String| {
                let cells: Vec<String> = lines.iter().map(cell).collect();
                cells.join("\n")
            };
            let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
            [
                metric.to_owned(),
                unit.symbol().to_owned(),
                column(&|line| line.text(style)),
                column(&|line| line.connector.to_owned()),
                column(&|line| or_dash(line.id)),
                column(&|line| or_dash(line.annotation)),
                column(&|line| or_dash(Some(line.metadata.as_str()).filter(|m| !m.is_empty()))),
            ]
        })
        .collect()
}

fn lines<'m>(connector: &'m str, reading: &'m Reading) -> Vec<Line<'m>> {
    match reading {
        Reading::Point(point) => vec![Line {
            time: point.time(),
            value: point.value(),
            connector,
            id: None,
            annotation: None,
            metadata: String::new(),
        }],
        Reading::Series(series) => {
            let metadata = series.metadata.iter().map(|(k, v)| format!("{k}={v}"));
            let metadata = metadata.collect::<Vec<_>>().join(", ");
            let points = series.points().iter();
            points
                .map(|(time, value)| Line {
                    time: *time,
                    value: *value,
                    connector,
                    id: series.id.as_deref(),
                    annotation: series.annotation.as_deref(),
                    metadata: metadata.clone(),
                })
                .collect()
        }
    }
}

impl Line<'_> {
    fn text(&self, style: &Style) -> String {
        let when = match style.now {
            // What lies ahead is no age: clocks differ.
            Some(now) => age(now.duration_since(self.time).try_into().unwrap_or_default()),
            None => Zoned::new(self.time, TimeZone::system())
                .strftime("%F %T")
                .to_string(),
        };
        let source = if style.named {
            format!(" [{}{}]", self.connector, self.id.unwrap_or_default())
        } else {
            String::new()
        };
        format!("{:.2} ({when}){source}", self.value)
    }
}

/// `just now`, `30 seconds ago`, `1 minute ago` and so on.
fn age(passed: StdDuration) -> String {
    let seconds = passed.as_secs();
    let (count, unit) = match seconds {
        0..10 => return "just now".to_owned(),
        10..60 => (seconds, "second"),
        60..3_600 => (seconds / 60, "minute"),
        3_600..86_400 => (seconds / 3_600, "hour"),
        86_400..604_800 => (seconds / 86_400, "day"),
        604_800..2_592_000 => (seconds / 604_800, "week"),
        2_592_000..31_536_000 => (seconds / 2_592_000, "month"),
        _ => (seconds / 31_536_000, "year"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} ago")
}

/// A bar on stderr for each servo that is measured; nothing where stderr is no terminal.
struct Bars {
    all: Option<MultiProgress>,
    style: ProgressStyle,
}

impl Bars {
    fn new(colour: bool) -> Self {
        let bar = if colour { "{bar:32.cyan}" } else { "{bar:32}" };
        let template = format!("{{prefix}}{bar} {{pos:>3}}% {{elapsed}} elapsed {{msg}}");
        let style = ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let on_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let all = on_terminal.then(|| {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
            let suspended = all.clone();
            logging::write_through(Some(Arc::new(move |write| suspended.suspend(write))));
            all
        });
        Self { all, style }
    }

    /// The bar of `servo`, and what moves it.
    fn of(&self, servo: &LiveServo) -> Option<(ProgressBar, ProgressSink)> {
        let bar = self.all.as_ref()?.add(ProgressBar::new(100));
        bar.set_style(self.style.clone());
        if servo.is_one_of_several() {
            bar.set_prefix(format!("{} ", servo.name));
        }
        bar.enable_steady_tick(StdDuration::from_millis(500));
        let moved = bar.clone();
        let sink: ProgressSink = Arc::new(move |update| {
            if (0.0..100.0).contains(&update.percent) {
                moved.set_position(update.percent as u64);
            }
            if let Some(message) = update.message {
                moved.set_message(message);
            }
        });
        Some((bar, sink))
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        if let Some(all) = &self.all {
            logging::write_through(None);
            let _ = all.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        for (seconds, text) in [
            (0, "just now"),
            (9, "just now"),
            (30, "30 seconds ago"),
            (60, "1 minute ago"),
            (7_200, "2 hours ago"),
            (86_400, "1 day ago"),
            (604_800, "1 week ago"),
            (2_592_000, "1 month ago"),
            (31_536_000, "1 year ago"),
            (63_072_000, "2 years ago"),
        ] {
            assert_eq!(age(StdDuration::from_secs(seconds)), text);
        }
    }
}
