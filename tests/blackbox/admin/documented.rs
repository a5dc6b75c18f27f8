//! The OpenAPI document says what the server does: neither a route nor a field more or less.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::Validator;
use serde_json::{Value, json};
use servo_doubles::{Script, ScriptedOptimizer};

use super::{
    client::{Answer, ask, ask_with},
    document, one,
};

/// A schema of the document's components as a document of its own.
fn validator(openapi: &Value, schema: &Value) -> Validator {
    let mut schema = schema.clone();
    schema["components"] = openapi["components"].clone();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap()
}

/// Checks an answer against what the document says of it.
fn check(openapi: &Value, method: &str, path: &str, answer: &Answer) {
    let operation = &openapi["paths"][path][method.to_lowercase()];
    assert!(operation.is_object(), "{method} {path} is not documented");
    let documented = &operation["responses"][answer.status.to_string()];
    assert!(
        documented.is_object(),
        "{method} {path} answers {}: {}",
        answer.status,
        answer.text()
    );
    let Some(content) = documented["content"].as_object() else {
        assert!(answer.body.is_empty(), "{method} {path}");
        return;
    };
    let kind = answer
        .header("content-type")
        .unwrap()
        .split(';')
        .next()
        .unwrap();
    let schema = &content
        .get(kind)
        .unwrap_or_else(|| panic!("{method} {path}: {kind}"))["schema"];
    if kind == "application/json" {
        let told = answer.json();
        let errors: Vec<_> = validator(openapi, schema)
            .iter_errors(&told)
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        assert_eq!(errors, Vec::<String>::new(), "{method} {path}: {told:#}");
    }
}

#[test]
fn the_document_and_the_server_agree() {
    let optimizer = ScriptedOptimizer::start(
        Script::new()
            .describe("d1")
            .adjust("a1", "web", "cpu", json!(2))
            .measure("m1", &[], json!({"duration": "60s"})),
    );
    let daemon = one(&optimizer);
    daemon.until("/api/v1/servos/solo", |servo| {
        (servo["command"]["operation"] == "MEASURE").then_some(())
    });
    let openapi = daemon.get("/api/v1/openapi.json").json();
    assert!(openapi["openapi"].as_str().unwrap().starts_with("3.1."));
    for schema in openapi["components"]["schemas"]
        .as_object()
        .unwrap()
        .values()
    {
        validator(&openapi, schema);
    }

    // Each documented method is allowed, and no other.
    let paths = openapi["paths"].as_object().unwrap();
    let mut operations = BTreeSet::new();
    for (path, methods) in paths {
        let asked = path.replace("{name}", "solo");
        let answer = ask(daemon.address, "PATCH", &asked);
        assert_eq!(answer.status, 405, "{path}");
        let allowed: BTreeSet<String> = answer
            .header("allow")
            .unwrap()
            .split(',')
            .map(|m| m.trim().to_lowercase())
            .collect();
        let documented: BTreeSet<String> = methods.as_object().unwrap().keys().cloned().collect();
        let unsaid: BTreeSet<_> = allowed.difference(&documented).cloned().collect();
        assert!(
            unsaid.is_empty() || unsaid == BTreeSet::from(["head".to_owned()]),
            "{path}: {unsaid:?}"
        );
        assert!(documented.is_subset(&allowed), "{path}: {allowed:?}");
        for operation in methods.as_object().unwrap().values() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(operations.insert(id.to_owned()), "{id} twice");
        }
    }

    // Real answers are as documented.
    let get: BTreeMap<&str, &str> = BTreeMap::from([
        ("/livez", "/livez?verbose"),
        ("/readyz", "/readyz"),
        ("/healthz", "/healthz"),
        ("/-/healthy", "/-/healthy"),
        ("/-/ready", "/-/ready"),
        ("/-/support", "/-/support"),
        ("/metrics", "/metrics"),
        ("/api/v1/servos", "/api/v1/servos"),
        ("/api/v1/servos/{name}", "/api/v1/servos/solo"),
        ("/api/v1/tree", "/api/v1/tree"),
        ("/api/v1/status", "/api/v1/status"),
        ("/api/v1/openapi.json", "/api/v1/openapi.json"),
        ("/", "/"),
    ]);
    for (path, methods) in paths {
        if methods.get("get").is_some() {
            let asked = get
                .get(path.as_str())
                .unwrap_or_else(|| panic!("{path} is not tried"));
            let answer = daemon.get(asked);
            assert_eq!(answer.status, 200, "{path}");
            check(&openapi, "GET", path, &answer);
        }
    }
    let at = daemon.address;
    let new = document("new", &optimizer, "");
    let yaml = "content-type: application/yaml\r\n";
    let evil = "host: evil.example\r\n";
    let origin = "origin: http://evil.example\r\n";
    for (method, path, asked, more, body) in [
        ("GET", "/api/v1/servos", "/api/v1/servos?limit=x", "", ""),
        ("GET", "/api/v1/servos", "/api/v1/servos", evil, ""),
        (
            "GET",
            "/api/v1/servos/{name}",
            "/api/v1/servos/nobody",
            "",
            "",
        ),
        ("GET", "/api/v1/tree", "/api/v1/tree?path=x", "", ""),
        (
            "POST",
            "/api/v1/servos",
            "/api/v1/servos",
            yaml,
            new.as_str(),
        ),
        (
            "POST",
            "/api/v1/servos",
            "/api/v1/servos",
            yaml,
            new.as_str(),
        ),
        ("POST", "/api/v1/servos", "/api/v1/servos", yaml, "{"),
        ("POST", "/api/v1/servos", "/api/v1/servos", yaml, ""),
        ("POST", "/api/v1/servos", "/api/v1/servos", origin, "x"),
        (
            "POST",
            "/api/v1/servos",
            "/api/v1/servos",
            "content-type: text/plain\r\n",
            "x",
        ),
        (
            "DELETE",
            "/api/v1/servos/{name}",
            "/api/v1/servos/new",
            "",
            "",
        ),
        (
            "DELETE",
            "/api/v1/servos/{name}",
            "/api/v1/servos/new",
            "",
            "",
        ),
        ("POST", "/api/v1/reload", "/api/v1/reload", "", ""),
        ("PUT", "/-/reload", "/-/reload", "", ""),
        ("HEAD", "/livez", "/livez", "", ""),
        ("POST", "/-/quit", "/-/quit", "", ""),
    ] {
        let answer = ask_with(at, method, asked, more, body.as_bytes());
        check(&openapi, method, path, &answer);
    }
    daemon.running.ended(crate::bench::SOON).assert_code(0);
}
