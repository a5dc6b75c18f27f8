//! The words that the program understands (`spec/config-and-cli.md` §7.1).

use std::process::ExitCode;

use clap::{ArgMatches, Args, Command, Subcommand, error::ErrorKind};
use servo_dispatch::Registry;

use super::{
    root::{RootOptions, with_late_options},
    usage,
};

/// Commands by the titles under which the help lists them, in order.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Assembly Commands", &["init", "list", "connectors", "show"]),
    (
        "Operational Commands",
        &[
            "run",
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

/// The whole command line, with a group for each connector type of `registry`.
pub(super) fn command(registry: &Registry) -> Command {
    let _ = registry;
    let command = Command::new("servo")
        .about("Connects applications to an optimizer: describe, measure, adjust")
        .version(env!("CARGO_PKG_VERSION"))
        .override_usage("servo [OPTIONS] COMMAND [ARGS]...")
        .arg_required_else_help(true)
        .subcommand_required(true)
        .subcommand_value_name("COMMAND")
        .disable_help_subcommand(false)
        .max_term_width(100);
    let command = RootOptions::augment_args(command);
    let command = super::Command::augment_subcommands(command);
    let connectors: Vec<String> = Vec::new();
    let command = command.mut_subcommands(|inner| {
        let short = inner.get_name() == "show";
        with_late_options(inner, short)
    });
    let groups = groups(&command, &connectors);
    command
        .help_template("{usage-heading} {usage}\n\n{about}\n\nOptions:\n{options}\n\n{after-help}")
        .after_help(groups)
}

/// Parses the words of the process. What is no command is answered here, with its exit code.
pub(super) fn parse(mut command: Command) -> Result<ArgMatches, ExitCode> {
    command
        .try_get_matches_from_mut(std::env::args_os())
        .map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                let _ = super::print(error.to_string().trim_end());
                ExitCode::SUCCESS
            }
            _ => {
                eprintln!("{}", usage::report(&error, &command));
                ExitCode::from(2)
            }
        })
}

/// The commands under their titles.
fn groups(command: &Command, connectors: &[String]) -> String {
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
    for (index, (title, names)) in GROUPS.iter().enumerate() {
        if index == GROUPS.len() - 1 {
            sections.extend(section(
                "Connector Commands",
                &mut connectors.iter().map(String::as_str),
            ));
        }
        sections.extend(section(title, &mut names.iter().copied()));
    }
    sections.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_do_not_clash() {
        command(&crate::connectors::bundled()).debug_assert();
    }

    #[test]
    fn every_command_stands_under_a_title() {
        let registry = crate::connectors::bundled();
        let command = command(&registry);
        let help = command.clone().render_help().to_string();
        for inner in command.get_subcommands().filter(|c| !c.is_hide_set()) {
            assert!(
                help.contains(&format!("\n  {} ", inner.get_name())),
                "{} is not in:\n{help}",
                inner.get_name()
            );
        }
    }
}
