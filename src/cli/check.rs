//! `servo check`, and the checks of `servo run`.

mod junit;
mod show;

use std::sync::Arc;

use clap::ValueEnum;
use serde_yaml::Value;
use servo_dispatch::{CheckPolicy, CheckReport, CheckRunEnd, CheckRunOutcome};
use servo_messages::{CheckDelay, ChecksConfig, Duration, HaltOn};

use super::{Context, Failure, Output, Selection, print, print_data, run};
use crate::{
    config::{Need, ServoConfig},
    daemon::{self, Checked, ServoChecks, Teller, ToCheck, Unfit},
};

/// Verify what the servos need, without connecting them
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only these connectors; `servo` is the connection to the optimizer
    pub(super) connectors: Vec<String>,
    /// Only checks of this name, or /regular expression/
    #[arg(short, long, value_name = "NAME")]
    name: Vec<String>,
    /// Only checks of this id, or /regular expression/
    #[arg(short, long, value_name = "ID")]
    id: Vec<String>,
    /// Only checks with this tag
    #[arg(short, long, value_name = "TAG")]
    tag: Vec<String>,
    /// Which failures end the checks of a connector: warning, common, critical, never
    #[arg(long, alias = "halt-on-failed", value_name = "SEVERITY")]
    halt_on: Option<HaltOn>,
    /// Tell and remedy only the first failure at a time
    #[arg(long)]
    check_halting: bool,
    /// A line for each check
    #[arg(short, long)]
    verbose: bool,
    /// No table
    #[arg(short, long)]
    quiet: bool,
    /// Log each result as it changes, in place of a table
    #[arg(short, long)]
    progressive: bool,
    /// Run again until all checks pass, for this long at most [default without TIMEOUT: checks.wait]
    #[arg(short, long, value_name = "TIMEOUT", num_args = 0..=1, value_parser = duration)]
    wait: Option<Option<Duration>>,
    /// The pause between two passes: a duration, or `expo` for 8s, 16s, 32s and so on
    #[arg(short, long, value_name = "DELAY", value_parser = delay)]
    delay: Option<CheckDelay>,
    /// Apply the remedies that checks offer, which is what the file has by default
    #[arg(long, overrides_with = "no_remedy")]
    remedy: bool,
    /// Apply no remedies
    #[arg(long)]
    no_remedy: bool,
    /// Run the servos when all checks pass
    #[arg(long)]
    run: bool,
    /// What it looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// What the results of checks look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For programs and people
    Yaml,
    /// For build servers: XML as JUnit writes it
    Junit,
    /// Not at all
    #[value(skip)]
    None,
}

/// How the results of one servo are told.
#[derive(Clone, Copy, Debug)]
struct Telling {
    /// Whether each result is logged.
    logged: bool,
    /// Whether and how each pass is shown.
    table: Option<Table>,
}

/// What is shown of a pass.
#[derive(Clone, Copy, Debug)]
enum Table {
    /// A row for each connector.
    Short,
    /// A line for each check.
    Long,
}

/// A servo to check, and how its results are told.
struct Subject {
    servo: ServoConfig,
    policy: CheckPolicy,
    telling: Telling,
    then_run: bool,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let mut options = context.load_options(Need::Required);
    // Whether the file itself asks for `progressive` decides.
    options.keep_given = true;
    let Selection { servos, several } = context.running_servos(&options)?;
    known(&servos, &arguments.connectors)?;
    let (fit, refused) = Unfit::sift(servos, Unfit::of);
    let subjects = fit
        .iter()
        .filter(|servo| arguments.concerns(servo))
        .map(|servo| arguments.subject(servo))
        .collect::<Result<Vec<_>, _>>()?;
    let refused: Vec<ServoChecks> = refused
        .into_iter()
        .map(|(servo, why)| ServoChecks {
            servo,
            outcome: Err(why.to_string()),
        })
        .collect();
    check(context, subjects, refused, arguments.output, several)?;
    if arguments.run {
        run::go(context, fit, several, &run::How::default(), run::listen()?)?;
    }
    Ok(())
}

/// Checks `servos` as their own stanzas say, before they are run; `is_all` when nothing follows.
/// Several are told apart.
///
/// # Errors
/// When they are not ready.
pub(super) fn before_run(
    context: &Context,
    servos: &[ServoConfig],
    output: Output,
    is_all: bool,
    several: bool,
) -> Result<(), Failure> {
    let subjects = servos
        .iter()
        .map(|servo| {
            let checks = &servo.checks;
            let telling = Telling {
                logged: true,
                table: (!checks.progressive && !checks.quiet).then_some(Table::of(checks.verbose)),
            };
            subject(servo, checks, telling, !is_all)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let format = match output {
        Output::Json if is_all => Format::Json,
        Output::Yaml if is_all => Format::Yaml,
        // For programs, the results are those of the run.
        Output::Json | Output::Yaml => Format::None,
        Output::Table => Format::Table,
    };
    check(context, subjects, Vec::new(), format, several)
}

fn subject(
    servo: &ServoConfig,
    checks: &ChecksConfig,
    telling: Telling,
    then_run: bool,
) -> Result<Subject, Failure> {
    Ok(Subject {
        servo: servo.clone(),
        policy: CheckPolicy::of(checks).map_err(|e| Failure::Usage(e.to_string()))?,
        telling,
        then_run,
    })
}

/// Runs the checks, and shows what came of them. `refused` are servos that are not ready anyway.
fn check(
    context: &Context,
    subjects: Vec<Subject>,
    refused: Vec<ServoChecks>,
    format: Format,
    several: bool,
) -> Result<(), Failure> {
    let mut tellings = std::collections::HashMap::new();
    let to_check: Vec<ToCheck> = subjects
        .into_iter()
        .map(|subject| {
            let mut telling = subject.telling;
            // What a program reads holds one value.
            telling.table = telling.table.filter(|_| format == Format::Table);
            tellings.insert(subject.servo.name.clone(), telling);
            ToCheck {
                servo: subject.servo,
                policy: subject.policy,
                then_run: subject.then_run,
            }
        })
        .collect();
    let all = if to_check.is_empty() {
        refused
    } else {
        let teller: Teller = Arc::new(move |servo, report| {
            if let Some(telling) = tellings.get(servo) {
                telling.tell(servo, report, several);
            }
        });
        let checks = daemon::check(to_check, context.daemon.arbiters, teller);
        let checked = daemon::block_on(checks)
            .map_err(|e| Failure::Failed(e.to_string()))?
            .map_err(|e| Failure::Failed(e.to_string()))?;
        match checked {
            Checked::Signal(signal) => return Err(Failure::Interrupted(signal)),
            Checked::Done(mut all) => {
                all.extend(refused);
                all
            }
        }
    };
    match format {
        Format::Table | Format::None => {}
        Format::Json | Format::Yaml => {
            let output = if format == Format::Yaml {
                Output::Yaml
            } else {
                Output::Json
            };
            let items: Vec<_> = all.iter().map(show::data).collect();
            match items.as_slice() {
                [one] if !several => print_data(output, one)?,
                many => print_data(output, &many)?,
            }
        }
        Format::Junit => print(&junit::document(&all))?,
    }
    let unable: Vec<&str> = all
        .iter()
        .filter_map(|checks| checks.outcome.as_ref().err().map(String::as_str))
        .collect();
    let outcomes = all.iter().filter_map(|checks| checks.outcome.as_ref().ok());
    if unable.is_empty() && CheckRunOutcome::all_ready(outcomes.clone()) {
        return Ok(());
    }
    if !unable.is_empty() {
        return Err(Failure::Failed(unable.join("\n")));
    }
    let nothing = outcomes
        .clone()
        .all(|outcome| outcome.end == CheckRunEnd::NothingMatched);
    Err(if nothing {
        // It has been logged for each servo.
        Failure::Told
    } else {
        Failure::Failed("the checks did not pass".to_owned())
    })
}

/// Refuses names that no connector of `servos` bears, and that are not the servos' own.
fn known(servos: &[ServoConfig], names: &[String]) -> Result<(), Failure> {
    let names: Vec<String> = names
        .iter()
        .filter(|name| !servos.iter().any(|servo| is_own(servo, name)))
        .cloned()
        .collect();
    super::live::known(servos, &names)
}

/// Whether `name` means the servo itself.
fn is_own(servo: &ServoConfig, name: &str) -> bool {
    name == "servo" || *servo.name == *name
}

impl Arguments {
    /// Whether a servo has something that the words name.
    fn concerns(&self, servo: &ServoConfig) -> bool {
        self.connectors.is_empty() || self.connectors.iter().any(|name| has(servo, name))
    }

    /// What the stanza of `servo` and the words make together.
    fn subject(&self, servo: &ServoConfig) -> Result<Subject, Failure> {
        let mut checks = ChecksConfig::clone(&servo.checks);
        if !self.connectors.is_empty() {
            let own = self.connectors.iter().filter(|name| has(servo, name));
            checks.connectors = Some(own.cloned().collect());
        }
        for (words, key) in [
            (&self.name, &mut checks.name),
            (&self.id, &mut checks.id),
            (&self.tag, &mut checks.tag),
        ] {
            if !words.is_empty() {
                *key = Some(words.clone());
            }
        }
        checks.halt_on = self.halt_on.unwrap_or(checks.halt_on);
        checks.check_halting |= self.check_halting;
        checks.delay = self.delay.unwrap_or(checks.delay);
        checks.remedy = (checks.remedy || self.remedy) && !self.no_remedy;
        checks.wait = match self.wait {
            None => Duration::default(),
            Some(None) => checks.wait,
            Some(Some(wait)) => wait,
        };
        checks.progressive = self.progressive || asks_for_progress(servo);
        let shown = !checks.progressive && !checks.quiet && !self.quiet;
        let telling = Telling {
            logged: checks.progressive && self.output == Format::Table,
            table: shown.then_some(Table::of(checks.verbose || self.verbose)),
        };
        subject(servo, &checks, telling, self.run)
    }
}

fn has(servo: &ServoConfig, name: &str) -> bool {
    is_own(servo, name) || servo.connectors.iter().any(|(own, _)| **own == *name)
}

/// Whether the stanza says `progressive` itself.
fn asks_for_progress(servo: &ServoConfig) -> bool {
    let given = servo
        .given
        .as_ref()
        .and_then(|given| given.document.get("checks"));
    given.and_then(|checks| checks.get("progressive")) == Some(&Value::Bool(true))
}

impl Table {
    fn of(verbose: bool) -> Self {
        if verbose { Self::Long } else { Self::Short }
    }
}

impl Telling {
    fn tell(self, servo: &str, report: &CheckReport<'_>, several: bool) {
        match report {
            CheckReport::PassEnded { results } => {
                let Some(table) = self.table else {
                    return;
                };
                let text = match table {
                    Table::Short => show::short(results),
                    Table::Long => show::long(results),
                };
                let heading = if several {
                    format!("{servo}\n")
                } else {
                    String::new()
                };
                if let Err(failure) = print(&format!("{heading}{text}")) {
                    tracing::error!(servo, "{failure}");
                }
            }
            CheckReport::Passed(_) | CheckReport::Warned(_) | CheckReport::Failed { .. }
                if !self.logged =>
            {
                // The table has the rest.
                if let Some(hint) = report.check().and_then(|of| of.check.hint()) {
                    tracing::info!(servo, "Hint: {hint}");
                }
            }
            report => report.log(servo),
        }
    }
}

// === values of options ===

fn duration(text: &str) -> Result<Duration, String> {
    // As in the file, a number is seconds.
    let seconds = text
        .parse()
        .ok()
        .and_then(|s| Duration::try_from_secs_f64(s).ok());
    match seconds {
        Some(duration) => Ok(duration),
        None => text.parse().map_err(|e| format!("{e}")),
    }
}

fn delay(text: &str) -> Result<CheckDelay, String> {
    match text {
        "expo" => Ok(CheckDelay::Expo),
        _ => duration(text)
            .map(CheckDelay::Fixed)
            .map_err(|e| format!("{e}: expected 'expo' or a duration")),
    }
}
