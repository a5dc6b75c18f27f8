//! Commands that every group has, carried out by those of the root that bear their names.

use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::{
    super::{
        Context, Failure, check, config, describe, generate, schema, show::events, validate,
        version,
    },
    Group,
};

/// Commands of the root that all groups have, for their own type or connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delegated {
    Schema,
    Version,
    Config,
    Describe,
    Check,
    Events,
    Generate,
    Validate,
}

impl Delegated {
    pub(super) const ALL: [Self; 8] = [
        Self::Schema,
        Self::Version,
        Self::Config,
        Self::Describe,
        Self::Check,
        Self::Events,
        Self::Generate,
        Self::Validate,
    ];

    pub(super) fn name(self) -> &'static str {
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
    pub(super) fn command(self) -> Command {
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
            Self::Config => (config::Arguments::augment_args(command), &["keys"][..]),
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

impl Group {
    /// Runs a command of the root for this group's type or connector.
    pub(super) fn common(
        &self,
        context: &Context,
        common: Delegated,
        matches: &ArgMatches,
        wanted: Option<&str>,
    ) -> Result<(), Failure> {
        let kind = self.kind.metadata().default_name;
        match common {
            Delegated::Schema => {
                let mut arguments: schema::Arguments = read(matches)?;
                arguments.connector = Some(wanted.unwrap_or(kind).to_owned());
                schema::execute(context, &arguments)
            }
            Delegated::Version => {
                let mut arguments: version::Arguments = read(matches)?;
                arguments.connector = Some(kind.to_owned());
                version::execute(context, &arguments)
            }
            Delegated::Describe => {
                let mut arguments: describe::Arguments = read(matches)?;
                arguments.connectors = vec![self.find(context, wanted)?];
                describe::execute(context, &arguments)
            }
            Delegated::Config => {
                let mut arguments: config::Arguments = read(matches)?;
                arguments.keys = vec![self.find(context, wanted)?];
                config::execute(context, &arguments)
            }
            Delegated::Check => {
                let mut arguments: check::Arguments = read(matches)?;
                arguments.connectors = vec![self.find(context, wanted)?];
                check::execute(context, &arguments)
            }
            Delegated::Events => {
                let mut arguments: events::Arguments = read(matches)?;
                arguments.only = Some(self.find(context, wanted)?);
                events::execute(context, &arguments)
            }
            Delegated::Generate => {
                let mut arguments: generate::Arguments = read(matches)?;
                arguments.connectors = vec![match wanted {
                    Some(name) if name != kind => format!("{name}:{kind}"),
                    _ => kind.to_owned(),
                }];
                generate::execute(context, &arguments)
            }
            // A file is valid as a whole.
            Delegated::Validate => validate::execute(context, &read(matches)?),
        }
    }
}

fn no_word(_: &str) -> Result<String, &'static str> {
    Err("the word before the command says which connector it is for")
}

fn read<A: FromArgMatches>(matches: &ArgMatches) -> Result<A, Failure> {
    A::from_arg_matches(matches).map_err(|e| Failure::Usage(e.to_string()))
}
