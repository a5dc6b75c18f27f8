//! The commands of a connector type, such as `servo vegeta attack`, and of a connector by the name
//! that it has in the assembly file (`spec/config-and-cli.md` §7.9).

mod delegated;
mod own;

use std::sync::Arc;

use clap::{Arg, ArgMatches, Command};
use servo_dispatch::{ConfiguredConnector, ConnectorCommand, ConnectorType, Registry};

use super::{Context, Failure, live};
use crate::config::{self, Need, ServoConfig};
use delegated::Delegated;

const CONNECTOR: &str = "connector";
/// Own commands may be told the connector behind their word, too.
const LATE_CONNECTOR: &str = "late-connector";

/// A word of the command line that has the commands of a connector type below it.
#[derive(Clone, Debug)]
pub(super) struct Group {
    word: String,
    kind: ConnectorType,
    /// Whether the word is the name of one connector.
    alias: bool,
}

/// The groups of all types in `registry` whose words are free, in the order of the words.
pub(super) fn of_types(registry: &Registry, is_taken: impl Fn(&str) -> bool) -> Vec<Group> {
    let mut groups: Vec<Group> = registry
        .types()
        .iter()
        .map(|kind| Group {
            word: kind.metadata().default_name.replace('_', "-"),
            kind: kind.clone(),
            alias: false,
        })
        .filter(|group| !is_taken(&group.word))
        .collect();
    groups.sort_by(|a, b| a.word.cmp(&b.word));
    groups
}

impl Group {
    /// The group of the connector of this type that is called `alias`.
    pub(super) fn of_alias(alias: &str, kind: &ConnectorType) -> Self {
        Self {
            word: alias.to_owned(),
            kind: kind.clone(),
            alias: true,
        }
    }

    pub(super) fn word(&self) -> &str {
        &self.word
    }

    /// How the command line spells it.
    pub(super) fn command(&self) -> Command {
        let commands = self.kind.commands();
        let about = match (self.alias, self.kind.metadata().description) {
            (false, Some(description)) => description.to_owned(),
            (false, None) => self.kind.full_name(),
            (true, _) => format!("The {} named {}", self.kind.full_name(), self.word),
        };
        let mut group = Command::new(self.word.clone())
            .about(about)
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommand_value_name("COMMAND")
            .subcommands(commands.iter().map(|command| {
                let command = own::command(command);
                if self.alias {
                    command
                } else {
                    command.arg(connector(LATE_CONNECTOR).hide(true))
                }
            }));
        if !self.alias {
            group = group.arg(connector(CONNECTOR));
        }
        let is_free = |common: &Delegated| commands.iter().all(|own| own.name != common.name());
        group.subcommands(
            Delegated::ALL
                .into_iter()
                .filter(is_free)
                .map(Delegated::command),
        )
    }

    /// Whether what the words below the group's own say logs as `servo run` does.
    pub(super) fn logs_much(matches: &ArgMatches) -> bool {
        matches.subcommand_name() == Some(Delegated::Check.name())
    }

    /// Does what the words below the group's own say.
    pub(super) fn execute(&self, context: &Context, matches: &ArgMatches) -> Result<(), Failure> {
        let Some((word, below)) = matches.subcommand() else {
            return Err(Failure::Usage("Missing command.".to_owned()));
        };
        let text = |matches: &ArgMatches, id| {
            let text = matches.try_get_one::<String>(id).ok().flatten();
            text.cloned()
        };
        let wanted = if self.alias {
            Some(self.word.clone())
        } else {
            text(below, LATE_CONNECTOR).or_else(|| text(matches, CONNECTOR))
        };
        let wanted = wanted.as_deref();
        let commands = self.kind.commands();
        if let Some(command) = commands.iter().find(|command| command.name == word) {
            return self.act(context, command, below, wanted);
        }
        match Delegated::ALL
            .into_iter()
            .find(|common| common.name() == word)
        {
            Some(common) => self.common(context, common, below, wanted),
            None => Err(Failure::Usage(format!("No such command '{word}'."))),
        }
    }

    /// Runs a command of the type's own.
    fn act(
        &self,
        context: &Context,
        command: &'static ConnectorCommand,
        matches: &ArgMatches,
        wanted: Option<&str>,
    ) -> Result<(), Failure> {
        let mut selection = context.servos(&context.load_options(Need::Optional))?;
        let servo = selected(&mut selection.servos)?;
        let (name, connector) = self.instance(servo, wanted)?;
        if let Some(reason) = connector.unavailable() {
            return Err(Failure::Failed(format!("{name}: {reason}")));
        }
        // The others are none of its business, and may not even be able to start.
        servo.connectors.retain(|(other, _)| *other == name);
        live::with_selection(selection, true, async |servo| {
            own::run(servo, &name, command, matches).await
        })
    }

    /// The name of the connector that is meant. What is odd about the file, the command tells that
    /// it is for.
    fn find(&self, context: &Context, wanted: Option<&str>) -> Result<String, Failure> {
        if context.source().path.is_none() {
            // The command reads it, and nobody can read it twice.
            return wanted.map(str::to_owned).ok_or_else(|| {
                Failure::Usage(
                    "standard input does not tell which connector is meant: say it with --connector, or read a file"
                        .to_owned(),
                )
            });
        }
        let mut selection = context.quiet_servos(&context.load_options(Need::Optional))?;
        let (name, _) = self.instance(selected(&mut selection.servos)?, wanted)?;
        Ok(name.to_string())
    }

    /// The connector of this type that is meant: the only one, or the one that is named.
    fn instance(
        &self,
        servo: &ServoConfig,
        wanted: Option<&str>,
    ) -> Result<(Arc<str>, Arc<dyn ConfiguredConnector>), Failure> {
        let default_name = self.kind.metadata().default_name;
        let instances: Vec<_> = servo
            .connectors
            .iter()
            .filter(|(_, connector)| connector.metadata().default_name == default_name)
            .collect();
        let (class, servo) = (self.kind.class_name(), &servo.name);
        let names = || {
            let names: Vec<String> = instances.iter().map(|(n, _)| format!("'{n}'")).collect();
            format!("select one of [{}]", names.join(", "))
        };
        let found = match (instances.as_slice(), wanted) {
            ([], _) => Err(format!(
                "no instances of \"{class}\" are active the in servo \"{servo}\""
            )),
            (all, Some(wanted)) => all
                .iter()
                .find(|(name, _)| **name == *wanted)
                .copied()
                .ok_or_else(|| {
                    format!(
                        "no connector named \"{wanted}\" of type \"{class}\" found in servo \"{servo}\": {}",
                        names()
                    )
                }),
            ([one], None) => Ok(*one),
            (_, None) => Err(format!(
                "multiple instances of \"{class}\" found in servo \"{servo}\": {}",
                names()
            )),
        };
        found.cloned().map_err(Failure::Usage)
    }
}

fn connector(id: &'static str) -> Arg {
    Arg::new(id)
        .short('c')
        .long("connector")
        .value_name("NAME")
        .help("Which connector of this type, where there are several")
}

fn selected(servos: &mut [ServoConfig]) -> Result<&mut ServoConfig, Failure> {
    match servos {
        [one] => Ok(one),
        _ => Err(Failure::Usage("A servo must be selected".to_owned())),
    }
}

/// The group that `alias` means in an assembly file's text: what its keys `connectors` say of it.
pub(super) fn of_alias(source: &config::Source, alias: &str, registry: &Registry) -> Option<Group> {
    // Standard input can be read once only, by the command itself.
    source.path.as_ref()?;
    let text = source.read().ok()?;
    servo_yaml::documents(&text)
        .flatten()
        .find_map(|document| {
            let kind = document.value.get("connectors")?.get(alias)?;
            registry.find(kind.as_str()?)
        })
        .map(|kind| Group::of_alias(alias, kind))
}
