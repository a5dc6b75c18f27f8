//! `servo run`

use super::{
    Context, Failure, Output, print, print_json,
    study::{Progress, results},
};
use crate::daemon::{self, Study, run::Ended};

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
    let servos = context.servos()?;
    let output = arguments.output;
    let arbiters = context.daemon.arbiters;
    let mut progress = Progress::new(output == Output::Table, context.colour);
    let ended = daemon::block_on(daemon::run(servos, arbiters, |study| match study {
        Study::Trial(event) => progress.trial(&event),
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
                Output::Table => {
                    for result in &all {
                        print(&results(result))?;
                    }
                }
            }
            match all.iter().find(|r| !r.verdict.is_answer()) {
                Some(stopped) => Err(Failure::Failed(format!(
                    "{}: {}",
                    stopped.optimizer, stopped.verdict
                ))),
                None => Ok(()),
            }
        }
        // What was to end by itself has not done what it was asked to; a daemon has.
        Ended::Signal {
            signal,
            unfinished: true,
        } => Err(Failure::Interrupted(signal)),
        Ended::Signal { .. } => Ok(()),
    }
}
