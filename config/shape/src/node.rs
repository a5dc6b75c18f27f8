//! The compiled schema: what a value may be, and what is said about it.

use std::collections::HashMap;

use regex::Regex;
use serde_json::Value as Json;

/// A node's place in [`Nodes`].
pub(crate) type Id = usize;

/// All nodes of a shape; references between them are places, so recursive types are no problem.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    pub(crate) all: Vec<Node>,
    pub(crate) root: Id,
    /// Whether any object has aliases.
    pub(crate) aliases: bool,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) notes: Notes,
    pub(crate) body: Body,
    /// The name of the definition that this is, for the published schema.
    pub(crate) name: Option<String>,
    /// The value as a whole is a secret.
    pub(crate) secret: bool,
    /// A secret is here or below: no value given for it is ever quoted.
    pub(crate) hushed: bool,
}

/// What a schema says for people, and what does not change which values are valid.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    pub(crate) title: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) default: Option<Json>,
    pub(crate) examples: Option<Json>,
    pub(crate) format: Option<String>,
    pub(crate) deprecated: bool,
    pub(crate) secret: bool,
}

#[derive(Debug)]
pub(crate) enum Body {
    Any,
    Never,
    /// As the other node, with notes of its own.
    Same(Id),
    /// What one of these is.
    Union(Vec<Id>),
    Plain(Box<Plain>),
}

/// Limits of a value, each for the kinds of value that it speaks of.
#[derive(Debug)]
pub(crate) struct Plain {
    pub(crate) kinds: Kinds,
    /// No coercion here.
    pub(crate) strict: bool,
    /// The only values, and what each means.
    pub(crate) values: Option<Vec<(Json, Option<String>)>>,
    pub(crate) text: Text,
    pub(crate) range: Range,
    /// The texts that stand for a number, where text itself is not wanted: all must match.
    pub(crate) number_text: Vec<Pattern>,
    pub(crate) list: List,
    pub(crate) object: Object,
}

#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) source: String,
    pub(crate) regex: Regex,
}

impl Pattern {
    /// None when the expression is not one that this program can evaluate.
    pub(crate) fn new(source: &str) -> Option<Self> {
        Some(Self {
            source: source.to_owned(),
            regex: Regex::new(&translated(source)).ok()?,
        })
    }
}

/// What the dialect of JSON schemas calls a space.
const SPACES: &str = r"\t\n\x0B\x0C\r \u{a0}\u{1680}\u{2000}-\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}\u{feff}";

/// In the dialect of JSON schemas `\d` and `\w` are ASCII, in that of `regex` Unicode.
fn translated(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut characters = source.chars();
    let mut in_class = false;
    while let Some(c) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some('d') if in_class => out.push_str("0-9"),
                Some('w') if in_class => out.push_str("A-Za-z0-9_"),
                Some('d') => out.push_str("[0-9]"),
                Some('w') => out.push_str("[A-Za-z0-9_]"),
                Some('s') if in_class => out.push_str(SPACES),
                Some('s') => out.extend(["[", SPACES, "]"]),
                // An escape that is none, such as `\_`, stands for the character.
                Some(c @ ('_' | '/' | '"' | '\'' | ':' | '@' | '%' | ',' | '=')) => out.push(c),
                Some(c) => out.extend(['\\', c]),
                None => out.push('\\'),
            },
            '[' if !in_class => {
                in_class = true;
                out.push(c);
            }
            ']' => {
                in_class = false;
                out.push(c);
            }
            // Inside a class this dialect has no nested classes.
            '[' => out.push_str("\\["),
            c => out.push(c),
        }
    }
    out
}

#[derive(Debug, Default)]
pub(crate) struct Text {
    /// All must match.
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) min: Option<u64>,
    pub(crate) max: Option<u64>,
}

impl Text {
    /// Whether a number may stand for this text. Whether the digits of a number match a pattern is
    /// nothing that a published schema could say, so where there is one, quotation marks are needed.
    pub(crate) fn takes_numbers(&self) -> bool {
        self.patterns.is_empty() && self.min.is_none_or(|min| min <= 1) && self.max.is_none()
    }
}

/// A limit of numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bound {
    pub(crate) number: serde_json::Number,
    pub(crate) exclusive: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Range {
    pub(crate) lower: Option<Bound>,
    pub(crate) upper: Option<Bound>,
}

#[derive(Debug, Default)]
pub(crate) struct List {
    pub(crate) first: Vec<Id>,
    pub(crate) rest: Option<Id>,
    pub(crate) min: Option<u64>,
    pub(crate) max: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Object {
    pub(crate) properties: Vec<Property>,
    pub(crate) places: HashMap<String, usize>,
    pub(crate) patterns: Vec<(Pattern, Id)>,
    pub(crate) others: Others,
    pub(crate) names: Option<Id>,
    /// Other spellings of keys, and the keys.
    pub(crate) aliases: Vec<(String, String)>,
    pub(crate) min: Option<u64>,
    pub(crate) max: Option<u64>,
    /// Required keys that are no properties.
    pub(crate) also_required: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Property {
    pub(crate) key: String,
    pub(crate) node: Id,
    pub(crate) required: bool,
}

/// Keys that are no properties.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Others {
    #[default]
    Anything,
    Refused,
    Each(Id),
}

impl Object {
    pub(crate) fn property(&self, key: &str) -> Option<&Property> {
        self.properties.get(*self.places.get(key)?)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.properties.iter().map(|property| property.key.as_str())
    }

    /// The key that an alias stands for.
    pub(crate) fn unaliased(&self, key: &str) -> Option<&str> {
        self.aliases
            .iter()
            .find(|(alias, _)| alias == key)
            .map(|(_, key)| key.as_str())
    }

    /// What the value of a key that is no property must be; none when it may be anything or nothing.
    pub(crate) fn other(&self, key: &str) -> Option<Id> {
        self.patterns
            .iter()
            .find(|(pattern, _)| pattern.regex.is_match(key))
            .map(|(_, node)| *node)
            .or(match self.others {
                Others::Each(node) => Some(node),
                Others::Anything | Others::Refused => None,
            })
    }
}

/// A set of kinds of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kinds(u8);

impl Kinds {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const NULL: Self = Self(1);
    pub(crate) const BOOLEAN: Self = Self(2);
    pub(crate) const INTEGER: Self = Self(4);
    /// Numbers with and without fraction.
    pub(crate) const NUMBER: Self = Self(8);
    pub(crate) const STRING: Self = Self(16);
    pub(crate) const ARRAY: Self = Self(32);
    pub(crate) const OBJECT: Self = Self(64);
    pub(crate) const ALL: Self = Self(127);

    pub(crate) const NAMED: [(Self, &str); 7] = [
        (Self::BOOLEAN, "boolean"),
        (Self::INTEGER, "integer"),
        (Self::NUMBER, "number"),
        (Self::STRING, "string"),
        (Self::ARRAY, "array"),
        (Self::OBJECT, "object"),
        (Self::NULL, "null"),
    ];

    pub(crate) fn named(name: &str) -> Self {
        Self::NAMED
            .iter()
            .find(|(_, known)| *known == name)
            .map_or(Self::NONE, |(kind, _)| *kind)
    }

    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn numeric(self) -> bool {
        self.any(Self::INTEGER.with(Self::NUMBER))
    }
}

impl Nodes {
    pub(crate) fn node(&self, id: Id) -> &Node {
        // Places come from compilation alone, which fills each that it hands out.
        &self.all[id]
    }

    /// The node that `id` is, past all references.
    pub(crate) fn resolved(&self, mut id: Id) -> Id {
        for _ in 0..64 {
            match self.node(id).body {
                Body::Same(other) => id = other,
                _ => break,
            }
        }
        id
    }

    /// What one is true for `id` or a node that it refers to.
    pub(crate) fn note<T>(&self, mut id: Id, get: impl Fn(&Notes) -> Option<T>) -> Option<T> {
        for _ in 0..64 {
            if let found @ Some(_) = get(&self.node(id).notes) {
                return found;
            }
            match self.node(id).body {
                Body::Same(other) => id = other,
                _ => break,
            }
        }
        None
    }

    /// All that `id` may be, unions taken apart.
    pub(crate) fn plains(&self, id: Id) -> Vec<Id> {
        let mut found = Vec::new();
        let mut seen = Vec::new();
        self.collect_plains(id, &mut seen, &mut found);
        found
    }

    fn collect_plains(&self, id: Id, seen: &mut Vec<Id>, found: &mut Vec<Id>) {
        let id = self.resolved(id);
        if seen.contains(&id) {
            return;
        }
        seen.push(id);
        match &self.node(id).body {
            Body::Union(variants) => {
                for variant in variants {
                    self.collect_plains(*variant, seen, found);
                }
            }
            _ => found.push(id),
        }
    }

    pub(crate) fn plain(&self, id: Id) -> Option<&Plain> {
        match &self.node(id).body {
            Body::Plain(plain) => Some(plain),
            _ => None,
        }
    }

    /// The objects that `id` may be.
    pub(crate) fn objects(&self, id: Id) -> impl Iterator<Item = &Object> {
        self.plains(id)
            .into_iter()
            .filter_map(|id| self.plain(id))
            .filter(|plain| plain.kinds.any(Kinds::OBJECT))
            .map(|plain| &plain.object)
    }

    /// The lists that `id` may be.
    pub(crate) fn lists(&self, id: Id) -> impl Iterator<Item = &List> {
        self.plains(id)
            .into_iter()
            .filter_map(|id| self.plain(id))
            .filter(|plain| plain.kinds.any(Kinds::ARRAY))
            .map(|plain| &plain.list)
    }

    /// The kinds of value that `id` takes without coercion.
    pub(crate) fn kinds(&self, id: Id) -> Kinds {
        self.plains(id)
            .into_iter()
            .fold(Kinds::NONE, |kinds, id| match &self.node(id).body {
                Body::Any => Kinds::ALL,
                Body::Plain(plain) => kinds.with(plain.kinds),
                _ => kinds,
            })
    }

    /// Whether null is a value of `id`.
    pub(crate) fn takes_null(&self, id: Id) -> bool {
        self.plains(id)
            .into_iter()
            .any(|id| match &self.node(id).body {
                Body::Any => true,
                Body::Plain(plain) => match &plain.values {
                    Some(values) => values.iter().any(|(value, _)| value.is_null()),
                    None => plain.kinds.any(Kinds::NULL),
                },
                _ => false,
            })
    }
}
