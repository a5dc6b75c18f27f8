//! One study of one application while its servo is connected: what to try next, what a result means, and
//! when it is over.
//!
//! Every step is on disk before anybody hears of it: [`Session::next`] writes a command's uid before it
//! returns the command, [`Session::complete`] writes a result before it returns at all. When the disk
//! refuses, nothing in memory has changed, and the same call may be made again.

mod conclusion;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use servo_messages::{Adjustment, Control, MeasurementReport};
use servo_protocol::{
    Command, CommandKind, CommandUid, Explanation, Operation, Outcome, Payload, Sleep,
};
use servo_search::Space;

use crate::{
    application::{Application, Assignment},
    notice::{Notice, TrialEvent},
    problem::{BaselineValues, Problem, SearchProblem},
    result::{Applied, StudyResult, Verdict},
    store::{
        Finding, Issued, NewTrial, Purpose, Step, Store, StoreError, StudyRecord, TrialRecord,
        TrialState,
    },
    study::StudyConfig,
};

/// How often a configuration may fail to be carried out before the baseline is asked whether the target
/// works at all.
const MAX_ATTEMPTS: u32 = 2;

/// How often the configuration to end with is tried.
const MAX_FINAL_ATTEMPTS: u32 = 3;

/// First pause after a failure; doubles with each further one.
const FIRST_REST: Duration = Duration::from_secs(5);

/// Longest pause after a failure.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// How long a servo sleeps when there is nothing to do (`spec/optimizer-protocol.md` §20).
const IDLE: Duration = Duration::from_secs(60);

/// The reason with which a servo gives up a measurement because an SLO is violated (§14).
const SLO_VIOLATION: &str = "slo-violation";

/// What the application is measured for.
#[derive(Debug)]
pub(crate) enum Goal {
    /// To find a better configuration.
    Tune {
        problem: Box<Problem>,
        space: Space,
        study: Box<StudyConfig>,
    },
    /// To know it once; `reason` says why it is not tuned.
    Observe {
        reason: String,
        study: Option<Box<StudyConfig>>,
    },
}

/// Where the study stands between two messages of the servo.
#[derive(Debug)]
enum Stage {
    /// The next WHATS_NEXT decides.
    Choosing,
    /// A trial's command is handed out.
    Trying { trial: TrialRecord, issued: Issued },
    /// Something failed: the servo sleeps before the next attempt.
    Resting { duration: Duration, reason: String },
    /// The study is over, and the application is being brought to the configuration to end with.
    Concluding {
        target: Applied,
        cmd_uid: String,
        result: Box<StudyResult>,
    },
    /// Nothing is left to do.
    Over { reason: String },
}

#[derive(Debug)]
pub(crate) struct Session {
    study: StudyRecord,
    application: Application,
    goal: Goal,
    trials: Vec<TrialRecord>,
    /// What the application is known to be set to.
    applied: Option<Assignment>,
    /// Failed attempts at what is being attempted.
    tries: u32,
    /// The configuration to end with could not be applied; end with the baseline.
    fall_back: bool,
    stage: Stage,
}

/// What a session needs from outside for one step.
pub(crate) struct Desk<'a> {
    pub(crate) store: &'a mut Store,
    pub(crate) notices: &'a mut Vec<Notice>,
    pub(crate) uids: &'a mut Uids,
    pub(crate) now: Timestamp,
}

/// Makes command uids that are unique in the life of a trial file.
#[derive(Debug, Default)]
pub(crate) struct Uids {
    last: i64,
}

impl Uids {
    pub(crate) fn next(&mut self, prefix: &str, now: Timestamp) -> String {
        self.last = now.as_microsecond().max(self.last.saturating_add(1));
        format!("{prefix}-{:x}", self.last)
    }
}

impl Session {
    pub(crate) fn new(
        study: StudyRecord,
        application: Application,
        goal: Goal,
        trials: Vec<TrialRecord>,
    ) -> Self {
        // What a description says is believed only as long as nothing was adjusted. Later it may well tell
        // of the values the application is configured with rather than those it runs with, so a pending
        // trial's configuration is applied again.
        let untouched = trials.iter().all(|trial| trial.settings == study.baseline);
        let described = application.current().ok();
        let applied = described.filter(|described| untouched && *described == study.baseline);
        Self {
            study,
            application,
            goal,
            trials,
            applied,
            tries: 0,
            fall_back: false,
            stage: Stage::Choosing,
        }
    }

    /// The session as it was when the process ended, for a servo that did not notice: the command it may
    /// still be carrying out is the one handed out last. `None` when there is no such command; the
    /// application is to be described again then.
    pub(crate) fn resume(mut self) -> Option<Self> {
        let pending = |trial: &&TrialRecord| trial.state == TrialState::Pending;
        let trial = self.trials.iter().find(pending).cloned()?;
        let issued = trial.issued.clone()?;
        self.applied = (issued.step == Step::Measure).then(|| trial.settings.clone());
        self.stage = Stage::Trying { trial, issued };
        Some(self)
    }

    pub(crate) fn study(&self) -> &StudyRecord {
        &self.study
    }

    /// The command that waits for its answer.
    pub(crate) fn outstanding(&self) -> Option<(Operation, &str)> {
        match &self.stage {
            Stage::Trying { issued, .. } => {
                let operation = match issued.step {
                    Step::Adjust => Operation::Adjust,
                    Step::Measure => Operation::Measure,
                };
                Some((operation, &issued.cmd_uid))
            }
            Stage::Concluding { cmd_uid, .. } => Some((Operation::Adjust, cmd_uid)),
            Stage::Choosing | Stage::Resting { .. } | Stage::Over { .. } => None,
        }
    }

    /// The command to hand out. Asked again before its answer, it is the same command.
    pub(crate) fn next(&mut self, desk: &mut Desk<'_>) -> Result<Command, StoreError> {
        loop {
            match &self.stage {
                Stage::Trying { trial, issued } => return Ok(self.command(trial, issued)),
                Stage::Concluding {
                    target, cmd_uid, ..
                } => {
                    return Ok(self.final_adjust(target, cmd_uid));
                }
                Stage::Over { reason } => return Ok(sleep(IDLE, reason)),
                Stage::Resting { duration, reason } => {
                    let command = sleep(*duration, reason);
                    self.stage = Stage::Choosing;
                    return Ok(command);
                }
                Stage::Choosing => self.choose(desk)?,
            }
        }
    }

    fn choose(&mut self, desk: &mut Desk<'_>) -> Result<(), StoreError> {
        self.settle_suspects(desk)?;
        let pending = self
            .trials
            .iter()
            .find(|trial| trial.state == TrialState::Pending)
            .cloned();
        let trial = match pending {
            Some(trial) => trial,
            None => match self.new_trial() {
                Ok(Some(new)) => {
                    let trial = desk.store.add_trial(self.study.id, &new, desk.now)?;
                    self.trials.push(trial.clone());
                    if self.study.ended_at.is_some() {
                        desk.store.set_result(self.study.id, None, desk.now)?;
                        self.study.ended_at = None;
                    }
                    trial
                }
                Ok(None) => return self.conclude(desk),
                Err(reason) => return self.stop(reason, desk),
            },
        };
        let in_place = trial.settings.is_empty() || self.applied.as_ref() == Some(&trial.settings);
        let step = if in_place {
            Step::Measure
        } else {
            Step::Adjust
        };
        let prefix = match step {
            Step::Adjust => format!("s{}t{}a", self.study.id, trial.number),
            Step::Measure => format!("s{}t{}m", self.study.id, trial.number),
        };
        let issued = Issued {
            step,
            cmd_uid: desk.uids.next(&prefix, desk.now),
        };
        desk.store.issue(trial.id, &issued, desk.now)?;
        self.stage = Stage::Trying { trial, issued };
        Ok(())
    }

    /// What to try next; `None` when the budget is spent.
    fn new_trial(&self) -> Result<Option<NewTrial>, String> {
        let baseline = |purpose| {
            Ok(Some(NewTrial {
                purpose,
                settings: self.study.baseline.clone(),
                p_feasible: None,
            }))
        };
        if let Some(suspect) = self
            .trials
            .iter()
            .find(|trial| trial.state == TrialState::Suspect)
        {
            let probed =
                |trial: &&TrialRecord| trial.number > suspect.number && trial.state.is_final();
            return match self.trials.iter().find(probed) {
                // It was measured, or its suspect would have been settled.
                Some(probe) => Err(format!(
                    "the configuration the study began from can no longer be judged: {}",
                    probe
                        .message
                        .as_deref()
                        .unwrap_or("no value for the objective")
                )),
                None => baseline(Purpose::Probe),
            };
        }
        let finished = self
            .trials
            .iter()
            .filter(|trial| trial.state.is_final())
            .count();
        match &self.goal {
            Goal::Observe { .. } if finished == 0 => baseline(Purpose::Baseline),
            Goal::Observe { .. } => Ok(None),
            Goal::Tune { .. } if finished >= self.budget() => Ok(None),
            Goal::Tune { .. } if self.measured_baseline().next().is_none() => {
                baseline(Purpose::Baseline)
            }
            Goal::Tune {
                problem,
                space,
                study,
            } => {
                let baseline = self.baseline_values(problem, None);
                let problem = SearchProblem {
                    problem,
                    baseline: &baseline,
                };
                let search = servo_search::Search::new(space.clone(), problem, self.options(study))
                    .map_err(|error| format!("the search cannot begin: {error}"))?;
                let suggestion = search
                    .suggest(&self.history())
                    .map_err(|error| format!("the search cannot go on: {error}"))?;
                Ok(Some(NewTrial {
                    purpose: purpose(suggestion.purpose),
                    settings: self.settings_at(&suggestion.point),
                    p_feasible: suggestion.p_feasible,
                }))
            }
        }
    }

    /// The baseline's own values where the search means the baseline: they may lie off the grid.
    fn settings_at(&self, point: &[f64]) -> Assignment {
        match self.application.point(&self.study.baseline) {
            Ok(baseline) if baseline == point => self.study.baseline.clone(),
            _ => self.application.assignment(point),
        }
    }

    fn budget(&self) -> usize {
        match &self.goal {
            Goal::Tune { study, space, .. } => study.budget(space.dimensions().len()),
            Goal::Observe { .. } => 1,
        }
    }

    fn options(&self, study: &StudyConfig) -> servo_search::Options {
        let budget = self.budget();
        servo_search::Options {
            seed: study.seed,
            budget,
            baseline: self.application.point(&self.study.baseline).ok(),
            confirmations: study.confirmation_trials(budget),
            ..servo_search::Options::new(budget)
        }
    }

    /// The finished trials in the search's terms.
    fn history(&self) -> Vec<servo_search::Trial> {
        let Goal::Tune { problem, .. } = &self.goal else {
            return Vec::new();
        };
        let finished = self.trials.iter().filter(|trial| trial.state.is_final());
        finished
            .filter_map(|trial| {
                let point = self.application.point(&trial.settings).ok()?;
                let outcome = match trial.state {
                    TrialState::Completed | TrialState::Infeasible => {
                        problem.output_values(&trial.metrics)
                    }
                    _ => None,
                };
                let outcome = outcome.map_or(
                    servo_search::Outcome::Failed,
                    servo_search::Outcome::Measured,
                );
                Some(servo_search::Trial { point, outcome })
            })
            .collect()
    }

    fn measured_baseline(&self) -> impl Iterator<Item = &TrialRecord> {
        self.trials.iter().filter(|trial| {
            trial.settings == self.study.baseline
                && matches!(trial.state, TrialState::Completed | TrialState::Infeasible)
                && !trial.metrics.is_empty()
        })
    }

    fn baseline_values(
        &self,
        problem: &Problem,
        and: Option<&BTreeMap<String, f64>>,
    ) -> BaselineValues {
        let measured = self.measured_baseline().map(|trial| &trial.metrics);
        problem.baseline(&self.study.baseline, measured.chain(and))
    }

    fn command(&self, trial: &TrialRecord, issued: &Issued) -> Command {
        let kind = match issued.step {
            Step::Adjust => self.adjust(&trial.settings),
            Step::Measure => CommandKind::Measure {
                metrics: self.metrics_to_measure(),
                control: self
                    .config()
                    .map_or_else(observation, StudyConfig::measure_control),
            },
        };
        Command {
            uid: Some(CommandUid::new(&issued.cmd_uid)),
            kind,
        }
    }

    fn adjust(&self, settings: &Assignment) -> CommandKind {
        let adjustments = settings.iter().map(|assigned| Adjustment {
            component: assigned.component.clone(),
            setting: assigned.setting.clone(),
            value: assigned.value.clone(),
        });
        CommandKind::Adjust {
            adjustments: adjustments.collect(),
            control: self
                .config()
                .map(StudyConfig::adjust_control)
                .unwrap_or_default(),
        }
    }

    fn config(&self) -> Option<&StudyConfig> {
        match &self.goal {
            Goal::Tune { study, .. } => Some(study),
            Goal::Observe { study, .. } => study.as_deref(),
        }
    }

    fn metrics_to_measure(&self) -> Vec<String> {
        let wanted = self.config().and_then(|study| study.metrics.clone());
        let mut metrics = wanted.unwrap_or_else(|| {
            self.application
                .metrics
                .iter()
                .map(|metric| metric.name.clone())
                .collect()
        });
        if let Goal::Tune { problem, .. } = &self.goal {
            for output in problem.outputs() {
                if !metrics.contains(output) {
                    metrics.push(output.clone());
                }
            }
        }
        metrics
    }

    /// Takes the answer to the outstanding command. The caller has checked that it is one.
    pub(crate) fn complete(
        &mut self,
        outcome: &Outcome,
        desk: &mut Desk<'_>,
    ) -> Result<(), StoreError> {
        match &self.stage {
            Stage::Trying { trial, issued } => {
                let (trial, step) = (trial.clone(), issued.step);
                self.complete_trial(&trial, step, outcome, desk)
            }
            Stage::Concluding { .. } => self.complete_conclusion(outcome, desk),
            Stage::Choosing | Stage::Resting { .. } | Stage::Over { .. } => Ok(()),
        }
    }

    fn complete_trial(
        &mut self,
        trial: &TrialRecord,
        step: Step,
        outcome: &Outcome,
        desk: &mut Desk<'_>,
    ) -> Result<(), StoreError> {
        let first_baseline =
            trial.settings == self.study.baseline && self.measured_baseline().next().is_none();
        match outcome {
            Outcome::Ok(Payload::Measurement(report)) => {
                self.measured(trial, report, first_baseline, desk)
            }
            Outcome::Ok(_) => {
                if step == Step::Adjust {
                    self.applied = Some(trial.settings.clone());
                }
                self.stage = Stage::Choosing;
                Ok(())
            }
            Outcome::Rejected(why) if first_baseline => {
                let reason = format!(
                    "the configuration the study began from ({}) was rejected: {}",
                    trial.settings,
                    text(why)
                );
                self.applied = None;
                self.stop(reason, desk)
            }
            Outcome::Rejected(why) if trial.settings != self.study.baseline => {
                self.applied = None;
                let finding = Finding {
                    message: Some(text(why)),
                    ..Finding::default()
                };
                self.finish(trial, TrialState::Failed, finding, desk)
            }
            Outcome::Aborted(why) if why.reason.as_deref() == Some(SLO_VIOLATION) => {
                if first_baseline {
                    let reason = format!(
                        "the configuration the study began from breaks the SLO that the servo watches, so there \
                         is nothing to compare with: {}; relax the SLO, or begin from a safer configuration",
                        text(why)
                    );
                    return self.stop(reason, desk);
                }
                let finding = Finding {
                    violated: vec![SLO_VIOLATION.to_owned()],
                    message: Some(text(why)),
                    ..Finding::default()
                };
                self.finish(trial, TrialState::Infeasible, finding, desk)
            }
            Outcome::Rejected(why)
            | Outcome::Failed(why)
            | Outcome::Aborted(why)
            | Outcome::Cancelled(why) => self.attempt_failed(trial, step, &text(why), desk),
        }
    }

    fn measured(
        &mut self,
        trial: &TrialRecord,
        report: &MeasurementReport,
        first_baseline: bool,
        desk: &mut Desk<'_>,
    ) -> Result<(), StoreError> {
        let mean = |(name, metric): (&String, &servo_messages::MetricReport)| {
            metric
                .mean()
                .filter(|mean| mean.is_finite())
                .map(|mean| (name.clone(), mean))
        };
        let metrics: BTreeMap<String, f64> = report.metrics.iter().filter_map(mean).collect();
        let Goal::Tune { problem, .. } = &self.goal else {
            let finding = Finding {
                metrics,
                ..Finding::default()
            };
            return self.finish(trial, TrialState::Completed, finding, desk);
        };
        let own = (trial.settings == self.study.baseline).then_some(&metrics);
        let baseline = self.baseline_values(problem, own);
        match problem.worth(&trial.settings, &metrics, &baseline) {
            Ok(worth) => {
                let state = if worth.violated.is_empty() {
                    TrialState::Completed
                } else {
                    TrialState::Infeasible
                };
                let finding = Finding {
                    metrics,
                    objective: Some(worth.objective),
                    violated: worth.violated,
                    message: None,
                };
                self.finish(trial, state, finding, desk)
            }
            Err(problem) if self.tries + 1 < MAX_ATTEMPTS => {
                let message = problem.to_string();
                self.again(trial, TrialState::Pending, &message, desk)?;
                tracing::warn!(
                    optimizer = %self.study.optimizer, trial = trial.number,
                    "{message}; measuring once more"
                );
                self.tries += 1;
                self.stage = Stage::Choosing;
                Ok(())
            }
            Err(problem) if first_baseline => self.stop(problem.to_string(), desk),
            Err(problem) => {
                let message = Some(problem.to_string());
                let finding = Finding {
                    metrics,
                    message,
                    ..Finding::default()
                };
                self.finish(trial, TrialState::Invalid, finding, desk)
            }
        }
    }

    /// An attempt came to nothing, and it is not known whose fault that is: not the configuration's, until
    /// the baseline is seen to work.
    fn attempt_failed(
        &mut self,
        trial: &TrialRecord,
        step: Step,
        message: &str,
        desk: &mut Desk<'_>,
    ) -> Result<(), StoreError> {
        let doing = match step {
            Step::Adjust => "adjusting",
            Step::Measure => "measuring",
        };
        let message = format!("{doing} failed: {message}");
        let at_baseline = trial.settings == self.study.baseline;
        let max_failures = self.config().map_or(5, |study| study.max_failures);
        let limit = if at_baseline {
            max_failures
        } else {
            MAX_ATTEMPTS.min(max_failures)
        };
        let tries = self.tries + 1;
        let state = if tries < limit || at_baseline {
            TrialState::Pending
        } else {
            TrialState::Suspect
        };
        self.again(trial, state, &message, desk)?;
        self.applied = None;
        tracing::warn!(
            optimizer = %self.study.optimizer, trial = trial.number, attempt = tries, "{message}"
        );
        if tries < limit || !at_baseline {
            let duration = rest(tries);
            self.tries = if tries < limit { tries } else { 0 };
            self.stage = Stage::Resting {
                duration,
                reason: format!("before another attempt: {message}"),
            };
            return Ok(());
        }
        let times = if tries == 1 {
            "once".to_owned()
        } else {
            format!("{tries} times in a row")
        };
        self.stop(
            format!(
                "the target failed {times} even with the configuration the study began from; {message}. \
                 Repair it and start again: the study goes on where it stopped"
            ),
            desk,
        )
    }

    fn again(
        &mut self,
        trial: &TrialRecord,
        state: TrialState,
        message: &str,
        desk: &mut Desk<'_>,
    ) -> Result<(), StoreError> {
        let attempts = trial.attempts.saturating_add(1);
        desk.store
            .record_attempt(trial.id, state, attempts, message)?;
        if let Some(kept) = self.trials.iter_mut().find(|kept| kept.id == trial.id) {
            kept.attempts = attempts;
            kept.state = state;
            kept.message = Some(message.to_owned());
            kept.issued = None;
        }
        Ok(())
    }

    fn finish(
        &mut self,
        trial: &TrialRecord,
        state: TrialState,
        finding: Finding,
        desk: &mut Desk<'_>,
    ) -> Result<(), StoreError> {
        let finished = desk
            .store
            .finish_trial(trial.id, state, &finding, desk.now)?;
        self.keep(finished, desk);
        self.tries = 0;
        self.stage = Stage::Choosing;
        Ok(())
    }

    fn keep(&mut self, finished: TrialRecord, desk: &mut Desk<'_>) {
        if let Some(kept) = self.trials.iter_mut().find(|kept| kept.id == finished.id) {
            *kept = finished.clone();
        }
        desk.notices.push(Notice::Trial(TrialEvent {
            optimizer: self.study.optimizer.clone(),
            finished: self
                .trials
                .iter()
                .filter(|trial| trial.state.is_final())
                .count(),
            budget: self.budget(),
            trial: finished,
        }));
    }

    /// A suspect is guilty once the baseline was seen to run after it.
    fn settle_suspects(&mut self, desk: &mut Desk<'_>) -> Result<(), StoreError> {
        let runs = |trial: &&TrialRecord| {
            trial.settings == self.study.baseline
                && matches!(trial.state, TrialState::Completed | TrialState::Infeasible)
        };
        let Some(last_measured) = self
            .trials
            .iter()
            .filter(runs)
            .map(|trial| trial.number)
            .max()
        else {
            return Ok(());
        };
        let guilty: Vec<TrialRecord> = self
            .trials
            .iter()
            .filter(|trial| trial.state == TrialState::Suspect && trial.number < last_measured)
            .cloned()
            .collect();
        for trial in guilty {
            let why = trial.message.as_deref().unwrap_or("failed");
            let message = format!(
                "{why} ({} attempts, while the baseline works)",
                trial.attempts
            );
            let finding = Finding {
                message: Some(message),
                ..Finding::default()
            };
            let finished =
                desk.store
                    .finish_trial(trial.id, TrialState::Failed, &finding, desk.now)?;
            self.keep(finished, desk);
        }
        Ok(())
    }

    /// The study cannot go on. It is not over: the next session continues it.
    fn stop(&mut self, reason: String, desk: &mut Desk<'_>) -> Result<(), StoreError> {
        tracing::error!(optimizer = %self.study.optimizer, study = self.study.id, "study stopped: {reason}");
        let verdict = Verdict::Stopped {
            reason: reason.clone(),
        };
        let result = self.result(verdict, None, Applied::Untouched, desk.now);
        desk.notices.push(Notice::Finished(Box::new(result)));
        self.stage = Stage::Over {
            reason: format!("study stopped: {reason}"),
        };
        Ok(())
    }
}

/// SLEEP is not answered, so it needs no uid.
pub(crate) fn sleep(duration: Duration, reason: &str) -> Command {
    Command::new(CommandKind::Sleep(Sleep {
        duration,
        reason: reason.to_owned(),
    }))
}

/// How long a servo with nothing to do is told to sleep.
pub(crate) fn idle(reason: &str) -> Command {
    sleep(IDLE, reason)
}

/// How long to wait after the `failures`th failure in a row.
pub(crate) fn rest(failures: u32) -> Duration {
    LONGEST_REST.min(FIRST_REST.saturating_mul(1 << failures.saturating_sub(1).min(8)))
}

/// How to measure an application for which nobody wrote a study.
fn observation() -> Control {
    Control::for_duration(servo_messages::Duration::from_secs(60))
}

fn text(why: &Explanation) -> String {
    let reason = why
        .reason
        .as_deref()
        .filter(|reason| !reason.is_empty() && *reason != "unknown");
    match (why.message.is_empty(), reason) {
        (false, Some(reason)) => format!("{} ({reason})", why.message),
        (false, None) => why.message.clone(),
        (true, Some(reason)) => reason.to_owned(),
        (true, None) => "the servo gave no reason".to_owned(),
    }
}

fn purpose(purpose: servo_search::Purpose) -> Purpose {
    match purpose {
        servo_search::Purpose::Baseline => Purpose::Baseline,
        servo_search::Purpose::Repeat => Purpose::Repeat,
        servo_search::Purpose::Explore => Purpose::Explore,
        servo_search::Purpose::Improve => Purpose::Improve,
        servo_search::Purpose::Confirm => Purpose::Confirm,
    }
}
