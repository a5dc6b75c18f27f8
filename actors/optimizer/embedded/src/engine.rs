//! The optimizer's side of the conversation with the servo of one optimizer id
//! (`spec/optimizer-protocol.md` §20).
//!
//! ```text
//!            HELLO                    DESCRIPTION ok
//!   any ───────────────► undescribed ────────────────► studying ──► its session
//!                          │   ▲                                     (crate::session)
//!                          │   └─ DESCRIPTION failed: SLEEP, again
//!                          └─ the description cannot be tuned ──► idle: SLEEP with the reason
//! ```
//!
//! WHATS_NEXT never changes what was handed out: until a command is answered, asking again gives the same
//! command with the same uid.

use jiff::Timestamp;
use servo_messages::{Control, Description, Setting};
use servo_protocol::{
    Command, CommandKind, CommandUid, Completion, Event, Operation, OptimizerStatus, Outcome,
    Payload, Progress, Report, Request, Response, StatusReply,
};

use crate::{
    application::{Application, Knob, MetricSpec, Values},
    notice::Notice,
    problem::Problem,
    result::{Applied, StudyResult, TrialCounts, Verdict},
    session::{Desk, FEW_ERRORS, Goal, Session, Uids, idle, limits_errors, rest, sleep},
    store::{NewStudy, Store, StoreError, StudyRecord, TrialRecord},
    study::{StudyConfig, fingerprint},
};

/// What the optimizer answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// A command or a status.
    Respond(Box<Response>),
    /// Another deployment of the servo has taken over (HTTP 410, §13).
    Replaced,
}

#[derive(Debug)]
enum Phase {
    /// The application is to be described.
    Undescribed {
        cmd_uid: Option<String>,
        failures: u32,
        rest: Option<String>,
    },
    /// It is being tuned, or observed.
    Studying(Box<Session>),
    /// It cannot be tuned as it described itself, or as the study is written.
    Idle { reason: String },
}

/// The optimizer of one servo.
#[derive(Debug)]
pub(crate) struct Engine {
    optimizer: String,
    config: Option<StudyConfig>,
    /// The deployment that said HELLO last, if it named itself.
    servo_uid: Option<String>,
    phase: Phase,
    /// Percent of the outstanding command.
    progress: f64,
    uids: Uids,
}

/// What is needed from outside for one request.
pub(crate) struct Surroundings<'a> {
    pub(crate) store: &'a mut Store,
    pub(crate) notices: &'a mut Vec<Notice>,
    pub(crate) now: Timestamp,
}

impl Engine {
    /// The optimizer as the trial file left it.
    pub(crate) fn load(
        optimizer: &str,
        config: Option<StudyConfig>,
        store: &Store,
    ) -> Result<Self, StoreError> {
        let mut phase = undescribed();
        if let Some(study) = store.latest_study(optimizer)?
            && study.fingerprint == fingerprint(&study.application, config.as_ref())
            && let Ok(goal) = goal(optimizer, &study.application, config.as_ref())
        {
            let trials = store.trials(study.id)?;
            let application = study.application.clone();
            if let Some(session) = Session::new(study, application, goal, trials).resume() {
                phase = Phase::Studying(Box::new(session));
            }
        }
        Ok(Self {
            optimizer: optimizer.to_owned(),
            config,
            servo_uid: None,
            phase,
            progress: 0.0,
            uids: Uids::default(),
        })
    }

    /// Takes one request and answers it.
    ///
    /// # Errors
    /// When the trial file refuses; the request may be made again.
    pub(crate) fn handle(
        &mut self,
        request: &Request,
        at: &mut Surroundings<'_>,
    ) -> Result<Answer, StoreError> {
        if let Event::Hello(hello) = &request.event {
            tracing::info!(
                optimizer = %self.optimizer, agent = %hello.agent,
                servo_uid = request.servo_uid.as_deref(), "a servo says HELLO"
            );
            // The application may have been restarted with other values than the trial's, and may describe
            // itself differently. That must not be forgotten if this process is killed now.
            at.store.forget_commands(&self.optimizer)?;
            at.notices.push(Notice::Begun {
                optimizer: self.optimizer.clone(),
            });
            self.servo_uid.clone_from(&request.servo_uid);
            self.phase = undescribed();
            return Ok(ok());
        }
        match (&self.servo_uid, &request.servo_uid) {
            (Some(expected), Some(found)) if expected != found => return Ok(Answer::Replaced),
            (None, Some(found)) => self.servo_uid = Some(found.clone()),
            _ => {}
        }
        match &request.event {
            Event::Hello(_) => Ok(ok()),
            Event::Goodbye(goodbye) => {
                tracing::info!(optimizer = %self.optimizer, reason = %goodbye.reason, "a servo says GOODBYE");
                at.store.forget_commands(&self.optimizer)?;
                self.phase = undescribed();
                Ok(ok())
            }
            Event::WhatsNext => self
                .next(at)
                .map(|command| Answer::Respond(Box::new(Response::Command(command)))),
            Event::Report(operation, report) => {
                if let Some(refusal) = self.refusal(*operation, report) {
                    return Ok(Answer::Respond(Box::new(Response::Status(refusal))));
                }
                match report {
                    Report::Progress(progress) => Ok(self.note(progress)),
                    Report::Completion(completion) => {
                        self.complete(completion, at)?;
                        self.progress = 0.0;
                        Ok(ok())
                    }
                }
            }
        }
    }

    fn outstanding(&self) -> Option<(Operation, &str)> {
        match &self.phase {
            Phase::Undescribed {
                cmd_uid: Some(uid),
                rest: None,
                ..
            } => Some((Operation::Describe, uid)),
            Phase::Studying(session) => session.outstanding(),
            Phase::Undescribed { .. } | Phase::Idle { .. } => None,
        }
    }

    /// A report on anything but the outstanding command is refused (§20).
    fn refusal(&self, operation: Operation, report: &Report) -> Option<StatusReply> {
        let outstanding = self.outstanding();
        let expected =
            outstanding.map_or("WHATS_NEXT", |(operation, _)| operation.event().as_str());
        match outstanding {
            Some((wanted, uid)) if wanted == operation => match report.cmd_uid() {
                // Older dialects do not echo the uid.
                None => None,
                Some(found) if found.as_str() == uid => None,
                Some(_) => Some(StatusReply::because(
                    OptimizerStatus::Invalid,
                    StatusReply::UNEXPECTED_CMD_UID,
                )),
            },
            _ => Some(StatusReply::because(
                OptimizerStatus::UnexpectedEvent,
                format!(
                    "Out of order event \"{}\", expected \"{expected}\"; ignoring",
                    operation.event()
                ),
            )),
        }
    }

    fn note(&mut self, progress: &Progress) -> Answer {
        let (new, existing) = (progress.progress, self.progress);
        if !(0.0..=100.0).contains(&new) {
            return invalid(format!("progress must be between 0 and 100, not {new}"));
        }
        if new < existing {
            return invalid(format!(
                "progress cannot go backward: new progress value of {new} is less than existing progress value of {existing}"
            ));
        }
        self.progress = new;
        ok()
    }

    fn next(&mut self, at: &mut Surroundings<'_>) -> Result<Command, StoreError> {
        match &mut self.phase {
            Phase::Idle { reason } => Ok(idle(reason)),
            Phase::Studying(session) => {
                let before = session.outstanding().map(|(_, uid)| uid.to_owned());
                let mut desk = Desk {
                    store: at.store,
                    notices: at.notices,
                    uids: &mut self.uids,
                    now: at.now,
                };
                let command = session.next(&mut desk)?;
                if before.as_deref() != command.uid.as_ref().map(CommandUid::as_str) {
                    self.progress = 0.0;
                }
                Ok(command)
            }
            Phase::Undescribed {
                cmd_uid,
                failures,
                rest: pause,
            } => {
                if let Some(reason) = pause.take() {
                    return Ok(sleep(rest(*failures), &reason));
                }
                let uid = cmd_uid.get_or_insert_with(|| self.uids.next("d", at.now));
                Ok(Command {
                    uid: Some(CommandUid::new(uid.as_str())),
                    kind: CommandKind::Describe {
                        control: Control::default(),
                    },
                })
            }
        }
    }

    fn complete(
        &mut self,
        completion: &Completion,
        at: &mut Surroundings<'_>,
    ) -> Result<(), StoreError> {
        match &mut self.phase {
            Phase::Studying(session) => {
                let mut desk = Desk {
                    store: at.store,
                    notices: at.notices,
                    uids: &mut self.uids,
                    now: at.now,
                };
                session.complete(&completion.outcome, &mut desk)
            }
            Phase::Undescribed { failures, .. } => match &completion.outcome {
                Outcome::Ok(Payload::Descriptor(description)) => {
                    let application = application(description);
                    self.described(application, at)
                }
                outcome => {
                    let failures = *failures + 1;
                    let why = outcome
                        .explanation()
                        .map_or("no description came", |why| &why.message);
                    let reason = format!("the application could not be described: {why}");
                    tracing::warn!(optimizer = %self.optimizer, attempt = failures, "{reason}");
                    let most = self.config.as_ref().map_or(5, |study| study.max_failures);
                    if failures >= most {
                        self.give_up(format!("{reason} ({failures} attempts)"), at);
                    } else {
                        self.phase = Phase::Undescribed {
                            cmd_uid: None,
                            failures,
                            rest: Some(reason),
                        };
                    }
                    Ok(())
                }
            },
            Phase::Idle { .. } => Ok(()),
        }
    }

    fn described(
        &mut self,
        application: Application,
        at: &mut Surroundings<'_>,
    ) -> Result<(), StoreError> {
        let goal = match goal(&self.optimizer, &application, self.config.as_ref()) {
            Ok(goal) => goal,
            Err(reason) => {
                self.give_up(reason, at);
                return Ok(());
            }
        };
        let config = match &goal {
            Goal::Tune { study, .. } => Some(&**study),
            Goal::Observe { .. } => None,
        };
        let baseline = match config {
            Some(_) => match application.current() {
                Ok(baseline) => baseline,
                Err(error) => {
                    self.give_up(error.to_string(), at);
                    return Ok(());
                }
            },
            None => application.current().unwrap_or_default(),
        };
        let mut constraints: Vec<String> = config.map_or_else(Vec::new, |study| {
            study
                .constraints
                .0
                .iter()
                .map(|named| named.constraint.source().to_owned())
                .collect()
        });
        if config.is_some_and(|study| limits_errors(study, &application)) {
            constraints.push(FEW_ERRORS.to_owned());
        }
        // The fingerprint is of the configured study even where it is not made, so that adding a study to
        // an observed application begins a new one.
        let study = at.store.activate_study(
            &NewStudy {
                optimizer: &self.optimizer,
                fingerprint: &fingerprint(&application, self.config.as_ref()),
                objective: config.map(|study| study.objective.text()).as_deref(),
                constraints: &constraints,
                application: &application,
                baseline: &baseline,
            },
            at.now,
        )?;
        let trials = at.store.trials(study.id)?;
        self.announce(&goal, &application, &study, &trials);
        self.phase = Phase::Studying(Box::new(Session::new(study, application, goal, trials)));
        Ok(())
    }

    fn announce(
        &self,
        goal: &Goal,
        application: &Application,
        study: &StudyRecord,
        trials: &[TrialRecord],
    ) {
        let verb = if trials.is_empty() {
            "beginning"
        } else {
            "continuing"
        };
        let Goal::Tune {
            space,
            study: config,
            ..
        } = goal
        else {
            tracing::info!(optimizer = %self.optimizer, study = study.id, "{verb} to observe an application");
            return;
        };
        tracing::info!(
            optimizer = %self.optimizer, study = study.id, trials = trials.len(),
            budget = config.budget(space.dimensions().len()), settings = space.dimensions().len(),
            baseline = %study.baseline, "{verb} a study: {}", config.objective.text()
        );
        if application.current().is_ok_and(|now| now != study.baseline) {
            tracing::info!(
                optimizer = %self.optimizer, study = study.id,
                "the application describes other values than those the study began from; it is compared with \
                 the latter still"
            );
        }
        match application.point(&study.baseline) {
            Ok(point) if !space.contains(&point) => tracing::warn!(
                optimizer = %self.optimizer, study = study.id,
                "the baseline ({}) is not among the configurations the settings' ranges and steps allow; it is \
                 measured and restored all the same, but an application that refuses it cannot be restored",
                study.baseline
            ),
            _ => {}
        }
    }

    fn give_up(&mut self, reason: String, at: &mut Surroundings<'_>) {
        tracing::error!(optimizer = %self.optimizer, "no study can be made: {reason}");
        let result = StudyResult {
            optimizer: self.optimizer.clone(),
            study: 0,
            objective: self.config.as_ref().map(|study| study.objective.text()),
            constraints: Vec::new(),
            verdict: Verdict::Stopped {
                reason: reason.clone(),
            },
            baseline: None,
            chosen: None,
            gain: None,
            applied: Applied::Untouched,
            judged_by: Vec::new(),
            trials: TrialCounts::default(),
            started_at: at.now,
            ended_at: at.now,
            duration_seconds: 0.0,
        };
        at.notices.push(Notice::Finished(Box::new(result)));
        self.phase = Phase::Idle { reason };
    }
}

fn undescribed() -> Phase {
    Phase::Undescribed {
        cmd_uid: None,
        failures: 0,
        rest: None,
    }
}

fn ok() -> Answer {
    Answer::Respond(Box::new(Response::Status(StatusReply::ok())))
}

fn invalid(reason: String) -> Answer {
    let status = StatusReply::because(OptimizerStatus::Invalid, reason);
    Answer::Respond(Box::new(Response::Status(status)))
}

/// What to do with an application: tune it, or observe it and say why.
fn goal(
    optimizer: &str,
    application: &Application,
    config: Option<&StudyConfig>,
) -> Result<Goal, String> {
    let Some(study) = config else {
        let reason = format!(
            "no study is configured for the optimizer id `{optimizer}`; measured once as a baseline"
        );
        return Ok(Goal::Observe {
            reason,
            study: None,
        });
    };
    if application.adjustable().next().is_none() {
        let pinned = application
            .settings
            .iter()
            .filter(|knob| knob.pinned)
            .count();
        let why = match (application.settings.len(), pinned) {
            (0, _) => "it describes no settings".to_owned(),
            (all, pinned) if all == pinned => "all of its settings are pinned".to_owned(),
            _ => "each of its settings is pinned or has a single value".to_owned(),
        };
        return Ok(Goal::Observe {
            reason: format!(
                "the application has no adjustable settings ({why}); measured once as a baseline"
            ),
            study: Some(Box::new(study.clone())),
        });
    }
    let space = application.space().map_err(|error| error.to_string())?;
    let problem = Problem::new(application, study)
        .map_err(|error| format!("the study does not fit the application: {error}"))?;
    Ok(Goal::Tune {
        problem: Box::new(problem),
        space,
        study: Box::new(study.clone()),
    })
}

fn application(description: &Description) -> Application {
    let mut settings = Vec::new();
    for component in &description.components {
        for setting in &component.settings {
            settings.push(knob(&component.name, setting));
        }
    }
    let metrics = description.metrics.iter().map(|metric| MetricSpec {
        name: metric.name.clone(),
        unit: metric.unit.symbol().to_owned(),
    });
    Application {
        settings,
        metrics: metrics.collect(),
    }
}

fn knob(component: &str, setting: &Setting) -> Knob {
    let (unit, values, pinned, value) = match setting {
        Setting::Range(range) => (
            &range.unit,
            Values::Range {
                min: range.min,
                max: range.max,
                step: range.step,
            },
            range.pinned,
            range.value.map(servo_messages::SettingValue::Number),
        ),
        Setting::Enum(choice) => (
            &choice.unit,
            Values::OneOf(choice.values.clone()),
            choice.pinned,
            choice.value.clone(),
        ),
    };
    Knob {
        component: component.to_owned(),
        setting: setting.name().to_owned(),
        unit: unit.clone().unwrap_or_default(),
        values,
        pinned,
        value,
    }
}

#[cfg(test)]
mod tests;
