//! The text of a new document (`spec/config-and-cli.md` §7.6). The same words give the same bytes.

mod annotate;

use serde_yaml::{Mapping, Value};
use servo_dispatch::{ConnectorType, Registry};
use servo_messages::{ChecksConfig, CommonConfig};
use servo_protocol::OptimizerId;

use super::{
    PLACEHOLDER_ID, PLACEHOLDER_TOKEN,
    problem::Problem,
    routes::{Descriptors, Route},
    stanza::Shapes,
};

/// Root of the optimizers' API when nothing else is said.
const BASE_URL: &str = "https://api.opsani.com";

/// What a new document says.
#[derive(Clone, Debug, Default)]
pub struct Generate<'a> {
    /// Its `name`.
    pub name: Option<&'a str>,
    /// Its optimizer, whose token comes from elsewhere; none for a placeholder.
    pub optimizer: Option<&'a OptimizerId>,
    /// Its connectors; none for one of each type, without the key `connectors`.
    pub connectors: Option<&'a Descriptors>,
    /// Leave the key `connectors` out.
    pub standalone: bool,
    /// Write what could be left out, too.
    pub defaults: bool,
    /// Write above each key what it means.
    pub comments: bool,
    /// The file or address of the schema, for editors.
    pub schema: Option<&'a str>,
}

/// A new document.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The document, without `---`.
    pub text: String,
    /// What the user should know of it.
    pub warnings: Vec<Problem>,
}

/// Makes a document with samples of the stanzas of its connectors.
///
/// # Errors
/// With everything that is wrong with the connectors that were named.
pub fn generate(
    registry: &Registry,
    shapes: &Shapes,
    what: &Generate<'_>,
) -> Result<Generated, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let routes: Vec<Route> = match what.connectors {
        Some(descriptors) => descriptors.routes(registry, &mut problems, &mut warnings),
        None => registry
            .types()
            .iter()
            .map(|kind| (kind.metadata().default_name.to_owned(), kind.clone()))
            .collect(),
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut document = Mapping::new();
    if let Some(name) = what.name {
        document.insert("name".into(), name.into());
    }
    let optimizer = optimizer(what.optimizer, what.defaults);
    document.insert("optimizer".into(), Value::Mapping(optimizer));
    if let Some(descriptors) = what.connectors
        && !what.standalone
    {
        document.insert("connectors".into(), descriptors.to_value());
    }
    if what.defaults {
        document.extend(defaults());
    }
    for (name, kind) in &routes {
        let stanza = stanza(kind, what.defaults).unwrap_or_else(|message| {
            warnings.push(Problem::new(&[name], message));
            Value::Mapping(Mapping::new())
        });
        document.insert(name.as_str().into(), stanza);
    }
    let text = written(&document);
    let text = if what.comments {
        annotate::annotate(&text, &document, &routes, shapes)
    } else {
        text
    };
    Ok(Generated {
        text: match what.schema {
            Some(schema) => format!("# yaml-language-server: $schema={schema}\n{text}"),
            None => text,
        },
        warnings,
    })
}

impl Descriptors {
    /// With the default name of a type in place of its class, where a name was left out beside
    /// others: `prom:prometheus VegetaConnector` names `prom` and `vegeta`.
    #[must_use]
    pub fn by_default_names(self, registry: &Registry) -> Self {
        let name = |(alias, kind): (String, String)| match registry.find(&kind) {
            Some(found) if alias == kind => (found.metadata().default_name.to_owned(), kind),
            _ => (alias, kind),
        };
        match self {
            Self::Map(map) => Self::Map(map.into_iter().map(name).collect()),
            list @ Self::List(_) => list,
        }
    }
}

fn optimizer(real: Option<&OptimizerId>, defaults: bool) -> Mapping {
    let id = real.map_or_else(|| PLACEHOLDER_ID.to_owned(), ToString::to_string);
    let mut keys = Mapping::new();
    let mut add = |key: &str, value: &str| drop(keys.insert(key.into(), value.into()));
    add("id", &id);
    if real.is_none() {
        add("token", PLACEHOLDER_TOKEN);
    }
    if defaults {
        add("base_url", BASE_URL);
    }
    if real.is_none() {
        let path = id.replacen('/', "/applications/", 1);
        add("url", &format!("{BASE_URL}/accounts/{path}/"));
    }
    keys
}

/// The keys beside the stanzas that have defaults.
fn defaults() -> Mapping {
    let mut keys = Mapping::new();
    keys.insert("no_diagnostics".into(), true.into());
    let settings = serde_yaml::to_value(CommonConfig::default()).map(without_nulls);
    if let Ok(Value::Mapping(mut settings)) = settings {
        settings.retain(|key, _| key == "backoff");
        keys.insert("settings".into(), Value::Mapping(settings));
    }
    if let Ok(checks) = serde_yaml::to_value(ChecksConfig::default()) {
        keys.insert("checks".into(), without_nulls(checks));
    }
    keys
}

/// A valid stanza of `kind`.
fn stanza(kind: &ConnectorType, defaults: bool) -> Result<Value, String> {
    let invalid = |cause: &dyn std::fmt::Display| {
        format!(
            "the {} gives no valid sample of its stanza, so it is left empty: {cause}",
            kind.full_name()
        )
    };
    let sample: Value = serde_yaml::from_str(kind.sample()).map_err(|e| invalid(&e))?;
    let parsed = kind.parse(sample.clone()).map_err(|e| invalid(&e))?;
    Ok(if defaults {
        over(sample, without_nulls(parsed.effective()))
    } else {
        sample
    })
}

/// `sample`, with what only `effective` has behind it, at every depth.
fn over(sample: Value, effective: Value) -> Value {
    match (sample, effective) {
        (Value::Mapping(sample), Value::Mapping(mut effective)) => {
            let mut both: Mapping = sample
                .into_iter()
                .map(|(key, value)| {
                    let value = match effective.remove(&key) {
                        Some(other) => over(value, other),
                        None => value,
                    };
                    (key, value)
                })
                .collect();
            both.extend(effective);
            Value::Mapping(both)
        }
        (Value::Sequence(sample), Value::Sequence(effective))
            if sample.len() == effective.len() =>
        {
            let pairs = sample.into_iter().zip(effective);
            pairs.map(|(value, other)| over(value, other)).collect()
        }
        (sample, _) => sample,
    }
}

/// Without the keys that hold nothing.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Mapping(map) => Value::Mapping(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        Value::Sequence(list) => list.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

fn written(document: &Mapping) -> String {
    // Text, numbers, lists and mappings can all be written.
    serde_yaml::to_string(document).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::config::{Environment, LoadOptions, Need, OptimizerFlags, Source, load};

    fn text(words: &[&str], what: Generate<'_>) -> String {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let descriptors = Descriptors::of_words(&words).unwrap();
        let what = Generate {
            connectors: (!words.is_empty()).then_some(&descriptors),
            ..what
        };
        let generated = generate(&crate::connectors::bundled(), &Shapes::default(), &what).unwrap();
        assert_eq!(generated.warnings, []);
        generated.text
    }

    #[track_caller]
    fn assert_valid(text: &str) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("servo.yaml"), text).unwrap();
        let source = Source::new("servo.yaml".as_ref(), directory.path());
        let options = LoadOptions {
            registry: &crate::connectors::bundled(),
            environment: &Environment::default(),
            flags: &OptimizerFlags::default(),
            optimizer: Need::Required,
            words: None,
            keep_given: false,
        };
        let loaded = load(&source, &options).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(loaded.warnings, [], "{text}");
    }

    #[test]
    fn aliases_and_samples() {
        let text = text(&["foo:vegeta", "bar:wait"], Generate::default());
        assert_eq!(
            text,
            "optimizer:
  id: generated-id.test/generated
  token: generated-token
  url: https://api.opsani.com/accounts/generated-id.test/applications/generated/
connectors:
  foo: vegeta
  bar: wait
foo:
  description: Update the rate and target/targets to match your load profile
  rate: 50/1s
  target: GET https://example.com/
bar:
  measure_enabled: false
"
        );
        assert_valid(&text);
    }

    #[test]
    fn each_type_gives_a_valid_document_in_every_form() {
        let registry = crate::connectors::bundled();
        let names = registry.types().iter().map(|t| t.metadata().default_name);
        let mut all: Vec<Vec<&str>> = names.map(|name| vec![name]).collect();
        all.push(Vec::new());
        for words in all {
            for (defaults, comments) in [(false, false), (true, false), (false, true), (true, true)]
            {
                let what = Generate {
                    name: Some("a name"),
                    defaults,
                    comments,
                    schema: comments.then_some("schema.json"),
                    ..Generate::default()
                };
                let first = text(&words, what.clone());
                assert_valid(&first);
                assert_eq!(first, text(&words, what));
                assert!(!first.contains(": null\n"), "{first}");
            }
        }
    }

    #[test]
    fn defaults_stand_behind_what_the_sample_says() {
        let what = Generate {
            defaults: true,
            ..Generate::default()
        };
        let value: Value = serde_yaml::from_str(&text(&["vegeta"], what)).unwrap();
        assert_eq!(value["checks"]["wait"], "30m");
        assert_eq!(
            value["settings"]["backoff"]["__default__"]["max_time"],
            "10m"
        );
        assert_eq!(value["settings"].as_mapping().unwrap().len(), 1);
        assert_eq!(value["optimizer"]["base_url"], BASE_URL);
        assert_eq!(value["no_diagnostics"], true);
        assert_eq!(value["vegeta"]["workers"], 10);
        let keys: Vec<_> = value["vegeta"].as_mapping().unwrap().keys().collect();
        assert_eq!(keys[..3], ["description", "rate", "target"]);
    }

    #[test]
    fn a_real_optimizer_is_named_without_its_token() {
        let id = "dev.opsani.com/servox".parse().unwrap();
        let what = Generate {
            optimizer: Some(&id),
            standalone: true,
            ..Generate::default()
        };
        assert_eq!(
            text(&["wait"], what),
            "optimizer:\n  id: dev.opsani.com/servox\nwait:\n  measure_enabled: false\n"
        );
    }

    #[test]
    fn comments_say_what_keys_mean() {
        let what = Generate {
            comments: true,
            ..Generate::default()
        };
        let text = text(&["wait", "prometheus"], what);
        assert!(
            text.contains(
                "  # Whether each measurement lasts for its warm-up, duration and delay. With `false` it is over at\n  # once.\n  measure_enabled: false\n"
            ),
            "{text}"
        );
        let query = "    # The query, in PromQL; not blank.\n    query: ";
        assert_eq!(text.matches(query).count(), 1, "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 100),
            "{text}"
        );
    }
}
