//! `servo reload`

use std::time::Duration;

use serde_json::Value;

use super::{
    Context, Failure, Output,
    admin_client::{AdminClient, AdminError, AdminOptions},
    print, print_data,
};
use crate::{config::ReloadCommand, daemon};

/// Have a running daemon read its configuration again, as SIGHUP does
///
/// Exit code: 0 when the reload is finished; 1 when it was refused, and nothing has changed; 69 when
/// no daemon answers.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How long to wait for the end of it [default: 2m, and reload.finish_within of servo.toml where commands may finish]
    #[arg(long, value_name = "DURATION")]
    timeout: Option<servo_messages::Duration>,
    /// What it looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    admin: AdminOptions,
}

/// What a reload takes beside commands that may finish.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let client = AdminClient::new(context, &arguments.admin)?;
    let reload = &context.daemon.reload;
    let within = match (arguments.timeout, reload.command) {
        (Some(given), _) => given.into(),
        (None, ReloadCommand::Cancel) => PATIENCE,
        (None, ReloadCommand::Finish) => PATIENCE + reload.finish_within.get(),
    };
    let answer = daemon::block_on(client.reload(within))
        .map_err(|e| Failure::Failed(e.to_string()))?
        .map_err(failure)?;
    match (arguments.output, answer.get("result")) {
        (Output::Table, Some(Value::String(result))) => print(result),
        (Output::Table, _) => print("reload finished"),
        (output, _) => print_data(output, &answer),
    }
}

fn failure(error: AdminError) -> Failure {
    match error {
        // In the words of the daemon's log.
        AdminError::Refused { text, .. } if text.starts_with("reload refused") => {
            Failure::Failed(text)
        }
        other => other.into(),
    }
}
