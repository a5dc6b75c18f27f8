//! What a check of the configuration accepts satisfies the published schema, and what it refuses
//! for its shape does not (`spec/config-and-cli.md` §11.42).
//!
//! Documents that `servo generate` writes are changed at each of their places, one at a time.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use servo::config::{
    AssemblyConfig, Environment, Generate, LoadError, LoadOptions, Need, OptimizerFlags, Problem,
    SchemaRoutes, SchemaSources, Shapes, Source, generate, load_text, servo_schema,
};
use servo_dispatch::Registry;

/// What stands in place of a value.
fn replacements() -> Vec<Json> {
    vec![
        Json::Null,
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(2.5),
        json!(1e30),
        json!(""),
        json!("7"),
        json!("yes"),
        json!("5s"),
        json!("x y"),
        json!("http://a.example"),
        json!([]),
        json!(["a"]),
        json!([null]),
        json!({}),
        json!({ "a": 1 }),
        json!({ "a": null }),
    ]
}

/// `document` with one thing changed, in all ways.
fn changed(document: &Json) -> Vec<Json> {
    let mut all = vec![document.clone()];
    let mut places = Vec::new();
    pointers(document, String::new(), &mut places);
    for place in places {
        for new in replacements() {
            let mut other = document.clone();
            *other.pointer_mut(&place).unwrap() = new;
            all.push(other);
        }
        for key in ["bogus", "x-more", "name", "base-url", "0"] {
            for new in [Json::Null, json!("1"), json!({})] {
                let mut other = document.clone();
                if let Json::Object(map) = other.pointer_mut(&place).unwrap() {
                    map.insert(key.to_owned(), new);
                    all.push(other);
                }
            }
        }
        if let Some((above, key)) = place.rsplit_once('/') {
            let mut other = document.clone();
            match other.pointer_mut(above).unwrap() {
                Json::Object(map) => drop(map.shift_remove(&key.replace("~1", "/"))),
                Json::Array(list) => drop(list.remove(key.parse().unwrap())),
                _ => {}
            }
            all.push(other);
        }
    }
    all
}

fn pointers(value: &Json, at: String, found: &mut Vec<String>) {
    match value {
        Json::Object(map) => {
            for (key, value) in map {
                let key = key.replace('~', "~0").replace('/', "~1");
                pointers(value, format!("{at}/{key}"), found);
            }
        }
        Json::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                pointers(value, format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
    if !at.is_empty() {
        found.push(at);
    }
}

struct World {
    registry: Registry,
    shapes: Shapes,
    environment: Environment,
    flags: OptimizerFlags,
}

impl World {
    fn new(environment: &[(&str, &str)]) -> Self {
        let variables = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self {
            registry: servo::connectors::bundled(),
            shapes: Shapes::default(),
            environment: Environment::new(variables, BTreeMap::new()),
            flags: OptimizerFlags::default(),
        }
    }

    fn schema(&self, routes: &SchemaRoutes) -> jsonschema::Validator {
        let sources = SchemaSources {
            registry: &self.registry,
            shapes: &self.shapes,
            environment: &self.environment,
        };
        jsonschema::draft7::new(&servo_schema(routes, sources)).unwrap()
    }

    /// A document with a stanza of this type and everything that may be left out.
    fn document(&self, kind: &str) -> Json {
        let words = servo::config::Descriptors::List(vec![kind.to_owned()]);
        let what = Generate {
            connectors: Some(&words),
            standalone: true,
            defaults: true,
            ..Generate::default()
        };
        let generated = generate(&self.registry, &self.shapes, &what).unwrap();
        serde_yaml::from_str(&generated.text).unwrap()
    }

    fn load(&self, text: &str) -> Result<AssemblyConfig, LoadError> {
        let options = LoadOptions {
            registry: &self.registry,
            environment: &self.environment,
            flags: &self.flags,
            optimizer: Need::Optional,
            words: None,
            keep_given: true,
        };
        let source = Source::new("servo.yaml".as_ref(), "/".as_ref());
        load_text(&source, text, &options)
    }

    /// What is wrong with each document. All are read as one file, each with a name of its own.
    fn problems(&self, documents: &[Json]) -> Vec<Vec<Problem>> {
        let mut text = String::new();
        for (index, document) in documents.iter().enumerate() {
            let mut document = document.clone();
            if let Json::Object(map) = &mut document
                && documents.len() > 1
            {
                map.entry("name").or_insert(format!("d{index}").into());
            }
            text.push_str(&format!("---\n{document}\n"));
        }
        let mut all = vec![Vec::new(); documents.len()];
        match self.load(&text) {
            Ok(_) => {}
            Err(LoadError::Invalid(invalid)) => {
                for problem in invalid.problems {
                    let index = problem.document.map_or(0, |number| number - 1);
                    all[index].push(problem);
                }
            }
            Err(other) => panic!("{other}"),
        }
        all
    }
}

/// What no schema could say of the values, or leaves to the types of the connectors.
fn is_of_shape(problem: &Problem) -> bool {
    let message = problem.message.as_str();
    matches!(message, "field required" | "extra fields not permitted")
        || (message.starts_with("expected ") && message.contains(", found "))
        || [
            "expected the name of a connector type",
            "expected a list of connector types",
            "no connector found for the identifier",
            "is not a valid connector name",
            "is reserved",
        ]
        .iter()
        .any(|part| message.contains(part))
}

/// Checks and schema agree about all `documents`; how many they accept.
#[track_caller]
fn agree(schema: &jsonschema::Validator, documents: &[Json], problems: &[Vec<Problem>]) -> usize {
    let mut accepted = 0;
    for (document, problems) in documents.iter().zip(problems) {
        let valid = schema.is_valid(document);
        accepted += usize::from(problems.is_empty());
        if problems.is_empty() {
            let errors: Vec<String> = schema
                .iter_errors(document)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(valid, "refused by the schema: {errors:?}\n{document:#}");
        } else if problems.iter().any(is_of_shape) {
            assert!(!valid, "accepted by the schema: {problems:?}\n{document:#}");
        }
    }
    accepted
}

#[test]
fn stanzas_and_sections() {
    let world = World::new(&[]);
    let schema = world.schema(&SchemaRoutes::of_all(&world.registry));
    for kind in world.registry.types() {
        let name = kind.metadata().default_name;
        let mut document = world.document(name);
        let keys = document.as_object_mut().unwrap();
        keys.shift_remove("optimizer");
        if name != "wait" {
            keys.retain(|key, _| key == name);
        }
        let documents = changed(&document);
        let accepted = agree(&schema, &documents, &world.problems(&documents));
        assert!(
            accepted > 3 && accepted < documents.len() / 2,
            "{name}: {accepted} of {} are accepted",
            documents.len()
        );
    }
}

#[test]
fn optimizers() {
    let world = World::new(&[
        ("OPSANI_OPTIMIZER", "dev.opsani.com/app"),
        ("OPSANI_TOKEN", "abc"),
    ]);
    let schema = world.schema(&SchemaRoutes::of_all(&world.registry));
    for optimizer in [
        json!({ "id": "dev.opsani.com/app", "token": "t", "base-url": "http://a", "url": "http://b" }),
        json!({
            "optimizer-id": "x=", "tenant_id": "t", "base_url": "http://a", "client_id": "c",
            "client_secret": "s", "url": "http://b", "token_url": "http://c",
        }),
        json!({ "workload_id": "x=", "connection_file": "file" }),
        json!({ "optimizer_id": "x=", "token": "t", "base_url": "http://a" }),
    ] {
        let document = json!({ "optimizer": optimizer });
        let documents = changed(&document);
        let problems: Vec<Vec<Problem>> = documents
            .iter()
            .flat_map(|document| world.problems(std::slice::from_ref(document)))
            .collect();
        assert!(agree(&schema, &documents, &problems) > 3);
    }
    let document = json!({ "optimizer": { "embedded": {
        "objective": { "minimize": "latency_50th" },
        "constraints": ["error_rate <= 1"],
        "trials": 20, "warmup": "5s", "duration": 60, "metrics": ["latency_50th"], "seed": 1,
        "database": "trials.db", "keep_running": true,
    } } });
    let documents = changed(&document);
    assert!(agree(&schema, &documents, &world.problems(&documents)) > 10);
}

#[test]
fn keys_of_a_document() {
    let world = World::new(&[]);
    let schema = world.schema(&SchemaRoutes::of_all(&world.registry));
    let documents: Vec<Json> = changed(&json!({
        "name": "a name",
        "description": "text",
        "servo_uid": "1",
        "no_diagnostics": false,
        "x-base": { "anything": [1, null] },
        "wait": { "measure_enabled": true },
    }))
    .into_iter()
    // A name is what tells the documents apart here.
    .filter(|document| document["name"].is_string() && document["name"] != "")
    .enumerate()
    .map(|(index, mut document)| {
        document["name"] = format!("{} {index}", document["name"]).into();
        document
    })
    .collect();
    assert!(agree(&schema, &documents, &world.problems(&documents)) > 10);

    let of_connectors: Vec<Json> = [
        json!(null),
        json!(["wait"]),
        json!(["WaitConnector"]),
        json!(["servo.connectors.wait.WaitConnector"]),
        json!(["nope"]),
        json!([["wait"]]),
        json!([1]),
        json!({ "wait": "wait" }),
        json!({ "wait": "WaitConnector" }),
        json!({ "wait": "vegeta" }),
        json!({ "vegeta": "wait" }),
        json!({ "settings": "wait" }),
        json!({ "control": "wait" }),
        json!({ "ab": "wait" }),
        json!({ "my alias": "wait" }),
        json!({ "wait": 1 }),
        json!({ "wait": null }),
        json!("wait"),
        json!("[\"wait\"]"),
        json!(true),
        json!(5),
    ]
    .into_iter()
    .map(|connectors| json!({ "connectors": connectors, "wait": { "measure_enabled": true } }))
    .collect();
    agree(&schema, &of_connectors, &world.problems(&of_connectors));
}

/// A document that names its connectors has a schema of its own.
#[test]
fn connectors_that_are_named() {
    let world = World::new(&[]);
    let text = "connectors: {first: wait, a/b.c: wait}
first: {measure_enabled: true}
a/b.c: {measure_enabled: true}
vegeta: {rate: 5, target: GET http://a}
";
    let servos = world.load(text).unwrap().servos;
    let schema = world.schema(&SchemaRoutes::of_servo(&servos[0], &world.registry));
    let documents: Vec<Json> = changed(&serde_yaml::from_str(text).unwrap())
        .into_iter()
        // With other connectors it would be another schema.
        .filter(|document| document["connectors"] == json!({ "first": "wait", "a/b.c": "wait" }))
        .collect();
    assert!(agree(&schema, &documents, &world.problems(&documents)) > 20);
}

/// What variables fill need not be in the file, and nothing else.
#[test]
fn keys_that_variables_fill() {
    let world = World::new(&[
        ("SERVO_VEGETA_RATE", "5"),
        (
            "SERVO_PROMETHEUS",
            r#"{"metrics": [{"name": "t", "query": "up"}]}"#,
        ),
        ("SERVO_OPTIMIZER_EMBEDDED_OBJECTIVE__MINIMIZE", "p99"),
    ]);
    let schema = world.schema(&SchemaRoutes::of_all(&world.registry));
    for document in [
        json!({ "vegeta": { "target": "GET http://a" } }),
        json!({ "prometheus": {} }),
        json!({ "wait": {} }),
        json!({ "wait": null }),
        json!({}),
        json!({ "optimizer": { "embedded": {} } }),
        json!({ "optimizer": { "embedded": { "trials": 5 } } }),
        json!({ "optimizer": { "embedded": { "objective": {} } } }),
    ] {
        let documents = [document];
        agree(&schema, &documents, &world.problems(&documents));
    }
}
