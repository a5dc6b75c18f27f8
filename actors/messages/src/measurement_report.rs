//! A measurement as the optimizer reads it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::metric::mean;
use crate::unit::Unit;
use crate::wire::{self, WireError};

/// What a servo reported: the wire form, read back.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MeasurementReport {
    /// By metric name.
    pub metrics: BTreeMap<String, MetricReport>,
    /// Remarks that came with it.
    pub annotations: BTreeMap<String, String>,
}

/// What was reported of one metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MetricReport {
    /// The unit; a plain number if none came.
    pub unit: Unit,
    /// The single value, if it came as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The series, if it came as such.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<SeriesReport>,
}

/// One series of a metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SeriesReport {
    /// Tells it from the metric's other series.
    pub id: String,
    /// Unix seconds and value.
    pub data: Vec<(i64, f64)>,
}

impl MetricReport {
    /// Every value: of all series if there are any, else the single one.
    pub fn all_values(&self) -> impl Iterator<Item = f64> {
        let scalar = if self.values.is_empty() {
            self.value
        } else {
            None
        };
        self.values
            .iter()
            .flat_map(|series| series.data.iter().map(|(_, value)| *value))
            .chain(scalar)
    }

    /// How many values.
    pub fn count(&self) -> usize {
        self.all_values().count()
    }

    /// The mean over all values of all series, or the single value; none if nothing was observed.
    pub fn mean(&self) -> Option<f64> {
        mean(self.all_values())
    }

    /// The smallest value.
    pub fn min(&self) -> Option<f64> {
        self.all_values().reduce(f64::min)
    }

    /// The largest value.
    pub fn max(&self) -> Option<f64> {
        self.all_values().reduce(f64::max)
    }

    /// The spread of single observations around the mean (n - 1); none for fewer than two values.
    pub fn standard_deviation(&self) -> Option<f64> {
        let (count, mean) = (self.count(), self.mean()?);
        if count < 2 {
            return None;
        }
        let squares: f64 = self.all_values().map(|value| (value - mean).powi(2)).sum();
        Some((squares / (count - 1) as f64).sqrt())
    }
}

impl MeasurementReport {
    /// Reads the `metrics` and `annotations` of a completion's `param`; other keys are ignored, absent or null ones
    /// are empty. Null values inside a series are skipped, annotations that are no text are kept as their JSON text.
    ///
    /// # Errors
    /// The path of the first thing that has not the agreed shape.
    pub fn from_wire(param: &Value) -> Result<MeasurementReport, WireError> {
        let param = wire::object(param, "param")?;
        let mut report = MeasurementReport::default();
        for (name, value) in optional_object(param, "metrics")? {
            report.metrics.insert(
                name.clone(),
                metric_report(value, &format!("metrics.{name}"))?,
            );
        }
        for (key, value) in optional_object(param, "annotations")? {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            report.annotations.insert(key.clone(), text);
        }
        Ok(report)
    }
}

impl<'de> Deserialize<'de> for MeasurementReport {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        MeasurementReport::from_wire(&value).map_err(serde::de::Error::custom)
    }
}

fn optional_object<'a>(
    parent: &'a Map<String, Value>,
    key: &str,
) -> Result<impl Iterator<Item = (&'a String, &'a Value)>, WireError> {
    let members = match parent.get(key) {
        None | Some(Value::Null) => None,
        Some(value) => Some(wire::object(value, key)?),
    };
    Ok(members.into_iter().flatten())
}

fn metric_report(value: &Value, path: &str) -> Result<MetricReport, WireError> {
    let members = wire::object(value, path)?;
    let unit = match members.get("unit") {
        None | Some(Value::Null) => Unit::Float,
        Some(Value::String(text)) => text.parse().map_err(|error: crate::UnknownUnit| {
            WireError::new(format!("{path}.unit"), error.to_string())
        })?,
        Some(other) => {
            return Err(WireError::new(
                format!("{path}.unit"),
                format!("expected a string but found {}", wire::kind(other)),
            ));
        }
    };
    let value = match members.get("value") {
        None | Some(Value::Null) => None,
        Some(value) => Some(number(value, &format!("{path}.value"))?),
    };
    let mut values = Vec::new();
    if let Some(list) = members.get("values").filter(|list| !list.is_null()) {
        let path = format!("{path}.values");
        for (index, series) in array(list, &path)?.iter().enumerate() {
            values.push(series_report(series, &format!("{path}[{index}]"))?);
        }
    }
    Ok(MetricReport {
        unit,
        value,
        values,
    })
}

fn series_report(value: &Value, path: &str) -> Result<SeriesReport, WireError> {
    let members = wire::object(value, path)?;
    let id = match members.get("id") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(other) => {
            return Err(WireError::new(
                format!("{path}.id"),
                format!("expected a string but found {}", wire::kind(other)),
            ));
        }
    };
    let data_path = format!("{path}.data");
    let list = members
        .get("data")
        .ok_or_else(|| WireError::new(&data_path, "missing: expected a list"))?;
    let mut data = Vec::new();
    for (index, point) in array(list, &data_path)?.iter().enumerate() {
        let path = format!("{data_path}[{index}]");
        let [time, value] = array(point, &path)?.as_slice() else {
            return Err(WireError::new(path, "expected a pair of time and value"));
        };
        if !value.is_null() {
            let seconds = number(time, &format!("{path}[0]"))?;
            data.push((
                time.as_i64().unwrap_or(seconds.floor() as i64),
                number(value, &format!("{path}[1]"))?,
            ));
        }
    }
    Ok(SeriesReport { id, data })
}

fn array<'a>(value: &'a Value, path: &str) -> Result<&'a Vec<Value>, WireError> {
    value.as_array().ok_or_else(|| {
        WireError::new(
            path,
            format!("expected a list but found {}", wire::kind(value)),
        )
    })
}

fn number(value: &Value, path: &str) -> Result<f64, WireError> {
    value
        .as_f64()
        .filter(|number| number.is_finite())
        .ok_or_else(|| {
            WireError::new(
                path,
                format!("expected a number but found {}", wire::kind(value)),
            )
        })
}
