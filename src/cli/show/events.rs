//! `servo show events`

use std::collections::{BTreeMap, BTreeSet};

use servo_dispatch::{CheckEvent, Event, Registry, Stage};

use super::{
    super::{Output, Selection, print, print_data, table},
    Context, Failure, Of, Serialize, block, label,
};
use crate::{
    config::{Need, ServoConfig},
    connectors::SERVO,
};

/// List the events that the connectors take part in
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Of all connector types that there are
    #[arg(short, long)]
    all: bool,
    /// The events of each connector, not the connectors of each event
    #[arg(short = 'c', long)]
    by_connector: bool,
    #[command(flatten)]
    stages: Stages,
    /// What it looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Of this connector alone, as its own group of commands shows them.
    #[arg(skip)]
    pub(in crate::cli) only: Option<String>,
}

#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each stands for an option of the command line"
)]
struct Stages {
    /// Before the event
    #[arg(long, overrides_with = "no_before")]
    before: bool,
    /// Not before the event
    #[arg(long, overrides_with = "before")]
    no_before: bool,
    /// On the event itself
    #[arg(long, overrides_with = "no_on")]
    on: bool,
    /// Not on the event itself
    #[arg(long, overrides_with = "on")]
    no_on: bool,
    /// After the event
    #[arg(long, overrides_with = "no_after")]
    after: bool,
    /// Not after the event
    #[arg(long, overrides_with = "after")]
    no_after: bool,
}

/// Who takes part, in which stage of which event. In the order of rows.
type Handlers = BTreeMap<(String, Stage), BTreeSet<String>>;

#[derive(Serialize)]
struct Row<'a> {
    event: &'a str,
    stage: &'static str,
    connectors: &'a BTreeSet<String>,
}

pub(in crate::cli) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let wanted = |stage| arguments.stages.wants(stage);
    if arguments.all {
        let handlers = of_types(&context.registry, wanted);
        return match arguments.output {
            Output::Table => print(&block("", false, &arguments.text(&handlers))),
            output => print_data(output, &rows(&handlers).collect::<Vec<_>>()),
        };
    }
    let Selection {
        mut servos,
        several,
    } = context.servos(&context.load_options(Need::Optional))?;
    let mut own = own(wanted);
    if let Some(only) = &arguments.only {
        own.clear();
        for servo in &mut servos {
            servo.connectors.retain(|(name, _)| **name == **only);
        }
    }
    let all: Vec<(String, Handlers)> = servos
        .iter()
        .map(|servo| (servo.name.to_string(), of_servo(servo, own.clone(), wanted)))
        .collect();
    if arguments.output != Output::Table {
        let rows: Vec<Of<Row<'_>>> = all
            .iter()
            .flat_map(|(servo, handlers)| {
                rows(handlers).map(|item| Of {
                    servo: servo.clone(),
                    item,
                })
            })
            .collect();
        return print_data(arguments.output, &rows);
    }
    for (servo, handlers) in &all {
        print(&block(servo, several, &arguments.text(handlers)))?;
    }
    Ok(())
}

impl Arguments {
    fn text(&self, handlers: &Handlers) -> String {
        if self.by_connector {
            let mut connectors: BTreeMap<&str, Vec<String>> = BTreeMap::new();
            for ((event, stage), names) in handlers {
                for name in names {
                    let events = connectors.entry(name).or_default();
                    events.push(named(event, *stage));
                }
            }
            let rows = connectors
                .into_iter()
                .map(|(connector, events)| [connector.to_owned(), events.join("\n")])
                .collect();
            table::render(["CONNECTOR", "EVENTS"], rows)
        } else {
            let rows = handlers
                .iter()
                .map(|((event, stage), names)| {
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    [named(event, *stage), names.join("\n")]
                })
                .collect();
            table::render(["EVENT", "CONNECTORS"], rows)
        }
    }
}

impl Stages {
    /// Whatever is said not to be wanted leaves the others; else what is said to be wanted, or all.
    fn wants(&self, stage: Stage) -> bool {
        let (this, not) = match stage {
            Stage::Before => (self.before, self.no_before),
            Stage::On => (self.on, self.no_on),
            Stage::After => (self.after, self.no_after),
        };
        let any_not = self.no_before || self.no_on || self.no_after;
        let any = self.before || self.on || self.after;
        if any_not { !not } else { this || !any }
    }
}

/// Beside `handlers`, those of the servo's connectors.
fn of_servo(
    servo: &ServoConfig,
    mut handlers: Handlers,
    wanted: impl Fn(Stage) -> bool,
) -> Handlers {
    let connectors = servo.connectors.iter();
    tell_of_unavailable(
        connectors.filter_map(|(name, connector)| connector.unavailable().map(|_| &**name)),
    );
    for (name, connector) in &servo.connectors {
        let label = label(name, connector.metadata());
        add(&mut handlers, &label, &connector.events(), &wanted);
    }
    handlers
}

/// The events of all types, with the configuration of their samples.
fn of_types(registry: &Registry, wanted: impl Fn(Stage) -> bool) -> Handlers {
    let mut handlers = own(&wanted);
    let types = registry.types().iter();
    tell_of_unavailable(
        types.filter_map(|kind| kind.unavailable().map(|_| kind.metadata().default_name)),
    );
    for kind in registry.types() {
        let sample = serde_yaml::from_str(kind.sample()).unwrap_or_default();
        match kind.parse(sample) {
            Ok(connector) => {
                let label = kind.metadata().type_name;
                add(&mut handlers, label, &connector.events(), &wanted);
            }
            Err(error) => tracing::warn!(
                connector = kind.metadata().default_name,
                "its events cannot be told, because its sample is not valid: {error}"
            ),
        }
    }
    handlers
}

/// Listed like the others, they would pass for connectors that can run.
fn tell_of_unavailable<'a>(names: impl Iterator<Item = &'a str>) {
    let names: Vec<&str> = names.collect();
    if !names.is_empty() {
        tracing::warn!(
            connectors = names.join(", "),
            "this build knows the configuration of some connectors only: their events are those that they are to handle once they can run"
        );
    }
}

fn own(wanted: impl Fn(Stage) -> bool) -> Handlers {
    let mut handlers = Handlers::new();
    let check = [(CheckEvent::NAME.into(), Stage::On)];
    add(&mut handlers, SERVO.type_name, &check, wanted);
    handlers
}

fn add(
    handlers: &mut Handlers,
    connector: &str,
    events: &[(std::sync::Arc<str>, Stage)],
    wanted: impl Fn(Stage) -> bool,
) {
    for (event, stage) in events.iter().filter(|(_, stage)| wanted(*stage)) {
        let names = handlers.entry((event.to_string(), *stage)).or_default();
        names.insert(connector.to_owned());
    }
}

fn rows(handlers: &Handlers) -> impl Iterator<Item = Row<'_>> {
    handlers.iter().map(|((event, stage), connectors)| Row {
        event,
        stage: stage.as_str(),
        connectors,
    })
}

/// `measure`, `before measure`, `after measure`.
fn named(event: &str, stage: Stage) -> String {
    match stage {
        Stage::On => event.to_owned(),
        other => format!("{other} {event}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        stages: Stages,
    }

    #[track_caller]
    fn assert_wanted(options: &[&str], stages: &[Stage]) {
        let words = ["servo"].iter().chain(options);
        let Line { stages: wanted } = clap::Parser::parse_from(words);
        let found: Vec<Stage> = [Stage::Before, Stage::On, Stage::After]
            .into_iter()
            .filter(|stage| wanted.wants(*stage))
            .collect();
        assert_eq!(found, stages, "{options:?}");
    }

    #[test]
    fn what_is_not_wanted_leaves_the_others() {
        use Stage::{After, Before, On};
        assert_wanted(&[], &[Before, On, After]);
        assert_wanted(&["--before"], &[Before]);
        assert_wanted(&["--on", "--after"], &[On, After]);
        assert_wanted(&["--no-on"], &[Before, After]);
        assert_wanted(&["--no-on", "--before"], &[Before, After]);
        assert_wanted(&["--no-on", "--no-before"], &[After]);
        assert_wanted(&["--no-on", "--on"], &[On]);
    }
}
