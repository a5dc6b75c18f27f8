use proptest::prelude::*;
use serde_json::{Value, json};
use servo_messages::{Control, Duration};

fn control(json: Value) -> Control {
    serde_json::from_value(json.clone()).unwrap_or_else(|error| panic!("{json}: {error}"))
}

#[test]
fn defaults() {
    assert_eq!(control(json!({})), Control::default());
    assert_eq!(control(json!(null)), Control::default());
    assert_eq!(Control::default().duration, Duration::from_secs(1));
    let nulls = control(
        json!({"duration": null, "delay": null, "past": null, "warmup": null, "settlement": null,
        "load": null, "userdata": null, "environment": null}),
    );
    assert_eq!(
        nulls,
        Control {
            duration: Duration::ZERO,
            ..Control::default()
        }
    );
    assert_eq!(
        control(json!({"reset": true, "delta": 3})),
        Control::default(),
        "unknown keys are ignored"
    );
}

#[test]
fn a_measure_command() {
    let control = control(json!({"duration": 180, "warmup": "30s", "past": 10,
        "userdata": {"slo": {"conditions": []}, "other": 1}}));
    assert_eq!(control.duration, Duration::from_secs(180));
    assert_eq!(control.delay, Duration::from_secs(10));
    assert_eq!(control.total(), Duration::from_secs(220));
    assert_eq!(control.slo(), Some(&json!({"conditions": []})));
    assert_eq!(control.userdata.unwrap()["other"], 1);
}

#[test]
fn past_is_another_name_for_delay() {
    for json in [
        json!({"past": 10}),
        json!({"delay": "10s"}),
        json!({"past": "10s", "delay": 10}),
        json!({"past": 10.0, "delay": null}),
    ] {
        assert_eq!(control(json).delay, Duration::from_secs(10));
    }
}

#[test]
fn refusals_name_the_key() {
    for (json, error) in [
        (
            json!({"past": 60, "delay": 0}),
            "past and delay attributes must be equal",
        ),
        (
            json!({"duration": "abc5s"}),
            "duration: Invalid duration 'abc5s'",
        ),
        (
            json!({"warmup": -1}),
            "warmup: Invalid duration '-1s': a length of time cannot be negative",
        ),
        (
            json!({"past": true}),
            "past: invalid type: boolean `true`, expected a duration such as '1m30s' or a number of seconds",
        ),
        (
            json!({"settlement": "5"}),
            "settlement: Invalid duration '5'",
        ),
        (
            json!({"userdata": []}),
            "userdata: invalid type: sequence, expected a map",
        ),
        (json!([]), "invalid type: sequence, expected a map"),
    ] {
        assert_eq!(
            serde_json::from_value::<Control>(json)
                .unwrap_err()
                .to_string(),
            error
        );
    }
}

#[test]
fn a_total_beyond_all_bounds_is_the_longest_duration() {
    let control = Control {
        duration: Duration::MAX,
        warmup: Duration::MAX,
        ..Control::default()
    };
    assert_eq!(control.total(), Duration::MAX);
}

proptest! {
    #[test]
    fn round_trip(
        [duration, delay, warmup, settlement] in any::<[u64; 4]>(),
        settles in any::<bool>(),
        userdata in proptest::option::of(any::<i64>()),
    ) {
        let control = Control {
            duration: Duration::from_nanos(duration),
            delay: Duration::from_nanos(delay),
            warmup: Duration::from_nanos(warmup),
            settlement: settles.then(|| Duration::from_nanos(settlement)),
            userdata: userdata.map(|value| [("key".to_owned(), json!(value))].into_iter().collect()),
            ..Control::default()
        };
        let json = serde_json::to_string(&control).unwrap();
        prop_assert_eq!(serde_json::from_str::<Control>(&json).unwrap(), control);
    }
}
