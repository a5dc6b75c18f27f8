//! The commands of a connector type, such as `servo vegeta attack`, and of a connector by the name
//! that it has in the assembly file (`spec/config-and-cli.md` §7.9).

use std::{sync::Arc, time::Duration};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};
use serde_json::{Map, Value};
use servo_dispatch::{
    CommandArgument, ConfiguredConnector, ConnectorCommand, ConnectorType, DispatchError,
    DispatchOptions, ProgressUpdate, Registry,
};

use super::{
    Context, Failure, Output, check, config as configuration, describe, generate,
    live::{self, LiveServo},
    schema,
    show::events,
    table, validate, version,
};
use crate::config::{self, Need, ServoConfig};

const CONNECTOR: &str = "connector";
/// Own commands may be told the connector behind their word, too.
const LATE_CONNECTOR: &str = "late-connector";
const OUTPUT: &str = "output";
/// What an event says of arguments that are wrong usage.
const INVALID_ARGUMENT: &str = "invalid-argument";
/// Own commands, such as an attack, last as long as their arguments say: this only ends what hangs.
const LONGEST: Duration = Duration::from_secs(86_400);

/// A word of the command line that has the commands of a connector type below it.
#[derive(Clone, Debug)]
pub(super) struct Group {
    word: String,
    kind: ConnectorType,
    /// Whether the word is the name of one connector.
    alias: bool,
}

/// Commands of the root that all groups have, for their own type or connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Common {
    Schema,
    Version,
    Config,
    Describe,
    Check,
    Events,
    Generate,
    Validate,
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
        let own = self.kind.commands();
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
            .subcommands(own.iter().map(|command| self.own(command)));
        if !self.alias {
            group = group.arg(connector(CONNECTOR));
        }
        let is_free = |common: &Common| own.iter().all(|own| own.name != common.name());
        group.subcommands(Common::ALL.into_iter().filter(is_free).map(Common::command))
    }

    fn own(&self, command: &ConnectorCommand) -> Command {
        let mut letters = vec!['h', 'c', 'o'];
        let mut spelled = Command::new(command.name).about(command.about);
        for argument in command.arguments {
            let letter = argument.name.chars().next();
            let letter = letter.filter(|l| l.is_ascii_alphabetic() && !letters.contains(l));
            letters.extend(letter);
            spelled = spelled.arg(option(argument, letter));
        }
        if !self.alias {
            spelled = spelled.arg(connector(LATE_CONNECTOR).hide(true));
        }
        let output = Arg::new(OUTPUT)
            .long(OUTPUT)
            .short('o')
            .alias("format")
            .value_name("OUTPUT")
            .help("What it looks like")
            .value_parser(value_parser!(Output))
            .default_value("table");
        let output = if letters.contains(&'f') {
            output
        } else {
            output.short_alias('f')
        };
        spelled.arg(output)
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
        match Common::ALL.into_iter().find(|common| common.name() == word) {
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
            return Err(Failure::Failed(format!(
                "this build cannot run the {}: {reason}",
                self.kind.full_name()
            )));
        }
        // The others are none of its business, and may not even be able to start.
        servo.connectors.retain(|(other, _)| *other == name);
        let arguments: Map<String, Value> = command
            .arguments
            .iter()
            .filter_map(|argument| {
                let value = matches.get_one::<String>(argument.name)?;
                Some((argument.name.to_owned(), value.clone().into()))
            })
            .collect();
        let output = matches.get_one::<Output>(OUTPUT).copied();
        let output = output.unwrap_or_default();
        live::with_selection(selection, true, async |servo| {
            let result = ask(&servo, &name, command, arguments.clone()).await?;
            match output {
                Output::Table => servo.print(&text(command, &result)),
                Output::Json | Output::Yaml => servo.print_data(output, result),
            }
        })
    }

    /// Runs a command of the root for this group's type or connector.
    fn common(
        &self,
        context: &Context,
        common: Common,
        matches: &ArgMatches,
        wanted: Option<&str>,
    ) -> Result<(), Failure> {
        let kind = self.kind.metadata().default_name;
        match common {
            Common::Schema => {
                let mut arguments: schema::Arguments = read(matches)?;
                arguments.connector = Some(wanted.unwrap_or(kind).to_owned());
                schema::execute(context, &arguments)
            }
            Common::Version => {
                let mut arguments: version::Arguments = read(matches)?;
                arguments.connector = Some(kind.to_owned());
                version::execute(context, &arguments)
            }
            Common::Describe => {
                let mut arguments: describe::Arguments = read(matches)?;
                arguments.connectors = vec![self.find(context, wanted)?];
                describe::execute(context, &arguments)
            }
            Common::Config => {
                let mut arguments: configuration::Arguments = read(matches)?;
                arguments.keys = vec![self.find(context, wanted)?];
                configuration::execute(context, &arguments)
            }
            Common::Check => {
                let mut arguments: check::Arguments = read(matches)?;
                arguments.connectors = vec![self.find(context, wanted)?];
                check::execute(context, &arguments)
            }
            Common::Events => {
                let mut arguments: events::Arguments = read(matches)?;
                arguments.only = Some(self.find(context, wanted)?);
                events::execute(context, &arguments)
            }
            Common::Generate => {
                let mut arguments: generate::Arguments = read(matches)?;
                arguments.connectors = vec![match wanted {
                    Some(name) if name != kind => format!("{name}:{kind}"),
                    _ => kind.to_owned(),
                }];
                generate::execute(context, &arguments)
            }
            // A file is valid as a whole.
            Common::Validate => validate::execute(context, &read(matches)?),
        }
    }

    /// The name of the connector that is meant. What is odd about the file, the command tells that
    /// it is for.
    fn find(&self, context: &Context, wanted: Option<&str>) -> Result<String, Failure> {
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

// === impl Common ===

impl Common {
    const ALL: [Self; 8] = [
        Self::Schema,
        Self::Version,
        Self::Config,
        Self::Describe,
        Self::Check,
        Self::Events,
        Self::Generate,
        Self::Validate,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::Version => "version",
            Self::Config => "config",
            Self::Describe => "describe",
            Self::Check => "check",
            Self::Events => "events",
            Self::Generate => "generate",
            Self::Validate => "validate",
        }
    }

    /// As the root has it, but for the words that say which connector it is for.
    fn command(self) -> Command {
        let command = Command::new(self.name());
        let about = match self {
            Self::Schema => "Show the schema of its stanza",
            Self::Version => "Say which version it has",
            Self::Config => "Show the configuration of it that counts",
            Self::Describe => "Say what it can adjust and measure, with present values",
            Self::Check => "Verify what it needs",
            Self::Events => "List the events that it takes part in",
            Self::Generate => "Write a configuration with a sample of its stanza",
            Self::Validate => "Check the whole configuration without starting anything",
        };
        let (command, hidden) = match self {
            Self::Schema => (
                schema::Arguments::augment_args(command),
                &["connector", "all", "top_level"][..],
            ),
            Self::Version => (
                version::Arguments::augment_args(command),
                &["connector"][..],
            ),
            Self::Config => (
                configuration::Arguments::augment_args(command),
                &["keys"][..],
            ),
            Self::Describe => (
                describe::Arguments::augment_args(command),
                &["connectors"][..],
            ),
            Self::Check => (check::Arguments::augment_args(command), &["connectors"][..]),
            Self::Events => (events::Arguments::augment_args(command), &["all"][..]),
            Self::Generate => (
                generate::Arguments::augment_args(command),
                &["connectors"][..],
            ),
            Self::Validate => (
                validate::Arguments::augment_args(command),
                &["connectors"][..],
            ),
        };
        let command = command.about(about).long_about(None);
        hidden.iter().fold(command, |command, hidden| {
            command.mut_arg(hidden, |hidden| match hidden.is_positional() {
                true => hidden.hide(true).value_parser(no_word),
                false => hidden.hide(true),
            })
        })
    }
}

fn no_word(_: &str) -> Result<String, &'static str> {
    Err("the word before the command says which connector it is for")
}

fn read<A: FromArgMatches>(matches: &ArgMatches) -> Result<A, Failure> {
    A::from_arg_matches(matches).map_err(|e| Failure::Usage(e.to_string()))
}

fn connector(id: &'static str) -> Arg {
    Arg::new(id)
        .short('c')
        .long("connector")
        .value_name("NAME")
        .help("Which connector of this type, where there are several")
}

fn option(argument: &CommandArgument, letter: Option<char>) -> Arg {
    let option = Arg::new(argument.name)
        .long(argument.name)
        .value_name(argument.value)
        .help(argument.about)
        .required(argument.required);
    match letter {
        Some(letter) => option.short(letter),
        None => option,
    }
}

fn selected(servos: &mut [ServoConfig]) -> Result<&mut ServoConfig, Failure> {
    match servos {
        [one] => Ok(one),
        _ => Err(Failure::Usage("A servo must be selected".to_owned())),
    }
}

/// Has the connector do what the command says, and tells of its progress.
async fn ask(
    servo: &LiveServo,
    name: &Arc<str>,
    command: &ConnectorCommand,
    arguments: Map<String, Value>,
) -> Result<Value, Failure> {
    let options = DispatchOptions {
        timeout: LONGEST,
        progress: Some(Arc::new(|update: ProgressUpdate| tell(&update))),
        ..servo.options(&[name.to_string()])
    };
    let outcome = servo
        .dispatcher
        .dispatch_named(command.event, Value::Object(arguments), options)
        .await
        .map_err(failure)?;
    if let Some(veto) = outcome.cancelled_by.first() {
        return Err(Failure::Failed(format!(
            "{}: {}",
            veto.connector, veto.reason
        )));
    }
    let answer = outcome.values().next();
    answer.ok_or_else(|| Failure::Failed(format!("{name} did not answer {}", command.name)))
}

fn tell(update: &ProgressUpdate) {
    if let Some(message) = &update.message {
        eprintln!("{}: {message}", update.connector);
    }
}

fn failure(error: DispatchError) -> Failure {
    match &error {
        DispatchError::Handlers(errors) => errors
            .iter()
            .find(|e| e.error.reason.as_deref() == Some(INVALID_ARGUMENT))
            .map(|e| Failure::Usage(e.error.message.clone()))
            .unwrap_or_else(|| live::failure(error)),
        DispatchError::Arguments { message, .. } => Failure::Usage(message.clone()),
        _ => live::failure(error),
    }
}

/// A result as a table; where there is one column only, the bare texts in it.
fn text(command: &ConnectorCommand, result: &Value) -> String {
    let rows = match result {
        Value::Array(rows) => rows.as_slice(),
        one => std::slice::from_ref(one),
    };
    let cell = |row: &Value, key: &str| row.get(key).map_or_else(|| "-".to_owned(), plain);
    if let [(_, key)] = command.columns {
        let texts: Vec<String> = rows.iter().map(|row| cell(row, key)).collect();
        return texts.join("\n").trim_end().to_owned();
    }
    let headers: Vec<&'static str> = command.columns.iter().map(|(header, _)| *header).collect();
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            command
                .columns
                .iter()
                .map(|(_, key)| cell(row, key))
                .collect()
        })
        .collect();
    // One blank line follows, §7.2.
    table::render(headers, rows) + "\n"
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join("\n"),
        other => other.to_string(),
    }
}

/// The group that `alias` means in an assembly file's text: what its keys `connectors` say of it.
pub(super) fn of_alias(source: &config::Source, alias: &str, registry: &Registry) -> Option<Group> {
    let text = source.read().ok()?;
    servo_yaml::documents(&text)
        .flatten()
        .find_map(|document| {
            let kind = document.value.get("connectors")?.get(alias)?;
            registry.find(kind.as_str()?)
        })
        .map(|kind| Group::of_alias(alias, kind))
}
