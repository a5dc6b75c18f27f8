//! What commands say to connectors, and what their answers look like to the optimizer
//! (`spec/optimizer-protocol.md` §6, §7, §19).
//!
//! The clock is paused: it moves when everybody waits.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use servo_messages::{
    Component, DataPoint, Description, Measurement, Metric, RangeSetting, Reading, TimeSeries, Unit,
};
use tokio::time::pause;

use crate::{
    log::Log,
    puppet::{Answer, Heard, Puppet, idle},
    stage::{Act, Scene, Setting},
};

/// Has the servo carry out `commands`.
async fn carried_out(setting: Setting, commands: Vec<Value>) -> (Arc<Puppet>, Scene) {
    let count = commands.len();
    let puppet = Puppet::with_commands(move |before| match commands.get(before) {
        Some(command) => Answer::Body(command.clone()),
        None => idle(),
    });
    let scene = setting.unhurried().with(puppet.clone()).await;
    puppet.seen("WHATS_NEXT", count + 1).await;
    (puppet, scene)
}

fn completions(puppet: &Puppet) -> Vec<Value> {
    let heard = puppet.heard().into_iter();
    heard
        .filter(Heard::is_completion)
        .map(|h| h.param)
        .collect()
}

fn measure(param: Value) -> Value {
    json!({"cmd": "MEASURE", "cmd_uid": "u1", "param": param})
}

fn metric(name: &str) -> Metric {
    Metric::new(name, Unit::RequestsPerMinute)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_704_067_200 + second).unwrap()
}

fn series(name: &str, values: &[f64]) -> TimeSeries {
    let points = values
        .iter()
        .zip(0..)
        .map(|(value, second)| (at(second), *value));
    TimeSeries::new(metric(name), points)
}

/// Acceptance 9.
#[actix_rt::test]
async fn a_description_is_complete_and_bears_its_commands_uid() {
    pause();
    let command = json!({"cmd": "DESCRIBE", "cmd_uid": "u1", "param": null});
    let (puppet, _) = carried_out(Setting::quiet(), vec![command]).await;
    let told = completions(&puppet).remove(0);
    assert!(told["descriptor"]["application"]["components"]["a-web"].is_object());
    assert!(told["descriptor"]["measurement"]["metrics"]["a_rate"].is_object());
    assert_eq!(told["status"], "ok");
    assert_eq!(told["reason"], "success");
    assert_eq!(told["message"], Value::Null);
    assert_eq!(told["cmd_uid"], "u1");
    assert_eq!(told.get("other_messages"), None);
}

/// Acceptance 10.
#[actix_rt::test]
async fn metrics_are_named_by_a_list_or_an_object_in_their_order() {
    pause();
    let control = json!({"duration": 0});
    let commands = vec![
        measure(json!({"metrics": {"z": {"unit": "rpm"}, "a": {}, "m": null}, "control": control})),
        measure(json!({"metrics": ["z", "a", "m"], "control": control})),
    ];
    let (puppet, scene) = carried_out(Setting::quiet(), commands).await;
    assert_eq!(scene.times("a measures Some(\"z,a,m\")"), 2);
    assert_eq!(completions(&puppet).len(), 2);
}

/// Acceptance 11, and §7.2: one entry for each series, a series before a scalar.
#[actix_rt::test]
async fn several_series_of_a_metric_all_arrive() {
    pause();
    let scalar = DataPoint::new(metric("errors"), at(0), 0.4).unwrap();
    let clash = DataPoint::new(metric("throughput"), at(0), 9.0).unwrap();
    let mut ours = Measurement::new([Reading::Point(scalar), Reading::Point(clash)]);
    ours.annotations.insert("profile".into(), "old".into());
    let mut theirs = Measurement::new([
        Reading::Series(series("throughput", &[1.5, 2.0]).with_id("a")),
        Reading::Series(series("throughput", &[3.0]).with_id("b")),
        Reading::Series(series("empty", &[])),
    ]);
    theirs
        .annotations
        .insert("profile".into(), "synthetic".into());
    let log = Log::begin();
    let setting = Setting::quiet().act("a", "measure", Act::Yield(ours)).act(
        "b",
        "measure",
        Act::Yield(theirs),
    );
    let command = measure(json!({"metrics": [], "control": {"duration": 0}}));
    let (puppet, _) = carried_out(setting, vec![command]).await;
    let told = completions(&puppet).remove(0);
    assert_eq!(
        told["metrics"]["errors"],
        json!({"unit": "rpm", "value": 0.4})
    );
    assert_eq!(
        told["metrics"]["throughput"],
        json!({"unit": "rpm", "values": [
            {"id": "a", "data": [[1_704_067_200, 1.5], [1_704_067_201, 2.0]]},
            {"id": "b", "data": [[1_704_067_200, 3.0]]},
        ]})
    );
    assert_eq!(told["metrics"]["empty"]["values"][0]["data"], json!([]));
    assert_eq!(told["annotations"], json!({"profile": "synthetic"}));
    let warnings = log.with("WARN");
    assert!(
        warnings.iter().any(|w| w.contains("throughput")),
        "{warnings:?}"
    );
    assert_eq!(
        log.with("INFO Measured: 5 readings, 1 annotations").len(),
        1
    );
}

/// Acceptance 12.
#[actix_rt::test]
async fn what_is_no_number_is_left_out_with_a_warning() {
    pause();
    let measurement = Measurement::new([
        Reading::Series(series("gone", &[f64::NAN, f64::INFINITY])),
        Reading::Series(series("partly", &[1.0, f64::NAN]).with_id("x")),
    ]);
    let log = Log::begin();
    let setting = Setting::quiet().act("a", "measure", Act::Yield(measurement));
    let command = measure(json!({"metrics": [], "control": {"duration": 0}}));
    let (puppet, _) = carried_out(setting, vec![command]).await;
    let told = completions(&puppet).remove(0);
    assert_eq!(told["status"], "ok");
    assert_eq!(told["metrics"].get("gone"), None);
    let left = &told["metrics"]["partly"]["values"];
    assert_eq!(*left, json!([{"id": "x", "data": [[1_704_067_200, 1.0]]}]));
    let warnings = log.with("WARN");
    for (name, count) in [("gone", "2"), ("partly", "1")] {
        let told = warnings
            .iter()
            .filter(|w| w.contains(name) && w.contains(count))
            .count();
        assert_eq!(told, 1, "{name}: {warnings:?}");
    }
}

/// Acceptance 13.
#[actix_rt::test]
async fn values_of_settings_keep_their_types() {
    pause();
    let settings = json!({
        "whole": {"value": 2}, "part": {"value": 1.5}, "text": {"value": "8080"}
    });
    let command = json!({"cmd": "ADJUST", "cmd_uid": "u1", "param": {
        "state": {"application": {"components": {"main": {"settings": settings}}}}}});
    let log = Log::begin();
    let (puppet, scene) = carried_out(Setting::quiet(), vec![command]).await;
    assert_eq!(completions(&puppet)[0]["status"], "ok");
    let happened = scene.world.happened();
    let set: Vec<&str> = happened
        .iter()
        .filter_map(|h| h.strip_prefix("a sets "))
        .collect();
    assert_eq!(set.len(), 6, "{set:?}");
    assert_eq!(
        (set[0], set[2], set[4]),
        ("main.whole=2", "main.part=1.5", "main.text=8080")
    );
    assert!(set[1].contains("2") && !set[1].contains("2.0"), "{set:?}");
    assert!(set[5].contains("\"8080\""), "{set:?}");
    assert_eq!(
        log.with("INFO Adjusting... [main.whole=2").len(),
        1,
        "{:?}",
        log.lines()
    );
    assert_eq!(log.with("INFO Adjusted: 2 components, 2 settings").len(), 1);
}

/// Acceptance 14, 15 and 16: what cannot be understood is answered, each time, and told why.
#[actix_rt::test]
async fn commands_that_make_no_sense_are_answered() {
    pause();
    let slo = json!({"slo": {"conditions": [{"metric": "e", "threshold": 5, "treshold": 1}]}});
    let bad = vec![
        (
            json!({"cmd": "ADJUST", "cmd_uid": "u1", "param": {"control": {}}}),
            "state",
        ),
        (
            json!({"cmd": "ADJUST", "cmd_uid": "u1", "param": {"state": {"application": {"components": {"main": {"settings": {"cpu": {}}}}}}}}),
            "cpu",
        ),
        (
            measure(json!({"metrics": ["e"], "control": {"past": 1, "delay": 2}})),
            "past and delay attributes must be equal",
        ),
        (
            measure(json!({"metrics": ["e"], "control": {"userdata": slo}})),
            "treshold",
        ),
    ];
    for (command, named) in bad {
        let (puppet, scene) = carried_out(Setting::quiet(), vec![command.clone()]).await;
        let told = completions(&puppet);
        assert_eq!(told.len(), 1, "{command}");
        assert_eq!(
            (&told[0]["status"], &told[0]["reason"]),
            (&json!("failed"), &json!("invalid-command"))
        );
        assert_eq!(told[0]["cmd_uid"], "u1");
        assert!(
            told[0]["message"].as_str().unwrap().contains(named),
            "{told:?}"
        );
        assert_eq!(scene.restarts_of("optimizer"), 0);
    }
    let fine =
        measure(json!({"metrics": ["e"], "control": {"duration": 0, "past": 10, "delay": "10s"}}));
    let (puppet, _) = carried_out(Setting::quiet(), vec![fine]).await;
    assert_eq!(completions(&puppet)[0]["status"], "ok");
}

/// §7.1: components that several connectors have are one, with a warning for true clashes.
#[actix_rt::test]
async fn what_several_connectors_say_of_a_component_is_merged() {
    pause();
    let setting = |name: &str, value: i64| {
        RangeSetting {
            value: Some(value.into()),
            ..RangeSetting::new(name, 1, 8, 1)
        }
        .into()
    };
    let description = |settings, unit| Description {
        components: vec![Component::new("main", settings)],
        metrics: vec![Metric::new("load", unit)],
    };
    let ours = description(
        vec![setting("workers", 1), setting("threads", 2)],
        Unit::RequestsPerMinute,
    );
    let theirs = description(
        vec![setting("workers", 7), setting("buffers", 3)],
        Unit::Milliseconds,
    );
    let log = Log::begin();
    let stage = Setting::quiet().act("a", "describe", Act::Claim(ours)).act(
        "b",
        "describe",
        Act::Claim(theirs),
    );
    let command = json!({"cmd": "DESCRIBE", "cmd_uid": "u1"});
    let (puppet, _) = carried_out(stage, vec![command]).await;
    let told = completions(&puppet).remove(0);
    let settings = &told["descriptor"]["application"]["components"]["main"]["settings"];
    let values = ["workers", "threads", "buffers"].map(|name| settings[name]["value"].clone());
    assert_eq!(values, [1, 2, 3]);
    assert_eq!(
        told["descriptor"]["measurement"]["metrics"]["load"]["unit"],
        "rpm"
    );
    let warnings = log.with("WARN");
    assert!(
        warnings.iter().any(|w| w.contains("workers")),
        "{warnings:?}"
    );
    assert!(warnings.iter().any(|w| w.contains("load")), "{warnings:?}");
    assert_eq!(log.with("INFO Described: 1 components, 1 metrics").len(), 1);
}

/// §6.1: a metric that nobody knows is told, and no failure.
#[actix_rt::test]
async fn metrics_that_nobody_knows_are_told() {
    pause();
    let log = Log::begin();
    let commands = vec![
        json!({"cmd": "DESCRIBE"}),
        measure(json!({"metrics": ["a_rate", "nonsense"], "control": {"duration": 0}})),
    ];
    let (puppet, _) = carried_out(Setting::quiet(), commands).await;
    assert_eq!(completions(&puppet)[1]["status"], "ok");
    let warnings = log.with("no connector declares this metric");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("metric=nonsense"), "{warnings:?}");
}

#[actix_rt::test]
async fn thousands_of_metrics_that_nobody_knows_are_a_few_lines() {
    pause();
    let log = Log::begin();
    let metrics: Vec<String> = (0..5000).map(|i| format!("nonsense-{i}")).collect();
    let commands = vec![
        json!({"cmd": "DESCRIBE"}),
        measure(json!({"metrics": metrics, "control": {"duration": 0}})),
    ];
    carried_out(Setting::quiet(), commands).await;
    let warnings = log.with("WARN");
    assert_eq!(warnings.len(), 11, "{warnings:?}");
    assert!(warnings[10].contains("4990 other"), "{warnings:?}");
}

/// §19: what the log of a servo tells at INFO; each line names the servo, those of a command its uid.
#[actix_rt::test]
async fn the_log_tells_what_happens_and_nothing_of_idling() {
    pause();
    let log = Log::begin();
    let puppet = Puppet::with_commands(|before| {
        Answer::Body(match before {
            0 => {
                json!({"cmd": "MEASURE", "cmd_uid": "u1", "param": {"metrics": [], "control": {"duration": 0}}})
            }
            _ => {
                json!({"cmd": "SLEEP", "param": {"duration": 60, "data": {"reason": "no active optimization pipeline"}}})
            }
        })
    });
    let scene = Setting::quiet().unhurried().with(puppet.clone()).await;
    puppet.seen("WHATS_NEXT", 100).await;
    scene
        .until("asleep", |s| s.phase.name() == "sleeping")
        .await;
    scene.end("SIGTERM").await;
    let lines = log.with("servo=dev.opsani.com/app1");
    assert_eq!(
        lines,
        [
            "INFO Saying HELLO. servo=dev.opsani.com/app1 optimizer=puppet://",
            "INFO What's Next? => MEASURE servo=dev.opsani.com/app1 command_uid=u1 event=measure",
            "INFO Measured: 2 readings, 0 annotations servo=dev.opsani.com/app1 command_uid=u1 event=measure",
            "INFO Sleeping for 1m (no active optimization pipeline). servo=dev.opsani.com/app1",
            "INFO Said GOODBYE. servo=dev.opsani.com/app1 reason=SIGTERM",
        ]
    );
    // Nothing else at INFO, though it has polled a hundred times.
    assert_eq!(log.lines().len(), lines.len(), "{:?}", log.lines());
}
