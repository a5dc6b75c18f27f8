//! `servo run`

use std::collections::BTreeSet;

use servo_embedded::{StudyResult, result::Applied};

use super::{
    Context, Failure, Output, Selection, print, print_json, print_yaml,
    study::{Progress, applied, results},
};
use crate::{
    config::{Need, OptimizerConfig, ServoConfig},
    daemon::{self, Study, run::Ended},
};

/// Connect the servos to their optimizers and do as these say
///
/// With embedded optimizers only, it ends when their studies do, and prints the results; else it
/// runs until SIGTERM or SIGINT.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What the results look like
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let options = context.load_options(Need::Required);
    let Selection { servos, several } = context.running_servos(&options)?;
    let output = arguments.output;
    let arbiters = context.daemon.arbiters;
    let files = trial_files(&servos);
    // Those that go on when their studies are over are told of at once, for there is no end.
    let lasting = servos.iter().any(|servo| match &servo.optimizer {
        Some(OptimizerConfig::Embedded(config)) => config.keep_running,
        _ => true,
    });
    let mut progress = Progress::new(output == Output::Table, several, context.colour);
    let mut tried = BTreeSet::new();
    let ended = daemon::block_on(daemon::run(servos, arbiters, |study| match study {
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
                eprintln!("the trials are kept in {files}: the next `servo run` goes on with them");
            }
            Err(Failure::Interrupted(signal))
        }
        Ended::Signal { .. } => Ok(()),
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
