//! What a stanza may say, and what is said of a wrong one.

use servo_connector_process::component::components;
use servo_connector_process::{Process, ProcessConfig};
use servo_dispatch::ConnectorType;

/// The problems of a stanza, one a line.
fn problems(yaml: &str) -> String {
    match serde_yaml::from_str::<ProcessConfig>(yaml) {
        Ok(config) => components(&config)
            .1
            .iter()
            .map(|problem| format!("{problem}\n"))
            .collect(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn lists_and_maps_say_the_same() {
    let list = "components: [{name: a, command: [x, 1, true], settings: [{name: s, min: 1, max: 2, step: 1, value: 1}]}, {name: b, command: [y]}]";
    let map = "components: {a: {command: [x, '1', 'true'], settings: {s: {min: 1, max: 2, step: 1, value: 1}}}, b: {name: b, command: [y]}}";
    let read = |yaml| {
        let config: ProcessConfig = serde_yaml::from_str(yaml).unwrap();
        serde_yaml::to_string(&config).unwrap()
    };
    assert_eq!(read(list), read(map));
    // What is written with all defaults reads back as the same.
    assert_eq!(read(&read(list)), read(list));
    assert_eq!(problems(list), "");
}

#[test]
fn each_mistake_is_named_with_its_key() {
    let one = |rest: &str| format!("components: {{web: {{command: [x], {rest}}}}}");
    let setting = |rest: &str| one(&format!("settings: {{workers: {{{rest}}}}}"));
    let range = "min: 1, max: 8, step: 1, value: 2";
    for (yaml, expected) in [
        ("components: []".into(), "components: is empty"),
        ("{}".into(), "missing field `components`"),
        ("components: {web: {}}".into(), "missing field `command`"),
        ("components: {web: {command: []}}".into(), "components.web.command: is empty"),
        ("components: {web: {command: ['']}}".into(), "components.web.command: is empty"),
        ("components: {web: {command: x y}}".into(), "invalid type: string"),
        ("components: [{command: [x]}]".into(), "components[0]: `name` is missing"),
        ("components: [{name: a, command: [x]}, {name: a, command: [x]}]".into(), "components.a: two components have this name"),
        ("components: {a: {name: b, command: [x]}}".into(), "`name: b` contradicts the key `a`"),
        ("components: {'a b': {command: [x]}}".into(), "a name may only hold letters"),
        ("components: {web: {command: [x, '{wrokers}'], settings: {workers: {min: 1, max: 2, step: 1, value: 1}}}}".into(),
            "components.web.command[1]: no setting is named `wrokers`: did you mean `{workers}`?"),
        (one("colour: red"), "unknown field `colour`"),
        (one("env: {'A=B': x}"), "components.web.env: `A=B` cannot name an environment variable"),
        (one("env: {WORKERS: 3}, settings: {workers: {min: 1, max: 8, step: 1, value: 2}}"), "`WORKERS` has a fixed value"),
        (one("settings: [{name: a, env: X, min: 1, max: 2, step: 1, value: 1}, {name: b, env: X, min: 1, max: 2, step: 1, value: 1}]"),
            "components.web.settings.b.env: `X` already holds the setting `a`"),
        (one("settings: [{name: a, min: 1, max: 2, step: 1, value: 1}, {name: a, env: B, min: 1, max: 2, step: 1, value: 1}]"),
            "components.web.settings.a: two settings have this name"),
        (one("ready: {timeout: 3s}"), "components.web.ready: give exactly one of"),
        (one("ready: {tcp: 'a:1', log: x}"), "give exactly one of `http`, `tcp` and `log`"),
        (one("ready: {tcp: localhost}"), "components.web.ready.tcp: `localhost` is not of the form host:port"),
        (one("ready: {tcp: 'localhost:0'}"), "is not of the form host:port"),
        (one("ready: {http: {url: 'ftp://x/'}}"), "components.web.ready.http.url: `ftp://x/` is no http(s) URL"),
        (one("ready: {http: {url: 'x'}}"), "relative URL without a base"),
        (one("ready: {log: ''}"), "the text is empty"),
        (one("ready: {log: '/(/'}"), "`/(/` is no regular expression"),
        (one("ready: {log: x, timeout: 0}"), "components.web.ready.timeout: must be longer than 0"),
        (one("stop: {grace: 2d}"), "components.web.stop.grace: is longer than a day"),
        (one("stop: {signal: SIGFOO}"), "unknown variant `SIGFOO`"),
        (setting("min: 1, max: 8, value: 2"), "components.web.settings.workers.step: is missing"),
        (setting("min: 9, max: 8, step: 1, value: 2"), "workers.min: min cannot be greater than max (9 > 8)"),
        (setting("min: 1, max: 8, step: -1, value: 2"), "workers.step: cannot be negative"),
        (setting("min: 1, max: 8, step: 0, value: 2"), "workers.step: cannot be zero"),
        (setting("min: 1, max: 8, step: 1, value: 9"), "workers.value: setting 'workers': invalid value: 9 is outside of the range 1-8"),
        (setting("values: [a, b], value: c"), "workers.value: setting 'workers': invalid value: 'c' is not in the values list"),
        (setting("values: [], value: c"), "workers.values: is empty"),
        (setting("type: enum, min: 1, values: [c], value: c"), "workers.min: belongs to `type: range` only"),
        (setting(&format!("{range}, argument: '--w'")), "workers.argument: does not hold `{value}`"),
        (setting(&format!("{range}, argument: '--w={{workers}}'")), "`{workers}` is unknown"),
        (setting(&format!("{range}, env: ''")), "cannot name an environment variable"),
        (setting("min: 1, max: 8, step: 1"), "missing field `value`"),
    ] {
        let found = problems(&yaml);
        assert!(found.contains(expected), "{yaml}\n  gives {found}\n  not {expected}");
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    let found = problems(
        "components: {a: {command: [], ready: {tcp: x}, settings: {s: {min: 3, max: 2, step: -1, value: 1}}}, b: {command: []}}",
    );
    assert_eq!(found.lines().count(), 5, "{found}");
}

#[test]
fn a_range_that_is_only_odd_is_a_warning() {
    let config: ProcessConfig = serde_yaml::from_str(
        "components: {web: {command: [x], settings: {workers: {min: 3, max: 11, step: 3, value: 4}}}}",
    )
    .unwrap();
    let (components, problems) = components(&config);
    assert_eq!(components.len(), 1);
    assert!(
        !problems.is_empty() && problems.iter().all(|problem| problem.warning),
        "{problems:?}"
    );
}

#[test]
fn the_schema_knows_both_forms() {
    let schema = schemars::schema_for!(ProcessConfig);
    let components = schema.pointer("/properties/components/anyOf").unwrap();
    assert_eq!(components.as_array().unwrap().len(), 2, "{components}");
}

#[test]
fn the_sample_is_a_service_with_one_setting() {
    let kind = ConnectorType::of::<Process>();
    let stanza = kind
        .parse(serde_yaml::from_str(kind.sample()).unwrap())
        .unwrap();
    assert_eq!(stanza.problems(), []);
    let effective = stanza.effective();
    let settings = &effective["components"][0]["settings"];
    assert_eq!(settings.as_sequence().unwrap().len(), 1);
    assert_eq!(settings[0]["env"], "WORKERS");
}

#[test]
fn the_schema_names_every_spelling_that_the_types_read() {
    let schema = schemars::schema_for!(ProcessConfig);
    let signal = schema.pointer("/$defs/StopSignal/enum").unwrap();
    for name in signal.as_array().unwrap() {
        let yaml = format!(
            "components: {{web: {{command: [x], stop: {{signal: {}}}}}}}",
            name.as_str().unwrap()
        );
        assert_eq!(problems(&yaml), "", "{name}");
    }
    assert_eq!(signal.as_array().unwrap().len(), 14);
    let component = schema.pointer("/$defs/ComponentConfig/properties").unwrap();
    let written = serde_json::json!(["string", "number", "boolean"]);
    assert_eq!(component["command"]["items"]["type"], written);
    assert_eq!(component["env"]["additionalProperties"]["type"], written);
    for (key, property) in component.as_object().unwrap() {
        assert!(property["description"].is_string(), "{key}");
    }
}

/// The demo is a user of this connector.
#[test]
fn the_stanza_of_the_quickstart_is_right() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../deploy/quickstart/servo.yaml"
    );
    let document: serde_yaml::Value =
        serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let config: ProcessConfig =
        serde_yaml::from_value(document.get("process").unwrap().clone()).unwrap();
    assert_eq!(components(&config).1, []);
}
