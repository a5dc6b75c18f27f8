//! A servo's configuration as it counts: what somebody said and what that comes to, without what
//! could as well be left out (`spec/config-and-cli.md` §7.5).

use serde::Serialize;
use serde_yaml::{Mapping, Value};
use servo_dispatch::Registry;
use servo_shape::Shape;

use super::{
    Given, Origin, ServoConfig, credentials,
    document::{BASICS, CHECKS, SETTINGS},
    optimizer::{APPDYNAMICS, EMBEDDED, OPSANI, OptimizerConfig},
    routes::by_default_name,
    sensitive,
    stanza::Shapes,
};

/// How much of a configuration is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Show {
    /// What nobody said, too.
    pub defaults: bool,
    /// Secrets in the clear.
    pub secrets: bool,
}

/// A document that comes to the same as what was given. It may hold secrets in the clear.
#[derive(Clone, Default)]
pub struct Effective {
    /// The document, its keys sorted.
    pub document: Mapping,
    /// Its keys below which there are secrets, be they shown or masked.
    secrets: Vec<String>,
}

/// The configuration of `servo`, which must have been read with what was given for it.
#[must_use]
pub fn effective(
    servo: &ServoConfig,
    registry: &Registry,
    shapes: &Shapes,
    show: Show,
) -> Effective {
    let nothing = Given::default();
    let given = servo.given.as_deref().unwrap_or(&nothing);
    let mut gathering = Gathering {
        given: &given.document,
        show,
        found: Effective::default(),
    };
    gathering.basics(servo);
    match &servo.optimizer {
        Some(OptimizerConfig::Embedded(config)) => gathering.embedded(value(&**config)),
        Some(OptimizerConfig::Opsani(_)) => gathering.optimizer(&OPSANI),
        Some(OptimizerConfig::Appdynamics(_)) => gathering.optimizer(&APPDYNAMICS),
        None => {}
    }
    gathering.section("settings", &*servo.settings, &SETTINGS);
    gathering.section("checks", &*servo.checks, &CHECKS);
    for (name, connector) in &servo.connectors {
        if let Some(kind) = by_default_name(registry, connector.metadata().default_name) {
            let shape = shapes.of(kind);
            let part = gathering.part(connector.effective(), gathering.given.get(&**name), &shape);
            gathering.insert(name, part);
        }
    }
    let Effective { document, secrets } = gathering.found;
    let mut document: Mapping = document
        .into_iter()
        .map(|(key, value)| (key, sorted_inside(value)))
        .collect();
    if let Some(connectors) = given.document.get("connectors") {
        // In the order in which they were written: it is the order in which they are asked.
        document.insert("connectors".into(), connectors.clone());
    }
    Effective {
        document: by_key(document),
        secrets,
    }
}

/// Where the value at `path` of an effective document came from; `None` if it follows from others.
#[must_use]
pub fn origin(given: &Given, path: &[String]) -> Option<Origin> {
    let mut rest = path.iter();
    let mut known = 0;
    let mut inside = rest.next().and_then(|key| given.document.get(key.as_str()));
    while let Some(value) = inside {
        known += 1;
        let Some(key) = rest.next() else { break };
        inside = match value {
            Value::Mapping(map) => map.get(key.as_str()),
            Value::Sequence(list) => key.parse().ok().and_then(|index: usize| list.get(index)),
            // Said in short, as `timeouts: 5s` says each of them.
            _ => break,
        };
    }
    let said = path.get(..known)?;
    if inside.is_none() {
        return Some(Origin::Default);
    }
    match said {
        [optimizer, key] if optimizer == "optimizer" && !given.origins.contains_key(said) => {
            let spellings = [key.clone(), key.replace('_', "-")];
            let written = spellings.into_iter().find_map(|key| {
                let places = given.places.as_ref()?;
                places.exact(&[optimizer.clone(), key])
            });
            let computed = matches!(key.as_str(), "url" | "token_url");
            match written {
                Some(place) => Some(Origin::File(Some(place))),
                None if computed => None,
                None => Some(given.origin(said)),
            }
        }
        _ => Some(given.origin(said)),
    }
}

impl Effective {
    /// Leaves the keys out that are not `wanted`.
    pub fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.document
            .retain(|key, _| key.as_str().is_some_and(&wanted));
        self.secrets.retain(|key| wanted(key));
    }

    /// Whether there are secrets in it, be they shown or masked.
    pub fn holds_secrets(&self) -> bool {
        !self.secrets.is_empty()
    }
}

/// The document as it comes to be, with secrets in the clear where they are asked for.
struct Gathering<'a> {
    given: &'a Mapping,
    show: Show,
    found: Effective,
}

impl Gathering<'_> {
    fn insert(&mut self, key: &str, (value, holds_secrets): (Value, bool)) {
        self.found.document.insert(key.into(), value);
        if holds_secrets {
            self.found.secrets.push(key.to_owned());
        }
    }

    fn basics(&mut self, servo: &ServoConfig) {
        for key in BASICS.keys_at(&[] as &[&str]) {
            let default = BASICS.default_at(&[&key]);
            let differs = |given: &&Value| !default.as_ref().is_some_and(|d| same(d, given));
            if let Some(given) = self.given.get(&*key).filter(differs) {
                self.insert(&key, (given.clone(), false));
            }
        }
        if self.show.defaults {
            let no_diagnostics = servo.no_diagnostics.into();
            self.insert("no_diagnostics", (no_diagnostics, false));
        }
    }

    /// An optimizer over HTTP is shown as it came to be: what was given is all there is.
    fn optimizer(&mut self, shape: &Shape) {
        let Some(given) = self.given.get("optimizer") else {
            return;
        };
        let mut effective = given.clone();
        if let Value::Mapping(keys) = &mut effective
            && self.show.defaults
        {
            for key in shape.keys_at(&[] as &[&str]) {
                if let Some(default) = shape.default_at(&[&key]) {
                    keys.entry(key.into()).or_insert_with(|| value(&default));
                }
            }
        }
        let part = self.part(effective, Some(given), shape);
        self.insert("optimizer", part);
    }

    fn embedded(&mut self, effective: Value) {
        let given = self.given.get("optimizer").and_then(|o| o.get("embedded"));
        let (stanza, holds_secrets) = self.part(effective, given, &EMBEDDED);
        let stanza = Mapping::from_iter([("embedded".into(), stanza)]);
        self.insert("optimizer", (stanza.into(), holds_secrets));
    }

    fn section(&mut self, key: &str, section: &impl Serialize, shape: &Shape) {
        let part = self.part(value(section), self.given.get(key), shape);
        if part.0.as_mapping().is_some_and(|part| !part.is_empty()) {
            self.insert(key, part);
        }
    }

    /// A part of the document, and whether there are secrets in it.
    fn part(&self, effective: Value, given: Option<&Value>, shape: &Shape) -> (Value, bool) {
        let view = View { shape };
        let nothing = Value::Mapping(Mapping::new());
        let given = given.unwrap_or(&nothing);
        let mut path = Vec::new();
        let shown = if self.show.defaults {
            view.whole(effective, Some(given), &mut path)
        } else {
            view.said(effective, given, &mut path)
        };
        let clear = shown.unwrap_or(nothing);
        let mut masked = clear.clone();
        shape.mask(&mut masked);
        credentials::hide(&mut masked);
        sensitive::hide(&mut masked);
        let holds_secrets = masked != clear;
        let shown = if self.show.secrets { clear } else { masked };
        (shown, holds_secrets)
    }
}

/// A part of the document under its shape.
struct View<'a> {
    shape: &'a Shape,
}

impl View<'_> {
    /// What was said and is not so by default, in the form that it came to have.
    fn said(&self, effective: Value, given: &Value, path: &mut Vec<String>) -> Option<Value> {
        if self.shape.is_secret(path) {
            return Some(given.clone());
        }
        let default = self.shape.default_at(path).filter(|_| !path.is_empty());
        let is_default = match &default {
            Some(default) => same(default, &effective),
            None => effective.is_null() && !path.is_empty(),
        };
        if is_default {
            return None;
        }
        match (effective, given) {
            (Value::Mapping(mut effective), Value::Mapping(given)) => {
                let free = self.shape.takes_free_keys(path);
                let mut kept = Mapping::new();
                for (key, given) in given {
                    let Some(name) = key.as_str() else { continue };
                    path.push(name.to_owned());
                    // What has no text form of its own stands as it was given.
                    let value = effective.remove(key).unwrap_or_else(|| given.clone());
                    let shown = if free {
                        Some(self.item(value, given, path))
                    } else {
                        self.said(value, given, path)
                    };
                    path.pop();
                    kept.extend(shown.map(|shown| (key.clone(), shown)));
                }
                // That it is there says something, unless it is there by default.
                let needless = kept.is_empty() && default.is_some_and(|d| d.is_object());
                (!needless).then_some(Value::Mapping(kept))
            }
            (Value::Sequence(effective), Value::Sequence(given))
                if effective.len() == given.len() =>
            {
                let items = effective.into_iter().zip(given).enumerate();
                Some(
                    items
                        .map(|(index, (value, given))| {
                            path.push(index.to_string());
                            let item = self.item(value, given, path);
                            path.pop();
                            item
                        })
                        .collect(),
                )
            }
            (effective, _) => Some(without_nulls(effective)),
        }
    }

    /// What cannot be left out, although parts of it may.
    fn item(&self, effective: Value, given: &Value, path: &mut Vec<String>) -> Value {
        let bare = match &effective {
            Value::Mapping(_) => Value::Mapping(Mapping::new()),
            other => other.clone(),
        };
        self.said(effective, given, path).unwrap_or(bare)
    }

    /// Everything, said or not. Null stays only where by default there is something.
    fn whole(
        &self,
        effective: Value,
        given: Option<&Value>,
        path: &mut Vec<String>,
    ) -> Option<Value> {
        if self.shape.is_secret(path)
            && let Some(given) = given
        {
            return Some(given.clone());
        }
        match (effective, given) {
            (Value::Null, _) => self
                .shape
                .default_at(path)
                .filter(|default| !default.is_null())
                .map(|_| Value::Null),
            (Value::Mapping(effective), given) => {
                let given = given.and_then(Value::as_mapping);
                let mut all = effective;
                for (key, given) in given.into_iter().flatten() {
                    all.entry(key.clone()).or_insert_with(|| given.clone());
                }
                let shown = all.into_iter().filter_map(|(key, value)| {
                    path.push(key.as_str()?.to_owned());
                    let shown = self.whole(value, given.and_then(|map| map.get(&key)), path);
                    path.pop();
                    Some((key, shown?))
                });
                Some(shown.collect::<Mapping>().into())
            }
            (Value::Sequence(effective), given) => {
                let given = given.and_then(Value::as_sequence);
                let items = effective.into_iter().enumerate().map(|(index, value)| {
                    path.push(index.to_string());
                    let given = given.and_then(|list| list.get(index));
                    let shown = self.whole(value, given, path);
                    path.pop();
                    shown.unwrap_or_default()
                });
                Some(items.collect())
            }
            (other, _) => Some(other),
        }
    }
}

/// The text form of a part that was read.
fn value(part: &impl Serialize) -> Value {
    serde_yaml::to_value(part).unwrap_or_default()
}

fn same(default: &serde_json::Value, effective: &Value) -> bool {
    match (default, effective) {
        // A whole number and the same number with a fraction of zero.
        (serde_json::Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => value(default) == *effective,
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Mapping(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect::<Mapping>()
            .into(),
        other => other,
    }
}

/// With all keys in order, at every depth.
fn sorted_inside(value: Value) -> Value {
    match value {
        Value::Mapping(mapping) => {
            let inside = mapping.into_iter().map(|(k, v)| (k, sorted_inside(v)));
            by_key(inside.collect()).into()
        }
        Value::Sequence(items) => items.into_iter().map(sorted_inside).collect(),
        other => other,
    }
}

fn by_key(mapping: Mapping) -> Mapping {
    let mut entries: Vec<(Value, Value)> = mapping.into_iter().collect();
    entries.sort_by(|(a, _), (b, _)| a.as_str().cmp(&b.as_str()));
    entries.into_iter().collect()
}

impl std::fmt::Debug for Effective {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Effective").finish_non_exhaustive()
    }
}
