use proptest::prelude::*;
use serde_json::{Value, json};
use servo_messages::{
    Component, Description, EnumSetting, Metric, RangeSetting, Selector, Setting, Unit,
};

use crate::strategies::{description, near_text};

fn workers(max: i64) -> Setting {
    RangeSetting::new("workers", 1, max, 1).into()
}

#[test]
fn wire_form() {
    let description = Description {
        components: vec![Component::new(
            "main",
            [
                RangeSetting {
                    value: Some(1.5.into()),
                    ..RangeSetting::cpu(0.25, 4.0).unwrap()
                }
                .into(),
                RangeSetting {
                    value: Some(3.into()),
                    ..RangeSetting::replicas(1, 10)
                }
                .into(),
                EnumSetting {
                    unit: Some("x".into()),
                    value: Some("a".into()),
                    ..EnumSetting::new("gc", ["a", "b"]).unwrap()
                }
                .into(),
            ],
        )],
        metrics: vec![
            Metric::new("throughput", Unit::RequestsPerMinute),
            Metric::new("ratio", Unit::Rate),
        ],
    };
    let wire = json!({
        "application": {"components": {"main": {"settings": {
            "cpu": {"type": "range", "unit": "cores", "min": 0.25, "max": 4.0, "step": 0.125, "pinned": false, "value": 1.5},
            "replicas": {"type": "range", "min": 1, "max": 10, "step": 1, "pinned": false, "value": 3},
            "gc": {"type": "enum", "unit": "x", "values": ["a", "b"], "pinned": false, "value": "a"}}}}},
        "measurement": {"metrics": {"throughput": {"unit": "rpm"}, "ratio": {"unit": ""}}}});
    assert_eq!(description.to_wire(), wire);
    assert_eq!(
        Description::default().to_wire(),
        json!({"application": {"components": {}}, "measurement": {"metrics": {}}})
    );
    assert_eq!(
        description.setting("main", "cpu").unwrap().value(),
        Some(1.5.into())
    );
    assert!(
        description.setting("main", "nope").is_none()
            && description.setting("nope", "cpu").is_none()
    );
}

#[test]
fn lenient_where_nothing_is_lost() {
    for wire in [
        json!({}),
        json!({"application": null}),
        json!({"application": {}, "measurement": {"metrics": null}}),
    ] {
        assert_eq!(
            Description::from_wire(&wire).unwrap(),
            Description::default()
        );
    }
}

#[test]
fn errors_name_the_path() {
    for (wire, error) in [
        (json!(null), "descriptor: expected an object but found null"),
        (
            json!({"application": {"components": []}}),
            "application.components: expected an object but found a list",
        ),
        (
            json!({"application": {"components": {"web": {"settings": {"cpu": {"type": "range"}}}}}}),
            "application.components.web.settings.cpu.min: missing: expected a number",
        ),
        (
            json!({"measurement": {"metrics": {"x": {"unit": 3}}}}),
            "measurement.metrics.x.unit: expected a string but found a number",
        ),
    ] {
        assert_eq!(
            Description::from_wire(&wire).unwrap_err().to_string(),
            error
        );
    }
    let unit = json!({"measurement": {"metrics": {"x": {"unit": "furlong"}}}});
    let error = Description::from_wire(&unit).unwrap_err().to_string();
    assert!(error.starts_with("measurement.metrics.x.unit: unknown unit 'furlong'"));
}

#[test]
fn merging_keeps_what_was_declared_first() {
    let mut first = Description {
        components: vec![Component::new("web", [workers(4)])],
        metrics: vec![
            Metric::new("latency", Unit::Milliseconds),
            Metric::new("errors", Unit::Count),
        ],
    };
    let warnings = first.merge(Description {
        components: vec![
            Component::new(
                "web",
                [workers(8), RangeSetting::new("cache", 0, 9, 1).into()],
            ),
            Component::new("db", []),
        ],
        metrics: vec![
            Metric::new("latency", Unit::Float),
            Metric::new("errors", Unit::Int),
            Metric::new("throughput", Unit::RequestsPerSecond),
        ],
    });
    let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "setting 'web.workers' is declared more than once; the first declaration is kept",
            "metric 'latency' is declared in 'milliseconds' and in 'float'; 'milliseconds' is kept",
        ]
    );
    assert_eq!(first.setting("web", "workers"), Some(&workers(4)));
    assert!(first.setting("web", "cache").is_some() && first.component("db").is_some());
    assert_eq!(first.metric("latency").unwrap().unit, Unit::Milliseconds);
    assert_eq!(first.metrics.len(), 3);
}

#[test]
fn selectors() {
    let known = ["web", "web.v2", "db"];
    for (text, component, setting) in [
        ("web.cpu", "web", "cpu"),
        ("web.v2.cpu", "web.v2", "cpu"),
        ("web.v2", "web", "v2"),
        ("other.a.b", "other", "a.b"),
    ] {
        let selector = Selector::parse(text, known).unwrap();
        assert_eq!(
            (selector.component.as_str(), selector.setting.as_str()),
            (component, setting)
        );
        assert_eq!(selector.to_string(), text);
    }
    for text in ["", "web", "web.", ".cpu", "."] {
        assert_eq!(
            text.parse::<Selector>().unwrap_err().to_string(),
            format!(
                "unable to parse setting selector '{text}': expected format is `component.setting`"
            )
        );
    }
}

proptest! {
    #[test]
    fn wire_round_trip(description in description()) {
        let wire: Value = serde_json::from_str(&description.to_wire().to_string()).unwrap();
        prop_assert_eq!(Description::from_wire(&wire).unwrap(), description);
    }

    #[test]
    fn merging_a_description_with_itself_changes_nothing(description in description()) {
        let mut merged = description.clone();
        let warnings = merged.merge(description.clone());
        prop_assert_eq!(warnings.len(), description.components.iter().map(|c| c.settings.len()).sum::<usize>());
        prop_assert_eq!(merged, description);
    }

    #[test]
    fn any_text_is_a_selector_or_refused(text in near_text()) {
        if let Ok(selector) = text.parse::<Selector>() {
            prop_assert_eq!(selector.to_string(), text);
        }
    }
}
