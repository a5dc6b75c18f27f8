//! `servo adjust`

use std::time::Duration;

use servo_dispatch::{Adjust, Components};
use servo_messages::{Adjustment, Component, Control, Description};

use super::{Context, Failure, Output, describe, live, print_data, table};

/// Change settings
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What to change, such as web.workers=4
    #[arg(required = true, value_name = "COMPONENT.SETTING=VALUE")]
    adjustments: Vec<String>,
    /// Do not check the values against what the components accept
    #[arg(long)]
    force: bool,
    /// What it looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    live::with_servos(context, async |servo| {
        let components: Vec<Component> = servo
            .dispatcher
            .dispatch(Components, servo.options(&[]))
            .await
            .map_err(live::failure)?
            .values()
            .flatten()
            .collect();
        let adjustments = arguments
            .adjustments
            .iter()
            .map(|text| {
                let adjustment =
                    Adjustment::parse(text, components.iter().map(|c| c.name.as_str()))
                        .map_err(|e| Failure::Usage(e.to_string()))?;
                check(&adjustment, &components, arguments.force)?;
                Ok(adjustment)
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        let mut options = servo.options(&[]);
        options.timeout = Duration::from_secs(1800);
        let event = Adjust {
            adjustments,
            control: Control::default(),
        };
        let results = servo
            .dispatcher
            .dispatch(event, options)
            .await
            .map_err(live::failure)?
            .results;
        if results.is_empty() {
            return Err(Failure::Failed(
                "adjustment failed: no connector handled the request".to_owned(),
            ));
        }
        let adjusted: Vec<(String, Description)> = results
            .into_iter()
            .filter_map(|r| Some((r.connector.to_string(), r.value.ok()?)))
            .collect();
        match arguments.output {
            Output::Json | Output::Yaml => {
                let mut whole = Description::default();
                for (_, description) in adjusted {
                    for warning in whole.merge(description) {
                        tracing::warn!("{warning}");
                    }
                }
                print_data(arguments.output, &whole.to_wire())
            }
            Output::Table => {
                let rows = adjusted
                    .iter()
                    .map(|(connector, d)| [connector.clone(), describe::settings(d).join("\n")])
                    .collect();
                servo.print(&table::render(["CONNECTOR", "SETTINGS"], rows))
            }
        }
    })
}

/// Refuses what no component would take, before anything is touched.
fn check(adjustment: &Adjustment, components: &[Component], force: bool) -> Result<(), Failure> {
    let names = |names: Vec<&str>| names.join(", ");
    let Some(component) = components.iter().find(|c| c.name == adjustment.component) else {
        return Err(Failure::Usage(format!(
            "no component found named '{}': there are {}",
            adjustment.component,
            names(components.iter().map(|c| c.name.as_str()).collect()),
        )));
    };
    let Some(setting) = component.setting(&adjustment.setting) else {
        return Err(Failure::Usage(format!(
            "component '{}' has no setting '{}': it has {}",
            component.name,
            adjustment.setting,
            names(component.settings.iter().map(|s| s.name()).collect()),
        )));
    };
    if force {
        return Ok(());
    }
    setting
        .accepts(&adjustment.value)
        .map_err(|e| Failure::Usage(e.to_string()))
}
