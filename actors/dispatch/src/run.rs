//! One dispatch: from the participants to the outcome (`spec/events-and-checks.md` §2.5).

use std::{sync::Arc, time::Duration};

use crate::{
    bus::{Bus, Handlers, PartOf, Table},
    clock::Clock,
    context::{CallShared, Chain},
    event::{Event, Stage},
    handler::Results,
    lifecycle::Milestone,
    options::{DispatchError, DispatchOutcome, EventResult, HandlerError, Scope, Stages, Veto},
    stage::{StageEnd, Watch},
    visit::{Answers, Done, Ending, Visit},
};

/// Everything that one dispatch works with.
pub(crate) struct Run<E: Event> {
    pub(crate) event: Arc<E>,
    /// None if no connector ever had any.
    pub(crate) handlers: Option<Arc<Handlers<E>>>,
    pub(crate) table: Arc<Table>,
    pub(crate) bus: Bus,
    /// What the servo's connectors have been through once it is over.
    pub(crate) milestone: Option<Milestone>,
    pub(crate) clock: Clock,
    pub(crate) shared: Arc<CallShared>,
    pub(crate) scope: Scope,
    pub(crate) stages: Stages,
    pub(crate) timeout: Duration,
    pub(crate) answers: Answers,
}

/// The connectors that take part in a dispatch.
struct Participants<'a> {
    scope: &'a Scope,
    chain: &'a Chain,
    event: &'a str,
}

/// What some connectors' handlers came to, none of which failed.
enum Verdict<T> {
    Passed(Vec<EventResult<T>>),
    Vetoed(Vec<Veto>),
}

/// The failures of one stage. What failed by itself comes before what failed after it was told to
/// stop: of equally severe errors the first is the one that is reported.
#[derive(Default)]
struct Errors {
    causes: Vec<HandlerError>,
    consequences: Vec<HandlerError>,
}

/// Tells the handlers to stop when their dispatch is dropped half-way, with its dispatcher.
struct Abandonment<'a> {
    shared: &'a CallShared,
    over: bool,
}

impl<E: Event> Run<E> {
    pub(crate) async fn outcome(self) -> Result<DispatchOutcome<E::Output>, DispatchError> {
        let participants = self.participants()?;
        if self.shared.stop.caller().is_cancelled() {
            return Err(self.cancelled());
        }
        let parts = self.handlers.iter().flat_map(|handlers| handlers.parts());
        let mut taking_part = parts.filter(|part: &PartOf<E>| {
            self.stages.meet(part.stages) && participants.include(&part.seat.connector)
        });
        let cancelled = self.shared.stop.caller().cancelled();
        tokio::pin!(cancelled);
        let mut watch = Watch {
            clock: &self.clock,
            shared: &self.shared,
            limit: self.shared.deadline,
            cancelled,
        };
        let verdict = match (taking_part.next(), taking_part.next()) {
            (None, _) => Verdict::Passed(Vec::new()),
            (Some(sole), None) => self.alone(&sole, &mut watch).await?,
            (Some(first), Some(second)) => {
                let several: Vec<_> = [first, second].into_iter().chain(taking_part).collect();
                self.together(&several, &mut watch).await?
            }
        };
        let outcome = match verdict {
            Verdict::Passed(results) => DispatchOutcome {
                cancelled_by: Vec::new(),
                results,
            },
            Verdict::Vetoed(cancelled_by) => DispatchOutcome {
                cancelled_by,
                results: Vec::new(),
            },
        };
        if let Some(milestone) = self.milestone
            && self.stages.on
            && outcome.cancelled_by.is_empty()
        {
            self.bus.reached().complete(milestone);
        }
        Ok(outcome)
    }

    /// Who takes part; an error for names that nobody bears and for dispatches in a circle.
    fn participants(&self) -> Result<Participants<'_>, DispatchError> {
        let CallShared { event, chain, .. } = &*self.shared;
        if chain.depth() >= Chain::MAX_DEPTH {
            return Err(self.cycle());
        }
        let scope = &self.scope;
        let connectors = &self.table.connectors;
        if let Some(unknown) = scope.names().find(|name| !connectors.contains(name)) {
            return Err(DispatchError::UnknownConnector {
                name: unknown.to_string(),
                valid: connectors.iter().map(ToString::to_string).collect(),
            });
        }
        let mut wanted = scope.wanted().into_iter().flatten();
        if wanted.any(|name| chain.contains(event, name)) {
            return Err(self.cycle());
        }
        Ok(Participants {
            scope,
            chain,
            event,
        })
    }

    fn cycle(&self) -> DispatchError {
        DispatchError::Cycle {
            event: self.shared.event.clone(),
            chain: self.shared.chain.to_string(),
        }
    }

    fn cancelled(&self) -> DispatchError {
        DispatchError::Cancelled {
            event: self.shared.event.clone(),
        }
    }

    // === stages ===

    /// A single connector waits for nobody between its stages: it goes through all of them at once.
    async fn alone(
        &self,
        part: &PartOf<E>,
        watch: &mut Watch<'_, '_>,
    ) -> Result<Verdict<E::Output>, DispatchError> {
        let visit = self.visit(part, self.stages, None);
        self.over(&[visit], watch).await
    }

    /// Connectors concurrently in each stage, the handlers of one connector in order.
    async fn together(
        &self,
        parts: &[PartOf<E>],
        watch: &mut Watch<'_, '_>,
    ) -> Result<Verdict<E::Output>, DispatchError> {
        let mut results = Vec::new();
        for stage in Stage::ALL {
            let of_stage: Vec<&PartOf<E>> = parts
                .iter()
                .filter(|part| self.stages.has(stage) && part.stages.has(stage))
                .collect();
            if of_stage.is_empty() {
                continue;
            }
            let only = Stages::only(stage);
            match stage {
                Stage::Before => {
                    let visits = self.visits(&of_stage, only, None);
                    if let Verdict::Vetoed(by) = self.over(&visits, watch).await? {
                        return Ok(Verdict::Vetoed(by));
                    }
                }
                Stage::On if self.answers.first_only => {
                    for part in of_stage {
                        let visit = self.visit(part, only, None);
                        if let Verdict::Passed(answers) = self.over(&[visit], watch).await?
                            && !answers.is_empty()
                        {
                            results = answers;
                            break;
                        }
                    }
                }
                Stage::On => {
                    let visits = self.visits(&of_stage, only, None);
                    if let Verdict::Passed(all) = self.over(&visits, watch).await? {
                        results = all;
                    }
                }
                Stage::After => {
                    let seen = Arc::new(results);
                    let visits = self.visits(&of_stage, only, Some(&seen));
                    self.over(&visits, watch).await?;
                    drop(visits);
                    results = Arc::try_unwrap(seen).unwrap_or_else(|seen| seen.to_vec());
                }
            }
        }
        Ok(Verdict::Passed(results))
    }

    fn visits(
        &self,
        parts: &[&PartOf<E>],
        stages: Stages,
        results: Option<&Results<E>>,
    ) -> Vec<Arc<Visit<E>>> {
        parts
            .iter()
            .map(|part| self.visit(part, stages, results.cloned()))
            .collect()
    }

    fn visit(
        &self,
        part: &PartOf<E>,
        stages: Stages,
        results: Option<Results<E>>,
    ) -> Arc<Visit<E>> {
        Visit::new(
            self.shared.clone(),
            part.clone(),
            self.event.clone(),
            stages,
            self.answers,
            results,
        )
    }

    /// Makes the visits at the same time, and looks at what came of them.
    async fn over(
        &self,
        visits: &[Arc<Visit<E>>],
        watch: &mut Watch<'_, '_>,
    ) -> Result<Verdict<E::Output>, DispatchError> {
        let mut abandonment = Abandonment {
            shared: &self.shared,
            over: false,
        };
        let end = watch.over(visits).await;
        abandonment.over = true;
        match end {
            StageEnd::Complete => self.verdict(visits),
            StageEnd::Cancelled => Err(self.cancelled()),
            StageEnd::Overdue { waiting_for } => {
                self.tell_of_others(visits);
                Err(DispatchError::Deadline {
                    event: self.shared.event.clone(),
                    after: self.timeout,
                    waiting_for,
                })
            }
        }
    }

    /// What went wrong beside a connector that took too long must not get lost.
    fn tell_of_others(&self, visits: &[Arc<Visit<E>>]) {
        let CallShared {
            servo,
            event,
            command_uid,
            ..
        } = &*self.shared;
        for visit in visits {
            let Done {
                results, ending, ..
            } = visit.done();
            let collected = results.into_iter().filter_map(|r| r.value.err());
            let last = match ending {
                Ending::Failed { error, told: false } => Some(error),
                _ => None,
            };
            for error in collected.chain(last) {
                tracing::error!(%servo, connector = %error.connector, %event, command_uid = command_uid.as_deref(), "{event} failed: {}", error.error);
            }
        }
    }

    fn verdict(&self, visits: &[Arc<Visit<E>>]) -> Result<Verdict<E::Output>, DispatchError> {
        let mut all = Vec::new();
        let mut vetoes = Vec::new();
        let mut errors = Errors::default();
        for visit in visits {
            let Done {
                connector,
                results,
                ending,
            } = visit.done();
            if all.is_empty() {
                all = results;
            } else {
                all.extend(results);
            }
            match ending {
                Ending::Complete | Ending::Skipped => {}
                Ending::Vetoed(reason) => vetoes.push(Veto { connector, reason }),
                Ending::Failed { error, told: false } => errors.causes.push(error),
                Ending::Failed { error, told: true } => errors.consequences.push(error),
            }
        }
        let errors = errors.in_order();
        if vetoes.is_empty() {
            return if errors.is_empty() {
                Ok(Verdict::Passed(all))
            } else {
                Err(DispatchError::Handlers(errors))
            };
        }
        self.tell_of_veto(&vetoes, errors);
        Ok(Verdict::Vetoed(vetoes))
    }

    fn tell_of_veto(&self, vetoes: &[Veto], errors: Vec<HandlerError>) {
        let CallShared {
            servo,
            event,
            command_uid,
            ..
        } = &*self.shared;
        // A veto wins over an error beside it, which must not get lost.
        for error in errors {
            tracing::error!(%servo, connector = %error.connector, %event, command_uid = command_uid.as_deref(), "{}", error.error);
        }
        let (names, reasons): (Vec<&str>, Vec<&str>) = vetoes
            .iter()
            .map(|v| (&*v.connector, v.reason.as_str()))
            .unzip();
        tracing::warn!(
            %servo,
            %event,
            command_uid = command_uid.as_deref(),
            "event cancelled by before event handler on connector \"{}\": {}",
            names.join(", "),
            reasons.join("; "),
        );
    }
}

// === impl Errors ===

impl Errors {
    fn in_order(self) -> Vec<HandlerError> {
        let mut all = self.causes;
        all.extend(self.consequences);
        all
    }
}

// === impl Participants ===

impl Participants<'_> {
    fn include(&self, connector: &Arc<str>) -> bool {
        self.scope.includes(connector) && !self.chain.contains(self.event, connector)
    }
}

// === impl Abandonment ===

impl Drop for Abandonment<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.shared.stop.tell();
        }
    }
}
