//! The program: settings, the service, an exit code.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use quickstart_service::{
    server::{ServiceError, serve},
    settings::Settings,
};

fn main() -> ExitCode {
    match run(Settings::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(settings: Settings) -> Result<(), ServiceError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| ServiceError::Start {
            what: "the runtime",
            source,
        })?
        .block_on(serve(settings, log))
}

/// One line on stderr. A reader that went away is no reason to stop serving.
fn log(line: String) {
    let _ = writeln!(io::stderr(), "{line}");
}
