//! The words that the program understands (`spec/config-and-cli.md` §7.1).

use std::{
    ffi::{OsStr, OsString},
    process::ExitCode,
};

use clap::{ArgMatches, Args, Command, Subcommand, error::ErrorKind};
use servo_dispatch::Registry;

use super::{
    Failure,
    connector_group::{self, Group},
    root::{RootOptions, assembly_file, in_place_of_command, with_late_options},
    say, usage,
};

/// Commands by the titles under which the help lists them, in order.
const TITLES: [(&str, &[&str]); 4] = [
    ("Assembly Commands", &["init", "list", "connectors", "show"]),
    (
        "Operational Commands",
        &[
            "run",
            "status",
            "tree",
            "top",
            "reload",
            "check",
            "describe",
            "measure",
            "inject-sidecar",
            "eject-sidecar",
            "adjust",
            "promote",
        ],
    ),
    (
        "Configuration Commands",
        &["config", "schema", "validate", "generate"],
    ),
    // Connectors stand here, sorted.
    (
        "Other Commands",
        &["version", "optimizer", "completions", "help"],
    ),
];

/// Words that were understood.
pub(super) struct Parsed {
    pub(super) matches: ArgMatches,
    /// The group of commands that they lead to, when they lead to one.
    pub(super) group: Option<Group>,
}

/// The whole command line as manuals tell of it.
pub(super) fn documented(registry: &Registry) -> Command {
    with_groups(bare(), &groups(registry))
}

/// Parses the words of the process. What is no command is answered here, with its exit code.
pub(super) fn parse(registry: &Registry) -> Result<Parsed, ExitCode> {
    let words: Vec<OsString> = std::env::args_os().collect();
    parse_words(registry, &words).map_err(|(error, command)| match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            match super::print(usage::plain(&error.to_string()).trim_end()) {
                Ok(()) | Err(Failure::Unread) => ExitCode::SUCCESS,
                Err(failure) => {
                    say(&failure.text());
                    failure.exit_code()
                }
            }
        }
        _ => {
            say(&usage::report(&error, &command));
            ExitCode::from(2)
        }
    })
}

fn parse_words(
    registry: &Registry,
    words: &[OsString],
) -> Result<Parsed, (clap::Error, Box<Command>)> {
    let mut groups = groups(registry);
    let mut command = whole(&groups);
    let mut parsed = command.try_get_matches_from_mut(words);
    // The name of a connector of the assembly file is worth a look only where nothing else fits.
    if let Err(error) = &parsed
        && error.kind() == ErrorKind::InvalidSubcommand
        && let Some(group) = named_in_file(&groups, words, registry)
    {
        groups.push(group);
        command = whole(&groups);
        parsed = command.try_get_matches_from_mut(words);
    }
    let matches = match parsed {
        Ok(matches) => matches,
        Err(error) => return Err((error, Box::new(command))),
    };
    let Some(word) = matches.subcommand_name() else {
        if in_place_of_command(&matches).is_some() {
            return Ok(Parsed {
                matches,
                group: None,
            });
        }
        let error = command.error(ErrorKind::MissingSubcommand, "Missing command.");
        return Err((error, Box::new(command)));
    };
    let group = groups.into_iter().find(|group| group.word() == word);
    Ok(Parsed { matches, group })
}

/// The group of the connector that the first word behind the options of the root names.
fn named_in_file(groups: &[Group], words: &[OsString], registry: &Registry) -> Option<Group> {
    let mut command = whole(groups).allow_external_subcommands(true);
    let matches = command.try_get_matches_from_mut(words).ok()?;
    let (alias, rest) = matches.subcommand()?;
    let behind: Vec<&OsString> = rest
        .get_many::<OsString>("")
        .map(Iterator::collect)
        .unwrap_or_default();
    let source = match late_file(&behind) {
        Some(file) => crate::config::Source::new(file.as_ref(), &std::env::current_dir().ok()?),
        None => assembly_file(&matches)?,
    };
    connector_group::of_alias(&source, alias, registry)
}

/// The assembly file that is named behind the command.
fn late_file<'a>(words: &[&'a OsString]) -> Option<&'a OsStr> {
    let at = words.iter().position(|word| {
        word.to_str()
            .is_some_and(|w| w == "--config-file" || w.starts_with("--config-file="))
    })?;
    match words.get(at)?.to_str()?.split_once('=') {
        Some((_, file)) => Some(OsStr::new(file)),
        None => words.get(at + 1).map(|word| word.as_os_str()),
    }
}

/// The groups of all connector types; commands of the program itself keep their words.
fn groups(registry: &Registry) -> Vec<Group> {
    let program = bare();
    connector_group::of_types(registry, |word| {
        word == "help" || program.find_subcommand(word).is_some()
    })
}

/// The commands of the program itself.
fn bare() -> Command {
    let command = RootOptions::augment_args(Command::new("servo"));
    super::Command::augment_subcommands(command)
        .about("Connects applications to an optimizer: describe, measure, adjust")
        .version(env!("CARGO_PKG_VERSION"))
        .override_usage("servo [OPTIONS] COMMAND [ARGS]...")
        .arg_required_else_help(true)
        // Some options stand in place of a command.
        .subcommand_required(false)
        .subcommand_value_name("COMMAND")
        .max_term_width(100)
}

fn with_groups(command: Command, groups: &[Group]) -> Command {
    command.subcommands(groups.iter().map(Group::command))
}

/// The whole command line.
fn whole(groups: &[Group]) -> Command {
    let command = with_groups(bare(), groups).mut_subcommands(|inner| {
        let short = inner.get_name() == "show";
        with_late_options(inner, short)
    });
    let listed = listed(&command, groups);
    command
        .help_template("{usage-heading} {usage}\n\n{about}\n\nOptions:\n{options}{after-help}")
        .after_help(listed)
}

/// The commands under their titles.
fn listed(command: &Command, groups: &[Group]) -> String {
    let about = |name: &str| {
        if name == "help" {
            return Some("Print the help of a command".to_owned());
        }
        let found = command
            .get_subcommands()
            .find(|inner| inner.get_name() == name && !inner.is_hide_set())?;
        Some(
            found
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default(),
        )
    };
    let width = command
        .get_subcommands()
        .map(|inner| inner.get_name().len())
        .max()
        .unwrap_or_default();
    let section = |title: &str, names: &mut dyn Iterator<Item = &str>| {
        let lines: Vec<String> = names
            .filter_map(|name| Some(format!("  {name:width$}  {}", about(name)?)))
            .collect();
        (!lines.is_empty()).then(|| format!("{title}:\n{}", lines.join("\n")))
    };
    let mut sections = Vec::new();
    for (index, (title, names)) in TITLES.iter().enumerate() {
        if index == TITLES.len() - 1 {
            sections.extend(section(
                "Connector Commands",
                &mut groups.iter().map(Group::word),
            ));
        }
        sections.extend(section(title, &mut names.iter().copied()));
    }
    sections.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        whole(&groups(&crate::connectors::bundled()))
    }

    #[test]
    fn options_do_not_clash() {
        command().debug_assert();
    }

    #[test]
    fn every_command_stands_under_a_title() {
        let command = command();
        let help = command.clone().render_help().to_string();
        for inner in command.get_subcommands().filter(|c| !c.is_hide_set()) {
            assert!(
                help.contains(&format!("\n  {} ", inner.get_name())),
                "{} is not in:\n{help}",
                inner.get_name()
            );
        }
    }

    #[test]
    fn every_command_says_what_it_is_for() {
        fn check(command: &Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let about = command.get_about().map(ToString::to_string);
            assert!(about.is_some_and(|about| !about.is_empty()), "{path}");
            for inner in command.get_subcommands() {
                check(inner, &path);
            }
        }
        check(&command(), "");
    }

    #[test]
    fn the_file_that_is_named_late() {
        let words = |text: &str| -> Vec<OsString> { text.split(' ').map(OsString::from).collect() };
        let file = |text: &str| {
            let words = words(text);
            late_file(&words.iter().collect::<Vec<_>>()).map(OsStr::to_owned)
        };
        assert_eq!(file("targets --config-file a.yaml"), Some("a.yaml".into()));
        assert_eq!(file("targets --config-file=a.yaml"), Some("a.yaml".into()));
        assert_eq!(file("targets --config-file"), None);
        assert_eq!(file("targets"), None);
    }
}
