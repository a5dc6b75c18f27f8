//! `servo version`

use super::{Failure, Output, print, print_data};

/// Say which version this is
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// One line
    #[arg(short, long)]
    short: bool,
    /// What it looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn execute(arguments: &Arguments) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    match (arguments.output, arguments.short) {
        (Output::Json | Output::Yaml, _) => print_data(
            arguments.output,
            &serde_json::json!({
                "name": "Servo",
                "version": version,
                "license": "Apache 2.0",
            }),
        ),
        (Output::Table, true) => print(&format!("Servo v{version}")),
        (Output::Table, false) => print(&format!(
            "Servo v{version} (Robust)\n{}\nLicensed under the terms of Apache 2.0",
            env!("CARGO_PKG_DESCRIPTION")
        )),
    }
}
