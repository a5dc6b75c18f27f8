//! Reads conditions from JSON.

use std::num::NonZeroU32;

use serde_json::{Map, Value};

use super::Slo;
use super::condition::{Keep, SloCondition, SloLimit, Trigger};
use crate::decimal::Decimal;
use crate::number::Number;
use crate::wire::{WireError, kind, object};

const KEYS: [&str; 10] = [
    "description",
    "metric",
    "keep",
    "threshold",
    "threshold_metric",
    "threshold_multiplier",
    "trigger_count",
    "trigger_window",
    "slo_metric_minimum",
    "slo_threshold_minimum",
];
/// From 0 up to this a value says nothing about another, unless the command says otherwise.
const NEAR_ZERO: f64 = 0.25;

pub(super) fn slo(slo: &Value, path: &str) -> Result<Slo, WireError> {
    let members = Members {
        members: object(slo, path)?,
        path,
    };
    members.know(&["conditions"])?;
    let at = format!("{path}.conditions");
    let items = match members.get("conditions") {
        None => return Err(WireError::new(at, "missing: expected a list of conditions")),
        Some(Value::Array(items)) => items,
        Some(other) => {
            let problem = format!("expected a list of conditions but found {}", kind(other));
            return Err(WireError::new(at, problem));
        }
    };
    if items.len() > Slo::MOST_CONDITIONS {
        let (given, most) = (items.len(), Slo::MOST_CONDITIONS);
        let problem = format!("expected at most {most} conditions but found {given}");
        return Err(WireError::new(at, problem));
    }
    let mut slo = Slo::default();
    for (index, item) in items.iter().enumerate() {
        let condition = condition(item, &format!("{at}[{index}]"), &mut slo.warnings)?;
        slo.conditions.push(condition);
    }
    let redundant = redundant(&slo.conditions);
    if redundant.is_empty() {
        Ok(slo)
    } else {
        let redundant = redundant.join(", ");
        let problem =
            format!("Slo conditions must be unique. Redundant conditions found: {redundant}");
        Err(WireError::new(at, problem))
    }
}

/// The texts of the conditions that occur more than once, each once.
fn redundant(conditions: &[SloCondition]) -> Vec<String> {
    let mut redundant = Vec::new();
    for (index, condition) in conditions.iter().enumerate() {
        let before = conditions.get(..index).unwrap_or_default();
        if before.contains(condition) {
            let text = condition.to_string();
            if !redundant.contains(&text) {
                redundant.push(text);
            }
        }
    }
    redundant
}

fn condition(
    value: &Value,
    path: &str,
    warnings: &mut Vec<String>,
) -> Result<SloCondition, WireError> {
    let members = Members {
        members: object(value, path)?,
        path,
    };
    members.know(&KEYS)?;
    let metric = members.text("metric")?;
    let keep = match members.text("keep")?.as_deref() {
        None | Some("below") => Keep::Below,
        Some("above") => Keep::Above,
        Some(other) => {
            let problem = format!("expected 'below' or 'above' but found '{other}'");
            return Err(members.wrong("keep", problem));
        }
    };
    let metric_minimum = members.float("slo_metric_minimum")?;
    let threshold_minimum = members.float("slo_threshold_minimum")?;
    let threshold = members.decimal("threshold")?;
    let limit = match (threshold, members.text("threshold_metric")?) {
        (Some(limit), None) => SloLimit::Fixed(limit),
        (None, Some(name)) => SloLimit::Metric {
            name,
            metric_minimum: metric_minimum.unwrap_or(NEAR_ZERO),
            threshold_minimum: threshold_minimum.unwrap_or(NEAR_ZERO),
        },
        (Some(_), Some(_)) => {
            let problem = "SLO Condition cannot specify both threshold and threshold_metric";
            return Err(WireError::new(path, problem));
        }
        (None, None) => {
            let problem = "SLO Condition must specify either threshold or threshold_metric";
            return Err(WireError::new(path, problem));
        }
    };
    let count = members.count("trigger_count")?.unwrap_or(NonZeroU32::MIN);
    let window = members.count("trigger_window")?.unwrap_or(count);
    let condition = SloCondition {
        description: members.text("description")?,
        metric: metric
            .ok_or_else(|| members.wrong("metric", "missing: expected the name of a metric"))?,
        keep,
        limit,
        multiplier: members
            .decimal("threshold_multiplier")?
            .unwrap_or(Number::Int(1)),
        trigger: Trigger::try_new(count, window)
            .map_err(|error| WireError::new(path, error.to_string()))?,
    };
    if matches!(condition.limit, SloLimit::Fixed(_)) && threshold_minimum.is_some() {
        warnings.push(format!(
            "SLO condition {condition}: slo_threshold_minimum has no effect on a condition with threshold, only with \
             threshold_metric"
        ));
    }
    Ok(condition)
}

/// An object and where it stands. Null is as good as absent.
struct Members<'a> {
    members: &'a Map<String, Value>,
    path: &'a str,
}

impl<'a> Members<'a> {
    fn know(&self, keys: &[&str]) -> Result<(), WireError> {
        match self
            .members
            .keys()
            .find(|key| !keys.contains(&key.as_str()))
        {
            None => Ok(()),
            Some(unknown) => {
                let problem = format!("unknown key: expected {}", keys.join(", "));
                Err(self.wrong(unknown, problem))
            }
        }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.members.get(key).filter(|value| !value.is_null())
    }

    fn wrong(&self, key: &str, problem: impl Into<String>) -> WireError {
        WireError::new(format!("{}.{key}", self.path), problem)
    }

    fn text(&self, key: &str) -> Result<Option<String>, WireError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => {
                let problem = format!("expected a text but found {}", kind(other));
                Err(self.wrong(key, problem))
            }
        }
    }

    /// A number, also one in a text: JSON has no decimals.
    fn decimal(&self, key: &str) -> Result<Option<Number>, WireError> {
        let number = match self.get(key) {
            None => return Ok(None),
            Some(Value::Number(number)) => Number::from_json(number),
            Some(Value::String(text)) => Decimal::parse(text.trim())
                .and_then(|decimal| decimal.to_text().parse().ok())
                .filter(|value: &f64| value.is_finite())
                .map(|value| {
                    let number = Number::Float(value);
                    number.as_i64().map_or(number, Number::Int)
                }),
            Some(other) => {
                let problem = format!("expected a number but found {}", kind(other));
                return Err(self.wrong(key, problem));
            }
        };
        let found = || self.get(key).map(Value::to_string).unwrap_or_default();
        number
            .map(Some)
            .ok_or_else(|| self.wrong(key, format!("expected a number but found {}", found())))
    }

    fn float(&self, key: &str) -> Result<Option<f64>, WireError> {
        match self.get(key) {
            Some(Value::Number(_)) | None => Ok(self.decimal(key)?.map(Number::as_f64)),
            Some(other) => {
                let problem = format!("expected a number but found {}", kind(other));
                Err(self.wrong(key, problem))
            }
        }
    }

    fn count(&self, key: &str) -> Result<Option<NonZeroU32>, WireError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let whole = value
            .as_number()
            .and_then(Number::from_json)
            .and_then(Number::as_i64);
        whole
            .and_then(|whole| u32::try_from(whole).ok())
            .and_then(NonZeroU32::new)
            .map(Some)
            .ok_or_else(|| {
                let problem = format!("expected a whole number of at least 1 but found {value}");
                self.wrong(key, problem)
            })
    }
}
