//! The command line: what a person or a script touches.
//!
//! stdout carries results and nothing else; logs and errors go to stderr. Exit codes: 0 done,
//! 1 failed, 2 wrong usage, 69 no daemon answers, 128 + N ended by signal N
//! (`spec/config-and-cli.md` §7.10).

mod adjust;
mod admin_client;
mod check;
mod command_line;
mod completions;
mod config;
mod connector_group;
mod connectors;
mod describe;
mod generate;
mod init;
mod inject;
mod list;
mod live;
mod measure;
mod optimizer;
mod promote;
mod prompt;
mod reload;
mod replace;
mod root;
mod run;
mod schema;
mod show;
mod status;
mod study;
mod table;
mod top;
mod tree;
mod usage;
mod validate;
mod version;

use std::process::ExitCode;

use clap::{FromArgMatches, Subcommand, ValueEnum};
use servo_dispatch::Registry;
use thiserror::Error;

pub(crate) use root::{Context, Selection};

use command_line::Parsed;
use connector_group::Group;
use root::{InPlaceOfCommand, in_place_of_command};

use crate::daemon::InitError;

#[derive(Debug, Subcommand)]
enum Command {
    #[command(alias = "initialize")]
    Init(init::Arguments),
    List(list::Arguments),
    Connectors(connectors::Arguments),
    Show(show::Arguments),
    #[command(alias = "settings")]
    Config(config::Arguments),
    Schema(schema::Arguments),
    Generate(generate::Arguments),
    Run(run::Arguments),
    Status(status::Arguments),
    Tree(tree::Arguments),
    Top(top::Arguments),
    Reload(reload::Arguments),
    Check(check::Arguments),
    Validate(validate::Arguments),
    Describe(describe::Arguments),
    Measure(measure::Arguments),
    Adjust(adjust::Arguments),
    InjectSidecar(inject::Arguments),
    EjectSidecar(inject::EjectArguments),
    Promote(promote::Arguments),
    Version(version::Arguments),
    Optimizer(optimizer::Arguments),
    Completions(completions::Arguments),
    #[command(hide = true)]
    ManPages(completions::ManPages),
}

/// What results look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    #[default]
    #[value(alias = "text")]
    Table,
    /// For programs
    Json,
    /// For programs and people
    Yaml,
}

/// Why a command did not do what it was asked to.
#[derive(Debug, Error)]
enum Failure {
    /// Wrong usage: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// It failed: exit code 1.
    #[error("{0}")]
    Failed(String),
    /// It failed, and all there is to say has been said: exit code 1.
    #[error("failed")]
    Told,
    /// Wrong usage, and all there is to say has been said: exit code 2.
    #[error("wrong usage")]
    ToldUsage,
    /// The daemon that was to do it does not answer: exit code 69, as `EX_UNAVAILABLE` of sysexits.
    #[error("{0}")]
    Unreachable(String),
    /// The user declined, or went away: exit code 1.
    #[error("Aborted!")]
    Aborted,
    /// Ended by a signal: exit code 128 + N.
    #[error("interrupted by {}", .0.name())]
    Interrupted(crate::daemon::Signal),
    /// Who read the results has had enough, as `head` does: exit code 0.
    #[error("nobody reads the results any more")]
    Unread,
}

/// Runs the program with the connectors of `registry`, and says how it ended.
pub fn main(registry: Registry) -> ExitCode {
    // The warden reads no files and starts no threads: it is there to be small and sure.
    if let Some(ended) = servo_connector_process::warden::entry() {
        return ended;
    }
    let parsed = match command_line::parse(&registry) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    match execute(&parsed, registry) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !matches!(
                failure,
                Failure::Told | Failure::ToldUsage | Failure::Unread
            ) {
                say(&failure.text());
            }
            failure.exit_code()
        }
    }
}

fn execute(parsed: &Parsed, registry: Registry) -> Result<(), Failure> {
    let matches = &parsed.matches;
    match (&parsed.group, matches.subcommand()) {
        (Some(group), Some((_, below))) => {
            let (context, _log) = Context::new(matches, registry, Group::logs_much(below))?;
            return group.execute(&context, below);
        }
        (_, None) => {
            return match in_place_of_command(matches) {
                Some(InPlaceOfCommand::InstallCompletion) => completions::install(&registry),
                Some(InPlaceOfCommand::ShowCompletion(shell)) => {
                    completions::show(&registry, shell)
                }
                None => Err(Failure::Usage("Missing command.".to_owned())),
            };
        }
        (None, Some(_)) => {}
    }
    // The options of the root and the subcommand's own are read from the same matches: what
    // cannot be read here was refused when the words were parsed.
    let misread = |e: clap::Error| Failure::Usage(e.to_string());
    let command = Command::from_arg_matches(matches).map_err(misread)?;
    // These tell of the program alone, whatever the configuration is.
    match &command {
        Command::Completions(arguments) => return completions::execute(&registry, arguments),
        Command::ManPages(arguments) => return completions::man_pages(&registry, arguments),
        _ => {}
    }
    let lasting = matches!(
        command,
        Command::Run(_) | Command::Check(_) | Command::Optimizer(_)
    );
    let (context, _log) = Context::new(matches, registry, lasting)?;
    match command {
        Command::Init(arguments) => init::execute(&context, &arguments),
        Command::List(arguments) => list::execute(&context, &arguments),
        Command::Connectors(arguments) => connectors::execute(&context, &arguments),
        Command::Show(arguments) => show::execute(&context, &arguments),
        Command::Schema(arguments) => schema::execute(&context, &arguments),
        Command::Config(arguments) => config::execute(&context, &arguments),
        Command::Generate(arguments) => generate::execute(&context, &arguments),
        Command::Run(arguments) => run::execute(&context, &arguments),
        Command::Status(arguments) => status::execute(&context, &arguments),
        Command::Tree(arguments) => tree::execute(&context, &arguments),
        Command::Top(arguments) => top::execute(&context, &arguments),
        Command::Reload(arguments) => reload::execute(&context, &arguments),
        Command::Check(arguments) => check::execute(&context, &arguments),
        Command::Validate(arguments) => validate::execute(&context, &arguments),
        Command::Describe(arguments) => describe::execute(&context, &arguments),
        Command::Measure(arguments) => measure::execute(&context, &arguments),
        Command::Adjust(arguments) => adjust::execute(&context, &arguments),
        Command::InjectSidecar(arguments) => inject::inject(&context, &arguments),
        Command::EjectSidecar(arguments) => inject::eject(&context, &arguments),
        Command::Promote(arguments) => promote::execute(&context, &arguments),
        Command::Version(arguments) => version::execute(&context, &arguments),
        Command::Optimizer(arguments) => optimizer::execute(&arguments),
        Command::Completions(_) | Command::ManPages(_) => Ok(()),
    }
}

impl Failure {
    fn text(&self) -> String {
        match self {
            Failure::Usage(text) => format!("Error: {text}"),
            other => other.to_string(),
        }
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Failure::Unread => 0,
            Failure::Failed(_) | Failure::Told | Failure::Aborted => 1,
            Failure::Usage(_) | Failure::ToldUsage => 2,
            Failure::Unreachable(_) => 69,
            Failure::Interrupted(signal) => signal.exit_code(),
        })
    }
}

impl From<InitError> for Failure {
    fn from(error: InitError) -> Self {
        match error {
            InitError::LogLevel { .. } => Failure::Usage(error.to_string()),
            other => Failure::Failed(other.to_string()),
        }
    }
}

/// Says something to people, on stderr. Where nobody can be told, the exit code still tells.
fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints a result. A closed pipe ends the program quietly, as `servo ... | head` expects.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Failure::Unread),
        other => other.map_err(|e| Failure::Failed(format!("cannot write to stdout: {e}"))),
    }
}

fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Failure::Failed(format!("the result cannot be written as JSON: {e}")))?;
    print(&text)
}

fn print_yaml(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_yaml::to_string(value)
        .map_err(|e| Failure::Failed(format!("the result cannot be written as YAML: {e}")))?;
    print(text.trim_end())
}

/// Prints `value` for programs: as YAML where that is asked for, else as JSON.
fn print_data(output: Output, value: &impl serde::Serialize) -> Result<(), Failure> {
    match output {
        Output::Yaml => print_yaml(value),
        Output::Table | Output::Json => print_json(value),
    }
}
