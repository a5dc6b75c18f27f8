//! What a user is told, and what a value becomes.

use schemars::{Schema, json_schema};
use servo_shape::{Fault, FaultKind, Shape};

use crate::types::{cases, yaml};

fn shape(name: &str) -> Shape {
    cases()
        .into_iter()
        .find(|case| case.name.ends_with(name))
        .unwrap()
        .shape()
}

fn told(shape: &Shape, text: &str) -> Vec<String> {
    let mut value = yaml(text);
    shape
        .check(&mut value)
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn told_by(schema: Schema, text: &str) -> Vec<String> {
    told(&Shape::of(&schema), text)
}

/// What `value` becomes; panics if it is refused.
fn becomes(schema: Schema, text: &str) -> String {
    let mut value = yaml(text);
    assert_eq!(Shape::of(&schema).check(&mut value), [], "{text}");
    serde_yaml::to_string(&value).unwrap().trim_end().to_owned()
}

#[test]
fn all_mistakes_at_once() {
    assert_eq!(
        told(
            &shape("VegetaConfig"),
            "{tagret: x, workers: many, http2: maybe, headers: {a: [1]}, format: jsn, root_certs: /a}"
        ),
        [
            "tagret: extra fields not permitted (did you mean \"target\"?)",
            "workers: expected a whole number from 1 to 4294967295, found the text \"many\"",
            "http2: expected true or false, found the text \"maybe\"",
            "headers -> a: expected a text, found a list",
            "format: expected one of \"http\", \"json\", found the text \"jsn\" (did you mean \"json\"?)",
            "root_certs: expected a list, found the text \"/a\"",
            "rate: field required",
        ]
    );
}

#[test]
fn items_and_optional_mappings_are_checked_below() {
    assert_eq!(
        told(
            &shape("PrometheusConfig"),
            "{metrics: [{name: a, query: q}, {name: b, qeury: q}, 5], basic_auth: {password: p},
              targets: [{health: sick}], fast_fail: {treat_zero_as_missing: 2}}"
        ),
        [
            "metrics -> 1 -> qeury: extra fields not permitted (did you mean \"query\"?)",
            "metrics -> 1 -> query: field required",
            "metrics -> 2: expected a mapping, found the number 5",
            "basic_auth -> username: field required",
            "targets -> 0 -> health: expected one of \"up\", \"down\", \"unknown\", found the text \"sick\"",
            "fast_fail -> treat_zero_as_missing: expected true or false, found the number 2",
        ]
    );
}

#[test]
fn a_list_or_mapping_reports_the_one_that_was_meant() {
    let process = shape("ProcessConfig");
    assert_eq!(
        told(&process, "{components: [{command: [a], cwdd: /}]}"),
        ["components -> 0 -> cwdd: extra fields not permitted (did you mean \"cwd\"?)"]
    );
    assert_eq!(
        told(&process, "{components: {web: {}}}"),
        ["components -> web -> command: field required"]
    );
    assert_eq!(
        told(&process, "{components: web}"),
        ["components: expected a list or a mapping, found the text \"web\""]
    );
}

#[test]
fn unions_report_the_variant_that_fits_best() {
    let everything = shape("Everything");
    let base = "kind: range, replicas: 1, base_url: x, wanted: a, verify: true";
    let told = |more: &str| told(&everything, &format!("{{{base}, {more}}}"));
    let fine = "either: word, choice: Nothing";

    assert_eq!(
        told(&format!(
            "{fine}, settings: [{{type: rang, min: 1, max: 2}}]"
        )),
        [
            "settings -> 0 -> type: expected one of \"range\", \"list\", \"bare\", found the text \"rang\" \
             (did you mean \"range\"?)"
        ]
    );
    assert_eq!(
        told(&format!("{fine}, settings: [{{min: 1, max: 2}}]")),
        ["settings -> 0 -> type: field required"]
    );
    assert_eq!(
        told(&format!(
            "{fine}, settings: [{{type: range, min: 1, maxx: 2}}]"
        )),
        [
            "settings -> 0 -> maxx: extra fields not permitted (did you mean \"max\"?)",
            "settings -> 0 -> max: field required",
        ]
    );
    assert_eq!(
        told("either: {y: [1]}, choice: Nothing"),
        ["either -> y: expected a text, found a list"]
    );
    assert_eq!(
        told("either: word, choice: {Fiel: {path: /a}}"),
        ["choice -> Fiel: extra fields not permitted (did you mean \"File\"?)"]
    );
    assert_eq!(
        told("either: word, choice: {Command: {program: a}}"),
        ["choice -> Command -> arguments: field required"]
    );
    assert_eq!(
        told("either: word, choice: nothing"),
        [
            "choice: expected \"Nothing\" or a mapping, found the text \"nothing\" \
             (did you mean \"Nothing\"?)"
        ]
    );
    assert_eq!(
        told(&format!("{fine}, delay: soon")),
        ["delay: expected \"expo\" or a number, at least 0, found the text \"soon\""]
    );
    assert_eq!(
        told(&format!("{fine}, proxies: {{'ftp://': x}}")),
        [
            "proxies -> ftp://: expected a text that matches ^(https?|all)://, found the text \"ftp://\""
        ]
    );
}

#[test]
fn scalars_become_what_the_type_wants() {
    let boolean = || json_schema!({ "type": "boolean" });
    for word in ["true", "'TRUE'", "t", "Yes", "y", "'on'", "1", "'1'"] {
        assert_eq!(becomes(boolean(), word), "true", "{word}");
    }
    for word in ["false", "'False'", "F", "no", "N", "'off'", "0", "'0'"] {
        assert_eq!(becomes(boolean(), word), "false", "{word}");
    }
    let text = || json_schema!({ "type": "string" });
    assert_eq!(becomes(text(), "7"), "'7'");
    assert_eq!(
        becomes(text(), "18446744073709551615"),
        "'18446744073709551615'"
    );
    assert_eq!(becomes(text(), "1.50"), "'1.5'");
    assert_eq!(becomes(text(), "2.0"), "'2.0'");
    assert_eq!(becomes(text(), "1e-7"), "'0.0000001'");
    assert_eq!(told_by(text(), "true"), ["expected a text, found true"]);
    assert_eq!(
        told_by(text(), ".inf"),
        ["expected a text, found the number .inf"]
    );
    assert_eq!(
        told_by(text(), "1e30"),
        ["expected a text, found the number 1e30"]
    );
    let whole = || json_schema!({ "type": "integer", "format": "uint8" });
    assert_eq!(becomes(whole(), "3.0"), "3");
    assert_eq!(becomes(whole(), "' +007 '"), "7");
    assert_eq!(
        told_by(whole(), "3.7"),
        ["expected a whole number from 0 to 255, found the number 3.7"]
    );
    for wrong in ["256", "'256'", "-1", "true", "'1e2'", "''", ".nan", "null"] {
        assert_eq!(told_by(whole(), wrong).len(), 1, "{wrong}");
    }
    let number = || json_schema!({ "type": "number" });
    assert_eq!(becomes(number(), "'2.5e1'"), "25.0");
    assert_eq!(becomes(number(), "'3'"), "3");
    for wrong in [".nan", ".inf", "'nan'", "'inf'", "true", "''", "1_000"] {
        assert_eq!(told_by(number(), wrong).len(), 1, "{wrong}");
    }
    let strict = || json_schema!({ "type": "integer", "x-strict": true });
    assert_eq!(becomes(strict(), "1"), "1");
    for wrong in ["1.0", "'1'", "true"] {
        assert_eq!(told_by(strict(), wrong).len(), 1, "{wrong}");
    }
    // Text that a type reads itself stays what it is.
    let duration = || json_schema!({ "type": ["string", "number"], "format": "duration" });
    assert_eq!(becomes(duration(), "'5'"), "'5'");
    assert_eq!(becomes(duration(), "5"), "5");
    let both = json_schema!({ "type": "string", "pattern": "a", "allOf": [{ "pattern": "b" }] });
    assert_eq!(becomes(both.clone(), "ab"), "ab");
    assert_eq!(told_by(both.clone(), "a").len(), 1);
    assert_eq!(told_by(both, "b").len(), 1);
    assert_eq!(
        told_by(duration(), "true"),
        ["expected a duration such as \"30s\" or \"2h45m\" or a number, found true"]
    );
}

#[test]
fn null_is_absent_where_a_key_may_be_absent() {
    let schema = || {
        json_schema!({
            "type": "object",
            "properties": {
                "a": { "type": "string" },
                "b": { "type": ["string", "null"] },
                "c": { "type": "string" },
            },
            "required": ["c"],
            "additionalProperties": { "type": "integer" },
        })
    };
    assert_eq!(
        becomes(schema(), "{a: null, b: null, c: x}"),
        "b: null\nc: x"
    );
    assert_eq!(
        told_by(schema(), "{c: null, d: null}"),
        [
            "c: expected a text, found null",
            "d: expected a whole number, found null",
        ]
    );
}

#[test]
fn other_spellings_of_keys() {
    let schema = || {
        json_schema!({
            "type": "object",
            "properties": { "base_url": { "type": "string" } },
            "required": ["base_url"],
            "additionalProperties": false,
            "x-aliases": { "base-url": "base_url" },
        })
    };
    assert_eq!(becomes(schema(), "{base-url: x}"), "base_url: x");
    assert_eq!(
        told_by(schema(), "{base-url: x, base_url: y}"),
        ["base-url: expected the key \"base_url\" once, found two spellings of it"]
    );
    assert_eq!(told_by(schema(), "{}"), ["base_url: field required"]);
    assert_eq!(
        told_by(schema(), "{base-ulr: x}"),
        [
            "base-ulr: extra fields not permitted (did you mean \"base-url\"?)",
            "base_url: field required"
        ]
    );
}

#[test]
fn keys_that_are_no_text() {
    let schema = || {
        json_schema!({
            "type": "object",
            "additionalProperties": { "type": "string" },
        })
    };
    assert_eq!(
        becomes(schema(), "{8080: a, true: b}"),
        "'8080': a\n'true': b"
    );
    assert_eq!(
        told_by(schema(), "{8080: a, '8080': b}"),
        ["8080: expected the key \"8080\" once, found two spellings of it"]
    );
    assert_eq!(
        told_by(schema(), "{[1]: a}"),
        ["expected a text as key, found a list"]
    );
}

#[test]
fn secrets_are_never_quoted() {
    let everything = shape("Everything");
    let prometheus = shape("PrometheusConfig");
    for (shape, text) in [
        (&everything, "{vault: hunter2}"),
        (
            &everything,
            "{vault: {token: [hunter2], pins: {a: {b: hunter2}}}}",
        ),
        (&everything, "{vault: {tokn: hunter2, pins: hunter2}}"),
        (
            &prometheus,
            "{bearer_token: {a: hunter2}, headers: hunter2, basic_auth: hunter2}",
        ),
        (
            &prometheus,
            "{basic_auth: {pasword: hunter2}, headers: {a: !hunter2 x}}",
        ),
    ] {
        let mut value = yaml(text);
        let faults = shape.check(&mut value);
        assert!(!faults.is_empty());
        assert!(!format!("{faults:?}").contains("hunter2"), "{faults:?}");
    }
}

#[test]
fn what_is_quoted_is_short() {
    let text = format!("'{}'", "x\u{fc}".repeat(500));
    let [fault] = told_by(json_schema!({ "type": "integer" }), &text)
        .try_into()
        .unwrap();
    assert!(fault.chars().count() < 120, "{fault}");
}

#[test]
fn faults_say_what_kind_they_are() {
    let shape = shape("WaitConfig");
    let faults = shape.check(&mut yaml("{wat: 1}"));
    assert_eq!(faults[0].kind, FaultKind::Unknown);
    assert_eq!(
        faults[1],
        Fault {
            path: vec!["measure_enabled".into()],
            kind: FaultKind::Missing,
            message: "field required".into(),
            nearest: None,
        }
    );
    assert!(matches!(
        &shape.check(&mut yaml("{measure_enabled: 5}"))[..],
        [Fault { kind: FaultKind::Wrong { expected, found }, .. }]
            if expected == "true or false" && found == "the number 5"
    ));
}
