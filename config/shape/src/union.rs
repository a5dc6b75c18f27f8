//! Which of several variants a value is, or was meant to be.

use std::rc::Rc;

use serde_json::Value as Json;
use serde_yaml::{Mapping, Value};

use crate::check::{Check, Hush};
use crate::expected::one_of;
use crate::fault::{Fault, describe, nearest};
use crate::node::{Body, Id, Kinds, Nodes, Object, Others};
use crate::scalar::same;

/// Unions in unions that all fit until far below take exponential time; nobody means such a value.
const MOST_TRIED: usize = 20_000;

impl<'a> Check<'a> {
    pub(crate) fn union(&mut self, id: Id, variants: &[Id], value: &mut Value, hushed: Hush) {
        let plausible: Vec<Id> = variants
            .iter()
            .copied()
            .filter(|variant| self.plausible(*variant, value))
            .collect();
        let container = matches!(value, Value::Sequence(_) | Value::Mapping(_));
        if let ([only], true) = (plausible.as_slice(), container) {
            self.check(*only, value, hushed);
            return;
        }
        if self.tried.get() > MOST_TRIED {
            self.wrong("less that may mean several things", value, hushed);
            return;
        }
        self.tried.set(self.tried.get() + plausible.len());
        // As it is, then converted.
        let mut attempts: Vec<Vec<Fault>> = Vec::new();
        for coerces in [false, true] {
            if coerces && !self.coerces {
                break;
            }
            attempts.clear();
            for variant in &plausible {
                let (converted, faults) = self.attempt(*variant, value, coerces, hushed);
                if faults.is_empty() {
                    *value = converted;
                    return;
                }
                if container || self.nodes.kinds(*variant).any(kind(value)) {
                    attempts.push(faults);
                }
            }
        }
        let found = self.best(id, value, attempts, hushed);
        self.faults.extend(found);
    }

    fn attempt(
        &self,
        variant: Id,
        value: &Value,
        coerces: bool,
        hushed: Hush,
    ) -> (Value, Vec<Fault>) {
        let mut attempt = Check {
            nodes: self.nodes,
            coerces: coerces && self.coerces,
            path: self.path.clone(),
            faults: Vec::new(),
            tried: Rc::clone(&self.tried),
        };
        let mut value = value.clone();
        attempt.check(variant, &mut value, hushed);
        (value, attempt.faults)
    }

    /// Whether `value` may fit `variant`; most that do not are told without looking deeper.
    fn plausible(&self, variant: Id, value: &Value) -> bool {
        let mapping = match value {
            Value::Mapping(mapping) => mapping,
            Value::Sequence(_) => return self.nodes.kinds(variant).any(Kinds::ARRAY),
            _ => return true,
        };
        let plains = self.nodes.plains(variant);
        plains
            .into_iter()
            .any(|id| match &self.nodes.node(id).body {
                Body::Any => true,
                Body::Plain(plain) if plain.kinds.any(Kinds::OBJECT) => {
                    plain.object.properties.iter().all(|property| {
                        match found(&plain.object, mapping, &property.key) {
                            None => !property.required,
                            Some(value) => match self.tag(property.node) {
                                Some(mut tags) => {
                                    tags.any(|tag| same(tag, value)) || !property.required
                                }
                                None => true,
                            },
                        }
                    })
                }
                _ => false,
            })
    }

    /// The values that a property may have, if they are listed.
    fn tag(&self, id: Id) -> Option<impl Iterator<Item = &'a Json> + Clone + use<'a>> {
        let nodes: &'a Nodes = self.nodes;
        let plain = nodes.plain(nodes.resolved(id))?;
        Some(plain.values.as_ref()?.iter().map(|(value, _)| value))
    }

    /// The faults of the variant that `value` was probably meant to be; `attempts` are those of the
    /// variants that looked as if it were.
    fn best(
        &self,
        id: Id,
        value: &Value,
        mut attempts: Vec<Vec<Fault>>,
        hushed: Hush,
    ) -> Vec<Fault> {
        let nodes = self.nodes;
        let all = nodes.plains(id);
        if attempts.is_empty() {
            if let Some(mapping) = value.as_mapping()
                && let Some(faults) = self.by_tag(&all, mapping, hushed)
            {
                return faults;
            }
            let same_kind = all.iter().filter(|id| nodes.kinds(**id).any(kind(value)));
            attempts = same_kind
                .map(|id| self.attempt(*id, value, true, hushed).1)
                .filter(|faults| !faults.is_empty())
                .collect();
        }
        let shallow = |fault: &&Fault| fault.path.len() <= self.path.len() + 1;
        let best = attempts
            .into_iter()
            .min_by_key(|faults| (faults.iter().filter(shallow).count(), faults.len()));
        match best {
            Some(faults) => self.sure_of_values(&all, value, faults, hushed),
            None => vec![Fault::wrong(
                self.path.clone(),
                nodes.expected(id),
                describe(value, hushed.here),
            )],
        }
    }

    /// Where several variants list texts, or take text at all, all are named.
    fn sure_of_values(
        &self,
        all: &[Id],
        value: &Value,
        faults: Vec<Fault>,
        hushed: Hush,
    ) -> Vec<Fault> {
        if matches!(value, Value::Sequence(_) | Value::Mapping(_)) {
            return faults;
        }
        let mut expected: Vec<String> = Vec::new();
        for id in all {
            let text = self.nodes.expected(*id);
            if self.nodes.kinds(*id) != Kinds::NULL && !expected.contains(&text) {
                expected.push(text);
            }
        }
        if expected.len() < 2 {
            return faults;
        }
        let mut fault = Fault::wrong(
            self.path.clone(),
            expected.join(" or "),
            describe(value, hushed.here),
        );
        fault.nearest = faults.into_iter().find_map(|fault| fault.nearest);
        vec![fault]
    }

    /// Faults of a mapping that is told from others by a tag: a property with listed values, or the
    /// only key.
    fn by_tag(&self, all: &[Id], mapping: &Mapping, hushed: Hush) -> Option<Vec<Fault>> {
        let nodes = self.nodes;
        let objects: Vec<(Id, &Object)> = all
            .iter()
            .filter_map(|id| Some((*id, nodes.plain(*id)?)))
            .filter(|(_, plain)| plain.kinds.any(Kinds::OBJECT))
            .map(|(id, plain)| (id, &plain.object))
            .collect();
        let (_, first) = objects.first()?;
        if objects.len() < 2 {
            return None;
        }
        let tagged = first.keys().find(|key| {
            objects.iter().all(|(_, object)| {
                object
                    .property(key)
                    .is_some_and(|tag| tag.required && self.tag(tag.node).is_some())
            })
        });
        if let Some(key) = tagged {
            let Some(value) = found(first, mapping, key) else {
                return Some(vec![Fault::missing(self.path_to(key))]);
            };
            let tags = |object: &Object| {
                object
                    .property(key)
                    .and_then(|tag| self.tag(tag.node))
                    .into_iter()
                    .flatten()
            };
            let meant = objects
                .iter()
                .find(|(_, object)| tags(object).any(|tag| same(tag, value)));
            return Some(match meant {
                Some((id, _)) => self.attempt(*id, &mapping.clone().into(), true, hushed).1,
                None => {
                    let mut check = Check::new(nodes);
                    check.path = self.path_to(key);
                    let all: Vec<&Json> = objects.iter().flat_map(|(_, o)| tags(o)).collect();
                    check.one_of(all.iter().copied(), value, hushed.below());
                    check.faults
                }
            });
        }
        let single = objects.iter().all(|(_, object)| {
            matches!(object.others, Others::Refused)
                && matches!(object.properties.as_slice(), [only] if only.required)
        });
        if !single {
            return None;
        }
        let keys = || objects.iter().flat_map(|(_, object)| object.keys());
        let meant = objects.iter().find(|(_, object)| {
            object
                .keys()
                .any(|key| found(object, mapping, key).is_some())
        });
        if let Some((id, _)) = meant {
            return Some(self.attempt(*id, &mapping.clone().into(), true, hushed).1);
        }
        if let Some(Value::String(key)) = mapping.keys().next()
            && mapping.len() == 1
        {
            let nearest = nearest(key, keys()).map(str::to_owned);
            return Some(vec![Fault::unknown(self.path_to(key), nearest)]);
        }
        let keys: Vec<Json> = keys().map(Json::from).collect();
        Some(vec![Fault::wrong(
            self.path.clone(),
            format!(
                "a mapping with {}",
                one_of(keys.iter()).replacen("one of", "one of the keys", 1)
            ),
            format!("one with {}", mapping.len()),
        )])
    }
}

/// The value of `key`, however it is spelled.
fn found<'m>(object: &Object, mapping: &'m Mapping, key: &str) -> Option<&'m Value> {
    mapping.get(key).or_else(|| {
        object
            .aliases
            .iter()
            .filter(|(_, known)| known == key)
            .find_map(|(alias, _)| mapping.get(alias.as_str()))
    })
}
fn kind(value: &Value) -> Kinds {
    match value {
        Value::Null => Kinds::NULL,
        Value::Bool(_) => Kinds::BOOLEAN,
        Value::Number(_) => Kinds::INTEGER.with(Kinds::NUMBER),
        Value::String(_) => Kinds::STRING,
        Value::Sequence(_) => Kinds::ARRAY,
        Value::Mapping(_) => Kinds::OBJECT,
        Value::Tagged(_) => Kinds::NONE,
    }
}
