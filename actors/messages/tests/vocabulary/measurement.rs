use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use servo_messages::{
    DataPoint, Duration, Measurement, MeasurementReport, Metric, Reading, TimeSeries, Unit,
};

use crate::strategies::series;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn throughput() -> Metric {
    Metric::new("throughput", Unit::RequestsPerMinute)
}

fn scalar(metric: Metric, value: f64) -> Reading {
    DataPoint::new(metric, at(1_579_608_001), value)
        .unwrap()
        .into()
}

fn texts(warnings: &[servo_messages::WireWarning]) -> Vec<String> {
    warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn data_points() {
    let point = DataPoint::new(throughput(), at(1_579_608_001), 31337.0).unwrap();
    assert_eq!(
        point.to_string(),
        "throughput: 31337.00rpm @ 2020-01-21 12:00:01"
    );
    assert_eq!(
        DataPoint::new(throughput(), at(0), f64::NAN)
            .unwrap_err()
            .to_string(),
        "metric 'throughput' has the value NaN: a data point must be finite"
    );
    assert!(DataPoint::new(throughput(), at(0), f64::INFINITY).is_err());
}

#[test]
fn series_are_sorted_and_summarised() {
    let series = TimeSeries::new(
        throughput(),
        [(at(20), 1.0), (at(10), 3.0), (at(15), f64::NAN)],
    );
    assert_eq!(series.points()[0], (at(10), 3.0));
    assert_eq!(
        (series.min(), series.max(), series.mean()),
        (Some(1.0), Some(3.0), Some(2.0))
    );
    assert_eq!(series.timespan(), Some((at(10), at(20))));
    assert_eq!(series.duration(), Duration::from_secs(10));
    let empty = TimeSeries::new(throughput(), []);
    assert!(empty.is_empty() && empty.min().is_none() && empty.duration().is_zero());
}

#[test]
fn merging() {
    let mut first = Measurement::new([scalar(throughput(), 1.0)]);
    first.annotations.insert("a".into(), "1".into());
    let mut second =
        Measurement::new([TimeSeries::new(throughput(), [(at(1_579_608_011), 5.0)]).into()]);
    second.annotations.insert("a".into(), "2".into());
    let both = first.merge(second);
    assert_eq!(both.readings.len(), 2);
    assert_eq!(both.annotations["a"], "2");
    assert_eq!(
        (
            both.min("throughput"),
            both.max("throughput"),
            both.max("other")
        ),
        (Some(1.0), Some(5.0), None)
    );
    assert_eq!(both.duration(), Duration::from_secs(10));
}

#[test]
fn wire_forms_of_the_specification() {
    let wire = Measurement::new([scalar(throughput(), 31337.0)]).to_wire(at(0));
    assert_eq!(
        Value::Object(wire.metrics),
        json!({"throughput": {"unit": "rpm", "value": 31337.0}})
    );

    let series = TimeSeries::new(
        throughput(),
        [(at(1_579_608_001), 1.0), (at(1_579_607_996), 2.0)],
    );
    let mut measurement = Measurement::new([series.into()]);
    measurement.annotations.insert("a".into(), "b".into());
    let wire = measurement.to_wire(at(1_579_608_001));
    assert_eq!(
        Value::Object(wire.metrics),
        json!({"throughput": {"unit": "rpm",
            "values": [{"id": "1579608001", "data": [[1579607996, 2.0], [1579608001, 1.0]]}]}})
    );
    assert_eq!(wire.annotations["a"], "b");
    assert!(wire.warnings.is_empty());

    let nothing = Measurement::default().to_wire(at(0));
    assert!(nothing.metrics.is_empty() && nothing.annotations.is_empty());
}

#[test]
fn every_series_survives_under_its_own_id() {
    let one = |id: Option<&str>| {
        let series = TimeSeries::new(throughput(), [(at(1), 1.0)]);
        Reading::from(match id {
            Some(id) => series.with_id(id),
            None => series,
        })
    };
    let wire = Measurement::new([one(None), one(Some("pod-a")), one(None), one(Some("pod-a"))])
        .to_wire(at(7));
    let ids: Vec<&str> = wire.metrics["throughput"]["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|series| series["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["7", "pod-a", "7-1", "pod-a-1"]);
}

#[test]
fn what_cannot_be_sent_is_dropped_and_told() {
    let spoiled = TimeSeries::new(
        throughput(),
        [(at(1), f64::NAN), (at(2), 2.0), (at(3), f64::INFINITY)],
    );
    let lost = TimeSeries::new(Metric::new("lost", Unit::Float), [(at(1), f64::NAN)]);
    let empty = TimeSeries::new(Metric::new("empty", Unit::Float), []);
    let wire = Measurement::new([
        spoiled.clone().into(),
        spoiled.into(),
        lost.into(),
        empty.into(),
    ])
    .to_wire(at(7));
    assert_eq!(
        Value::Object(wire.metrics),
        json!({
            "throughput": {"unit": "rpm", "values": [{"id": "7", "data": [[2, 2.0]]}, {"id": "7-1", "data": [[2, 2.0]]}]},
            "empty": {"unit": "", "values": [{"id": "7", "data": []}]}})
    );
    assert_eq!(
        texts(&wire.warnings),
        [
            "metric 'throughput': dropped 4 non-finite points",
            "metric 'lost': dropped 1 non-finite point"
        ]
    );
}

#[test]
fn a_series_beats_a_scalar() {
    let series = TimeSeries::new(throughput(), [(at(1), 1.0)]);
    for readings in [
        [scalar(throughput(), 5.0), series.clone().into()],
        [series.clone().into(), scalar(throughput(), 5.0)],
    ] {
        let wire = Measurement::new(readings).to_wire(at(7));
        assert!(wire.metrics["throughput"].get("value").is_none());
        assert_eq!(
            texts(&wire.warnings),
            [
                "metric 'throughput': measured both as a time series and as a single value; the series is kept"
            ]
        );
    }
    let twice = Measurement::new([
        scalar(throughput(), 5.0),
        scalar(Metric::new("throughput", Unit::RequestsPerSecond), 6.0),
    ]);
    let wire = twice.to_wire(at(7));
    assert_eq!(
        wire.metrics["throughput"],
        json!({"unit": "rpm", "value": 6.0})
    );
    assert_eq!(
        texts(&wire.warnings),
        [
            "metric 'throughput': measured in 'rpm' and in 'rps'; 'rpm' is reported",
            "metric 'throughput': measured more than once as a single value; the last is kept",
        ]
    );
}

#[test]
fn the_optimizers_side() {
    let report = MeasurementReport::from_wire(&json!({
        "status": "ok", "message": null, "reason": "success", "cmd_uid": "u2",
        "metrics": {
            "error_rate": {"unit": "%", "value": 0.4},
            "throughput": {"unit": "rpm", "values": [
                {"id": "a", "data": [[1, 1.5], [2, 2.5]]}, {"id": 7, "data": [[1.9, 5], [2, null]]}]},
            "nothing": {"values": []}},
        "annotations": {"load_profile": "synthetic", "n": 3}}))
    .unwrap();
    let throughput = &report.metrics["throughput"];
    assert_eq!((throughput.count(), throughput.mean()), (3, Some(3.0)));
    assert_eq!((throughput.min(), throughput.max()), (Some(1.5), Some(5.0)));
    assert_eq!(throughput.values[1].id, "7");
    assert_eq!(throughput.values[1].data, [(1, 5.0)]);
    let error_rate = &report.metrics["error_rate"];
    assert_eq!(
        (error_rate.unit, error_rate.mean(), error_rate.count()),
        (Unit::Percentage, Some(0.4), 1)
    );
    assert_eq!(error_rate.standard_deviation(), None);
    assert_eq!(
        (
            report.metrics["nothing"].mean(),
            report.metrics["nothing"].count()
        ),
        (None, 0)
    );
    assert_eq!(
        (
            report.annotations["load_profile"].as_str(),
            report.annotations["n"].as_str()
        ),
        ("synthetic", "3")
    );
    assert_eq!(
        MeasurementReport::from_wire(&json!({})).unwrap(),
        MeasurementReport::default()
    );
}

#[test]
fn errors_name_the_path() {
    for (param, error) in [
        (json!([]), "param: expected an object but found a list"),
        (
            json!({"metrics": {"x": 1}}),
            "metrics.x: expected an object but found a number",
        ),
        (
            json!({"metrics": {"x": {"value": "1"}}}),
            "metrics.x.value: expected a number but found a string",
        ),
        (
            json!({"metrics": {"x": {"values": [{"id": "a"}]}}}),
            "metrics.x.values[0].data: missing: expected a list",
        ),
        (
            json!({"metrics": {"x": {"values": [{"id": "a", "data": [[1, 2], [1]]}]}}}),
            "metrics.x.values[0].data[1]: expected a pair of time and value",
        ),
        (
            json!({"metrics": {"x": {"values": [{"id": "a", "data": [["1", 2]]}]}}}),
            "metrics.x.values[0].data[0][0]: expected a number but found a string",
        ),
    ] {
        assert_eq!(
            MeasurementReport::from_wire(&param)
                .unwrap_err()
                .to_string(),
            error
        );
    }
}

#[test]
fn the_mean_of_huge_values_is_finite() {
    let huge = TimeSeries::new(throughput(), [(at(1), f64::MAX), (at(2), f64::MAX)]);
    assert_eq!(huge.mean(), Some(f64::MAX));
}

proptest! {
    #[test]
    fn wire_round_trip(all in proptest::collection::vec(series(), 0..6)) {
        let measurement = Measurement::new(all.iter().cloned().map(Reading::from));
        let wire = measurement.to_wire(at(7));
        let json = json!({"metrics": wire.metrics, "annotations": wire.annotations}).to_string();
        let report: MeasurementReport = serde_json::from_str(&json).unwrap();

        let names: BTreeSet<&str> = all.iter().map(|series| series.metric.name.as_str()).collect();
        prop_assert_eq!(report.metrics.keys().map(String::as_str).collect::<BTreeSet<_>>(), names);
        for (name, metric) in &report.metrics {
            let sent: Vec<&TimeSeries> = all.iter().filter(|series| series.metric.name == *name).collect();
            prop_assert_eq!(metric.unit, sent[0].metric.unit);
            prop_assert_eq!(metric.values.len(), sent.len());
            let ids: BTreeSet<&String> = metric.values.iter().map(|series| &series.id).collect();
            prop_assert_eq!(ids.len(), sent.len());
            for (received, sent) in metric.values.iter().zip(sent) {
                let points: Vec<(i64, f64)> =
                    sent.points().iter().map(|(time, value)| (time.as_second(), *value)).collect();
                prop_assert_eq!(&received.data, &points);
            }
        }
        let again = serde_json::to_string(&report).unwrap();
        prop_assert_eq!(serde_json::from_str::<MeasurementReport>(&again).unwrap(), report);
    }
}
