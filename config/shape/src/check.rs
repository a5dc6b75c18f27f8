//! Checking a value, and making scalars what the type wants (`spec/config-and-cli.md` §2.9).

use serde_json::Value as Json;
use serde_yaml::{Mapping, Number, Value};

use crate::fault::{Fault, describe, nearest, quoted};
use crate::node::{Body, Bound, Id, Kinds, Nodes, Object, Others, Plain};
use crate::number_text;

/// Values nested deeper than this are refused.
const DEEPEST: usize = 64;

/// One check under way.
pub(crate) struct Check<'a> {
    nodes: &'a Nodes,
    /// Whether scalars of another kind are converted.
    coerces: bool,
    path: Vec<String>,
    pub(crate) faults: Vec<Fault>,
}

impl<'a> Check<'a> {
    pub(crate) fn new(nodes: &'a Nodes) -> Self {
        Self {
            nodes,
            coerces: true,
            path: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn wrong(&mut self, expected: impl Into<String>, value: &Value, hushed: bool) {
        self.faults.push(Fault::wrong(
            self.path.clone(),
            expected.into(),
            describe(value, hushed),
        ));
    }

    fn below(&mut self, key: &str, id: Id, value: &mut Value, hushed: bool) {
        self.path.push(key.to_owned());
        self.check(id, value, hushed);
        self.path.pop();
    }

    fn path_to(&self, key: &str) -> Vec<String> {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        path
    }

    /// Checks `value`; `hushed` when it is inside of a secret.
    pub(crate) fn check(&mut self, id: Id, value: &mut Value, hushed: bool) {
        let hushed = hushed || self.nodes.node(id).hushed;
        let id = self.nodes.resolved(id);
        let nodes = self.nodes;
        if self.path.len() > DEEPEST {
            self.wrong("fewer levels of nesting", value, true);
            return;
        }
        match &nodes.node(id).body {
            Body::Any | Body::Same(_) => {}
            Body::Never => self.wrong("nothing", value, hushed),
            Body::Union(variants) => self.union(id, variants, value, hushed),
            Body::Plain(plain) => self.plain(id, plain, value, hushed),
        }
    }

    fn plain(&mut self, id: Id, plain: &Plain, value: &mut Value, hushed: bool) {
        if let Some(values) = &plain.values {
            self.one_of(values.iter().map(|(value, _)| value), value, hushed);
            return;
        }
        let kinds = plain.kinds;
        match value {
            Value::Null if kinds.any(Kinds::NULL) => {}
            Value::Bool(_) if kinds.any(Kinds::BOOLEAN) => {}
            Value::Sequence(items) if kinds.any(Kinds::ARRAY) => {
                self.list(id, plain, items, hushed);
            }
            Value::Mapping(mapping) if kinds.any(Kinds::OBJECT) => {
                self.mapping(&plain.object, mapping, hushed);
            }
            Value::Number(_) | Value::String(_) => {
                match scalar(plain, value, self.coerces && !plain.strict) {
                    Some(Some(converted)) => *value = converted,
                    Some(None) => {}
                    None => self.wrong(self.nodes.expected(id), value, hushed),
                }
            }
            _ => self.wrong(self.nodes.expected(id), value, hushed),
        }
    }

    fn one_of<'v>(
        &mut self,
        values: impl Iterator<Item = &'v Json> + Clone,
        value: &Value,
        hushed: bool,
    ) {
        if values.clone().any(|known| same(known, value)) {
            return;
        }
        self.wrong(one_of(values.clone()), value, hushed);
        if let Value::String(text) = value
            && let Some(fault) = self.faults.last_mut()
            && !hushed
        {
            let known = values.filter_map(Json::as_str);
            fault.nearest = nearest(text, known.clone())
                .or_else(|| {
                    known
                        .into_iter()
                        .find(|known| known.eq_ignore_ascii_case(text))
                })
                .map(str::to_owned);
        }
    }

    fn list(&mut self, id: Id, plain: &Plain, items: &mut [Value], hushed: bool) {
        let list = &plain.list;
        let found = items.len() as u64;
        if list.min.is_some_and(|min| found < min) || list.max.is_some_and(|max| found > max) {
            let count = if found == 1 {
                "1 item".into()
            } else {
                format!("{found} items")
            };
            self.faults.push(Fault::wrong(
                self.path.clone(),
                self.nodes.expected(id),
                format!("a list of {count}"),
            ));
        }
        for (index, item) in items.iter_mut().enumerate() {
            if let Some(node) = list.first.get(index).copied().or(list.rest) {
                self.below(&index.to_string(), node, item, hushed);
            }
        }
    }

    fn mapping(&mut self, object: &Object, mapping: &mut Mapping, hushed: bool) {
        self.proper_keys(object, mapping, hushed);
        let mut dropped: Vec<String> = Vec::new();
        let mut known = 0;
        for (key, value) in mapping.iter_mut() {
            let Value::String(key) = key else {
                continue;
            };
            if let Some(names) = object.names {
                self.path.push(key.clone());
                self.check(names, &mut Value::String(key.clone()), false);
                self.path.pop();
            }
            if let Some(property) = object.property(key) {
                if value.is_null() && !property.required && !self.nodes.takes_null(property.node) {
                    dropped.push(key.clone());
                    continue;
                }
                known += usize::from(property.required);
                self.below(key, property.node, value, hushed);
            } else if let Some(node) = object.other(key) {
                self.below(key, node, value, hushed);
            } else if matches!(object.others, Others::Refused) && !object.patterns_match(key) {
                let candidates = object
                    .keys()
                    .chain(object.aliases.iter().map(|(a, _)| a.as_str()));
                let nearest = nearest(key, candidates).map(str::to_owned);
                let path = self.path_to(key);
                self.faults.push(Fault::unknown(path, nearest));
            }
        }
        let found = mapping.len() as u64;
        if object.min.is_some_and(|min| found < min) || object.max.is_some_and(|max| found > max) {
            self.faults.push(Fault::wrong(
                self.path.clone(),
                expected_mapping(object),
                format!("a mapping with {found}"),
            ));
        }
        for key in dropped {
            mapping.remove(key.as_str());
        }
        let wanted = object
            .properties
            .iter()
            .filter(|property| property.required);
        if known < wanted.clone().count() {
            for property in wanted {
                if !mapping.contains_key(property.key.as_str()) {
                    let path = self.path_to(&property.key);
                    self.faults.push(Fault::missing(path));
                }
            }
        }
        for key in &object.also_required {
            if !mapping.contains_key(key.as_str()) {
                let path = self.path_to(key);
                self.faults.push(Fault::missing(path));
            }
        }
    }

    /// Makes keys text, and other spellings the proper ones.
    fn proper_keys(&mut self, object: &Object, mapping: &mut Mapping, hushed: bool) {
        let proper = |key: &Value| match key {
            Value::String(key) => object.unaliased(key).is_none(),
            _ => false,
        };
        if mapping.keys().all(proper) {
            return;
        }
        let old = std::mem::take(mapping);
        let written: Vec<String> = old
            .keys()
            .filter_map(|key| key.as_str().map(str::to_owned))
            .collect();
        for (key, value) in old {
            let text = match &key {
                Value::String(key) => key.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(key) => key.to_string(),
                key => {
                    self.wrong("a text as key", key, hushed);
                    continue;
                }
            };
            let key = object.unaliased(&text).unwrap_or(&text).to_owned();
            if mapping.contains_key(key.as_str())
                || (key != text && written.contains(&key))
            {
                let path = self.path_to(&text);
                self.faults.push(Fault::wrong(
                    path,
                    format!("the key {} once", quoted(&key)),
                    "two spellings of it".into(),
                ));
                continue;
            }
            mapping.insert(Value::String(key), value);
        }
    }

    fn union(&mut self, id: Id, variants: &[Id], value: &mut Value, hushed: bool) {
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
        hushed: bool,
    ) -> (Value, Vec<Fault>) {
        let mut attempt = Check {
            nodes: self.nodes,
            coerces: coerces && self.coerces,
            path: self.path.clone(),
            faults: Vec::new(),
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
        hushed: bool,
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
                describe(value, hushed),
            )],
        }
    }

    /// Where several variants list texts, or take text at all, all are named.
    fn sure_of_values(
        &self,
        all: &[Id],
        value: &Value,
        faults: Vec<Fault>,
        hushed: bool,
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
            describe(value, hushed),
        );
        fault.nearest = faults.into_iter().find_map(|fault| fault.nearest);
        vec![fault]
    }

    /// Faults of a mapping that is told from others by a tag: a property with listed values, or the
    /// only key.
    fn by_tag(&self, all: &[Id], mapping: &Mapping, hushed: bool) -> Option<Vec<Fault>> {
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
                    check.one_of(all.iter().copied(), value, hushed);
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

impl Object {
    fn patterns_match(&self, key: &str) -> bool {
        self.patterns
            .iter()
            .any(|(pattern, _)| pattern.regex.is_match(key))
    }
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

/// Whether a scalar of the schema is one of the file.
fn same(known: &Json, value: &Value) -> bool {
    match (known, value) {
        (Json::Null, Value::Null) => true,
        (Json::Bool(a), Value::Bool(b)) => a == b,
        (Json::String(a), Value::String(b)) => a == b,
        (Json::Number(a), Value::Number(b)) => json_number(b).is_some_and(|b| order(&b, a).is_eq()),
        _ => false,
    }
}

pub(crate) fn json_number(number: &Number) -> Option<serde_json::Number> {
    number
        .as_u64()
        .map(serde_json::Number::from)
        .or_else(|| number.as_i64().map(serde_json::Number::from))
        .or_else(|| serde_json::Number::from_f64(number.as_f64()?))
}

/// The order of two finite numbers, exact where both have no fraction.
fn order(a: &serde_json::Number, b: &serde_json::Number) -> std::cmp::Ordering {
    match (number_text::whole(a), number_text::whole(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => {
            let (a, b) = (a.as_f64(), b.as_f64());
            a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Less)
        }
    }
}

fn within(number: &serde_json::Number, lower: Option<&Bound>, upper: Option<&Bound>) -> bool {
    let above = lower.is_none_or(|bound| match order(number, &bound.number) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => !bound.exclusive,
        std::cmp::Ordering::Greater => true,
    });
    above
        && upper.is_none_or(|bound| match order(number, &bound.number) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => !bound.exclusive,
            std::cmp::Ordering::Greater => false,
        })
}

/// Whether a number or text is allowed, and what it becomes if it is not left as it is.
#[expect(clippy::option_option, reason = "refused, left, converted")]
fn scalar(plain: &Plain, value: &Value, coerces: bool) -> Option<Option<Value>> {
    let kinds = plain.kinds;
    match value {
        Value::Number(number) => {
            let json = json_number(number)?;
            if kinds.numeric() {
                let fits = within(
                    &json,
                    plain.range.lower.as_ref(),
                    plain.range.upper.as_ref(),
                );
                if !fits {
                    return None;
                }
                if kinds.any(Kinds::NUMBER) {
                    return Some(None);
                }
                let whole = number_text::whole(&json)?;
                return match (number.is_f64(), plain.strict) {
                    (false, _) => Some(None),
                    (true, true) => None,
                    (true, false) => Some(Some(whole_value(whole)?)),
                };
            }
            if !coerces {
                return None;
            }
            if kinds.any(Kinds::BOOLEAN) {
                match number_text::whole(&json) {
                    Some(0) => return Some(Some(false.into())),
                    Some(1) => return Some(Some(true.into())),
                    _ => {}
                }
            }
            if kinds.any(Kinds::STRING) && plain.text.takes_numbers() {
                return Some(Some(Value::String(number_as_text(number)?)));
            }
            None
        }
        Value::String(text) => {
            if kinds.any(Kinds::STRING) {
                return plain.text.accepts(text).then_some(None);
            }
            if !coerces {
                return None;
            }
            if kinds.any(Kinds::BOOLEAN)
                && let Some(value) = word(text)
            {
                return Some(Some(value.into()));
            }
            if kinds.numeric() {
                return Some(Some(number_of_text(plain, text)?));
            }
            None
        }
        _ => None,
    }
}

impl crate::node::Text {
    fn accepts(&self, text: &str) -> bool {
        let length = || text.chars().count() as u64;
        self.min.is_none_or(|min| length() >= min)
            && self.max.is_none_or(|max| length() <= max)
            && self
                .pattern
                .as_ref()
                .is_none_or(|pattern| pattern.regex.is_match(text))
    }
}

/// The words that stand for true and for false.
pub(crate) const WORDS: [(&str, bool); 12] = [
    ("true", true),
    ("t", true),
    ("yes", true),
    ("y", true),
    ("on", true),
    ("1", true),
    ("false", false),
    ("f", false),
    ("no", false),
    ("n", false),
    ("off", false),
    ("0", false),
];

pub(crate) fn word(text: &str) -> Option<bool> {
    WORDS
        .iter()
        .find(|(word, _)| text.eq_ignore_ascii_case(word))
        .map(|(_, value)| *value)
}

/// The whole numbers that text may be written as without quotation marks. Beyond them the reader of
/// YAML keeps no exact digits.
pub(crate) const EXACT: (i64, u64) = (i64::MIN, u64::MAX);

fn number_as_text(number: &Number) -> Option<String> {
    let json = json_number(number)?;
    let exact = Bound {
        number: EXACT.0.into(),
        exclusive: false,
    };
    let upper = Bound {
        number: EXACT.1.into(),
        exclusive: false,
    };
    if !within(&json, Some(&exact), Some(&upper)) {
        return None;
    }
    Some(match number.as_f64().filter(|_| number.is_f64()) {
        // As people write it: `1.0`, and no exponent.
        Some(float) if float.fract() == 0.0 => format!("{float:.1}"),
        Some(float) => float.to_string(),
        None => number.to_string(),
    })
}

fn whole_value(whole: i128) -> Option<Value> {
    u64::try_from(whole)
        .map(Value::from)
        .or_else(|_| i64::try_from(whole).map(Value::from))
        .ok()
}

fn number_of_text(plain: &Plain, text: &str) -> Option<Value> {
    if !plain
        .number_text
        .iter()
        .all(|pattern| pattern.regex.is_match(text))
    {
        return None;
    }
    let text = text.trim();
    if let Ok(whole) = text.parse::<i128>()
        && let Some(value) = whole_value(whole)
    {
        return Some(value);
    }
    text.parse::<f64>()
        .ok()
        .filter(|float| float.is_finite())
        .map(Value::from)
}

fn one_of<'v>(values: impl Iterator<Item = &'v Json>) -> String {
    let values: Vec<String> = values.map(Json::to_string).collect();
    match values.as_slice() {
        [one] => one.clone(),
        all => format!("one of {}", all.join(", ")),
    }
}

fn expected_mapping(object: &Object) -> String {
    match (object.min, object.max) {
        (Some(min), None) => format!("a mapping with at least {min}"),
        (None, Some(max)) => format!("a mapping with at most {max}"),
        (Some(min), Some(max)) => format!("a mapping with {min} to {max}"),
        (None, None) => "a mapping".into(),
    }
}

impl Nodes {
    /// What `id` takes, in words.
    pub(crate) fn expected(&self, id: Id) -> String {
        let mut all: Vec<String> = Vec::new();
        for id in self.plains(id) {
            for text in self.expected_plain(id) {
                if !all.contains(&text) {
                    all.push(text);
                }
            }
        }
        if all.is_empty() {
            return "null".into();
        }
        all.join(" or ")
    }

    fn expected_plain(&self, id: Id) -> Vec<String> {
        let node = self.node(id);
        let Body::Plain(plain) = &node.body else {
            return vec!["anything".into()];
        };
        if let Some(values) = &plain.values {
            return vec![one_of(values.iter().map(|(value, _)| value))];
        }
        let kinds = plain.kinds;
        let mut all: Vec<String> = Vec::new();
        if kinds.any(Kinds::BOOLEAN) {
            all.push("true or false".into());
        }
        if kinds.any(Kinds::STRING) {
            all.push(self.expected_text(id, plain));
        }
        if kinds.numeric() {
            all.push(expected_number(plain));
        }
        if kinds.any(Kinds::ARRAY) {
            all.push(match (plain.list.min, plain.list.max) {
                (Some(min), Some(max)) if min == max => format!("a list of {min}"),
                (Some(min), Some(max)) => format!("a list of {min} to {max}"),
                (Some(min), None) if min > 0 => format!("a list of at least {min}"),
                (None, Some(max)) => format!("a list of at most {max}"),
                _ => "a list".into(),
            });
        }
        if kinds.any(Kinds::OBJECT) {
            all.push("a mapping".into());
        }
        all
    }

    fn expected_text(&self, id: Id, plain: &Plain) -> String {
        let notes = &self.node(id).notes;
        let text = &plain.text;
        match notes.format.as_deref() {
            Some("duration") => return "a duration such as \"30s\" or \"2h45m\"".into(),
            Some("uri" | "url") => return "a URL".into(),
            _ => {}
        }
        let example = notes.examples.as_ref().and_then(|all| {
            let example = all.as_array()?.iter().find_map(Json::as_str)?;
            Some(format!("a text such as {}", quoted(example)))
        });
        let limits = match (text.min, text.max) {
            (Some(1), None) => Some("a text that is not empty".into()),
            (Some(min), Some(max)) => Some(format!("a text of {min} to {max} characters")),
            (Some(min), None) => Some(format!("a text of at least {min} characters")),
            (None, Some(max)) => Some(format!("a text of at most {max} characters")),
            (None, None) => None,
        };
        let pattern = text
            .pattern
            .as_ref()
            .map(|pattern| format!("a text that matches {}", pattern.source));
        example
            .or(pattern)
            .or(limits)
            .unwrap_or_else(|| "a text".into())
    }
}

fn expected_number(plain: &Plain) -> String {
    let what = if plain.kinds.any(Kinds::NUMBER) {
        "a number"
    } else {
        "a whole number"
    };
    // The limits of the widest types are nothing that anybody has in mind.
    let told = |bound: &&Bound| {
        number_text::whole(&bound.number)
            .is_none_or(|whole| whole > i64::MIN.into() && whole < i64::MAX.into())
    };
    let lower = plain.range.lower.as_ref().filter(told);
    let upper = plain.range.upper.as_ref().filter(told);
    let low = |bound: &Bound| {
        let word = if bound.exclusive {
            "more than"
        } else {
            "at least"
        };
        format!("{word} {}", bound.number)
    };
    let high = |bound: &Bound| {
        let word = if bound.exclusive {
            "less than"
        } else {
            "at most"
        };
        format!("{word} {}", bound.number)
    };
    match (lower, upper) {
        (None, None) => what.into(),
        (Some(bound), None) => format!("{what}, {}", low(bound)),
        (None, Some(bound)) => format!("{what}, {}", high(bound)),
        (Some(a), Some(b)) if !a.exclusive && !b.exclusive => {
            format!("{what} from {} to {}", a.number, b.number)
        }
        (Some(a), Some(b)) => format!("{what}, {} and {}", low(a), high(b)),
    }
}
