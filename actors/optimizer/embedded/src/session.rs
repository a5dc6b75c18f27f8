//! One study of one application while its servo is connected: what to try next, what a result means, and
//! when it is over.
//!
//! Every step is on disk before anybody hears of it: [`Session::next`] writes a command's uid before it
//! returns the command, [`Session::complete`] writes a result before it returns at all. When the disk
//! refuses, nothing in memory has changed, and the same call may be made again.

mod choice;
mod conclusion;
mod outcome;
mod soundness;

use std::time::Duration;

use jiff::Timestamp;
use servo_messages::{Adjustment, Control};
use servo_protocol::{Command, CommandKind, CommandUid, Operation, Outcome, Sleep};
use servo_search::Space;

pub(crate) use soundness::{FEW_ERRORS, limits_errors};

use crate::{
    application::{Application, Assignment},
    notice::Notice,
    problem::Problem,
    result::{Applied, StudyResult, Verdict},
    store::{Issued, Step, Store, StoreError, StudyRecord, TrialRecord, TrialState},
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
    Trying {
        trial: Box<TrialRecord>,
        issued: Issued,
    },
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
    /// A probe ran, but its measurement says nothing.
    unjudged: Option<String>,
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
            unjudged: None,
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
        self.stage = Stage::Trying {
            trial: Box::new(trial),
            issued,
        };
        Some(self)
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
        // What is only observed is never adjusted.
        let in_place = matches!(self.goal, Goal::Observe { .. })
            || self.applied.as_ref() == Some(&trial.settings);
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
        self.stage = Stage::Trying {
            trial: Box::new(trial),
            issued,
        };
        Ok(())
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

    /// The study cannot go on. It is not over: the next session continues it.
    fn stop(&mut self, reason: String, desk: &mut Desk<'_>) -> Result<(), StoreError> {
        tracing::error!(optimizer = %self.study.optimizer, study = self.study.id, "study stopped: {reason}");
        let verdict = Verdict::Stopped {
            reason: reason.clone(),
        };
        let baseline = &self.study.baseline;
        let applied = match &self.applied {
            _ if self.trials.iter().all(|trial| trial.settings == *baseline) => Applied::Untouched,
            Some(settings) if settings == baseline => Applied::Baseline,
            _ => Applied::Unknown {
                message: "the study could not go on".to_owned(),
            },
        };
        let result = self.result(verdict, None, applied, desk.now);
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
