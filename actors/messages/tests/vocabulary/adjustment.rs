use proptest::prelude::*;
use serde_json::{Value, json};
use servo_messages::{Adjustment, adjustments_from_state, adjustments_to_state};

use crate::strategies::{near_text, setting_value};

#[test]
fn command_line_form() {
    for (text, adjustment) in [
        ("web.cpu=1.25", Adjustment::new("web", "cpu", 1.25)),
        ("web.mem=512", Adjustment::new("web", "mem", 512)),
        ("web.mem=512Mi", Adjustment::new("web", "mem", "512Mi")),
        (
            "main.GC=parallel",
            Adjustment::new("main", "GC", "parallel"),
        ),
        (
            "web.opts=-Da=b.c",
            Adjustment::new("web", "opts", "-Da=b.c"),
        ),
    ] {
        assert_eq!(text.parse::<Adjustment>().unwrap(), adjustment);
        assert_eq!(adjustment.to_string(), text);
    }
    for text in [
        "setting=value",
        "",
        "web.cpu",
        "web.cpu=",
        ".cpu=1",
        "web.=1",
        "web=1.5",
    ] {
        assert_eq!(
            text.parse::<Adjustment>().unwrap_err().to_string(),
            format!(
                "unable to parse setting descriptor '{text}': expected format is `component.setting=value`"
            )
        );
    }
    assert_eq!(
        Adjustment::parse("web.v2.cpu=1", ["web.v2"]).unwrap(),
        Adjustment::new("web.v2", "cpu", 1)
    );
}

#[test]
fn state_in_document_order_with_types_kept() {
    let state = json!({"application": {"components": {
        "tuning": {"settings": {"mem": {"value": 2.0}, "GC": {"value": "parallel", "type": "enum"}}},
        "main": {"settings": {"replicas": {"value": 2}, "port": {"value": "8080"}}}}}});
    let texts: Vec<String> = adjustments_from_state(&state)
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        texts,
        [
            "tuning.mem=2.0",
            "tuning.GC=parallel",
            "main.replicas=2",
            "main.port=8080"
        ]
    );
    assert_eq!(
        adjustments_from_state(&state).unwrap()[3].value,
        "8080".into()
    );
}

#[test]
fn errors_name_the_path() {
    for (state, error) in [
        (Value::Null, "state: missing: expected an object"),
        (json!({}), "state.application: missing: expected an object"),
        (
            json!({"application": {}}),
            "state.application.components: missing: expected an object",
        ),
        (
            json!({"application": {"components": {"web": {}}}}),
            "state.application.components.web.settings: missing: expected an object",
        ),
        (
            json!({"application": {"components": {"web": {"settings": {"cpu": {}}}}}}),
            "state.application.components.web.settings.cpu.value: missing: expected a number or a string",
        ),
        (
            json!({"application": {"components": {"web": {"settings": {"cpu": {"value": null}}}}}}),
            "state.application.components.web.settings.cpu.value: expected a number or a string but found null",
        ),
        (
            json!({"application": {"components": {"web": {"settings": {"cpu": {"value": true}}}}}}),
            "state.application.components.web.settings.cpu.value: expected a number or a string but found a boolean",
        ),
        (
            json!({"application": {"components": {"web": {"settings": {"cpu": 1}}}}}),
            "state.application.components.web.settings.cpu: expected an object but found a number",
        ),
    ] {
        assert_eq!(
            adjustments_from_state(&state).unwrap_err().to_string(),
            error
        );
    }
    assert_eq!(
        adjustments_from_state(&json!({"application": {"components": {}}})),
        Ok(Vec::new())
    );
}

proptest! {
    #[test]
    fn state_round_trip(values in proptest::collection::btree_map((".{0,5}", ".{0,5}"), setting_value(), 0..6)) {
        let adjustments: Vec<Adjustment> =
            values.into_iter().map(|((component, setting), value)| Adjustment { component, setting, value }).collect();
        let state: Value = serde_json::from_str(&adjustments_to_state(&adjustments).to_string()).unwrap();
        prop_assert_eq!(adjustments_from_state(&state).unwrap(), adjustments);
    }

    #[test]
    fn any_text_is_an_adjustment_or_refused(text in near_text()) {
        let _ = text.parse::<Adjustment>();
        let _ = format!("a.b={text}").parse::<Adjustment>();
    }
}
