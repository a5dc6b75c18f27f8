//! `servo describe`

use servo_dispatch::Describe;
use servo_messages::{Control, Description};

use super::{Context, Failure, Output, live, print_data, table};

/// Say what can be adjusted and measured, with present values
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only these connectors
    connectors: Vec<String>,
    /// What it looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    live::with_servos(context, async |servo| {
        let event = Describe {
            control: Control::default(),
        };
        let outcome = servo
            .dispatcher
            .dispatch(event, servo.options(&arguments.connectors))
            .await
            .map_err(live::failure)?;
        let described: Vec<(String, Description)> = outcome
            .results
            .into_iter()
            .filter_map(|r| Some((r.connector.to_string(), r.value.ok()?)))
            .collect();
        for name in &arguments.connectors {
            if described.iter().all(|(connector, _)| connector != name) {
                eprintln!("{name} does not describe anything");
            }
        }
        match arguments.output {
            Output::Json | Output::Yaml => {
                let mut whole = Description::default();
                for (_, description) in described {
                    for warning in whole.merge(description) {
                        tracing::warn!("{warning}");
                    }
                }
                print_data(arguments.output, &whole.to_wire())
            }
            Output::Table => {
                let rows = described
                    .iter()
                    .map(|(connector, description)| {
                        [
                            connector.clone(),
                            settings(description).join("\n"),
                            metrics(description).join("\n"),
                        ]
                    })
                    .collect();
                servo.print(&table::render(["CONNECTOR", "COMPONENTS", "METRICS"], rows))
            }
        }
    })
}

/// `component.setting=value`, one for each setting.
pub(super) fn settings(description: &Description) -> Vec<String> {
    description
        .components
        .iter()
        .flat_map(|component| {
            component.settings.iter().map(move |setting| {
                let value = setting
                    .value()
                    .map_or_else(|| "?".to_owned(), |v| v.to_string());
                format!("{}.{}={value}", component.name, setting.name())
            })
        })
        .collect()
}

fn metrics(description: &Description) -> Vec<String> {
    description
        .metrics
        .iter()
        .map(|metric| format!("{} ({})", metric.name, metric.unit.symbol()))
        .collect()
}
