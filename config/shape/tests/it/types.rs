//! The types under test: those of the connectors, and one with everything that they lack.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema, schema_for};
use serde::Deserialize;
use serde_yaml::Value;
use servo_shape::Shape;

pub(crate) fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

/// A type, values that are right, and whether its own reader takes a value.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) schema: Schema,
    pub(crate) samples: Vec<Value>,
}

impl Case {
    pub(crate) fn shape(&self) -> Shape {
        Shape::of(&self.schema)
    }
}

macro_rules! case {
    ($type:ty, $($sample:expr),+ $(,)?) => {
        Case {
            name: stringify!($type),
            schema: schema_for!($type),
            samples: vec![$(yaml($sample)),+],
        }
    };
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(
            servo_connector_wait::WaitConfig,
            "{measure_enabled: true}",
            "{measure_enabled: 'off'}"
        ),
        case!(
            servo_connector_vegeta::VegetaConfig,
            "{rate: 50/1s, target: 'GET http://a', workers: 3, http2: false, max_workers: null,
              headers: {a: b, c: 7}, root_certs: [/a, /b], format: json, timeout: 5s, max_body: -1}",
            "{rate: 500}",
        ),
        case!(
            servo_connector_prometheus::PrometheusConfig,
            "{base_url: 'http://a:9090', headers: {authorization: abc, n: 5}, bearer_token: x,
              metrics: [{name: a, query: up, unit: rps, step: 30s, absent: zero}],
              targets: [{labels: {a: b}, health: up, lastScrapeDuration: 0.5}],
              fast_fail: {disabled: 1, period: 5}, max_concurrency: 2,
              basic_auth: {username: u, password: p}, tls: {insecure: false}}",
        ),
        case!(
            servo_connector_process::ProcessConfig,
            "{components: {web: {command: [a, b], env: {A: b}, settings: {n: {min: 1, max: 8, step: 1,
              value: 2, pinned: true}}, ready: {http: {url: 'http://a', status: 200}, timeout: 3},
              stop: {signal: SIGINT}, restart: {attempts: 3}, output: discard}}}",
            "{components: [{name: web, command: [a], settings: [{name: x, values: [a, 2], value: a,
              type: enum}], ready: {log: up}}]}",
        ),
        case!(
            Everything,
            "{kind: range, replicas: 2, base-url: 'http://a', ratio: 0.5, tiny: -3, listen: [a, 5],
              deeper: {deeper: {size: 1}, size: 2}, either: {x: 1.5}, choice: {File: {path: /a}},
              proxies: {'all://': null, 'http://b': x}, delay: expo, verify: true, free: [1, {a: b}],
              settings: [{type: range, min: 1, max: 2}, {type: list, values: [a]}], flat: 3, count: 4,
              vault: {token: s, pins: {a: '1'}}, pair: [a, 5], wanted: 7}",
            "{kind: list, replicas: 1, base_url: x, either: word, choice: Nothing, verify: /a, wanted: a}",
        ),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code)]
pub(crate) enum Kind {
    Range,
    List,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
pub(crate) struct Deeper {
    deeper: Option<Box<Deeper>>,
    #[serde(default)]
    size: u8,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
pub(crate) enum Either {
    Number { x: f64 },
    Text { y: String, z: Option<bool> },
    Word(String),
    Many(Vec<i32>),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[allow(dead_code)]
pub(crate) enum Choice {
    Nothing,
    File {
        path: String,
    },
    Command {
        program: String,
        arguments: Vec<String>,
    },
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
#[allow(dead_code)]
pub(crate) enum Setting {
    Range {
        min: f64,
        max: f64,
        step: Option<f64>,
    },
    List {
        values: Vec<String>,
    },
    Bare,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[allow(dead_code)]
pub(crate) struct Flat {
    /// How flat.
    #[schemars(range(min = 1, max = 3))]
    flat: Option<u32>,
    #[schemars(range(min = -5, max = 1000))]
    count: Option<i16>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
pub(crate) struct Vault {
    /// Opens the vault.
    token: Hidden,
    pins: BTreeMap<String, Hidden>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
pub(crate) struct Hidden(String);

impl JsonSchema for Hidden {
    fn schema_name() -> Cow<'static, str> {
        "Hidden".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "password", "writeOnly": true })
    }
}

fn proxies(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["object", "null"],
        "propertyNames": { "pattern": "^(https?|all)://" },
        "additionalProperties": { "type": ["string", "null"] },
    })
}

fn replicas(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "minimum": 0, "x-strict": true })
}

fn delay(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [{ "const": "expo" }, { "type": "number", "minimum": 0 }] })
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-aliases" = {"base-url": "base_url", "baseUrl": "base_url", "want": "wanted"}))]
#[allow(dead_code)]
pub(crate) struct Everything {
    /// The kind of thing.
    kind: Kind,
    #[schemars(schema_with = "replicas")]
    replicas: u32,
    #[serde(alias = "base-url")]
    base_url: String,
    wanted: String,
    #[schemars(range(min = 0.25, max = 1.5))]
    #[serde(default)]
    ratio: f64,
    #[serde(default)]
    tiny: i8,
    #[serde(default)]
    listen: Vec<String>,
    deeper: Option<Deeper>,
    either: Either,
    choice: Choice,
    #[schemars(schema_with = "proxies")]
    #[serde(default)]
    proxies: Option<BTreeMap<String, Option<String>>>,
    #[schemars(schema_with = "delay")]
    #[serde(default)]
    delay: Option<String>,
    verify: Verify,
    #[serde(default)]
    free: serde_json::Value,
    #[serde(default)]
    settings: Vec<Setting>,
    vault: Option<Vault>,
    pair: Option<(String, u16)>,
    #[serde(flatten)]
    flat: Flat,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
pub(crate) enum Verify {
    Flag(bool),
    Path(String),
}
