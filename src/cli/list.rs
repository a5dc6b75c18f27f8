//! `servo list`

use serde::Serialize;

use super::{Context, Failure, Output, Selection, print, print_data, table};
use crate::{
    config::{Need, OptimizerConfig, ServoConfig},
    connectors::SERVO,
};

/// List the servos of the configuration
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What it looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Serialize)]
struct Row {
    name: String,
    optimizer: Option<String>,
    description: Option<String>,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let Selection { servos, .. } = context.servos(&context.load_options(Need::Required))?;
    let rows: Vec<Row> = servos.iter().map(Row::of).collect();
    if arguments.output != Output::Table {
        return print_data(arguments.output, &rows);
    }
    let rows = rows
        .into_iter()
        .map(|row| {
            [
                row.name,
                row.optimizer.unwrap_or_default(),
                row.description.unwrap_or_default(),
            ]
        })
        .collect();
    print(&table::render(["NAME", "OPTIMIZER", "DESCRIPTION"], rows))
}

impl Row {
    fn of(servo: &ServoConfig) -> Self {
        let described = servo.description.as_deref().or(SERVO.description);
        Self {
            name: servo.name.to_string(),
            optimizer: servo
                .optimizer
                .as_ref()
                .and_then(|optimizer| match optimizer {
                    OptimizerConfig::Embedded(config) => {
                        Some(config.optimizer_id(&servo.name).to_string())
                    }
                    other => other.id(),
                }),
            description: described.map(str::to_owned),
        }
    }
}
