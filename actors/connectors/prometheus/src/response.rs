//! What Prometheus answers (`spec/metrics-and-load.md` §1.3).

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, IgnoredAny, Visitor},
};
use serde_json::{error::Category, value::RawValue};
use servo_messages::{Metric, TimeSeries};

/// A successful answer, of a query unless `D` says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<D = QueryData> {
    /// What was asked for.
    pub data: D,
    /// Doubts of Prometheus about the query.
    pub warnings: Vec<String>,
    /// Remarks of Prometheus about the query.
    pub infos: Vec<String>,
}

/// The result of a query, by its `resultType`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
pub enum QueryData {
    /// One value for each series.
    Vector(Vec<Element>),
    /// Values over time for each series.
    Matrix(Vec<Element>),
    /// One number.
    Scalar(Sample),
    /// A text: no reading, whatever it looks like.
    String(IgnoredText),
}

/// The value of a string result, which is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IgnoredText;

/// One number at one time. May be NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When.
    pub time: Timestamp,
    /// How much.
    pub value: f64,
}

/// One series of a vector or a matrix.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "RawElement")]
pub struct Element {
    /// The series' labels.
    pub labels: BTreeMap<String, String>,
    /// Its numbers; of a vector at most one.
    pub samples: Vec<Sample>,
    /// Whether it also has native histograms, which are no numbers.
    pub has_histograms: bool,
}

/// Why a body is no successful answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Somebody else's.
    NotJson,
    /// Not in Prometheus' form, for this reason.
    Malformed(String),
    /// Prometheus refuses.
    Refused { kind: String, text: String },
}

/// A sample as it is written: a time and a number in a text.
#[derive(Deserialize)]
struct RawSample(f64, RawNumber);

struct RawNumber(f64);

#[derive(Deserialize)]
struct RawElement {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    value: Option<Sample>,
    values: Option<Vec<Sample>>,
    histogram: Option<IgnoredAny>,
    histograms: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    status: EnvelopeStatus,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(rename = "errorType")]
    error_type: Option<String>,
    error: Option<String>,
    warnings: Option<Vec<String>>,
    infos: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum EnvelopeStatus {
    Success,
    Error,
}

// === impl Answer ===

impl<D: DeserializeOwned> Answer<D> {
    /// Reads a body, whatever the HTTP status was.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, NoAnswer> {
        let envelope: Envelope<'_> =
            serde_json::from_slice(body).map_err(|error| match error.classify() {
                Category::Data => NoAnswer::Malformed(error.to_string()),
                Category::Syntax | Category::Eof | Category::Io => NoAnswer::NotJson,
            })?;
        match envelope.status {
            // The data, if there are any, are of no use then.
            EnvelopeStatus::Error => Err(NoAnswer::Refused {
                kind: envelope.error_type.unwrap_or_else(|| "unknown".into()),
                text: envelope.error.unwrap_or_else(|| "no reason given".into()),
            }),
            EnvelopeStatus::Success => {
                let data = envelope
                    .data
                    .ok_or_else(|| NoAnswer::Malformed("missing field `data`".into()))?;
                Ok(Self {
                    data: serde_json::from_str(data.get())
                        .map_err(|error| NoAnswer::Malformed(format!("data: {error}")))?,
                    warnings: envelope.warnings.unwrap_or_default(),
                    infos: envelope.infos.unwrap_or_default(),
                })
            }
        }
    }
}

// === impl QueryData ===

impl QueryData {
    /// The `resultType`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Vector(_) => "vector",
            Self::Matrix(_) => "matrix",
            Self::Scalar(_) => "scalar",
            Self::String(_) => "string",
        }
    }
}

// === impl Element ===

impl Element {
    /// The series as a reading of `metric`, in time order.
    pub fn into_series(self, metric: Metric) -> TimeSeries {
        let label = |name| self.labels.get(name).map_or("", String::as_str);
        let id = format!("{{instance={},job={}}}", label("instance"), label("job"));
        let annotation = self
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join(" ");
        let points = self.samples.into_iter().map(|s| (s.time, s.value));
        TimeSeries::new(metric, points)
            .with_id(id)
            .with_annotation(annotation)
            .with_metadata(self.labels)
    }
}

impl TryFrom<RawElement> for Element {
    type Error = &'static str;

    fn try_from(raw: RawElement) -> Result<Self, Self::Error> {
        let has_histograms = raw.histogram.is_some() || raw.histograms.is_some();
        let samples = match (raw.values, raw.value) {
            (Some(values), _) => values,
            (None, Some(value)) => vec![value],
            (None, None) if has_histograms => Vec::new(),
            (None, None) => return Err("a series has neither values nor histograms"),
        };
        Ok(Self {
            labels: raw.metric,
            samples,
            has_histograms,
        })
    }
}

// === reading of samples ===

impl<'de> Deserialize<'de> for Sample {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let RawSample(seconds, RawNumber(value)) = RawSample::deserialize(deserializer)?;
        // The cast saturates, and the calendar refuses what it saturates to.
        let micros = (seconds * 1e6).round() as i64;
        let time = Timestamp::from_microsecond(micros)
            .map_err(|_| de::Error::custom(format!("the time {seconds} is not in the calendar")))?;
        Ok(Self { time, value })
    }
}

impl<'de> Deserialize<'de> for RawNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;

        impl Visitor<'_> for NumberVisitor {
            type Value = RawNumber;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number in a text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawNumber, E> {
                text.parse()
                    .map(RawNumber)
                    .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_str(NumberVisitor)
    }
}

impl<'de> Deserialize<'de> for IgnoredText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <(f64, IgnoredAny)>::deserialize(deserializer).map(|_| Self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;
    use serde_json::json;
    use servo_messages::Unit;

    use super::*;

    fn parse(body: &serde_json::Value) -> Result<Answer, NoAnswer> {
        Answer::parse(body.to_string().as_bytes())
    }

    fn success(kind: &str, result: &serde_json::Value) -> Result<QueryData, NoAnswer> {
        let data = json!({"resultType": kind, "result": result, "stats": {"x": 1}});
        parse(&json!({"status": "success", "data": data})).map(|answer| answer.data)
    }

    fn sample(micros: i64, value: f64) -> Sample {
        let time = Timestamp::from_microsecond(micros).unwrap();
        Sample { time, value }
    }

    #[test]
    fn a_matrix_becomes_series_with_id_annotation_and_points_in_time_order() {
        let result = json!([
            {"metric": {"job": "j", "instance": "i:1", "a": "b"},
             "values": [[20.5, "2"], [10, "1.5"], [30, "NaN"], [40, "+Inf"], [50, "-Inf"]]},
            {"metric": {}, "values": [[10, "0"]]},
        ]);
        let QueryData::Matrix(elements) = success("matrix", &result).unwrap() else {
            panic!("no matrix");
        };
        let metric = Metric::new("m", Unit::Count);
        let series: Vec<TimeSeries> = elements
            .into_iter()
            .map(|element| element.into_series(metric.clone()))
            .collect();
        assert_eq!(series[0].id.as_deref(), Some("{instance=i:1,job=j}"));
        assert_eq!(
            series[0].annotation.as_deref(),
            Some("a=b instance=i:1 job=j")
        );
        let times: Vec<i64> = series[0]
            .points()
            .iter()
            .map(|(t, _)| t.as_millisecond())
            .collect();
        assert_eq!(times, [10_000, 20_500, 30_000, 40_000, 50_000]);
        assert_eq!(series[0].values().collect::<Vec<_>>(), [1.5, 2.0]);
        assert_eq!(series[0].points()[3].1, f64::INFINITY);
        assert_eq!(series[1].id.as_deref(), Some("{instance=,job=}"));
        assert_eq!(series[1].annotation.as_deref(), Some(""));
    }

    #[test]
    fn the_result_type_alone_decides_what_a_result_is() {
        let vector = json!([{"metric": {"a": "b"}, "value": [1.25, "7"]}]);
        let QueryData::Vector(elements) = success("vector", &vector).unwrap() else {
            panic!("no vector");
        };
        assert_eq!(elements[0].samples, [sample(1_250_000, 7.0)]);
        assert_eq!(
            success("scalar", &json!([1, "1"])),
            Ok(QueryData::Scalar(sample(1_000_000, 1.0)))
        );
        assert_eq!(
            success("string", &json!([1, "17"])),
            Ok(QueryData::String(IgnoredText))
        );
    }

    #[test]
    fn histograms_are_noted_and_skipped() {
        let histogram = json!([1, {"count": "2", "sum": "3", "buckets": []}]);
        for (kind, element) in [
            ("vector", json!({"metric": {}, "histogram": histogram})),
            ("matrix", json!({"metric": {}, "histograms": [histogram]})),
        ] {
            match success(kind, &json!([element])).unwrap() {
                QueryData::Vector(elements) | QueryData::Matrix(elements) => {
                    assert!(elements[0].has_histograms);
                    assert!(elements[0].samples.is_empty());
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn an_error_is_told_in_the_words_of_prometheus() {
        let body = json!({"status": "error", "errorType": "bad_data", "error": "1:4: parse error"});
        let refused = NoAnswer::Refused {
            kind: "bad_data".into(),
            text: "1:4: parse error".into(),
        };
        assert_eq!(parse(&body), Err(refused.clone()));
        let mut with_data = body;
        with_data["data"] = json!({"resultType": "vector", "result": null});
        assert_eq!(parse(&with_data), Err(refused));
    }

    #[test]
    fn what_cannot_be_understood_is_never_taken_for_nothing_found() {
        for body in [
            json!({}),
            json!([]),
            json!({"status": "success"}),
            json!({"status": "splendid", "data": {}}),
            json!({"status": "success", "data": {"resultType": "matrix"}}),
            json!({"status": "success", "data": {"resultType": "tensor", "result": []}}),
            json!({"status": "success", "data": {"resultType": "matrix", "result": {}}}),
            json!({"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}}]}}),
            json!({"status": "success", "data": {"resultType": "scalar", "result": [1, 2]}}),
            json!({"status": "success", "data": {"resultType": "scalar", "result": [1, "two"]}}),
            json!({"status": "success", "data": {"resultType": "scalar", "result": [1e300, "2"]}}),
        ] {
            assert!(
                matches!(parse(&body), Err(NoAnswer::Malformed(_))),
                "{body}"
            );
        }
        assert_eq!(<Answer>::parse(b"<html>"), Err(NoAnswer::NotJson));
        assert_eq!(<Answer>::parse(b""), Err(NoAnswer::NotJson));
        assert_eq!(
            <Answer>::parse(b"{\"status\": \"succ"),
            Err(NoAnswer::NotJson)
        );
    }

    #[test]
    fn warnings_and_infos_are_kept() {
        let answer = parse(&json!({
            "status": "success", "data": {"resultType": "vector", "result": []},
            "warnings": ["w"], "infos": ["i"],
        }))
        .unwrap();
        assert_eq!(
            (answer.warnings, answer.infos),
            (vec!["w".into()], vec!["i".into()])
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_body_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = <Answer>::parse(&body);
        }

        #[test]
        fn every_finite_value_and_time_is_read_exactly(
            micros in 0_i64..4_000_000_000_000_000, value in any::<f64>()
        ) {
            prop_assume!(value.is_finite());
            let seconds = micros as f64 / 1e6;
            let read = success("scalar", &json!([seconds, value.to_string()]));
            prop_assert_eq!(read, Ok(QueryData::Scalar(sample(micros, value))));
        }
    }
}
