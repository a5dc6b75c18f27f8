//! How a command is to be carried out.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::duration::Duration;
use crate::slo::Slo;

/// How a command is to be carried out. Unknown keys are ignored; null means the default. Reading refuses a
/// `userdata.slo` that is no [`Slo`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Control {
    /// How long to operate. 1 s if absent, 0 if null.
    pub duration: Duration,
    /// Extra wait after the window, so that its metrics are aggregated. Also read from `past`.
    pub delay: Duration,
    /// Wait before the window starts.
    pub warmup: Duration,
    /// How long to observe after an adjustment; none leaves it to the connector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settlement: Option<Duration>,
    /// The desired load, opaque.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<Map<String, Value>>,
    /// Anything the optimizer passes to connectors; `slo` holds the conditions of the fast fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userdata: Option<Map<String, Value>>,
    /// Opaque mode control.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Map<String, Value>>,
}

impl Default for Control {
    fn default() -> Self {
        Control {
            duration: Duration::from_secs(1),
            delay: Duration::ZERO,
            warmup: Duration::ZERO,
            settlement: None,
            load: None,
            userdata: None,
            environment: None,
        }
    }
}

impl Control {
    /// Operate for this long, everything else as default.
    pub fn for_duration(duration: Duration) -> Control {
        Control {
            duration,
            ..Control::default()
        }
    }

    /// Warmup, duration and delay together: how long a measurement takes.
    pub fn total(&self) -> Duration {
        self.warmup
            .saturating_add(self.duration)
            .saturating_add(self.delay)
    }

    /// `userdata.slo` as it was sent, if it is there; [`Slo::of`] reads it.
    pub fn slo(&self) -> Option<&Value> {
        self.userdata
            .as_ref()?
            .get("slo")
            .filter(|slo| !slo.is_null())
    }
}

impl<'de> Deserialize<'de> for Control {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Through a map, as the derived reader of `Fields` would take a list for a list of its fields.
        let Some(members) = Option::<Map<String, Value>>::deserialize(deserializer)? else {
            return Ok(Control::default());
        };
        let fields = Fields::deserialize(Value::Object(members)).map_err(D::Error::custom)?;
        let delay = match (fields.delay, fields.past) {
            (Some(delay), Some(past)) if delay != past => {
                return Err(D::Error::custom("past and delay attributes must be equal"));
            }
            (delay, past) => delay.or(past).unwrap_or_default(),
        };
        let control = Control {
            duration: match fields.duration {
                None => Duration::from_secs(1),
                Some(given) => given.unwrap_or_default(),
            },
            delay,
            warmup: fields.warmup.unwrap_or_default(),
            settlement: fields.settlement,
            load: fields.load,
            userdata: fields.userdata,
            environment: fields.environment,
        };
        // What cannot be watched must be refused before anything is done (`spec/optimizer-protocol.md §6.2`).
        Slo::of(&control).map_err(D::Error::custom)?;
        Ok(control)
    }
}

#[derive(Deserialize)]
struct Fields {
    /// The outer option tells absent from null.
    #[serde(default, deserialize_with = "duration")]
    duration: Option<Option<Duration>>,
    #[serde(default, deserialize_with = "delay")]
    delay: Option<Duration>,
    #[serde(default, deserialize_with = "past")]
    past: Option<Duration>,
    #[serde(default, deserialize_with = "warmup")]
    warmup: Option<Duration>,
    #[serde(default, deserialize_with = "settlement")]
    settlement: Option<Duration>,
    #[serde(default, deserialize_with = "load")]
    load: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "userdata")]
    userdata: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "environment")]
    environment: Option<Map<String, Value>>,
}

fn duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<Duration>>, D::Error> {
    keyed("duration", deserializer).map(Some)
}

macro_rules! readers {
    ($($key:ident: $value:ty),* $(,)?) => {$(
        fn $key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<$value>, D::Error> {
            keyed(stringify!($key), deserializer)
        }
    )*};
}

readers! {
    delay: Duration,
    past: Duration,
    warmup: Duration,
    settlement: Duration,
    load: Map<String, Value>,
    userdata: Map<String, Value>,
    environment: Map<String, Value>,
}

/// Puts the key before the error: the optimizer sees only the text.
fn keyed<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    key: &str,
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::<T>::deserialize(deserializer)
        .map_err(|error| D::Error::custom(format!("{key}: {error}")))
}
