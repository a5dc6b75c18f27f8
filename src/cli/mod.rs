//! The command line: what a person or a script touches.
//!
//! stdout carries results and nothing else; logs and errors go to stderr. Exit codes: 0 done,
//! 1 failed, 2 wrong usage, 128 + N ended by signal N (`spec/config-and-cli.md` §7.10).

mod adjust;
mod describe;
mod live;
mod measure;
mod optimizer;
mod run;
mod study;
mod table;
mod validate;
mod version;

use std::{collections::HashMap, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand, ValueEnum, error::ErrorKind};
use servo_dispatch::Registry;
use thiserror::Error;

use crate::{
    config::{self, AssemblyConfig, DaemonConfig, LoadError, LogFormat, ServoConfig},
    daemon::{InitError, logging},
};

/// Connects applications to an optimizer: describe, measure, adjust.
#[derive(Debug, Parser)]
#[command(name = "servo", version, arg_required_else_help = true)]
struct Root {
    /// The servos: one YAML document for each
    #[arg(
        short = 'c',
        long,
        value_name = "FILE",
        env = "SERVO_CONFIG_FILE",
        global = true
    )]
    config_file: Option<PathBuf>,

    /// The servo to act on, of several
    #[arg(
        short = 'n',
        long,
        value_name = "NAME",
        env = "SERVO_NAME",
        global = true
    )]
    name: Option<String>,

    /// How much to log: TRACE, DEBUG, INFO, WARNING, ERROR, or directives such as info,servo_protocol=debug
    #[arg(
        short = 'l',
        long,
        value_name = "LEVEL",
        env = "SERVO_LOG_LEVEL",
        global = true
    )]
    log_level: Option<String>,

    /// Log lines for people or for programs
    #[arg(long, value_enum, env = "SERVO_LOG_FORMAT", global = true)]
    log_format: Option<LogFormat>,

    /// No colours
    #[arg(long, env = "SERVO_NO_COLOR", value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::SetTrue, global = true)]
    no_color: bool,

    /// How the daemon runs
    #[arg(
        long,
        value_name = "FILE",
        default_value = "servo.toml",
        env = "SERVO_DAEMON_FILE",
        global = true
    )]
    daemon_file: PathBuf,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Validate(validate::Arguments),
    Describe(describe::Arguments),
    Measure(measure::Arguments),
    Adjust(adjust::Arguments),
    Version(version::Arguments),
    Optimizer(optimizer::Arguments),
}

/// What results look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
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
    /// Ended by a signal: exit code 128 + N.
    #[error("interrupted by {}", .0.name())]
    Interrupted(crate::daemon::Signal),
}

/// What all commands share.
struct Context {
    registry: Registry,
    config_file: PathBuf,
    /// Whether the file was named, or is the default.
    config_file_was_named: bool,
    name: Option<String>,
    daemon: DaemonConfig,
    dotenv: HashMap<String, String>,
    colour: bool,
}

/// Runs the program with the connectors of `registry`, and says how it ended.
pub fn main(registry: Registry) -> ExitCode {
    // The warden reads no files and starts no threads: it is there to be small and sure.
    if let Some(ended) = servo_connector_process::warden::entry() {
        return ended;
    }
    let root = match Root::try_parse() {
        Ok(root) => root,
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = print(error.to_string().trim_end());
            return ExitCode::SUCCESS;
        }
        Err(error) => error.exit(),
    };
    match root.execute(registry) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", failure.text());
            failure.exit_code()
        }
    }
}

impl Root {
    fn execute(self, registry: Registry) -> Result<(), Failure> {
        let here = std::env::current_dir()
            .map_err(|e| Failure::Failed(format!("cannot tell the working directory: {e}")))?;
        let (dotenv, dotenv_error) = config::read_dotenv(&here);
        let daemon = DaemonConfig::load(&self.daemon_file)
            .map_err(|e| Failure::Failed(format!("invalid daemon configuration: {e}")))?;
        let from_dotenv = |name: &str| dotenv.get(name).filter(|v| !v.is_empty()).cloned();
        let level = self
            .log_level
            .or_else(|| from_dotenv("SERVO_LOG_LEVEL"))
            .or_else(|| daemon.log.level.clone());
        let format = self.log_format.or(daemon.log.format);
        let colour = !self.no_color && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let default_level = match self.command {
            Command::Run(_) | Command::Optimizer(_) => "info",
            _ => "warn",
        };
        let _log = logging::init(
            level.as_deref().unwrap_or(default_level),
            format,
            colour,
            daemon.log.file.as_ref(),
        )?;
        if let Some(error) = dotenv_error {
            tracing::warn!("{error}");
        }
        let named = self
            .config_file
            .or_else(|| from_dotenv("SERVO_CONFIG_FILE").map(PathBuf::from))
            .or_else(|| daemon.assembly_file.clone());
        let context = Context {
            registry,
            config_file_was_named: named.is_some(),
            config_file: here.join(named.unwrap_or_else(|| PathBuf::from("servo.yaml"))),
            name: self.name,
            daemon,
            dotenv,
            colour,
        };
        match self.command {
            Command::Run(arguments) => run::execute(&context, &arguments),
            Command::Validate(arguments) => validate::execute(&context, &arguments),
            Command::Describe(arguments) => describe::execute(&context, &arguments),
            Command::Measure(arguments) => measure::execute(&context, &arguments),
            Command::Adjust(arguments) => adjust::execute(&context, &arguments),
            Command::Version(arguments) => version::execute(&arguments),
            Command::Optimizer(arguments) => optimizer::execute(&arguments),
        }
    }
}

impl Context {
    /// All servos of the file.
    fn load(&self) -> Result<AssemblyConfig, Failure> {
        let environment = |name: &str| {
            std::env::var(name)
                .ok()
                .or_else(|| self.dotenv.get(name).cloned())
                .filter(|v| !v.trim().is_empty())
        };
        let assembly = config::load(&self.config_file, &self.registry, &environment).map_err(
            |error| match error {
                LoadError::Missing(file) if !self.config_file_was_named => Failure::Usage(format!(
                    "Config file '{}' does not exist: name one with --config-file, or try `make demo` in a checkout to see a working one",
                    file.display()
                )),
                LoadError::Missing(_) => Failure::Usage(error.to_string()),
                other => Failure::Failed(other.to_string()),
            },
        )?;
        for warning in &assembly.warnings {
            tracing::warn!("{warning}");
        }
        Ok(assembly)
    }

    /// The servos that the command is for.
    fn servos(&self) -> Result<Vec<ServoConfig>, Failure> {
        let mut servos = self.load()?.servos;
        if let Some(name) = &self.name {
            servos.retain(|s| *s.name == **name);
            if servos.is_empty() {
                return Err(Failure::Usage(format!(
                    "No servo was found named \"{name}\""
                )));
            }
        }
        Ok(servos)
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
            Failure::Failed(_) => 1,
            Failure::Usage(_) => 2,
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

/// Prints a result. A closed pipe ends the program quietly, as `servo ... | head` expects.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.map_err(|e| Failure::Failed(format!("cannot write to stdout: {e}"))),
    }
}

fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Failure::Failed(format!("the result cannot be written as JSON: {e}")))?;
    print(&text)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn options_do_not_clash() {
        super::Root::command().debug_assert();
    }
}
