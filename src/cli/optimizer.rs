//! `servo optimizer`: the embedded optimizer as a server, and a look into trial files.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use servo_embedded::{
    EmbeddedOptimizer, Store, StoreError, Studies,
    optimizer::{list, one},
    server::{self, ServerOptions},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    Failure, Output, print, print_json,
    study::{one_line, short},
    table,
};
use crate::{
    config::whole_file,
    daemon::{self, Signals},
};

/// Larger files are no studies.
const LARGEST: u64 = 10 * 1024 * 1024;

/// Work with the embedded optimizer
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Serve(Serve),
    Trials(Trials),
}

/// Serve the optimizer protocol over HTTP to any number of servos, one study for each optimizer id
#[derive(Debug, clap::Args)]
struct Serve {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8400")]
    listen: SocketAddr,
    /// The file of trials
    #[arg(long, value_name = "FILE", default_value = "servo-trials.db")]
    db: PathBuf,
    /// The studies, a YAML document for each; without one, applications are measured once
    #[arg(long, value_name = "FILE")]
    study: Option<PathBuf>,
    /// A file with the token that servos must bear
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// List the studies of a trial file, or the trials of one of them
#[derive(Debug, clap::Args)]
struct Trials {
    /// The file of trials
    #[arg(long, value_name = "FILE", default_value = "servo-trials.db")]
    db: PathBuf,
    /// The study: its number, or its optimizer id for the latest one
    study: Option<String>,
    /// What it looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn execute(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Serve(arguments) => arguments.execute(),
        Command::Trials(arguments) => arguments.execute(),
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(error.to_string())
}

impl Serve {
    fn execute(&self) -> Result<(), Failure> {
        let studies = match &self.study {
            None => Studies::default(),
            Some(file) => {
                let text = read(file)?;
                Studies::from_yaml(&text).map_err(|e| failed(format!("{}: {e}", file.display())))?
            }
        };
        let token = match &self.token_file {
            None => None,
            Some(file) => {
                let token = read(file)?.trim().to_owned();
                if token.is_empty() {
                    return Err(failed(format!("token file {} is empty", file.display())));
                }
                Some(token.into())
            }
        };
        if token.is_none() && !self.listen.ip().is_loopback() {
            return Err(Failure::Usage(format!(
                "listening on {} without a token would let anyone steer your servos: give --token-file, or listen on 127.0.0.1",
                self.listen
            )));
        }
        daemon::block_on(async {
            let mut signals = Signals::listen().map_err(failed)?;
            let listener = TcpListener::bind(self.listen).await.map_err(|e| {
                failed(format!(
                    "cannot listen on {}: {e}; choose another address with --listen",
                    self.listen
                ))
            })?;
            let address = listener.local_addr().map_err(failed)?;
            let optimizer = EmbeddedOptimizer::start(&self.db, studies).await.map_err(failed)?;
            let options = ServerOptions {
                token,
                ..ServerOptions::default()
            };
            let shutdown = CancellationToken::new();
            let router = server::router(optimizer.clone(), options);
            tracing::info!(%address, database = %self.db.display(), "the optimizer listens; servos reach it with `base_url: http://{address}`");
            let serving = server::serve(listener, router, shutdown.clone());
            tokio::pin!(serving);
            tokio::select! {
                ended = &mut serving => ended.map_err(failed)?,
                signal = signals.next() => {
                    tracing::info!("{}: shutting down", signal.name());
                    shutdown.cancel();
                    // Requests under way are short; a client that keeps its connection open must not keep us.
                    let _ = tokio::time::timeout(Duration::from_secs(5), &mut serving).await;
                }
            }
            Ok(())
        })
        .map_err(failed)?
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    whole_file::read_text(file, LARGEST)
        .map_err(|e| failed(format!("cannot read {}: {e}", file.display())))
}

impl Trials {
    fn execute(&self) -> Result<(), Failure> {
        let store = Store::open_read_only(&self.db).map_err(failed)?;
        match &self.study {
            None => self.studies(&store),
            Some(wanted) => self.trials(&store, wanted),
        }
    }

    fn studies(&self, store: &Store) -> Result<(), Failure> {
        let studies = list(store).map_err(failed)?;
        if self.output == Output::Json {
            return print_json(&studies);
        }
        let rows = studies
            .iter()
            .map(|study| {
                [
                    study.id.to_string(),
                    study.optimizer.clone(),
                    study.objective.clone().unwrap_or_else(|| "-".to_owned()),
                    format!("{}/{}", study.finished, study.trials),
                    study
                        .verdict
                        .clone()
                        .unwrap_or_else(|| "under way".to_owned()),
                ]
            })
            .collect();
        print(&table::render(
            ["STUDY", "OPTIMIZER", "OBJECTIVE", "FINISHED", "VERDICT"],
            rows,
        ))
    }

    fn trials(&self, store: &Store, wanted: &str) -> Result<(), Failure> {
        let Some(id) = resolve(store, wanted).map_err(failed)? else {
            return Err(Failure::Usage(format!(
                "{} holds no study '{wanted}': see `servo optimizer trials --db {0}`",
                self.db.display()
            )));
        };
        let Some((study, trials)) = one(store, id).map_err(failed)? else {
            return Err(Failure::Usage(format!(
                "{} holds no study {id}",
                self.db.display()
            )));
        };
        if self.output == Output::Json {
            return print_json(&serde_json::json!({"study": study, "trials": trials}));
        }
        let rows = trials
            .iter()
            .map(|trial| {
                [
                    trial.number.to_string(),
                    trial.purpose.to_owned(),
                    trial.state.as_str().to_owned(),
                    trial.objective.map_or_else(|| "-".to_owned(), short),
                    trial.settings.to_string(),
                    trial
                        .message
                        .as_deref()
                        .map(one_line)
                        .unwrap_or_else(|| trial.violated.join(", ")),
                ]
            })
            .collect();
        print(&table::render(
            [
                "TRIAL",
                "PURPOSE",
                "STATE",
                "OBJECTIVE",
                "SETTINGS",
                "REMARK",
            ],
            rows,
        ))
    }
}

/// The id of the wanted study: its number, or the latest of an optimizer id.
fn resolve(store: &Store, wanted: &str) -> Result<Option<i64>, StoreError> {
    if let Ok(number) = wanted.parse::<i64>() {
        return Ok(Some(number));
    }
    Ok(store.latest_study(wanted)?.map(|study| study.id))
}
