//! What a shape knows of its paths, and what it publishes.

use serde_json::json;
use servo_shape::Shape;

use crate::types::{cases, yaml};

fn shape(name: &str) -> Shape {
    cases()
        .into_iter()
        .find(|case| case.name.ends_with(name))
        .unwrap()
        .shape()
}

#[test]
fn paths() {
    let everything = shape("Everything");
    assert!(everything.is_secret(&["vault", "token"]));
    assert!(everything.is_secret(&["vault", "pins", "any"]));
    assert!(!everything.is_secret(&["vault"]));
    assert!(everything.holds_secret(&["vault"]));
    assert!(!everything.holds_secret(&["settings"]));
    assert_eq!(
        everything.description_at(&["vault", "token"]).as_deref(),
        Some("Opens the vault.")
    );
    assert_eq!(
        everything.description_at(&["kind"]).as_deref(),
        Some("The kind of thing.")
    );
    assert_eq!(
        everything.description_at(&["flat"]).as_deref(),
        Some("How flat.")
    );
    assert_eq!(
        everything.title_at(&["base-url"]).as_deref(),
        Some("Base Url")
    );
    assert_eq!(
        everything.keys_at(&["settings", "0"]),
        ["type", "min", "max", "step", "values"]
    );
    assert_eq!(
        everything.keys_at(&["deeper", "deeper", "deeper"]),
        ["deeper", "size"]
    );
    assert!(everything.knows(&["proxies", "http://x"]));
    assert!(!everything.knows(&["proxy"]));

    let prometheus = shape("PrometheusConfig");
    assert_eq!(prometheus.default_at(&["max_concurrency"]), Some(json!(8)));
    assert_eq!(
        prometheus.default_at(&["metrics", "3", "unit"]),
        Some(json!(""))
    );
    assert_eq!(
        prometheus.default_at(&["base_url"]),
        Some(json!("https://prometheus:9090"))
    );
    assert!(prometheus.is_secret(&["headers", "x"]));
    assert_eq!(
        prometheus
            .title_at(&["targets", "0", "scrapePool"])
            .as_deref(),
        Some("Scrape Pool")
    );
    assert_eq!(
        shape("ProcessConfig").keys_at(&["components", "web", "stop"]),
        ["signal", "grace"]
    );
}

#[test]
fn masking() {
    let mut value = yaml(
        "{bearer_token: a, headers: {a: b, c: 5}, basic_auth: {username: u, password: p}, metrics: []}",
    );
    shape("PrometheusConfig").mask(&mut value);
    assert_eq!(
        value,
        yaml(
            "{bearer_token: '**********', headers: {a: '**********', c: '**********'},
              basic_auth: {username: u, password: '**********'}, metrics: []}"
        )
    );
    let mut value = yaml("{vault: {token: null, pins: {1: x}}}");
    shape("Everything").mask(&mut value);
    assert_eq!(
        value,
        yaml("{vault: {token: null, pins: {1: '**********'}}}")
    );
}

#[test]
fn published_for_users() {
    let published = shape("VegetaConfig").published(Some("SERVO_VEGETA"));
    let root = &published.root;
    assert_eq!(root["required"], json!(["rate"]));
    assert_eq!(root["additionalProperties"], json!(false));
    assert!(root.get("$schema").is_none());
    let properties = &root["properties"];
    assert_eq!(properties["max_workers"]["title"], json!("Max Workers"));
    assert_eq!(
        properties["max_workers"]["env_names"],
        json!(["SERVO_VEGETA_MAX_WORKERS"])
    );
    assert_eq!(properties["rate"]["type"], json!(["integer", "string"]));
    assert_eq!(properties["http2"]["default"], json!(true));
    assert_eq!(
        properties["http2"]["type"],
        json!(["boolean", "integer", "string", "null"])
    );
    assert_eq!(
        properties["timeout"]["type"],
        json!(["number", "string", "null"])
    );

    let published = shape("PrometheusConfig").published(Some("SERVO_P"));
    let properties = &published.root["properties"];
    let password = &properties["basic_auth"]["anyOf"][0]["properties"]["password"];
    assert_eq!(
        password["env_names"],
        json!(["SERVO_P_BASIC_AUTH__PASSWORD"])
    );
    assert_eq!(password["writeOnly"], json!(true));
    assert_eq!(properties["bearer_token"]["format"], json!("password"));
    let items = &properties["metrics"]["items"];
    assert_eq!(items["$ref"], json!("#/definitions/MetricConfig"));
    let metric = &published.definitions["MetricConfig"]["properties"]["name"];
    assert!(metric.get("env_names").is_none());
    assert!(!published.root.to_string().contains("$defs"));
    assert_eq!(
        shape("PrometheusConfig")
            .published(None)
            .root
            .pointer("/properties/tls/env_names"),
        None
    );
}

#[test]
fn definitions_of_several_shapes_share_a_document() {
    let mut definitions = serde_json::Map::new();
    let taken = json!({ "type": "string" });
    definitions.insert("MetricConfig".into(), taken.clone());
    let prometheus = shape("PrometheusConfig");
    let one = prometheus
        .published(Some("SERVO_A"))
        .define("One", &mut definitions);
    let two = prometheus
        .published(Some("SERVO_B"))
        .define("Two", &mut definitions);
    assert_eq!(one, json!({ "$ref": "#/definitions/One" }));
    assert_eq!(two, json!({ "$ref": "#/definitions/Two" }));
    assert_eq!(definitions["MetricConfig"], taken);
    for name in ["One", "Two"] {
        assert_eq!(
            definitions[name]["properties"]["metrics"]["items"]["$ref"],
            json!("#/definitions/MetricConfig2")
        );
    }
    assert!(!definitions.contains_key("MetricConfig3"));
}
