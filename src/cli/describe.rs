//! `servo describe`

use servo_dispatch::Describe;
use servo_messages::{Control, Cores, Description, Memory, Setting, SettingValue};

use super::{
    Context, Failure, Output,
    live::{self, LiveServo},
    table,
};

/// Say what can be adjusted and measured, with present values
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only these connectors
    pub(super) connectors: Vec<String>,
    /// What it looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { connectors, output } = arguments;
    live::with_connectors(context, connectors, async |servo: LiveServo| {
        servo.tell_of_silent::<Describe>(connectors);
        let event = Describe {
            control: Control::default(),
        };
        let options = servo.options(connectors);
        let outcome = servo.dispatcher.dispatch(event, options).await;
        let described: Vec<(String, Description)> = live::results::<Describe>(outcome)?
            .into_iter()
            .filter_map(|r| Some((r.connector.to_string(), r.value.ok()?)))
            .collect();
        match output {
            Output::Json | Output::Yaml => servo.print_data(*output, whole(described).to_wire()),
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

/// What all connectors describe together.
pub(super) fn whole(described: Vec<(String, Description)>) -> Description {
    let mut whole = Description::default();
    for (_, description) in described {
        for warning in whole.merge(description) {
            tracing::warn!("{warning}");
        }
    }
    whole
}

/// `component.setting=value`, one for each setting.
pub(super) fn settings(description: &Description) -> Vec<String> {
    description
        .components
        .iter()
        .flat_map(|component| {
            component.settings.iter().map(move |setting| {
                format!("{}.{}={}", component.name, setting.name(), value(setting))
            })
        })
        .collect()
}

/// The value of a setting as people write it (`spec/kubernetes.md` §2): `250m`, `256.0Mi`.
pub(super) fn value(setting: &Setting) -> String {
    match setting.value() {
        Some(value) => human(&value, setting.unit()),
        None => "?".to_owned(),
    }
}

/// `value` in `unit` as people write it.
pub(super) fn human(value: &SettingValue, unit: Option<&str>) -> String {
    let quantity = match (unit, value.as_f64()) {
        (Some("cores"), Some(cores)) => Cores::from_cores(cores).map(|cores| cores.to_string()),
        (Some("GiB"), Some(gib)) => Memory::from_gib(gib).map(|memory| {
            // One decimal, unless that would be another amount.
            let human = memory.human();
            if human.parse() == Ok(memory) {
                human
            } else {
                memory.to_string()
            }
        }),
        _ => return value.to_string(),
    };
    quantity.unwrap_or_else(|_| value.to_string())
}

fn metrics(description: &Description) -> Vec<String> {
    description
        .metrics
        .iter()
        .map(|metric| format!("{} ({})", metric.name, metric.unit.symbol()))
        .collect()
}
