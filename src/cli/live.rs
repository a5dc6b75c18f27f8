//! Commands that act on live connectors once, without an optimizer.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    future::Future,
    rc::Rc,
    sync::Arc,
};

use futures_util::{StreamExt, stream};
use serde_json::{Map, Value};
use servo_dispatch::{
    Attach, DispatchError, DispatchOptions, DispatchOutcome, DispatcherRef, Event, EventResult,
    Metadata, Scope, Stage,
};
use servo_shape::nearest;
use tokio_util::sync::CancellationToken;

use super::{Context, Failure, Output, Selection, print, print_data, say};
use crate::{
    config::{Need, ServoConfig},
    daemon::{self, Signal, Unfit},
};

/// How many servos are alive at a time.
const AT_A_TIME: usize = 16;

/// One servo whose connectors are attached.
pub(super) struct LiveServo {
    /// Its name.
    pub(super) name: Arc<str>,
    /// The types of its connectors, by their names.
    pub(super) types: HashMap<Arc<str>, &'static Metadata>,
    pub(super) dispatcher: DispatcherRef,
    /// Fires when the user interrupts.
    pub(super) cancel: CancellationToken,
    several: bool,
    results: Results,
}

/// Shown once all servos are done, in their order.
type Results = Rc<RefCell<Vec<Shown>>>;

enum Shown {
    Text(String),
    /// Without a heading.
    Block(String),
    Data(Output, Value),
}

/// What came of one servo.
struct Visit {
    name: Arc<str>,
    shown: Vec<Shown>,
    outcome: Result<(), Failure>,
}

impl LiveServo {
    /// Shows a result to people, below the servo's name where there are several.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "a result is the last thing of most commands"
    )]
    pub(super) fn print(&self, text: &str) -> Result<(), Failure> {
        let shown = Shown::Text(text.to_owned());
        self.results.borrow_mut().push(shown);
        Ok(())
    }

    /// Shows a result to people that has its own heading.
    pub(super) fn print_block(&self, text: String) {
        self.results.borrow_mut().push(Shown::Block(text));
    }

    /// Whether results have to say whose they are.
    pub(super) fn is_one_of_several(&self) -> bool {
        self.several
    }

    /// Shows a result to programs; where there are several servos, as an item of a list, with the
    /// servo's name.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "a result is the last thing of most commands"
    )]
    pub(super) fn print_data(&self, output: Output, value: Value) -> Result<(), Failure> {
        self.results.borrow_mut().push(Shown::Data(output, value));
        Ok(())
    }

    /// Options for a dispatch to those of the connectors named `only` that are of this servo; to
    /// all when there are no names.
    pub(super) fn options(&self, only: &[String]) -> DispatchOptions {
        DispatchOptions {
            scope: if only.is_empty() {
                Scope::All
            } else {
                let own = only.iter().filter(|name| self.has(name));
                Scope::Only(own.map(|name| name.as_str().into()).collect())
            },
            cancel: self.cancel.clone(),
            ..DispatchOptions::default()
        }
    }

    fn has(&self, connector: &str) -> bool {
        self.types.contains_key(connector)
    }

    /// The connectors that answer the event `E`.
    pub(super) fn answering<E: Event>(&self) -> BTreeSet<Arc<str>> {
        let routes = self.dispatcher.bus().routes().into_iter();
        routes
            .filter(|route| &*route.event == E::NAME && route.stage == Stage::On)
            .map(|route| route.connector)
            .collect()
    }

    /// Says of each of the connectors named `wanted` that does not answer the event `E`: it has
    /// been asked for.
    pub(super) fn tell_of_silent<E: Event>(&self, wanted: &[String]) {
        let answering = self.answering::<E>();
        for name in wanted {
            if self.has(name) && !answering.contains(name.as_str()) {
                say(&format!(
                    "connector '{name}' has no handler for {}",
                    E::NAME
                ));
            }
        }
    }
}

/// What a failed dispatch means to the user.
pub(super) fn failure(error: DispatchError) -> Failure {
    match error {
        DispatchError::UnknownConnector { .. } => Failure::Usage(error.to_string()),
        DispatchError::Handlers(errors) => Failure::Failed(
            errors
                .iter()
                .map(|e| {
                    let reason = e.error.reason.as_deref();
                    let reason = reason.map(|r| format!(" ({r})")).unwrap_or_default();
                    format!(
                        "{} {}{reason}: {}",
                        e.connector,
                        e.error.status().as_str(),
                        e.error.message
                    )
                })
                .collect::<Vec<_>>()
                .join("\n"),
        ),
        other => Failure::Failed(other.to_string()),
    }
}

/// The results of an event `E` that nobody has vetoed.
pub(super) fn results<E: Event>(
    outcome: Result<DispatchOutcome<E::Output>, DispatchError>,
) -> Result<Vec<EventResult<E::Output>>, Failure> {
    let outcome = outcome.map_err(failure)?;
    if outcome.cancelled_by.is_empty() {
        return Ok(outcome.results);
    }
    let vetoes = outcome.cancelled_by.iter();
    Err(Failure::Failed(
        vetoes
            .map(|veto| {
                format!(
                    "{} was prevented by {}: {}",
                    E::NAME,
                    veto.connector,
                    veto.reason
                )
            })
            .collect::<Vec<_>>()
            .join("\n"),
    ))
}

/// As [`with_connectors`], without any names.
pub(super) fn with_servos<F, Fut>(context: &Context, act: F) -> Result<(), Failure>
where
    F: Fn(LiveServo) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    with_connectors(context, &[], act)
}

/// Attaches the connectors of the wanted servos, lets `act` use each servo, and detaches them,
/// whatever became of it. A servo that fails does not keep the others from it.
///
/// With names of connectors, the wanted servos are those which have one of them.
pub(super) fn with_connectors<F, Fut>(
    context: &Context,
    names: &[String],
    act: F,
) -> Result<(), Failure>
where
    F: Fn(LiveServo) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    let options = context.load_options(Need::Optional);
    let Selection {
        mut servos,
        several,
    } = context.running_servos(&options)?;
    known(&servos, names)?;
    let alone = servos.len() == 1;
    if !names.is_empty() {
        servos.retain(|servo| has_any(servo, names));
    }
    with_selection(Selection { servos, several }, alone, act)
}

/// As [`with_connectors`], with servos that have been selected; `alone` when there was one only.
pub(super) fn with_selection<F, Fut>(
    selection: Selection,
    alone: bool,
    act: F,
) -> Result<(), Failure>
where
    F: Fn(LiveServo) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    let Selection { servos, several } = selection;
    let (servos, refused) = Unfit::sift(servos, Unfit::of_connectors);
    let mut visits: Vec<Visit> = refused
        .into_iter()
        .map(|(name, why)| Visit::failed(name, Failure::Failed(why.to_string())))
        .collect();
    if !servos.is_empty() {
        visits.extend(visit_all(servos, several, &act)?);
    }
    conclude(visits, alone, several)
}

/// Refuses names that no connector of `servos` bears.
pub(super) fn known(servos: &[ServoConfig], names: &[String]) -> Result<(), Failure> {
    let known: BTreeSet<&str> = servos
        .iter()
        .flat_map(|servo| servo.connectors.iter().map(|(name, _)| &**name))
        .collect();
    let Some(unknown) = names.iter().find(|name| !known.contains(name.as_str())) else {
        return Ok(());
    };
    let hint = match nearest(unknown, known.iter().copied()) {
        Some(near) => format!(" (did you mean '{near}'?)"),
        None => String::new(),
    };
    let known = if known.is_empty() {
        "there are none".to_owned()
    } else {
        format!("there are {}", Vec::from_iter(known).join(", "))
    };
    Err(Failure::Usage(format!(
        "no connector found named '{unknown}'{hint}: {known}"
    )))
}

fn has_any(servo: &ServoConfig, names: &[String]) -> bool {
    let mut connectors = servo.connectors.iter();
    connectors.any(|(connector, _)| names.iter().any(|name| **connector == **name))
}

fn visit_all<F, Fut>(
    servos: Vec<ServoConfig>,
    several: bool,
    act: &F,
) -> Result<Vec<Visit>, Failure>
where
    F: Fn(LiveServo) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    daemon::block_on(async move {
        let mut signals = daemon::Signals::listen().map_err(failed)?;
        let tree = daemon::Tree::start(1).await.map_err(failed)?;
        let cancel = CancellationToken::new();
        let work = stream::iter(servos)
            .map(|config| visit(&tree, config, several, &cancel, act))
            .buffered(AT_A_TIME)
            .collect::<Vec<Visit>>();
        tokio::pin!(work);
        let outcome = tokio::select! {
            visits = &mut work => Ok(visits),
            signal = signals.next() => {
                cancel.cancel();
                Err(interrupted(signal, work, &mut signals).await)
            }
        };
        tree.shutdown().await;
        outcome
    })
    .map_err(failed)?
}

async fn visit<F, Fut>(
    tree: &daemon::Tree,
    config: ServoConfig,
    several: bool,
    cancel: &CancellationToken,
    act: &F,
) -> Visit
where
    F: Fn(LiveServo) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    let name = config.name.clone();
    let types = config
        .connectors
        .iter()
        .map(|(name, connector)| (name.clone(), connector.metadata()))
        .collect();
    let started = async {
        let handle = tree.assembly().add(daemon::servo_spec(config, None));
        handle
            .await
            .map_err(failed)?
            .started()
            .await
            .map_err(failed)
    };
    let dispatcher = match cancel.run_until_cancelled(started).await {
        Some(Ok(dispatcher)) => dispatcher,
        Some(Err(failure)) => return Visit::failed(name, failure),
        None => return Visit::failed(name, Failure::Aborted),
    };
    let results = Results::default();
    let servo = LiveServo {
        name: name.clone(),
        types,
        dispatcher: dispatcher.clone(),
        cancel: cancel.clone(),
        several,
        results: results.clone(),
    };
    let options = servo.options(&[]);
    let outcome = match dispatcher.dispatch(Attach, options).await {
        Ok(_) => act(servo).await,
        Err(error) => Err(failure(error)),
    };
    daemon::detach(&dispatcher).await;
    Visit {
        name,
        shown: results.take(),
        outcome,
    }
}

/// Shows what came of all servos.
fn conclude(visits: Vec<Visit>, alone: bool, several: bool) -> Result<(), Failure> {
    let mut failures = Vec::new();
    let mut data: Option<(Output, Vec<Value>)> = None;
    for Visit {
        name,
        shown,
        outcome,
    } in visits
    {
        for shown in shown {
            match shown {
                Shown::Text(text) if several => print(&format!("{name}\n{text}"))?,
                Shown::Text(text) | Shown::Block(text) => print(&text)?,
                Shown::Data(output, value) => {
                    let item = if several { named(&name, value) } else { value };
                    data.get_or_insert((output, Vec::new())).1.push(item);
                }
            }
        }
        failures.extend(outcome.err().map(|failure| (name, failure)));
    }
    if let Some((output, mut items)) = data {
        match items.as_mut_slice() {
            [one] if !several => print_data(output, one)?,
            all => print_data(output, &all)?,
        }
    }
    if alone && failures.len() == 1 {
        return failures.pop().map_or(Ok(()), |(_, failure)| Err(failure));
    }
    for (name, failure) in &failures {
        match failure {
            Failure::Told | Failure::ToldUsage => {}
            // It names the servo itself.
            Failure::Failed(text) if text.starts_with("servo \"") => say(text),
            failure => say(&format!("{name}: {}", failure.text())),
        }
    }
    let is_usage = |f: &Failure| matches!(f, Failure::Usage(_) | Failure::ToldUsage);
    match failures.as_slice() {
        [] => Ok(()),
        all if all.iter().all(|(_, failure)| is_usage(failure)) => Err(Failure::ToldUsage),
        _ => Err(Failure::Told),
    }
}

/// A result as one of several.
fn named(servo: &str, value: Value) -> Value {
    let mut item = Map::from_iter([("servo".to_owned(), Value::from(servo))]);
    match value {
        Value::Object(members) => item.extend(members),
        other => {
            item.insert("result".to_owned(), other);
        }
    }
    Value::Object(item)
}

impl Visit {
    fn failed(name: Arc<str>, failure: Failure) -> Self {
        Self {
            name,
            shown: Vec::new(),
            outcome: Err(failure),
        }
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(error.to_string())
}

/// Lets the cancelled work clean up; a second signal does not wait for it.
async fn interrupted<T>(
    signal: Signal,
    work: impl Future<Output = T>,
    signals: &mut daemon::Signals,
) -> Failure {
    tokio::select! {
        _ = work => Failure::Interrupted(signal),
        second = signals.next() => Failure::Interrupted(second),
    }
}
