//! No secret shows while it is put to use: commands and sessions with connectors that send it.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use serde_yaml::{Mapping, Value};
use servo_doubles::{
    Fault, HttpTarget, On, PrometheusDouble, Script, ScriptedOptimizer, TargetAnswer,
};

use super::{
    has,
    needle::Needles,
    places::{self, Part, put, text},
};
use crate::bench::{Bench, Running, SOON, wait};

/// Everything that a servo talks to, and a configuration with a secret at each place that this build
/// can put to use.
struct World {
    bench: Bench,
    needles: Needles,
    optimizer: ScriptedOptimizer,
    prometheus: PrometheusDouble,
    target: HttpTarget,
    document: Mapping,
    /// Of the optimizer.
    token: String,
    /// Of connectors.
    secrets: Vec<String>,
}

impl World {
    fn new(script: Script) -> Self {
        let registry = servo::connectors::bundled();
        let mut needles = Needles::default();
        let optimizer = ScriptedOptimizer::start(script);
        let prometheus = PrometheusDouble::start();
        let target = HttpTarget::start(TargetAnswer::status(200));
        let token = needles.text();
        let mut secrets = Vec::new();
        let mut document = Mapping::new();
        let stanza = format!(
            "{{id: example.com/app, token: {token}, base_url: '{}'}}",
            optimizer.base_url()
        );
        document.insert("optimizer".into(), serde_yaml::from_str(&stanza).unwrap());
        let mut connectors = Mapping::new();
        let all = places::all(&registry);
        let mut add = |name: String, kind: &str, mut part: Value| {
            let settings = match kind {
                "prometheus" => vec![("base_url", prometheus.base_url())],
                "vegeta" => vec![
                    ("target", format!("GET {}", target.url())),
                    ("rate", "50/1s".to_owned()),
                ],
                other => panic!("say what {other} talks to"),
            };
            for (key, value) in settings {
                if !part
                    .get(key)
                    .is_some_and(|v| v.as_str().is_some_and(|v| v.contains('@')))
                {
                    put(&mut part, &[key.to_owned()], value.into());
                }
            }
            connectors.insert(name.as_str().into(), kind.into());
            document.insert(name.into(), part);
        };
        for (number, place) in all.iter().enumerate() {
            let Part::Connector(kind) = place.part else {
                continue;
            };
            if registry.find(kind).unwrap().unavailable().is_some() {
                continue;
            }
            let secret = needles.text();
            let mut part = place.base(&registry);
            let written = place.written(&registry, &secret);
            put(&mut part, &place.path, written.into());
            add(format!("{kind}-{number}"), kind, part);
            secrets.push(secret);
        }
        // In URLs and targets, which are no secrets as a whole.
        let secret = needles.text();
        let base_url = prometheus
            .base_url()
            .replace("//", &format!("//someone:{secret}@"));
        let part = format!("{{base_url: '{base_url}', metrics: [{{name: up, query: up}}]}}");
        add(
            "in-url".to_owned(),
            "prometheus",
            serde_yaml::from_str(&part).unwrap(),
        );
        secrets.push(secret);
        let secret = needles.text();
        let part = format!(
            "{{rate: 50/1s, target: \"GET {}\\nX-Target-Key: {secret}@\"}}",
            target.url()
        );
        add(
            "in-target".to_owned(),
            "vegeta",
            serde_yaml::from_str(&part).unwrap(),
        );
        secrets.push(secret);
        document.insert("connectors".into(), Value::Mapping(connectors));
        document.insert(
            "wait".into(),
            serde_yaml::from_str("{measure_enabled: true}").unwrap(),
        );
        document["connectors"]
            .as_mapping_mut()
            .unwrap()
            .insert("wait".into(), "wait".into());
        document.insert("checks".into(), serde_yaml::from_str("{wait: 0}").unwrap());
        let bench = Bench::new();
        bench.write("servo.yaml", &text(&document));
        Self {
            bench,
            needles,
            optimizer,
            prometheus,
            target,
            document,
            token,
            secrets,
        }
    }

    /// Every secret was sent, so that it could have been shown.
    #[track_caller]
    fn assert_sent(&self) {
        let prometheus = self
            .prometheus
            .received()
            .into_iter()
            .map(|query| query.http);
        let mut headers: Vec<String> = prometheus
            .chain(self.target.last_requests())
            .flat_map(|request| request.headers.into_values())
            .collect();
        headers.sort();
        headers.dedup();
        let mut sent = headers.join("\n");
        for secret in &self.secrets {
            let mut own = Needles::default();
            // Base64 counts too.
            own.add(secret);
            assert!(
                own.found_in(&sent).is_some(),
                "{secret} was not sent: {sent}"
            );
        }
        sent.clear();
    }
}

fn trace(bench: &Bench, words: &[&str]) -> Running {
    bench.start(&[&["-l", "TRACE"], words].concat())
}

#[test]
fn commands_that_use_secrets_do_not_show_them() {
    let world = World::new(Script::new());
    for words in [
        &["describe"][..],
        &["measure", "-d", "300ms"],
        &["measure", "-d", "300ms", "-o", "json"],
        &["adjust", "web.cpu=2"],
        &["check"],
        &["check", "--verbose"],
        &["show", "components"],
        &["show", "metrics"],
        &["prometheus", "-c", "in-url", "targets"],
        &["vegeta", "-c", "in-target", "attack", "-d", "200ms"],
    ] {
        if !has(&world.bench, words[0]) {
            continue;
        }
        let ended = trace(&world.bench, words).ended(SOON);
        world.needles.assert_hidden(&ended);
        assert!(ended.stderr.contains("DEBUG"), "{ended}");
    }
    world.assert_sent();
}

#[test]
fn a_session_does_not_show_secrets() {
    for format in ["text", "json"] {
        let world = World::new(
            Script::new()
                .describe("d1")
                .measure("m1", &[], json!({"duration": "300ms"}))
                .adjust("a1", "web", "cpu", json!(2))
                .describe("d2"),
        );
        let optimizer = &world.optimizer;
        optimizer.accept_only("authorization", &format!("Bearer {}", world.token));
        let servo = trace(&world.bench, &["--log-format", format, "run"]);
        optimizer
            .wait_for(SOON, |received| {
                received
                    .iter()
                    .any(|r| r.param["cmd_uid"] == "d2" && r.completes("DESCRIPTION"))
            })
            .unwrap();
        servo.signal(Signal::TERM);
        let ended = servo.ended(Duration::from_secs(20));
        ended.assert_code(0);
        world.needles.assert_hidden(&ended);
        world.assert_sent();
    }
}

/// Everything that goes wrong on the way to the optimizer.
#[test]
fn a_session_that_fails_does_not_show_secrets() {
    let world = World::new(Script::new());
    let mut needles = Needles::default();
    needles.add(&world.token);
    let user = needles.text();
    let proxy = format!("http://someone:{user}@127.0.0.1:9");
    let address = world.optimizer.base_url();
    let with_user = address.replace("//", &format!("//someone:{user}@"));
    let session = |what: &str, said: &str, change: &dyn Fn(&mut Mapping)| {
        let mut document = world.document.clone();
        document.retain(|key, _| key == "optimizer");
        document.insert(
            "wait".into(),
            serde_yaml::from_str("{measure_enabled: true}").unwrap(),
        );
        change(&mut document);
        world.bench.write("servo.yaml", &text(&document));
        let mut servo = trace(&world.bench, &["run"]);
        wait(what, SOON, || {
            let told = !said.is_empty() && servo.stderr().contains(said);
            (told || servo.has_ended()).then_some(())
        });
        if !servo.has_ended() {
            servo.signal(Signal::TERM);
        }
        needles.assert_hidden(&servo.ended(SOON));
    };
    let settings = |text: String| {
        move |document: &mut Mapping| {
            document.insert("settings".into(), serde_yaml::from_str(&text).unwrap());
        }
    };
    world.optimizer.inject(On::any(), Fault::status(401));
    session("the token is refused", "", &|_| {});
    world.optimizer.heal();
    session(
        "a proxy does not answer",
        "127.0.0.1",
        &settings(format!("{{proxies: '{proxy}'}}")),
    );
    session(
        "a proxy by pattern does not answer",
        "127.0.0.1",
        &settings(format!("{{proxies: {{'all://': '{proxy}'}}}}")),
    );
    for key in ["base_url", "url"] {
        session("a user in the address", "127.0.0.1", &|document| {
            document["optimizer"]
                .as_mapping_mut()
                .unwrap()
                .insert(key.into(), with_user.as_str().into());
        });
    }
    session("no TLS there", "127.0.0.1", &|document| {
        document["optimizer"].as_mapping_mut().unwrap().insert(
            "base_url".into(),
            with_user.replace("http:", "https:").into(),
        );
    });
    // AppDynamics, whose client secret is sent to `token_url`.
    let client = format!(
        "{{optimizer_id: w, tenant_id: t, base_url: '{address}', client_id: c, client_secret: {user}}}"
    );
    session("no OAuth there", "127.0.0.1", &|document| {
        document.insert("optimizer".into(), serde_yaml::from_str(&client).unwrap());
    });
    for file in [
        format!("Endpoint: '{address}'\nTenantId: t\nAuthorization: Bearer {user}\n"),
        format!("Endpoint: '{with_user}'\nTenantId: t\nAuthorization: [{user}]\n"),
        format!("Endpoint: '{with_user}:x'\nTenantId: t\nAuthorization: {user}\n"),
        format!("Endpoint: '{address}'\nAuthorization: *{user}\n"),
        format!("Endpoint: '{address}'\nAuthorization: !{user}\n"),
        format!("Authorization: \"{user}"),
        user.to_string(),
        format!("Endpoint: '{address}'\nAuthorization: \"{user}\\n{user}\"\n"),
    ] {
        world.bench.write("connection", &file);
        session("a connection file", "connection", &|document| {
            let stanza = "{optimizer_id: w, connection_file: connection}";
            document.insert("optimizer".into(), serde_yaml::from_str(stanza).unwrap());
        });
    }
}
