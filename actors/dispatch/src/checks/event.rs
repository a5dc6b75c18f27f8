//! The standard event `check` (`spec/events-and-checks.md` §6.10).

use std::{fmt, sync::Arc, time::Duration};

use serde_json::{Map, Value, json};
use servo_messages::HaltOn;

use super::{
    check::Check,
    filter::{CheckFilter, Patterns},
};
use crate::{
    dynamic::JsonEvent,
    event::{Category, Event},
};

/// Verify what the connector needs to do its work. Answered by way of [`Checks::run`](crate::Checks::run).
#[derive(Clone)]
pub struct CheckEvent {
    /// Which checks.
    pub matching: CheckFilter,
    /// Which failures end the checks of a connector.
    pub halt_on: HaltOn,
    /// How long a check may take that does not say so itself.
    pub timeout: Duration,
    /// Who wants to know at once.
    pub(crate) watch: Option<CheckWatch>,
}

/// Told of the checks of a connector while they run, on its thread.
pub(crate) type CheckWatch = Arc<dyn Fn(&str, Sighting<'_>) + Send + Sync>;

/// What there is to see of the checks of a connector.
pub(crate) enum Sighting<'c> {
    /// One begins, and will be over after that long.
    Begins { limit: Duration },
    /// One is over, or skipped.
    Ends(&'c Check),
    /// All are over.
    Done,
}

// === impl CheckEvent ===

impl CheckEvent {
    /// How long a check may take by default.
    pub const TIMEOUT: Duration = Duration::from_secs(120);

    /// Runs the checks that `matching` selects.
    pub fn new(matching: CheckFilter, halt_on: HaltOn) -> Self {
        Self {
            matching,
            halt_on,
            timeout: Self::TIMEOUT,
            watch: None,
        }
    }
}

/// All checks, up to a critical failure.
impl Default for CheckEvent {
    fn default() -> Self {
        Self::new(CheckFilter::default(), HaltOn::default())
    }
}

impl fmt::Debug for CheckEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckEvent")
            .field("matching", &self.matching)
            .field("halt_on", &self.halt_on)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Event for CheckEvent {
    type Output = Vec<Check>;
    const NAME: &'static str = "check";
    const CATEGORY: Category = Category::Operational;
}

impl JsonEvent for CheckEvent {
    fn arguments(&self) -> Value {
        let texts = |patterns: &Patterns| patterns.texts().collect::<Vec<_>>();
        let CheckFilter { name, id, tags, .. } = &self.matching;
        let matching = (!self.matching.is_empty()).then(|| {
            json!({
                "name": name.as_ref().map(texts),
                "id": id.as_ref().map(texts),
                "tags": tags,
            })
        });
        json!({"matching": matching, "halt_on": self.halt_on})
    }

    fn from_arguments(value: Value) -> Result<Self, String> {
        let arguments = crate::standard::arguments(value, &["matching", "halt_on"])?;
        let matching = match arguments.get("matching") {
            None | Some(Value::Null) => CheckFilter::default(),
            Some(Value::Object(matching)) => filter(matching)?,
            Some(other) => return Err(format!("matching: expected an object, not {other}")),
        };
        let halt_on = match arguments.get("halt_on") {
            None => HaltOn::default(),
            Some(value) => {
                serde_json::from_value(value.clone()).map_err(|e| format!("halt_on: {e}"))?
            }
        };
        Ok(Self::new(matching, halt_on))
    }

    fn output_value(output: &Vec<Check>) -> Value {
        json!(output)
    }
}

fn filter(matching: &Map<String, Value>) -> Result<CheckFilter, String> {
    if let Some(key) = matching
        .keys()
        .find(|key| !matches!(key.as_str(), "name" | "id" | "tags"))
    {
        return Err(format!(
            "matching.{key}: unknown key: expected name, id or tags"
        ));
    }
    let texts = |key: &str| match matching.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![text.clone()])),
        Some(list) => serde_json::from_value::<Vec<String>>(list.clone())
            .map(Some)
            .map_err(|_| format!("matching.{key}: expected a text or a list of texts, not {list}")),
    };
    let (name, id, tags) = (texts("name")?, texts("id")?, texts("tags")?);
    CheckFilter::parse(name.as_deref(), id.as_deref(), tags.as_deref())
        .map_err(|e| format!("matching.{e}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use servo_messages::Severity;

    use super::*;

    #[test]
    fn arguments_round_trip_as_json() {
        let arguments = json!({
            "matching": {"name": ["a", "/b+/"], "id": null, "tags": ["x", "y"]},
            "halt_on": "common",
        });
        let event = CheckEvent::from_arguments(arguments.clone()).unwrap();
        assert_eq!(event.arguments(), arguments);
        assert_eq!(event.halt_on, HaltOn::At(Severity::Common));
        let all = CheckEvent::from_arguments(Value::Null).unwrap();
        assert!(all.matching.is_empty());
        assert_eq!(all.halt_on, HaltOn::At(Severity::Critical));
        let never = CheckEvent::from_arguments(json!({"halt_on": null})).unwrap();
        assert_eq!(never.halt_on, HaltOn::Never);
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (arguments, told) in [
            (
                json!({"halt_on": "soon"}),
                "halt_on: unknown variant `soon`",
            ),
            (json!({"matching": 3}), "matching: expected an object"),
            (
                json!({"matching": {"nam": []}}),
                "matching.nam: unknown key",
            ),
            (
                json!({"matching": {"id": ["/[/"]}}),
                "matching.id: '/[/' is no regular",
            ),
            (
                json!({"matching": {"id": [3]}}),
                "matching.id: expected a text",
            ),
        ] {
            let error = CheckEvent::from_arguments(arguments).unwrap_err();
            assert!(error.starts_with(told), "{error}");
        }
    }
}
