//! `servo run`

use std::{
    collections::{BTreeSet, HashSet},
    io::{self, IsTerminal},
    sync::Arc,
};

use servo_embedded::{StudyResult, result::Applied};
use servo_messages::Proxies;

use super::{
    Context, Failure, Output, Selection, check, print, print_json, print_yaml, say,
    study::{Progress, applied, results},
};
use crate::{
    config::{Need, OptimizerConfig, ServoConfig},
    connectors::SERVO,
    daemon::{
        self, Plan, Polls, Study, Unfit,
        banner::{self, Banner, Servos},
        run::Ended,
    },
};

/// Connect the servos to their optimizers and do as these say
///
/// With embedded optimizers only, it ends when their studies do, and prints the results; else it
/// runs until SIGTERM or SIGINT.
///
/// SIGHUP has it read its configuration again; servos that stay as they are go on undisturbed.
/// SIGUSR1 has it log the supervision tree.
///
/// Exit codes: 0 ended as it was told, by SIGTERM or SIGINT or over HTTP, or with its studies;
/// 1 checks failed, or no servo could start; 2 wrong usage; 128 + N ended at once by a second signal N
/// (130 SIGINT, 143 SIGTERM), or by the first one in the middle of a study or of checks.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Run the checks first, and the servos only when all pass [env var: SERVO_RUN_CHECK]
    #[arg(short, long)]
    check: bool,
    /// Run the checks, and no servos
    #[arg(short, long)]
    dry_run: bool,
    /// Connect, and take no commands
    #[arg(long)]
    no_poll: bool,
    /// Ask before connecting and before each command
    #[arg(short, long, conflicts_with = "no_poll")]
    interactive: bool,
    /// End with the first failure [env var: SERVO_RUN_DEBUG]
    #[arg(long, alias = "DEBUG")]
    debug: bool,
    /// Do not begin with the program's name and what it runs [env var: SERVO_NO_BANNER]
    #[arg(long)]
    no_banner: bool,
    /// What the results look like
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// How servos are run.
#[derive(Debug, Default)]
pub(super) struct How {
    pub(super) output: Output,
    pub(super) polls: Polls,
    pub(super) debug: bool,
    /// Servos of the file that cannot run, as has been told.
    pub(super) unfit: HashSet<Arc<str>>,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    // Before the configuration is read, which may take a second.
    let requests = listen()?;
    let mut how = How {
        output: arguments.output,
        polls: match (arguments.no_poll, arguments.interactive) {
            (true, _) => Polls::Never,
            (false, true) => Polls::Asking,
            (false, false) => Polls::Always,
        },
        debug: arguments.debug || context.is_set("SERVO_RUN_DEBUG")?,
        unfit: HashSet::new(),
    };
    let check = arguments.check || context.is_set("SERVO_RUN_CHECK")?;
    let no_banner = arguments.no_banner || context.is_set("SERVO_NO_BANNER")?;
    if how.polls == Polls::Asking && !io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "--interactive asks questions, but stdin is no terminal".to_owned(),
        ));
    }
    let options = context.load_options(Need::Required);
    let Selection { servos, several } = context.servos(&options)?;
    let (servos, unfit) = fit(servos)?;
    // The result of a dry run is its table.
    if !no_banner && (!arguments.dry_run || io::stdout().is_terminal()) {
        show_banner(context, &servos, arguments.output)?;
    }
    if check || arguments.dry_run {
        check::before_run(
            context,
            &servos,
            arguments.output,
            arguments.dry_run,
            several,
        )?;
    }
    if arguments.dry_run {
        return Ok(());
    }
    how.unfit = unfit;
    go(context, servos, several, &how, requests)
}

/// Listens for what may be asked of a running program.
pub(super) fn listen() -> Result<daemon::Requests, Failure> {
    daemon::Requests::listen()
        .map_err(|e| Failure::Failed(format!("cannot listen to signals: {e}")))
}

/// The servos that can run, and the names of the others. What keeps these from it is logged.
///
/// # Errors
/// When none can.
fn fit(servos: Vec<ServoConfig>) -> Result<(Vec<ServoConfig>, HashSet<Arc<str>>), Failure> {
    let (fit, refused) = Unfit::sift(servos, Unfit::of);
    if fit.is_empty() {
        let reasons: Vec<String> = refused.iter().map(|(_, why)| why.to_string()).collect();
        return Err(Failure::Failed(reasons.join("\n")));
    }
    for (servo, why) in &refused {
        tracing::error!(%servo, "{why}");
    }
    let unfit = refused.into_iter().map(|(servo, _)| servo).collect();
    Ok((fit, unfit))
}

/// Runs servos that can run.
pub(super) fn go(
    context: &Context,
    servos: Vec<ServoConfig>,
    several: bool,
    how: &How,
    requests: daemon::Requests,
) -> Result<(), Failure> {
    let output = how.output;
    let plan = Plan {
        daemon: context.daemon.clone(),
        polls: how.polls,
        debug: how.debug,
        commands: context.commands(),
        source: context.rereading(),
        unfit: how.unfit.clone(),
        registry: context.registry.clone(),
    };
    let files = trial_files(&servos);
    // Those that go on when their studies are over are told of at once, for there is no end.
    let lasting = servos.iter().any(|servo| match &servo.optimizer {
        Some(OptimizerConfig::Embedded(config)) => config.keep_running,
        _ => true,
    });
    // Without studies there are no trials to tell of.
    let studies = servos
        .iter()
        .all(|servo| matches!(servo.optimizer, Some(OptimizerConfig::Embedded(_))));
    let mut progress = Progress::new(studies && output == Output::Table, several, context.colour);
    let mut tried = BTreeSet::new();
    let ended = daemon::block_on(daemon::run(servos, plan, requests, |study| match study {
        Study::Trial(event) => {
            progress.trial(&event);
            tried.insert(event.optimizer);
        }
        Study::Finished(result) if lasting => match output {
            Output::Table => progress.tell(&told(&result, &tried)),
            Output::Json => drop(print_json(&*result)),
            Output::Yaml => drop(print_yaml(&*result)),
        },
        Study::Finished(_) => {}
    }))
    .map_err(|e| Failure::Failed(e.to_string()))?
    .map_err(|e| Failure::Failed(e.to_string()))?;
    progress.end();
    match ended {
        Ended::Finished(all) => {
            match output {
                Output::Json => match all.as_slice() {
                    [one] => print_json(&**one)?,
                    many => print_json(&many.iter().map(|r| &**r).collect::<Vec<_>>())?,
                },
                Output::Yaml => match all.as_slice() {
                    [one] => print_yaml(&**one)?,
                    many => print_yaml(&many.iter().map(|r| &**r).collect::<Vec<_>>())?,
                },
                Output::Table => {
                    for result in &all {
                        print(&told(result, &tried))?;
                    }
                }
            }
            match all.iter().find_map(|result| unfit(result)) {
                Some(failure) => Err(Failure::Failed(failure)),
                None => Ok(()),
            }
        }
        // What was to end by itself has not done what it was asked to; a daemon has.
        Ended::Signal {
            signal,
            unfinished: true,
        } => {
            if !files.is_empty() {
                say(&format!(
                    "the trials are kept in {files}: the next `servo run` goes on with them"
                ));
            }
            Err(Failure::Interrupted(signal))
        }
        Ended::Signal { .. } | Ended::Declined | Ended::Quit => Ok(()),
    }
}

/// Says what runs: on stdout as ServoX does, or in the log where stdout is for results, of a study or
/// for programs.
fn show_banner(context: &Context, servos: &[ServoConfig], output: Output) -> Result<(), Failure> {
    let terminal = io::stdout().is_terminal() && output == Output::Table;
    let variable = |name: &str| context.environment.get(name).map(str::to_owned);
    let shown = Banner {
        version: SERVO.version.to_owned(),
        cryptonym: None,
        connectors: connectors(servos),
        config_file: context.source().path.unwrap_or_default(),
        servos: match servos {
            [one] => banner_of(one),
            many => Servos::Several(many.len()),
        },
        font: variable("SERVO_BANNER_FONT"),
        colour: variable("SERVO_BANNER_COLOR"),
        terminal,
        colours: context.colour,
    };
    let mut text = Vec::new();
    banner::print(&shown, &mut text)
        .map_err(|e| Failure::Failed(format!("cannot show what runs: {e}")))?;
    let text = String::from_utf8_lossy(&text);
    let studies = servos
        .iter()
        .all(|servo| matches!(servo.optimizer, Some(OptimizerConfig::Embedded(_))));
    if output == Output::Table && (terminal || !studies) {
        return print(text.strip_suffix('\n').unwrap_or(&text));
    }
    for line in text.lines().filter(|line| !line.is_empty()) {
        tracing::info!("{line}");
    }
    Ok(())
}

/// `<command>-<version>` of each type that runs.
fn connectors(servos: &[ServoConfig]) -> Vec<String> {
    let types: BTreeSet<String> = servos
        .iter()
        .flat_map(|servo| &servo.connectors)
        .map(|(_, connector)| {
            let metadata = connector.metadata();
            let command = metadata.default_name.replace('_', "-");
            format!("{command}-{}", metadata.version)
        })
        .collect();
    types.into_iter().collect()
}

fn banner_of(servo: &ServoConfig) -> Servos {
    let (base_url, url) = match &servo.optimizer {
        Some(OptimizerConfig::Opsani(config)) => {
            let own = |url: &String| url != "https://api.opsani.com";
            // No address holds a credential: such a one is refused when it is read.
            (config.base_url.clone().filter(own), config.url.clone())
        }
        _ => (None, None),
    };
    let optimizer = servo.optimizer.as_ref().and_then(OptimizerConfig::id);
    let proxies = match &servo.settings.proxies {
        None => Vec::new(),
        Some(Proxies::All(proxy)) => vec![proxy.to_string()],
        Some(Proxies::ByPattern(patterns)) => patterns
            .iter()
            .filter_map(|(pattern, proxy)| Some(format!("{pattern} {}", proxy.as_ref()?)))
            .collect(),
    };
    Servos::One {
        uid: servo.servo_uid.clone(),
        optimizer: optimizer.unwrap_or_else(|| servo.name.to_string()),
        base_url,
        url,
        proxies,
    }
}

/// What came of a study, and what to do where nothing was done.
fn told(result: &StudyResult, tried: &BTreeSet<String>) -> String {
    let mut text = results(result);
    if result.verdict.is_answer()
        && result.objective.is_some()
        && !tried.contains(&result.optimizer)
    {
        text.push_str(
            "\nnote: all trials were made before; raise `trials` to go on, or give another `database` to begin anew",
        );
    }
    text
}

/// Why a study that is over has failed, if it has.
fn unfit(result: &StudyResult) -> Option<String> {
    if !result.verdict.is_answer() {
        return Some(format!("{}: {}", result.optimizer, result.verdict));
    }
    matches!(result.applied, Applied::Unknown { .. })
        .then(|| format!("{}: applied {}", result.optimizer, applied(&result.applied)))
}

fn trial_files(servos: &[ServoConfig]) -> String {
    let files: BTreeSet<String> = servos
        .iter()
        .filter_map(|servo| match &servo.optimizer {
            Some(OptimizerConfig::Embedded(config)) => Some(config.database.display().to_string()),
            _ => None,
        })
        .collect();
    files.into_iter().collect::<Vec<_>>().join(", ")
}
