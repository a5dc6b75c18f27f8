//! `servo show components` and `servo show metrics`: what the attached connectors answer.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use serde_json::Value;
use servo_dispatch::{Components, Metrics};
use servo_messages::{Component, Description, Unit};

use super::{
    super::{Output, live, print_data, table},
    Context, Failure, Of, Serialize, block, label,
};

/// List what can be adjusted
#[derive(Debug, clap::Args)]
pub(super) struct ComponentsArguments {
    /// What it looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// List what can be measured
#[derive(Debug, clap::Args)]
pub(super) struct MetricsArguments {
    /// What it looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Serialize)]
struct ComponentItem {
    connector: String,
    component: String,
    settings: Value,
}

#[derive(Serialize)]
struct MetricItem {
    metric: String,
    unit: &'static str,
    symbol: &'static str,
    connectors: BTreeSet<String>,
}

pub(super) fn components(
    context: &Context,
    arguments: &ComponentsArguments,
) -> Result<(), Failure> {
    let items = RefCell::new(Vec::new());
    live::with_servos(context, async |servo| {
        let outcome = servo
            .dispatcher
            .dispatch(Components, servo.options(&[]))
            .await
            .map_err(live::failure)?;
        let mut found: Vec<(Component, String)> = outcome
            .results
            .into_iter()
            .filter_map(|result| Some((result.connector.to_string(), result.value.ok()?)))
            .flat_map(|(connector, components)| {
                let of_connector = move |component| (component, connector.clone());
                components.into_iter().map(of_connector)
            })
            .collect();
        found.sort_by(|(a, of_a), (b, of_b)| (&a.name, of_a).cmp(&(&b.name, of_b)));
        if arguments.output == Output::Table {
            let rows = found
                .iter()
                .map(|(component, connector)| {
                    [
                        component.name.clone(),
                        settings(component).join("\n"),
                        connector.clone(),
                    ]
                })
                .collect();
            let table = table::render(["COMPONENT", "SETTINGS", "CONNECTOR"], rows);
            servo.print_block(block(&servo.name, servo.is_one_of_several(), &table));
            return Ok(());
        }
        items
            .borrow_mut()
            .extend(found.into_iter().map(|(component, connector)| Of {
                servo: servo.name.to_string(),
                item: ComponentItem::of(component, connector),
            }));
        Ok(())
    })?;
    match arguments.output {
        Output::Table => Ok(()),
        output => print_data(output, &items.into_inner()),
    }
}

pub(super) fn metrics(context: &Context, arguments: &MetricsArguments) -> Result<(), Failure> {
    let items = RefCell::new(Vec::new());
    live::with_servos(context, async |servo| {
        let outcome = servo
            .dispatcher
            .dispatch(Metrics, servo.options(&[]))
            .await
            .map_err(live::failure)?;
        let mut found: BTreeMap<(String, Unit), BTreeSet<String>> = BTreeMap::new();
        for result in outcome.results {
            let label = match servo.types.get(&result.connector) {
                Some(kind) => label(&result.connector, kind),
                None => result.connector.to_string(),
            };
            for metric in result.value.into_iter().flatten() {
                let connectors = found.entry((metric.name, metric.unit)).or_default();
                connectors.insert(label.clone());
            }
        }
        if arguments.output == Output::Table {
            let rows = found
                .into_iter()
                .map(|((metric, unit), connectors)| {
                    let connectors: Vec<String> = connectors.into_iter().collect();
                    [metric, unit.label(), connectors.join("\n")]
                })
                .collect();
            let table = table::render(["METRIC", "UNIT", "CONNECTORS"], rows);
            servo.print_block(block(&servo.name, servo.is_one_of_several(), &table));
            return Ok(());
        }
        items
            .borrow_mut()
            .extend(found.into_iter().map(|((metric, unit), connectors)| Of {
                servo: servo.name.to_string(),
                item: MetricItem {
                    metric,
                    unit: unit.name(),
                    symbol: unit.symbol(),
                    connectors,
                },
            }));
        Ok(())
    })?;
    match arguments.output {
        Output::Table => Ok(()),
        output => print_data(output, &items.into_inner()),
    }
}

/// `name=value SUMMARY`, by name.
fn settings(component: &Component) -> Vec<String> {
    let mut settings: Vec<_> = component.settings.iter().collect();
    settings.sort_by_key(|setting| setting.name());
    settings
        .into_iter()
        .map(|setting| {
            let value = setting
                .value()
                .map_or_else(|| "?".to_owned(), |value| value.to_string());
            format!("{}={value} {setting}", setting.name())
        })
        .collect()
}

impl ComponentItem {
    fn of(component: Component, connector: String) -> Self {
        let name = component.name.clone();
        let description = Description {
            components: vec![component],
            metrics: Vec::new(),
        };
        let settings = description.to_wire()["application"]["components"][&name]["settings"].take();
        Self {
            connector,
            component: name,
            settings,
        }
    }
}
