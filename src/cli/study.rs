//! How studies look to people: a line for each trial, a table of the result.

use std::{collections::BTreeSet, io::IsTerminal, sync::Arc, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use servo_embedded::{
    StudyResult, TrialEvent,
    application::Assignment,
    result::{Applied, Gain, MetricStanding, Spread, Standing},
    store::{TrialRecord, TrialState},
};

use super::{print, table};
use crate::daemon::logging;

/// Metrics that say most about a service, and what they are called on a trial's line; nothing where the unit
/// says it.
const TELLING: [(&str, &str); 4] = [
    ("latency_50th", "p50"),
    ("latency_99th", "p99"),
    ("throughput", ""),
    ("error_rate", "errors"),
];

/// How wide a trial's line may be before it goes on below.
const WIDTH: usize = 100;

/// Where it goes on.
const INDENT: usize = 9;

/// How much of a reason is told on a trial's line; `servo optimizer trials` has all of it.
const REASON: usize = 240;

/// Tells of trials as they end: with a progress bar on a terminal, plain lines elsewhere.
pub(super) struct Progress {
    lines: bool,
    /// Whether lines have to tell whose trial it is.
    several: bool,
    bar: Option<ProgressBar>,
    header: bool,
}

impl Progress {
    pub(super) fn new(lines: bool, several: bool, colour: bool) -> Self {
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
            several,
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
            line.push_str("  TRIAL  PURPOSE   VERDICT     OBJECTIVE  METRICS AND SETTINGS\n");
        }
        line.push_str(&trial_line(event, self.several));
        self.tell(&line);
    }

    /// Prints beside the bar.
    pub(super) fn tell(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| {
                let _ = print(text);
            }),
            None => {
                let _ = print(text);
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

fn trial_line(event: &TrialEvent, several: bool) -> String {
    let trial = &event.trial;
    let value = |name: &str, label: &str| {
        let value = short(*trial.metrics.get(name)?);
        let unit = event.units.get(name).map_or("", String::as_str);
        Some(match (label, unit) {
            ("", "") => format!("{name}={value}"),
            ("", unit) => format!("{value}{unit}"),
            // `cpu_cores=0.3` says it.
            (label, unit) if label.ends_with(unit) => format!("{label}={value}"),
            (label, unit) => format!("{label}={value}{unit}"),
        })
    };
    let telling = TELLING
        .iter()
        .filter_map(|(name, label)| value(name, label));
    let telling: Vec<String> = telling.collect();
    let others = event.judged_by.iter().map(String::as_str);
    let others: Vec<String> = others
        .filter(|other| TELLING.iter().all(|(name, _)| name != other))
        .filter_map(|name| value(name, name))
        .collect();
    let why = trial
        .message
        .clone()
        .or_else(|| (!trial.violated.is_empty()).then(|| trial.violated.join(", ")));
    let mut line = format!(
        "{:>7}  {:<8}  {:<10}  {:>9}",
        format!("{}/{}", event.finished, event.budget),
        trial.purpose.as_str(),
        verdict(trial),
        trial.objective.map_or_else(|| "-".to_owned(), short),
    );
    if several {
        append(&mut line, &event.optimizer);
    }
    append(&mut line, &telling.join(" "));
    append(&mut line, &others.join(" "));
    append(&mut line, &settings(&trial.settings));
    if let Some(why) = why {
        append(&mut line, &clipped(&one_line(&why), REASON));
    }
    line
}

/// Appends words: on the last line where all of them fit, else below.
fn append(text: &mut String, words: &str) {
    if words.is_empty() {
        return;
    }
    let last = text.lines().last().map_or(0, |line| line.chars().count());
    if last + 2 + words.chars().count() <= WIDTH {
        text.push_str("  ");
        text.push_str(words);
        return;
    }
    let mut column = WIDTH;
    for word in words.split(' ') {
        let length = word.chars().count();
        if column + 1 + length > WIDTH {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', INDENT));
            column = INDENT;
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
}

fn clipped(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A message of several lines, such as one with the last lines of a process, as one.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
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
        let rows = rows(result, baseline, result.chosen.as_ref());
        text.push('\n');
        text.push_str(&match result.chosen {
            Some(_) => table::render(["", "BASELINE", "CHOSEN"], rows),
            None => table::render(
                ["", "BASELINE"],
                rows.into_iter()
                    .map(|[name, left, _]| [name, left])
                    .collect(),
            ),
        });
        text.push_str("\n\n");
    }
    let counts = &result.trials;
    let finished = counts.completed + counts.infeasible + counts.failed + counts.invalid;
    if finished > 0 {
        text.push_str(&format!(
            "{}: {finished} trial{} in {} ({} ok, {} broke a constraint, {} failed, {} invalid)\n",
            result.optimizer,
            if finished == 1 { "" } else { "s" },
            servo_messages::Duration::from(Duration::from_secs(
                result.duration_seconds.max(0.0) as u64
            )),
            counts.completed,
            counts.infeasible,
            counts.failed,
            counts.invalid,
        ));
    }
    if let Some(objective) = &result.objective {
        text.push_str(&format!("objective: {objective}\n"));
    }
    if !result.constraints.is_empty() {
        let sure = result.chosen.as_ref().and_then(|chosen| chosen.p_feasible);
        let sure = sure
            .map(|p| format!("; the chosen configuration keeps all with probability {p:.3}"))
            .unwrap_or_default();
        text.push_str(&format!(
            "constraints: {}{sure}\n",
            result.constraints.join(", ")
        ));
    }
    if let Some(gain) = &result.gain {
        text.push_str(&gain_line(gain));
    }
    text.push_str(&format!("verdict: {}", result.verdict));
    if result.verdict.is_answer() {
        text.push_str(&format!("\napplied: {}", applied(&result.applied)));
    }
    text
}

/// Which configuration the application was left with.
pub(super) fn applied(applied: &Applied) -> String {
    match applied {
        Applied::Chosen => "the chosen configuration".to_owned(),
        Applied::Baseline => "the baseline".to_owned(),
        Applied::Untouched => "nothing, the application is as it was".to_owned(),
        Applied::Unknown { message } => format!(
            "nothing for sure, neither the chosen configuration nor the baseline could be applied: {}",
            one_line(message)
        ),
    }
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

fn rows(result: &StudyResult, baseline: &Standing, chosen: Option<&Standing>) -> Vec<[String; 3]> {
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
    let objective = |s: &Standing| s.objective.as_ref().map_or_else(none, spread);
    if result.objective.is_some() {
        rows.push([
            "objective".to_owned(),
            objective(baseline),
            chosen.map_or_else(none, objective),
        ]);
    }
    // What the objective and the constraints are made of comes first.
    let measured: BTreeSet<&String> = baseline
        .metrics
        .keys()
        .chain(chosen.iter().flat_map(|c| c.metrics.keys()))
        .collect();
    let judged_by = &result.judged_by;
    let first = judged_by.iter().filter(|name| measured.contains(name));
    let others = measured
        .iter()
        .copied()
        .filter(|name| !judged_by.contains(name));
    let names: Vec<&String> = first.chain(others).collect();
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
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_a_line_goes_on_below() {
        let mut line = "x".repeat(40);
        append(&mut line, "p99=3ms errors=0%");
        assert_eq!(line.lines().count(), 1);
        append(&mut line, "");
        append(&mut line, &["setting=value"; 9].join(" "));
        append(&mut line, "why");
        assert!(
            line.lines().all(|line| line.chars().count() <= WIDTH),
            "{line}"
        );
        assert_eq!(line.lines().count(), 3, "{line}");
        assert!(
            line.lines()
                .nth(1)
                .is_some_and(|l| l.starts_with("         setting=value s"))
        );
        assert!(line.ends_with("setting=value  why"), "{line}");
    }

    #[test]
    fn a_reason_is_one_line_and_not_endless() {
        assert_eq!(one_line("it said\n  boom\n"), "it said boom");
        assert_eq!(clipped("häßlich", 3), "häß…");
        assert_eq!(clipped("abc", 3), "abc");
    }
}
