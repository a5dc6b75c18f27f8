//! The options of the root, and what all commands share because of them
//! (`spec/config-and-cli.md` §3.3, §7.1).

mod source;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use clap::{ArgMatches, Args, FromArgMatches, ValueEnum};
use secrecy::SecretString;
use servo_dispatch::Registry;
use tokio::sync::Semaphore;

use super::{Failure, completions::Shell};
use crate::{
    config::{
        self, AssemblyConfig, DaemonConfig, Descriptors, Environment, LoadError, LoadOptions,
        LogConfig, LogFormat, LogLevel, Need, OptimizerFlags, ServoConfig, Source, SourceError,
    },
    daemon::logging,
};

/// The options of the root.
#[derive(Clone, Debug, Args)]
pub(super) struct RootOptions {
    /// The servos: one YAML document for each [env var: SERVO_CONFIG_FILE; default: servo.yaml]
    #[arg(short = 'c', long, value_name = "FILE")]
    config_file: Option<PathBuf>,

    /// The servo to act on, of several [env var: SERVO_NAME]
    #[arg(short = 'n', long, value_name = "NAME")]
    name: Option<String>,

    /// With run: let no more than this many servos carry out a command at a time; with other commands: act on so many servos, the first ones
    #[arg(long, value_name = "N", value_parser = limit)]
    limit: Option<NonZeroUsize>,

    /// TRACE, DEBUG, INFO, SUCCESS, WARNING, ERROR, CRITICAL, or directives such as info,servo_protocol=debug [env var: SERVO_LOG_LEVEL; default: INFO for run, else WARNING]
    #[arg(short = 'l', long, value_name = "LEVEL")]
    log_level: Option<String>,

    /// Log lines for people or for programs [env var: SERVO_LOG_FORMAT; default: text]
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,

    /// No colours [env vars: SERVO_NO_COLOR, NO_COLOR]
    #[arg(long)]
    no_color: bool,

    /// How the daemon runs [env var: SERVO_DAEMON_FILE; default: servo.toml]
    #[arg(long, value_name = "FILE")]
    daemon_file: Option<PathBuf>,

    /// Variables that the environment lacks, in place of those of the nearest .env; the first file that sets one wins
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,

    /// Look for no .env
    #[arg(long, conflicts_with = "env_file")]
    no_env_file: bool,

    /// The optimizer of the only servo, as organization/name [env var: OPSANI_OPTIMIZER]
    #[arg(long, value_name = "OPTIMIZER")]
    optimizer: Option<String>,

    /// Its token; others on this machine can see it: better use --token-file [env var: OPSANI_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,

    /// A file with its token [env var: OPSANI_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Root of its API [env var: OPSANI_BASE_URL; default: https://api.opsani.com]
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,

    /// Its whole URL, used as it is [env var: OPSANI_URL]
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// Install completion for the shell that the variable SHELL names
    #[arg(long, conflicts_with = "show_completion")]
    install_completion: bool,

    /// Print the completion script of a shell [default: the one that the variable SHELL names]
    #[arg(long, value_name = "SHELL", num_args = 0..=1, value_enum)]
    show_completion: Option<Option<Shell>>,
}

/// What the options of the root ask for in place of a command.
pub(super) enum InPlaceOfCommand {
    InstallCompletion,
    /// Of the shell, or else of that of the user.
    ShowCompletion(Option<Shell>),
}

/// What all commands share.
pub(crate) struct Context {
    pub(super) registry: Registry,
    /// As they were given.
    options: RootOptions,
    log: Arc<Mutex<logging::Log>>,
    /// The working directory.
    pub(super) directory: PathBuf,
    /// The assembly file as it was named, if it was.
    pub(super) config_file: Option<PathBuf>,
    pub(super) name: Option<String>,
    pub(super) limit: Option<NonZeroUsize>,
    pub(super) flags: OptimizerFlags,
    pub(super) environment: Environment,
    pub(super) daemon: DaemonConfig,
    /// Whether colours are wanted where there is a terminal.
    pub(super) colour: bool,
}

/// The servos that a command is for.
pub(crate) struct Selection {
    pub(super) servos: Vec<ServoConfig>,
    /// Whether the file has several, so that results say whose they are.
    pub(super) several: bool,
}

impl Context {
    /// Reads options, `.env` and `servo.toml`, and starts the log. `lasting` commands log more, and as
    /// `servo.toml` says.
    pub(super) fn new(
        matches: &ArgMatches,
        registry: Registry,
        lasting: bool,
    ) -> Result<(Self, Arc<Mutex<logging::Log>>), Failure> {
        let options = RootOptions::of(matches)?;
        let given = options.clone();
        let directory = std::env::current_dir()
            .map_err(|e| Failure::Failed(format!("cannot tell the working directory: {e}")))?;
        let (dotenv, warnings) = config::read_dotenv(&directory, &options.dotenv())
            .map_err(|e| Failure::Usage(e.to_string()))?;
        let environment = Environment::of_process(dotenv);
        let variable = |name: &str| environment.get(name);
        if let Some(file) = &options.daemon_file
            && !file.exists()
        {
            return Err(Failure::Usage(format!(
                "Invalid value: File '{}' does not exist.",
                file.display()
            )));
        }
        let daemon = DaemonConfig::load_with(&options.daemon_file(&environment), &environment)
            .map_err(|e| Failure::Failed(e.to_string()))?;
        let config_file = options.config_file(&environment, &daemon);
        // How the daemon logs is no affair of who asks it something, and its files are its own.
        let of_daemon = if lasting {
            daemon.log.clone()
        } else {
            LogConfig::default()
        };
        let level = options
            .level(&environment, &of_daemon)
            .map_err(Failure::Usage)?
            .unwrap_or(if lasting { "info" } else { "warning" });
        let format = match (options.log_format, variable("SERVO_LOG_FORMAT")) {
            (None, Some(text)) => Some(LogFormat::from_str(text, true).map_err(|_| {
                Failure::Usage(format!(
                    "Invalid value for the variable SERVO_LOG_FORMAT: '{text}' is neither text nor json"
                ))
            })?),
            (given, _) => given.or(of_daemon.format),
        };
        // `NO_COLOR` by its own rule, https://no-color.org: any text but the empty one.
        let colour = !options.no_color
            && !truth(&environment, "SERVO_NO_COLOR")?
            && variable("NO_COLOR").is_none();
        let log = logging::init(level, format, colour, lasting, of_daemon.file.as_ref())?;
        log.set_rate_limit(daemon.log.rate_limit.get());
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        for name in Environment::unreadable() {
            tracing::warn!("the variable {name} is not valid UTF-8: it is left out");
        }
        if options.token.is_some() {
            tracing::warn!(
                "--token shows in the list of processes, for everybody on this machine: use --token-file"
            );
        }
        let log = Arc::new(Mutex::new(log));
        let context = Self {
            registry,
            options: given,
            log: log.clone(),
            config_file,
            name: options
                .name
                .or_else(|| variable("SERVO_NAME").map(str::to_owned)),
            limit: options.limit,
            flags: OptimizerFlags {
                optimizer: options.optimizer,
                token: options.token.map(SecretString::from),
                token_file: options.token_file,
                base_url: options.base_url,
                url: options.url,
            },
            environment,
            daemon,
            colour,
            directory,
        };
        Ok((context, log))
    }

    /// The assembly file.
    pub(super) fn source(&self) -> Source {
        let file = self.config_file.as_deref();
        Source::new(file.unwrap_or(Path::new(DEFAULT_FILE)), &self.directory)
    }

    /// How documents are read, without anything special.
    pub(super) fn load_options(&self, optimizer: Need) -> LoadOptions<'_> {
        LoadOptions {
            registry: &self.registry,
            environment: &self.environment,
            flags: &self.flags,
            optimizer,
            words: None,
            keep_given: false,
        }
    }

    /// All servos of the assembly file; tells of what is odd about it.
    pub(super) fn load(&self, options: &LoadOptions<'_>) -> Result<AssemblyConfig, Failure> {
        let source = self.source();
        let assembly =
            config::load(&source, options).map_err(|error| self.load_failure(&source, error))?;
        for warning in &assembly.warnings {
            tracing::warn!("{}: {warning}", source.name);
        }
        for note in &assembly.notes {
            tracing::info!("{}: {note}", source.name);
        }
        logging::name_servos(assembly.servos.len() > 1);
        Ok(assembly)
    }

    fn load_failure(&self, source: &Source, error: LoadError) -> Failure {
        match error {
            LoadError::Source(SourceError::Missing(name)) => {
                let file = source.path.as_deref().unwrap_or(Path::new(&name));
                let hint = if self.config_file.is_some() {
                    ""
                } else {
                    ": make one with `servo init`, name one with --config-file, or try `make demo` in a checkout"
                };
                Failure::Usage(format!(
                    "Invalid value: Config file '{}' does not exist{hint}",
                    file.display()
                ))
            }
            LoadError::Source(SourceError::Directory(_)) | LoadError::Flags(_) => {
                Failure::Usage(error.to_string())
            }
            other => Failure::Failed(other.to_string()),
        }
    }

    /// The servos that the command is for: all, or the one that was named.
    pub(super) fn servos(&self, options: &LoadOptions<'_>) -> Result<Selection, Failure> {
        self.select(self.load(options)?)
    }

    /// As [`Context::servos`], without telling of what is odd about the file: for those who only
    /// look something up before a command that tells.
    pub(super) fn quiet_servos(&self, options: &LoadOptions<'_>) -> Result<Selection, Failure> {
        let source = self.source();
        let assembly =
            config::load(&source, options).map_err(|error| self.load_failure(&source, error))?;
        self.select(assembly)
    }

    fn select(&self, assembly: AssemblyConfig) -> Result<Selection, Failure> {
        let mut servos = assembly.servos;
        let several = servos.len() > 1;
        if let Some(name) = &self.name {
            servos.retain(|servo| *servo.name == **name);
            if servos.is_empty() {
                return Err(Failure::Usage(format!(
                    "No servo was found named \"{name}\""
                )));
            }
        }
        Ok(Selection { servos, several })
    }

    /// What `--limit` lets servos do at a time: a permit for each command that is carried out
    /// (`spec/optimizer-protocol.md` §17).
    pub(super) fn commands(&self) -> Option<Arc<Semaphore>> {
        self.limit
            .map(|limit| Arc::new(Semaphore::new(limit.get().min(Semaphore::MAX_PERMITS))))
    }

    /// As [`Context::servos`], and no more of them than `--limit` allows: for commands that act once
    /// and end.
    pub(super) fn running_servos(&self, options: &LoadOptions<'_>) -> Result<Selection, Failure> {
        let mut selection = self.servos(options)?;
        if let Some(limit) = self.limit
            && selection.servos.len() > limit.get()
        {
            tracing::warn!(
                "concurrent servo execution limited to {limit}: declining to run {} configured servos",
                selection.servos.len() - limit.get()
            );
            selection.servos.truncate(limit.get());
        }
        Ok(selection)
    }

    /// The connectors that words of a command name.
    pub(super) fn descriptors(words: &[String]) -> Result<Option<Descriptors>, Failure> {
        if words.is_empty() {
            return Ok(None);
        }
        Descriptors::of_words(words)
            .map(Some)
            .map_err(Failure::Usage)
    }

    /// Whether a variable is set to a word that means yes.
    pub(super) fn is_set(&self, variable: &str) -> Result<bool, Failure> {
        truth(&self.environment, variable)
    }
}

/// What is asked for in place of a command, if anything is.
pub(super) fn in_place_of_command(matches: &ArgMatches) -> Option<InPlaceOfCommand> {
    let options = RootOptions::from_arg_matches(matches).ok()?;
    match options.show_completion {
        Some(shell) => Some(InPlaceOfCommand::ShowCompletion(shell)),
        None => options
            .install_completion
            .then_some(InPlaceOfCommand::InstallCompletion),
    }
}

/// The assembly file of a command line whose command is not known yet, if that can be told.
pub(super) fn assembly_file(matches: &ArgMatches) -> Option<Source> {
    let options = RootOptions::of(matches).ok()?;
    let directory = std::env::current_dir().ok()?;
    let (dotenv, _) = config::read_dotenv(&directory, &options.dotenv()).ok()?;
    let environment = Environment::of_process(dotenv);
    let daemon = DaemonConfig::load_with(&options.daemon_file(&environment), &environment).ok()?;
    let file = options.config_file(&environment, &daemon);
    let file = file.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    Some(Source::new(&file, &directory))
}

fn limit(text: &str) -> Result<NonZeroUsize, String> {
    let number = text.parse();
    number.map_err(|_| format!("'{text}' is not a number of at least 1"))
}

fn truth(environment: &Environment, variable: &str) -> Result<bool, Failure> {
    let Some(text) = environment.get(variable) else {
        return Ok(false);
    };
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
        _ => Err(Failure::Usage(format!(
            "Invalid value for the variable {variable}: '{text}' is neither true nor false"
        ))),
    }
}

impl RootOptions {
    /// Those that stand before the command, and of some also those that stand after it.
    fn of(matches: &ArgMatches) -> Result<Self, Failure> {
        let mut options =
            Self::from_arg_matches(matches).map_err(|e| Failure::Usage(e.to_string()))?;
        let mut inside = matches;
        while let Some((_, deeper)) = inside.subcommand() {
            let late = |id: &str| deeper.try_get_one::<String>(id).ok().flatten().cloned();
            if let Some(file) = late(LATE_CONFIG_FILE) {
                options.config_file = Some(PathBuf::from(file));
            }
            options.log_level = late(LATE_LOG_LEVEL).or(options.log_level);
            options.name = late(LATE_NAME).or(options.name);
            if let Some(limit) = late(LATE_LIMIT) {
                let limit = self::limit(&limit).map_err(|problem| {
                    Failure::Usage(format!("Invalid value for '--limit': {problem}"))
                })?;
                options.limit = Some(limit);
            }
            options.no_color |= deeper
                .try_get_one::<bool>(LATE_NO_COLOR)
                .ok()
                .flatten()
                .is_some_and(|set| *set);
            inside = deeper;
        }
        if options.token.is_some() && options.token_file.is_some() {
            return Err(Failure::Usage(
                "--token and --token-file cannot both be given".to_owned(),
            ));
        }
        Ok(options)
    }

    /// The assembly file, where it is named anywhere.
    fn config_file(&self, environment: &Environment, daemon: &DaemonConfig) -> Option<PathBuf> {
        let variable = || environment.get("SERVO_CONFIG_FILE").map(PathBuf::from);
        self.config_file
            .clone()
            .or_else(variable)
            .or_else(|| daemon.assembly_file.clone())
    }

    /// The level of the log, where it is named anywhere. What is wrong with it is told with who said it.
    fn level<'a>(
        &'a self,
        environment: &'a Environment,
        log: &'a LogConfig,
    ) -> Result<Option<&'a str>, String> {
        let flag = self.log_level.as_deref();
        let said = flag.map(|level| (level, "'--log-level'"));
        let said = said.or_else(|| {
            let level = environment.get("SERVO_LOG_LEVEL")?;
            Some((level, "the variable SERVO_LOG_LEVEL"))
        });
        match said {
            Some((level, by)) => LogLevel::try_from(level.to_owned())
                .map(|_| Some(level))
                .map_err(|error| format!("Invalid value for {by}: {error}")),
            // That of the file was checked when the file was read.
            None => Ok(log.level.as_ref().map(LogLevel::as_str)),
        }
    }

    fn daemon_file(&self, environment: &Environment) -> PathBuf {
        let variable = || environment.get("SERVO_DAEMON_FILE").map(PathBuf::from);
        let file = self.daemon_file.clone().or_else(variable);
        file.unwrap_or_else(|| PathBuf::from("servo.toml"))
    }

    fn dotenv(&self) -> config::Dotenv {
        if self.no_env_file {
            config::Dotenv::None
        } else if self.env_file.is_empty() {
            config::Dotenv::Nearest
        } else {
            config::Dotenv::Files(self.env_file.clone())
        }
    }
}

/// The assembly file where none is named.
const DEFAULT_FILE: &str = "servo.yaml";

const LATE_CONFIG_FILE: &str = "late-config-file";
const LATE_NAME: &str = "late-name";
const LATE_LOG_LEVEL: &str = "late-log-level";
const LATE_LIMIT: &str = "late-limit";
const LATE_NO_COLOR: &str = "late-no-color";

/// Lets `command` and those below it take the options of the root that may also stand after a
/// command. They are hidden: the root's help tells of them. Of their letters only that of the log
/// level may stand everywhere: commands have their own meanings of the others.
pub(super) fn with_late_options(command: clap::Command, short: bool) -> clap::Command {
    let options = [
        (LATE_CONFIG_FILE, "config-file", 'c'),
        (LATE_NAME, "name", 'n'),
        (LATE_LOG_LEVEL, "log-level", 'l'),
        (LATE_LIMIT, "limit", ' '),
    ];
    let taken: Vec<String> = command
        .get_arguments()
        .filter_map(|a| a.get_long().map(str::to_owned))
        .collect();
    let is_free = |long: &str| taken.iter().all(|l| l != long);
    let letters: Vec<char> = command
        .get_arguments()
        .filter_map(clap::Arg::get_short)
        .collect();
    let mut command = command;
    for (id, long, letter) in options {
        if is_free(long) {
            let mut option = clap::Arg::new(id).long(long).hide(true).value_name("VALUE");
            if (short && letter != ' ') || (letter == 'l' && !letters.contains(&letter)) {
                option = option.short(letter);
            }
            command = command.arg(option);
        }
    }
    if is_free("no-color") {
        let option = clap::Arg::new(LATE_NO_COLOR)
            .long("no-color")
            .hide(true)
            .action(clap::ArgAction::SetTrue);
        command = command.arg(option);
    }
    command.mut_subcommands(|inner| with_late_options(inner, false))
}
