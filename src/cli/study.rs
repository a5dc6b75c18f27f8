//! How studies look to people: a line for each trial, a table of the result.

use std::{collections::BTreeSet, io::IsTerminal, sync::Arc, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use servo_embedded::{
    StudyResult, TrialEvent,
    application::Assignment,
    result::{Gain, MetricStanding, Spread, Standing},
    store::{TrialRecord, TrialState},
};

use super::{print, table};
use crate::daemon::logging;

/// Metrics that say most about a service, and what they are called on a trial's line.
const TELLING: [(&str, &str); 4] = [
    ("latency_50th", "p50"),
    ("latency_99th", "p99"),
    ("throughput", "throughput"),
    ("error_rate", "errors"),
];

/// Tells of trials as they end: with a progress bar on a terminal, plain lines elsewhere.
pub(super) struct Progress {
    lines: bool,
    bar: Option<ProgressBar>,
    header: bool,
}

impl Progress {
    pub(super) fn new(lines: bool, colour: bool) -> Self {
        let on_terminal = lines && std::io::stderr().is_terminal();
        let bar = on_terminal.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let template = if colour {
                "{bar:32.cyan} {pos}/{len} trials, {elapsed} elapsed, {msg}"
            } else {
                "{bar:32} {pos}/{len} trials, {elapsed} elapsed, {msg}"
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(500));
            let suspended = bar.clone();
            logging::write_through(Some(Arc::new(move |write| suspended.suspend(write))));
            bar
        });
        Self {
            lines,
            bar,
            header: false,
        }
    }

    pub(super) fn trial(&mut self, event: &TrialEvent) {
        if let Some(bar) = &self.bar {
            bar.set_length(event.budget as u64);
            bar.set_position(event.finished as u64);
            bar.set_message(format!("last: {}", verdict(&event.trial)));
        }
        if !self.lines {
            return;
        }
        let mut line = String::new();
        if !self.header {
            self.header = true;
            line.push_str("  TRIAL  PURPOSE   VERDICT     OBJECTIVE  SETTINGS AND METRICS\n");
        }
        line.push_str(&trial_line(event));
        match &self.bar {
            Some(bar) => bar.suspend(|| {
                let _ = print(&line);
            }),
            None => {
                let _ = print(&line);
            }
        }
    }

    /// Clears the bar.
    pub(super) fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            logging::write_through(None);
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

fn trial_line(event: &TrialEvent) -> String {
    let trial = &event.trial;
    let metrics: Vec<String> = TELLING
        .iter()
        .filter_map(|(name, label)| {
            let value = trial.metrics.get(*name)?;
            let unit = event.units.get(*name).map_or("", String::as_str);
            Some(format!("{label}={}{unit}", short(*value)))
        })
        .collect();
    let why = trial
        .message
        .clone()
        .or_else(|| (!trial.violated.is_empty()).then(|| trial.violated.join(", ")));
    let why = why.map(|w| format!("  {w}")).unwrap_or_default();
    format!(
        "{:>7}  {:<8}  {:<10}  {:>9}  {}  {}{why}",
        format!("{}/{}", event.finished, event.budget),
        trial.purpose.as_str(),
        verdict(trial),
        trial.objective.map_or_else(|| "-".to_owned(), short),
        settings(&trial.settings),
        metrics.join(" "),
    )
}

/// The settings; the component goes without saying when there is only one.
fn settings(assignment: &Assignment) -> String {
    let components: BTreeSet<&str> = assignment.iter().map(|a| a.component.as_str()).collect();
    if components.len() > 1 {
        return assignment.to_string();
    }
    assignment
        .iter()
        .map(|a| format!("{}={}", a.setting, a.value))
        .collect::<Vec<_>>()
        .join(" ")
}

/// One word for how a trial went.
pub(super) fn verdict(trial: &TrialRecord) -> &'static str {
    match trial.state {
        TrialState::Completed => "ok",
        TrialState::Infeasible => "breaks-slo",
        other => other.as_str(),
    }
}

/// A number with as many digits as people compare.
pub(super) fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if size >= 1000.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 0.01 {
        format!("{value:.3}")
    } else {
        format!("{value:.2e}")
    }
}

fn spread(spread: &Spread) -> String {
    match spread.sd {
        Some(sd) => format!("{} ± {} (n={})", short(spread.mean), short(sd), spread.n),
        None => format!("{} (n=1)", short(spread.mean)),
    }
}

/// The table *baseline vs chosen*, and what it amounts to.
pub(super) fn results(result: &StudyResult) -> String {
    let mut text = String::new();
    if let Some(baseline) = &result.baseline {
        let rows = rows(baseline, result.chosen.as_ref());
        text.push('\n');
        text.push_str(&table::render(["", "BASELINE", "CHOSEN"], rows));
        text.push_str("\n\n");
    }
    let counts = &result.trials;
    text.push_str(&format!(
        "{}: {} trials in {} ({} ok, {} broke a constraint, {} failed, {} invalid)\n",
        result.optimizer,
        counts.completed + counts.infeasible + counts.failed + counts.invalid,
        servo_messages::Duration::from(
            Duration::from_secs(result.duration_seconds.max(0.0) as u64)
        ),
        counts.completed,
        counts.infeasible,
        counts.failed,
        counts.invalid,
    ));
    if let Some(objective) = &result.objective {
        text.push_str(&format!("objective: {objective}\n"));
    }
    if let Some(gain) = &result.gain {
        text.push_str(&gain_line(gain));
    }
    text.push_str(&format!("verdict: {}", result.verdict));
    text
}

fn gain_line(gain: &Gain) -> String {
    format!(
        "confirmed gain: {:.1}% ± {:.1}% ({} ± {}), probability of a gain {:.3}\n",
        gain.percent.mean,
        gain.percent.sd,
        short(gain.absolute.mean),
        short(gain.absolute.sd),
        gain.p_gain,
    )
}

fn rows(baseline: &Standing, chosen: Option<&Standing>) -> Vec<[String; 3]> {
    let none = || "-".to_owned();
    let mut rows = Vec::new();
    for assigned in baseline.settings.iter() {
        let other = chosen.and_then(|c| {
            c.settings
                .iter()
                .find(|a| a.component == assigned.component && a.setting == assigned.setting)
        });
        rows.push([
            format!("{}.{}", assigned.component, assigned.setting),
            assigned.value.to_string(),
            other.map_or_else(none, |a| a.value.to_string()),
        ]);
    }
    let names: BTreeSet<&String> = baseline
        .metrics
        .keys()
        .chain(chosen.iter().flat_map(|c| c.metrics.keys()))
        .collect();
    let cell = |metric: Option<&MetricStanding>| metric.map_or_else(none, |m| spread(&m.spread));
    for name in names {
        let (left, right) = (
            baseline.metrics.get(name),
            chosen.and_then(|c| c.metrics.get(name)),
        );
        let unit = left.or(right).map_or("", |m| m.unit.as_str());
        let label = if unit.is_empty() {
            name.clone()
        } else {
            format!("{name} ({unit})")
        };
        rows.push([label, cell(left), cell(right)]);
    }
    let objective = |s: &Standing| s.objective.as_ref().map_or_else(none, spread);
    rows.push([
        "objective".to_owned(),
        objective(baseline),
        chosen.map_or_else(none, objective),
    ]);
    rows
}
