//! `servo adjust`

use std::cell::{Cell, RefCell};

use serde_json::json;
use servo_dispatch::{Adjust, Components, Describe, DispatchOptions, Scope};
use servo_messages::{
    Adjustment, Component, Control, Cores, Description, Duration, Memory, Setting, SettingError,
    SettingValue,
};
use servo_shape::nearest;

use super::{
    Context, Failure, Output, describe,
    live::{self, LiveServo},
    table,
};

/// Change settings
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What to change, such as web.workers=4 or main.mem=512Mi
    #[arg(required = true, value_name = "COMPONENT.SETTING=VALUE")]
    adjustments: Vec<String>,
    /// Do not check the values against what the components accept
    #[arg(long)]
    force: bool,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// How long it may take
    #[arg(long, value_name = "DURATION", default_value = "30m")]
    timeout: String,
    /// What it looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    // What no components can make right is refused before anything starts.
    for text in &arguments.adjustments {
        let _: Adjustment = text
            .parse()
            .map_err(|e: servo_messages::AdjustmentParseError| Failure::Usage(e.to_string()))?;
    }
    let timeout: Duration = arguments
        .timeout
        .parse()
        .map_err(|e| Failure::Usage(format!("invalid timeout parameter: {e}")))?;
    let strangers = RefCell::new(Vec::new());
    let handled = Cell::new(false);
    live::with_servos(context, async |servo: LiveServo| {
        let adjusting = servo.answering::<Adjust>();
        if adjusting.is_empty() {
            return Err(nobody());
        }
        let components = components(&servo).await?;
        if servo.is_one_of_several() && !concerns(&components, &arguments.adjustments) {
            // Another servo may have what is meant.
            strangers.borrow_mut().extend(components);
            return Ok(());
        }
        handled.set(true);
        let changes = arguments
            .adjustments
            .iter()
            .map(|text| Change::of(text, &components, arguments.force))
            .collect::<Result<Vec<_>, _>>()?;
        if arguments.dry_run {
            return show_changes(&servo, arguments.output, &changes);
        }
        let event = Adjust {
            adjustments: changes.into_iter().map(|c| c.adjustment).collect(),
            control: Control::default(),
        };
        let options = DispatchOptions {
            timeout: timeout.as_std(),
            ..servo.options(&[])
        };
        let outcome = servo.dispatcher.dispatch(event, options).await;
        let adjusted: Vec<(String, Description)> = live::results::<Adjust>(outcome)?
            .into_iter()
            .filter_map(|r| Some((r.connector.to_string(), r.value.ok()?)))
            .collect();
        if adjusted.is_empty() {
            return Err(nobody());
        }
        match arguments.output {
            Output::Json | Output::Yaml => {
                let whole = describe::whole(adjusted);
                servo.print_data(arguments.output, whole.to_wire())
            }
            Output::Table => {
                let rows = adjusted
                    .iter()
                    .map(|(connector, d)| [connector.clone(), describe::settings(d).join("\n")])
                    .collect();
                servo.print(&table::render(["CONNECTOR", "SETTINGS"], rows))
            }
        }
    })?;
    match arguments.adjustments.first() {
        Some(first) if !handled.get() => {
            Change::of(first, &strangers.into_inner(), arguments.force).map(drop)
        }
        _ => Ok(()),
    }
}

/// Whether an adjustment is of one of `components`.
fn concerns(components: &[Component], adjustments: &[String]) -> bool {
    let names = || components.iter().map(|c| c.name.as_str());
    adjustments.iter().any(|text| {
        let adjustment = Adjustment::parse(text, names());
        adjustment.is_ok_and(|a| names().any(|name| name == a.component))
    })
}

fn nobody() -> Failure {
    Failure::Failed("adjustment failed: no connector handled the request".to_owned())
}

/// What can be adjusted: what connectors say when they are asked for components, and of those that
/// adjust without answering that, what they describe.
async fn components(servo: &LiveServo) -> Result<Vec<Component>, Failure> {
    let outcome = servo
        .dispatcher
        .dispatch(Components, servo.options(&[]))
        .await;
    let mut whole = Description::default();
    for result in live::results::<Components>(outcome)? {
        whole.merge(Description {
            components: result.value.unwrap_or_default(),
            metrics: Vec::new(),
        });
    }
    let telling = servo.answering::<Components>();
    let adjusting = servo.answering::<Adjust>();
    let silent: Vec<_> = adjusting.difference(&telling).cloned().collect();
    if !silent.is_empty() {
        let options = DispatchOptions {
            scope: Scope::Only(silent),
            ..servo.options(&[])
        };
        let event = Describe {
            control: Control::default(),
        };
        let outcome = servo.dispatcher.dispatch(event, options).await;
        for result in live::results::<Describe>(outcome)? {
            whole.merge(result.value.unwrap_or_default());
        }
    }
    Ok(whole.components)
}

/// An adjustment of a setting that exists.
struct Change {
    adjustment: Adjustment,
    setting: Setting,
}

impl Change {
    /// Reads `text`, and refuses what no component would take.
    fn of(text: &str, components: &[Component], force: bool) -> Result<Self, Failure> {
        let names: Vec<&str> = components.iter().map(|c| c.name.as_str()).collect();
        let mut adjustment = Adjustment::parse(text, names.iter().copied())
            .map_err(|e| Failure::Usage(e.to_string()))?;
        let Some(component) = components.iter().find(|c| c.name == adjustment.component) else {
            return Err(unknown(
                format!("no component found named '{}'", adjustment.component),
                &adjustment.component,
                &names,
            ));
        };
        let Some(setting) = component.setting(&adjustment.setting) else {
            let names: Vec<&str> = component.settings.iter().map(Setting::name).collect();
            let (name, wanted) = (&component.name, &adjustment.setting);
            return Err(unknown(
                format!("component '{name}' has no setting '{wanted}'"),
                wanted,
                &names,
            ));
        };
        adjustment.value = in_unit_of(setting, adjustment.value);
        if !force {
            setting
                .accepts(&adjustment.value)
                .map_err(|error| refused(&component.name, setting, &error))?;
        }
        Ok(Self {
            adjustment,
            setting: setting.clone(),
        })
    }
}

fn unknown(problem: String, name: &str, known: &[&str]) -> Failure {
    let hint = match nearest(name, known.iter().copied()) {
        Some(near) => format!(" (did you mean '{near}'?)"),
        None => String::new(),
    };
    let known = if known.is_empty() {
        "there are none".to_owned()
    } else {
        format!("there are {}", known.join(", "))
    };
    Failure::Failed(format!("{problem}{hint}: {known}"))
}

/// A quantity with a suffix, such as `512Mi`, as the number that travels on the wire.
fn in_unit_of(setting: &Setting, value: SettingValue) -> SettingValue {
    let SettingValue::Text(text) = &value else {
        return value;
    };
    let number = match (setting, setting.unit()) {
        (Setting::Range(_), Some("cores")) => text.parse().map(Cores::to_number).ok(),
        (Setting::Range(_), Some("GiB")) => text.parse().map(Memory::to_number).ok(),
        _ => None,
    };
    number.map_or(value, SettingValue::Number)
}

fn refused(component: &str, setting: &Setting, error: &SettingError) -> Failure {
    let hint = match error {
        // A number of MiB, as old documents have it.
        SettingError::OutOfRange { value, max, .. }
            if setting.unit() == Some("GiB") && value > max =>
        {
            format!("; a number alone is GiB: write {value}Mi for MiB")
        }
        _ => String::new(),
    };
    Failure::Failed(format!("component '{component}': {error}{hint}"))
}

fn show_changes(servo: &LiveServo, output: Output, changes: &[Change]) -> Result<(), Failure> {
    match output {
        Output::Json | Output::Yaml => {
            let changes: Vec<_> = changes
                .iter()
                .map(
                    |Change {
                         adjustment,
                         setting,
                     }| {
                        json!({
                            "component": adjustment.component,
                            "setting": adjustment.setting,
                            "present": setting.value().map(|v| number_or_text(&v)),
                            "wanted": number_or_text(&adjustment.value),
                        })
                    },
                )
                .collect();
            servo.print_data(output, json!({"dry_run": true, "adjustments": changes}))
        }
        Output::Table => {
            let rows = changes
                .iter()
                .map(
                    |Change {
                         adjustment,
                         setting,
                     }| {
                        [
                            adjustment.selector().to_string(),
                            describe::value(setting),
                            describe::human(&adjustment.value, setting.unit()),
                        ]
                    },
                )
                .collect();
            servo.print(&table::render(["SETTING", "PRESENT", "WANTED"], rows))
        }
    }
}

fn number_or_text(value: &SettingValue) -> serde_json::Value {
    match value {
        SettingValue::Number(number) => json!(number),
        SettingValue::Text(text) => json!(text),
    }
}
