//! The events that every servo knows (`spec/events-and-checks.md` §1).

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use servo_messages::{
    Adjustment, Component, Control, Description, Measurement, Metric, adjustments_from_state,
    adjustments_to_state,
};

use crate::{
    bus::Bridges,
    checks::CheckEvent,
    dynamic::{Bridge, JsonEvent, typed_bridge},
    event::{Category, Event},
};

macro_rules! event {
    ($type:ty, $name:literal, $category:ident, $output:ty) => {
        impl Event for $type {
            type Output = $output;
            const NAME: &'static str = $name;
            const CATEGORY: Category = Category::$category;
        }
    };
}

/// The servo has been assembled; a connector may prepare what it needs. No optimizer yet.
#[derive(Clone, Debug)]
pub struct Attach;
event!(Attach, "attach", Lifecycle, ());

/// The counterpart of [`Attach`]: give up everything.
#[derive(Clone, Debug)]
pub struct Detach;
event!(Detach, "detach", Lifecycle, ());

/// The optimizer knows the servo now; commands follow.
#[derive(Clone, Debug)]
pub struct Startup;
event!(Startup, "startup", Lifecycle, ());

/// No more commands follow; undo what must not stay behind.
#[derive(Clone, Debug)]
pub struct Shutdown;
event!(Shutdown, "shutdown", Lifecycle, ());

/// Which metrics a connector can measure.
#[derive(Clone, Debug)]
pub struct Metrics;
event!(Metrics, "metrics", Informational, Vec<Metric>);

/// Which components a connector can adjust, with their present values.
#[derive(Clone, Debug)]
pub struct Components;
event!(Components, "components", Informational, Vec<Component>);

/// What can be adjusted and measured, with the present values.
#[derive(Clone, Debug)]
pub struct Describe {
    /// What the optimizer said about how to do it.
    pub control: Control,
}
event!(Describe, "describe", Operational, Description);

/// Measure over a window of time.
#[derive(Clone, Debug)]
pub struct Measure {
    /// The wanted metrics; `None` is all.
    pub metrics: Option<Vec<String>>,
    /// Warm-up, duration, delay and the rest.
    pub control: Control,
}
event!(Measure, "measure", Operational, Measurement);

/// Change settings.
#[derive(Clone, Debug)]
pub struct Adjust {
    /// The wanted values.
    pub adjustments: Vec<Adjustment>,
    /// Settlement and the rest.
    pub control: Control,
}
event!(Adjust, "adjust", Operational, Description);

/// Make the present tuning configuration the one of the main application.
#[derive(Clone, Debug)]
pub struct Promote;
event!(Promote, "promote", Operational, ());

// === Arguments and results as JSON, for the dynamic lane ===

/// The way to each standard event by its name.
pub(crate) fn bridges() -> Bridges {
    fn bridge<E: JsonEvent>() -> (Arc<str>, Arc<dyn Bridge>) {
        (E::NAME.into(), typed_bridge::<E>())
    }
    [
        bridge::<Attach>(),
        bridge::<Detach>(),
        bridge::<Startup>(),
        bridge::<Shutdown>(),
        bridge::<Metrics>(),
        bridge::<Components>(),
        bridge::<CheckEvent>(),
        bridge::<Describe>(),
        bridge::<Measure>(),
        bridge::<Adjust>(),
        bridge::<Promote>(),
    ]
    .into()
}

/// Reads the arguments of an event that takes some of `allowed`.
pub(crate) fn arguments(value: Value, allowed: &[&str]) -> Result<Map<String, Value>, String> {
    let arguments = match value {
        Value::Null => Map::new(),
        Value::Object(map) => map,
        other => return Err(format!("expected an object of arguments, not {other}")),
    };
    match arguments.keys().find(|k| !allowed.contains(&k.as_str())) {
        None => Ok(arguments),
        Some(key) if allowed.is_empty() => {
            Err(format!("unexpected argument '{key}': it takes none"))
        }
        Some(key) => Err(format!(
            "unexpected argument '{key}': it takes {}",
            allowed.join(", ")
        )),
    }
}

fn control(arguments: &Map<String, Value>) -> Result<Control, String> {
    match arguments.get("control") {
        None | Some(Value::Null) => Ok(Control::default()),
        Some(value) => serde_path_to_error::deserialize(value)
            .map_err(|e| format!("control.{}: {}", e.path().clone(), e.inner())),
    }
}

macro_rules! without_arguments {
    ($($event:ident => $output:expr),* $(,)?) => {$(
        impl JsonEvent for $event {
            fn arguments(&self) -> Value {
                json!({})
            }

            fn from_arguments(value: Value) -> Result<Self, String> {
                arguments(value, &[]).map(|_| $event)
            }

            fn output_value(output: &Self::Output) -> Value {
                let value: fn(&Self::Output) -> Value = $output;
                value(output)
            }
        }
    )*};
}

without_arguments! {
    Attach => |()| Value::Null,
    Detach => |()| Value::Null,
    Startup => |()| Value::Null,
    Shutdown => |()| Value::Null,
    Promote => |()| Value::Null,
    Metrics => |metrics| json!(metrics),
    Components => |components| {
        let description = Description { components: components.clone(), metrics: Vec::new() };
        description.to_wire()["application"]["components"].take()
    },
}

impl JsonEvent for Describe {
    fn arguments(&self) -> Value {
        json!({"control": self.control})
    }

    fn from_arguments(value: Value) -> Result<Self, String> {
        let arguments = arguments(value, &["control"])?;
        Ok(Self {
            control: control(&arguments)?,
        })
    }

    fn output_value(output: &Description) -> Value {
        output.to_wire()
    }
}

impl JsonEvent for Measure {
    fn arguments(&self) -> Value {
        json!({"metrics": self.metrics, "control": self.control})
    }

    fn from_arguments(value: Value) -> Result<Self, String> {
        let arguments = arguments(value, &["metrics", "control"])?;
        let metrics = match arguments.get("metrics") {
            None | Some(Value::Null) => None,
            Some(value) => Some(
                serde_path_to_error::deserialize(value)
                    .map_err(|e| format!("metrics{}: {}", e.path().clone(), e.inner()))?,
            ),
        };
        Ok(Self {
            metrics,
            control: control(&arguments)?,
        })
    }

    fn output_value(output: &Measurement) -> Value {
        let wire = output.to_wire(Timestamp::now());
        json!({"metrics": wire.metrics, "annotations": wire.annotations})
    }
}

impl JsonEvent for Adjust {
    fn arguments(&self) -> Value {
        json!({"adjustments": adjustments_to_state(&self.adjustments), "control": self.control})
    }

    fn from_arguments(value: Value) -> Result<Self, String> {
        let arguments = arguments(value, &["adjustments", "control"])?;
        let state = arguments
            .get("adjustments")
            .ok_or("missing argument 'adjustments'")?;
        Ok(Self {
            adjustments: adjustments_from_state(state).map_err(|e| e.to_string())?,
            control: control(&arguments)?,
        })
    }

    fn output_value(output: &Description) -> Value {
        output.to_wire()
    }
}
