//! No secret shows: not in results, logs at TRACE, or messages about mistakes
//! (`spec/config-and-cli.md` §2.3, §11.29).
//!
//! Where secrets can be is read from the published schemas; each gets one of its own, and whatever
//! the program writes is searched for parts of all of them.

mod live;
mod needle;
mod places;

use std::fs;

use serde_yaml::{Mapping, Value};
use servo_dispatch::Registry;
use servo_shape::Shape;

use crate::bench::{Bench, Ended, Running, SOON, skipped};

use self::{
    needle::Needles,
    places::{Part, Place, ROUTE, put, refusal, text, told},
};

/// What people write where a secret belongs, made of the secret.
fn malformed(secret: &str) -> Vec<Value> {
    let list = |items: Vec<Value>| Value::Sequence(items);
    let map = |key: &str, value: Value| Value::Mapping([(key.into(), value)].into_iter().collect());
    vec![
        list(vec![secret.into()]),
        list(vec![list(vec![secret.into()])]),
        map("token", secret.into()),
        map(secret, Value::Null),
        map(secret, map(secret, list(vec![secret.into()]))),
        format!("{secret}\n{secret}").into(),
        format!("{secret}\u{7}\u{0}").into(),
        format!("  {secret}  ").into(),
        format!("\u{e4}{secret}\u{1f600}").into(),
        format!("Bearer {secret}").into(),
        format!("X-SF-Token {secret}").into(),
        format!("http://someone:{secret}@").into(),
        format!("http://someone:{secret}@host:port/").into(),
        format!("ftp://someone:{secret}@host/").into(),
        format!("socks5://someone:{secret}@host/").into(),
        format!("someone:{secret}@host:1").into(),
        format!("{secret}://host").into(),
        format!("http://[{secret}]/").into(),
        format!("{{\"token\": \"{secret}\"").into(),
        secret.repeat(2000).into(),
    ]
}

/// YAML in the place of a secret that its author forgot to quote, made of the secret.
fn unquoted(secret: &str) -> Vec<String> {
    [
        "*@",
        "&@",
        "!@",
        "!@ x",
        "!!@ x",
        "!<@> x",
        "!!int @",
        "!!float @",
        "!!bool @",
        "!!null @",
        "!!binary @",
        "%@",
        "@@",
        "`@",
        "\"@",
        "'@",
        "\"@\\q\"",
        "[@",
        "{@",
        "{@: ",
        "]@",
        "}@",
        "|@",
        ">@",
        "|\n@",
        "? @",
        "- @",
        "@: x",
        "@: [",
        "[@]: x",
        "<<: @",
        "{<<: @}",
        "{<<: [@]}",
        "\t@",
        "x\n@",
        "\"x\" @",
        "'x'@",
        "@ # x",
        "#@",
        "--- @",
        "\n--- @\n",
        "\n...\n@",
        "\u{0}@",
        "\u{7}@",
        "\u{feff}@",
    ]
    .iter()
    .map(|form| form.replacen('@', secret, 1).replace('@', secret))
    .collect()
}

/// Whether `value` is a mapping with the secret as a key.
fn is_key(value: &Value, secret: &str) -> bool {
    value.get(secret).is_some()
}

#[track_caller]
fn assert_hidden(needles: &Needles, of: &str, said: &str) {
    if let Some(around) = needles.found_in(said) {
        panic!("a secret in what is said of {of}:\n...{around}...");
    }
}

#[test]
fn the_schemas_know_where_secrets_are() {
    let places = places::all(&servo::connectors::bundled());
    let known = |part: Part, path: &[&str]| {
        assert!(
            places.iter().any(|p| p.part == part && p.path == path),
            "{part:?} {path:?} is not among {places:#?}"
        );
    };
    known(Part::Opsani, &["token"]);
    known(Part::Appdynamics, &["token"]);
    known(Part::Appdynamics, &["client_secret"]);
    known(Part::Settings, &["proxies"]);
    known(Part::Settings, &["proxies", "all://"]);
    known(Part::Connector("prometheus"), &["bearer_token"]);
    known(Part::Connector("prometheus"), &["basic_auth", "password"]);
    known(Part::Connector("prometheus"), &["headers", "X-Key"]);
    known(Part::Connector("vegeta"), &["headers", "X-Key"]);
}

/// Each secret alone, in every malformed shape.
#[test]
fn messages_about_a_secret_do_not_show_it() {
    let registry = servo::connectors::bundled();
    let mut needles = Needles::default();
    for place in places::all(&registry) {
        let secret = needles.text();
        place.written(&registry, &secret);
        let digits = needles.digits();
        let numbers = [
            Value::from(digits.parse::<u64>().unwrap()),
            Value::from(digits.parse::<f64>().unwrap() / 1e7),
            Value::from(-digits.parse::<i64>().unwrap()),
        ];
        // Names that one may choose are shown.
        let named = shape(&registry, place.part).takes_free_keys(&place.path);
        let values = malformed(&secret).into_iter();
        for value in values
            .chain(numbers)
            .filter(|v| !named || !is_key(v, &secret))
        {
            let document = text(&place.document(&registry, value));
            let said = told(&registry, &document, &[]).unwrap_or_else(|error| error);
            assert_hidden(&needles, &format!("{place:?} in\n{document}"), &said);
        }
        let marker = "MARKER";
        let document = text(&place.document(&registry, marker.into()));
        assert_eq!(document.matches(marker).count(), 1, "{document}");
        for form in unquoted(&secret) {
            let document = document.replace(marker, &form);
            let said = told(&registry, &document, &[]).unwrap_or_else(|error| error);
            assert_hidden(&needles, &format!("{place:?} in\n{document}"), &said);
        }
    }
}

/// Each secret beside a mistake, one for each key beside it and above it.
#[test]
fn mistakes_beside_a_secret_do_not_show_it() {
    let registry = servo::connectors::bundled();
    let mut needles = Needles::default();
    for place in places::all(&registry) {
        let secret = needles.text();
        let written = place.written(&registry, &secret);
        let shape = shape(&registry, place.part);
        for depth in 0..place.path.len() {
            let above = &place.path[..depth];
            let keys = shape.keys_at(above);
            let keys = keys.iter().map(String::as_str).chain(["bogus"]);
            for key in keys.filter(|key| *key != place.path[depth]) {
                for wrong in ["[[]]", "{a: {b: 1}}", "'no such thing'", "-1"] {
                    let mut part = place.base(&registry);
                    put(&mut part, &place.path, written.as_str().into());
                    let at = [above, &[key.to_owned()]].concat();
                    put(&mut part, &at, serde_yaml::from_str(wrong).unwrap());
                    let whole = Place {
                        path: Vec::new(),
                        ..place.clone()
                    };
                    let document = text(&whole.document(&registry, part));
                    let said = told(&registry, &document, &[]).unwrap_or_else(|error| error);
                    assert_hidden(&needles, &format!("{place:?} in\n{document}"), &said);
                }
            }
        }
    }
}

/// Secrets in variables, as whole stanzas and alone.
#[test]
fn messages_about_variables_do_not_show_secrets() {
    let registry = servo::connectors::bundled();
    let mut needles = Needles::default();
    let say = |needles: &Needles, document: &str, name: &str, value: String| {
        let variables = [(name.to_owned(), value)];
        let said = told(&registry, document, &variables).unwrap_or_else(|error| error);
        assert_hidden(needles, &format!("{variables:?}"), &said);
    };
    for place in places::all(&registry) {
        let secret = needles.text();
        let written = place.written(&registry, &secret);
        let (prefix, document) = match place.part {
            Part::Connector(kind) => (
                format!("SERVO_{}", ROUTE.to_uppercase()),
                format!(
                    "optimizer: {{id: example.com/app, token: t}}\nconnectors: {{{ROUTE}: {kind}}}\n"
                ),
            ),
            Part::Settings => ("SERVO_SETTINGS".to_owned(), OPTIMIZER.to_owned()),
            Part::Checks => ("SERVO_CHECKS".to_owned(), OPTIMIZER.to_owned()),
            Part::Opsani | Part::Appdynamics => ("SERVO_OPTIMIZER".to_owned(), String::new()),
            Part::Embedded => ("SERVO_OPTIMIZER_EMBEDDED".to_owned(), String::new()),
        };
        let mut part = place.base(&registry);
        put(&mut part, &place.path, written.as_str().into());
        let whole = serde_json::to_string(&part).unwrap();
        let at = whole.find(&secret).unwrap();
        for value in [
            whole.clone(),
            whole[..at + secret.len()].to_owned(),
            format!("{whole}{whole}"),
            format!("[{whole}]"),
            format!("\"{secret}\""),
            secret.clone(),
            whole.replacen('{', "{\"bogus\": 1, ", 1),
            whole.replace(&format!("\"{written}\""), &format!("[\"{secret}\"]")),
            whole.replace(&format!("\"{written}\""), &format!("{{\"a\": {secret}}}")),
            whole.replace(&format!("\"{written}\""), &secret),
        ] {
            say(&needles, &document, &prefix, value);
        }
        let leaves = shape(&registry, place.part).variables(&prefix);
        let above = leaves
            .iter()
            .filter(|(path, _)| !path.is_empty() && place.path.starts_with(path));
        for (path, leaf) in above {
            let named = shape(&registry, place.part).takes_free_keys(path);
            let key = format!("{{\"{secret}\"");
            for value in [
                written.clone(),
                secret.clone(),
                format!("[\"{secret}\""),
                format!("[\"{secret}\"]"),
                format!("{{\"{secret}\": \"{secret}\"}}"),
                format!("{{\"{secret}\": [\"{secret}\"]}}"),
                format!("{{\"X-Key\": [\"{secret}\"]}}"),
                format!("a,{secret}"),
            ]
            .into_iter()
            .filter(|value| !named || !value.starts_with(&key))
            {
                say(&needles, &document, leaf, value.clone());
                say(&needles, &document, &format!("{leaf}X"), value);
            }
        }
    }
    for name in [
        "OPSANI_TOKEN",
        "APPD_CLIENT_SECRET",
        "APPD_TOKEN",
        "SERVO_OPTIMIZER_TOKEN",
        "SERVO_TOKEN",
    ] {
        for value in malformed(&needles.text()) {
            let Some(value) = value.as_str() else {
                continue;
            };
            for document in [
                "",
                OPTIMIZER,
                "optimizer: {id: example.com/app}",
                APPDYNAMICS,
            ] {
                say(&needles, document, name, value.to_owned());
            }
        }
    }
}

const OPTIMIZER: &str = "optimizer: {id: example.com/app, token: t}\n";
const APPDYNAMICS: &str =
    "optimizer: {optimizer_id: w, tenant_id: t, base_url: 'https://a.invalid', client_id: c}\n";

fn shape(registry: &Registry, part: Part) -> Shape {
    let schema = match part {
        Part::Connector(kind) => registry.find(kind).unwrap().schema(),
        Part::Settings => schemars::schema_for!(servo_messages::CommonConfig),
        Part::Checks => schemars::schema_for!(servo_messages::ChecksConfig),
        Part::Opsani => servo::config::optimizer_schemas()[0].1.clone(),
        Part::Appdynamics => servo::config::optimizer_schemas()[1].1.clone(),
        Part::Embedded => schemars::schema_for!(servo_embedded::EmbeddedConfig),
    };
    Shape::of(&schema)
}

/// Documents with a secret at every place, and beside it what `change` makes of its part.
fn everything(
    registry: &Registry,
    needles: &mut Needles,
    change: impl Fn(&mut Value, &Place, &str),
) -> (String, Vec<String>) {
    let mut first: Mapping = serde_yaml::from_str(OPTIMIZER).unwrap();
    let mut connectors = Mapping::new();
    let mut documents = Vec::new();
    let mut secrets = Vec::new();
    for (number, place) in places::all(registry).into_iter().enumerate() {
        let secret = needles.text();
        let mut part = place.base(registry);
        let written = place.written(registry, &secret);
        put(&mut part, &place.path, written.as_str().into());
        change(&mut part, &place, &written);
        if let Part::Connector(kind) = place.part {
            let route = format!("{kind}-{number}");
            connectors.insert(route.as_str().into(), kind.into());
            first.insert(route.into(), part);
        } else {
            let whole = Place {
                path: Vec::new(),
                ..place
            };
            let mut document = whole.document(registry, part);
            document.insert("name".into(), format!("servo-{number}").into());
            for key in ["id", "optimizer_id"] {
                if let Some(id) = document["optimizer"].get_mut(key) {
                    *id = format!("example.com/app-{number}").into();
                }
            }
            documents.push(document);
        }
        secrets.push(secret);
    }
    first.insert("connectors".into(), Value::Mapping(connectors));
    let texts = std::iter::once(&first).chain(&documents).map(text);
    (texts.collect::<Vec<_>>().join("---\n"), secrets)
}

/// Whether this build has the command; says so if not.
fn has(bench: &Bench, command: &str) -> bool {
    let there = bench.run(&[command, "--help"]).code == Some(0);
    if !there {
        skipped(&format!("servo {command} is not there yet"));
    }
    there
}

/// Commands that read the configuration only.
const CALM: &[&[&str]] = &[
    &["validate"],
    &["validate", "--strict"],
    &["list"],
    &["list", "-o", "json"],
    &["connectors", "--verbose"],
    &["config"],
    &["config", "--defaults"],
    &["config", "--origin"],
    &["config", "-f", "json"],
    &["config", "-f", "text"],
    &["config", "-f", "configmap"],
    &["schema", "--all"],
    &["schema", "--all", "--top-level"],
    &["schema"],
    &["show", "connectors"],
    &["show", "events"],
    &["generate", "-f", "new.yaml", "--defaults", "--comments"],
];

#[test]
fn no_command_shows_a_secret() {
    let registry = servo::connectors::bundled();
    let mut needles = Needles::default();
    let (file, secrets) = everything(&registry, &mut needles, |_, _, _| {});
    let bench = Bench::new();
    bench.write("servo.yaml", &file);
    bench.run(&["validate"]).assert_code(0);
    let mut missing: Vec<&str> = CALM.iter().map(|words| words[0]).collect();
    missing.dedup();
    missing.retain(|command| !has(&bench, command));
    for words in CALM.iter().filter(|words| !missing.contains(&words[0])) {
        for format in ["text", "json"] {
            let before = ["-l", "TRACE", "--log-format", format];
            let ended = bench.run(&[&before, *words].concat());
            needles.assert_hidden(&ended);
            let named = bench.run(&[&before, &["-n", "servo-0"][..], *words].concat());
            needles.assert_hidden(&named);
        }
    }
    if !missing.contains(&"config") {
        let ended = bench.run(&["config", "--show-secrets"]);
        ended.assert_code(0);
        for secret in &secrets {
            ended.assert_stdout(&[secret]);
        }
    }
}

/// A way to spoil a part beside or at its secret.
type Spoil = fn(&mut Value, &Place, &str);

const SPOILS: &[(&str, Spoil)] = &[
    ("an unknown key beside it", |part, place, _| {
        let above = &place.path[..place.path.len() - 1];
        put(part, &[above, &["bogus".to_owned()]].concat(), 1.into());
    }),
    ("an unknown key at the top", |part, _, _| {
        put(part, &["bogus".to_owned()], 1.into());
    }),
    ("a list of it", |part, place, secret| {
        put(part, &place.path, Value::Sequence(vec![secret.into()]));
    }),
    ("a mapping of it", |part, place, secret| {
        let map = [("token".into(), secret.into())].into_iter().collect();
        put(part, &place.path, Value::Mapping(map));
    }),
    ("a line break in it", |part, place, secret| {
        put(part, &place.path, format!("{secret}\n{secret}").into());
    }),
];

#[test]
fn no_message_about_a_spoilt_file_shows_a_secret() {
    let registry = servo::connectors::bundled();
    let bench = Bench::new();
    for (how, spoil) in SPOILS {
        let mut needles = Needles::default();
        let (file, _) = everything(&registry, &mut needles, spoil);
        bench.write("servo.yaml", &file);
        assert!(refusal(&registry, &file).is_some(), "{how}");
        for words in [&["validate"][..], &["run"], &["list"]] {
            let ended = bench.run(&[&["-l", "TRACE"], words].concat());
            ended.assert_code(1);
            needles.assert_hidden(&ended);
        }
    }
}

/// A user and a password stand in URLs that are otherwise no secret.
#[test]
fn users_in_urls_are_not_shown() {
    let registry = servo::connectors::bundled();
    let bench = Bench::new();
    let mut needles = Needles::default();
    let secret = needles.text();
    for url in [
        format!("http://someone:{secret}@127.0.0.1:9"),
        format!("http://{secret}@127.0.0.1:9/"),
        format!("http://someone:{secret}@host:port"),
        format!("http://someone:{secret}/@host"),
        format!("htp://someone:{secret}@host"),
        format!("http://someone:{secret}@"),
        format!("http://someone:{secret}@[::1"),
    ] {
        for stanza in [
            format!("prometheus: {{base_url: '{url}', metrics: []}}"),
            format!("vegeta: {{rate: 1, target: 'GET {url}'}}"),
            format!("vegeta: {{rate: 1, target: 'GET {url} x'}}"),
            format!(
                "vegeta: {{rate: 1, format: json, target: '{{\"method\": \"GET\", \"url\": \"{url}\"}}'}}"
            ),
            format!(
                "process: {{components: [{{name: a, command: [x], ready: {{http: {{url: '{url}'}}}}}}]}}"
            ),
            format!("opsani_dev: {{prometheus_base_url: '{url}'}}"),
            format!("settings: {{proxies: {{'{url}': null}}}}"),
            format!("settings: {{ssl_verify: '{url}'}}"),
            format!("checks: {{wait: '{url}'}}"),
            format!("'{url}': 1"),
            format!("connectors: {{'{url}': '{url}'}}"),
            format!("connectors: ['{url}']"),
        ] {
            let file = format!("{OPTIMIZER}{stanza}\n");
            let said = told(&registry, &file, &[]);
            let valid = said.is_ok();
            assert_hidden(&needles, &file, &said.unwrap_or_else(|error| error));
            if !valid {
                continue;
            }
            bench.write("servo.yaml", &file);
            for words in [
                &["config"][..],
                &["config", "--origin"],
                &["config", "-f", "configmap"],
            ] {
                needles.assert_hidden(&bench.run(&[&["-l", "TRACE"], words].concat()));
            }
        }
        for key in ["base_url", "url"] {
            let file = format!("optimizer: {{id: example.com/app, token: t, {key}: '{url}'}}\n");
            let said = told(&registry, &file, &[]).unwrap_or_else(|error| error);
            assert_hidden(&needles, &file, &said);
        }
    }
}

/// What becomes of tokens that come from files, variables and options.
#[test]
fn no_message_about_tokens_from_elsewhere_shows_them() {
    let mut needles = Needles::default();
    let bench = Bench::new();
    let secret = needles.text();
    let hidden = |ended: &Ended| needles.assert_hidden(ended);
    bench.write(
        "servo.yaml",
        "optimizer: {id: example.com/app}\nwait: {measure_enabled: true}\n",
    );
    let trace = |words: &[&str], variables: &[(&str, &str)]| {
        let mut command = bench.servo(&["-l", "TRACE"]);
        command.args(words).envs(variables.iter().copied());
        Running::start(command).ended(SOON)
    };
    // Files.
    let long = format!("{secret}{}", " ".repeat(2 << 20));
    for (file, bytes) in [
        ("fine", secret.clone().into_bytes()),
        ("two-lines", format!("{secret}\n{secret}\n").into_bytes()),
        ("bytes", [secret.as_bytes(), &[0xff, 0xfe]].concat()),
        ("control", format!("{secret}\u{0}").into_bytes()),
        ("umlaut", format!("{secret}\u{e4}").into_bytes()),
        ("long", long.into_bytes()),
    ] {
        fs::write(bench.path(file), bytes).unwrap();
        for words in [
            &["--token-file", file, "validate"][..],
            &["--token-file", file, "list"],
        ] {
            hidden(&trace(words, &[]));
        }
        hidden(&trace(&["validate"], &[("OPSANI_TOKEN_FILE", file)]));
        hidden(&trace(
            &["validate"],
            &[("OPSANI_TOKEN_FILE", file), ("OPSANI_TOKEN", &secret)],
        ));
    }
    // Options.
    let inline = format!("--token={secret}");
    for words in [
        &["--token", &secret, "validate"][..],
        &[&inline, "validate"],
        &[&inline, "list", "--bogus"],
        &[&inline, "bogus"],
        &["--token", &secret, "--token-file", "fine", "list"],
        &["--token", &secret, "--limit", "0", "run"],
        &[&format!("--tokn={secret}"), "list"],
        &["list", &inline],
        &["validate", "-f", "missing.yaml", &inline],
    ] {
        hidden(&trace(words, &[]));
    }
    bench.write(
        "two.yaml",
        "optimizer: {id: example.com/a, token: t}\n---\noptimizer: {id: example.com/b, token: t}\n",
    );
    hidden(&trace(&["-c", "two.yaml", "--token", &secret, "list"], &[]));
    // `.env`.
    for line in [
        "OPSANI_TOKEN=@",
        "OPSANI_TOKEN @",
        "OPSANI_TOKEN: @",
        "OPSANI_TOKEN=\"@",
        "OPSANI_TOKEN='@",
        "export @",
        "1@=1",
        "@",
        "=@",
        "OPSANI_TOKEN=${@",
        "OPSANI_TOKEN=${@}",
        "OPSANI_TOKEN=@\u{0}",
        "OPSANI_TOKEN=\"@\" @",
        "SERVO_OPTIMIZER={\"token\": \"@\"",
        "SERVO_OPTIMIZER={\"token\": [\"@\"]}",
        "SERVO_OPTIMIZER_TOKEN=@",
        "OPSANI_TOKEN=\"@\\q\"",
    ] {
        bench.write(".env", &format!("{}\n", line.replace('@', &secret)));
        hidden(&trace(&["validate"], &[]));
    }
    fs::remove_file(bench.path(".env")).unwrap();
}
