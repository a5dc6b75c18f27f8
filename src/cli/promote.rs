//! `servo promote`

use serde_json::json;
use servo_dispatch::{DispatchOptions, Promote};
use servo_messages::Duration;

use super::{
    Context, Failure, Output,
    live::{self, LiveServo},
    table,
};

/// Make the present tuning configuration that of the main application
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How long it may take
    #[arg(long, value_name = "DURATION", default_value = "30m")]
    timeout: String,
    /// What it looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let timeout: Duration = arguments
        .timeout
        .parse()
        .map_err(|e| Failure::Usage(format!("invalid timeout parameter: {e}")))?;
    live::with_servos(context, async |servo: LiveServo| {
        let options = DispatchOptions {
            timeout: timeout.as_std(),
            ..servo.options(&[])
        };
        let outcome = servo.dispatcher.dispatch(Promote, options).await;
        let promoted: Vec<String> = live::results::<Promote>(outcome)?
            .into_iter()
            .map(|result| result.connector.to_string())
            .collect();
        if promoted.is_empty() {
            return Err(Failure::Failed(
                "promotion failed: no connector handled the request".to_owned(),
            ));
        }
        match arguments.output {
            Output::Json | Output::Yaml => {
                servo.print_data(arguments.output, json!({"promoted": promoted}))
            }
            Output::Table => {
                let rows = promoted
                    .into_iter()
                    .map(|connector| [connector, "promoted".to_owned()])
                    .collect();
                servo.print(&table::render(["CONNECTOR", "STATUS"], rows))
            }
        }
    })
}
