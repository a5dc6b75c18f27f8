//! Which connectors run, and under which names (`spec/config-and-cli.md` §2.7).

use serde_yaml::{Mapping, Value};
use servo_dispatch::{ConnectorType, Registry};

use super::problem::Problem;

/// Keys of a document that name no connector.
pub const TOP_LEVEL: [&str; 8] = [
    "name",
    "description",
    "servo_uid",
    "optimizer",
    "connectors",
    "no_diagnostics",
    "settings",
    "checks",
];

/// Names that no connector may bear beside those in [`TOP_LEVEL`]. The servo's own dispatcher stands beside its connectors in
/// the tree.
pub(super) const RESERVED: [&str; 6] = [
    "control",
    "measure",
    "adjust",
    "optimization",
    "servo",
    "dispatcher",
];

/// A connector by its name.
pub type Route = (String, ConnectorType);

/// What the words of a command, or the key `connectors`, say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Descriptors {
    /// Types, each under its default name.
    List(Vec<String>),
    /// Types by name.
    Map(Vec<(String, String)>),
}

impl Descriptors {
    /// Words such as `vegeta` and `alias:VegetaConnector`; a list when none has an alias.
    ///
    /// # Errors
    /// A word with several colons.
    pub fn of_words(words: &[String]) -> Result<Self, String> {
        let mut pairs = Vec::new();
        let mut aliased = false;
        for word in words {
            match word.split(':').collect::<Vec<_>>().as_slice() {
                [kind] => pairs.push((None, (*kind).to_owned())),
                [alias, kind] => {
                    aliased = true;
                    pairs.push((Some((*alias).to_owned()), (*kind).to_owned()));
                }
                _ => {
                    return Err(format!(
                        "invalid connector descriptor \"{word}\": expected `type` or `alias:type`"
                    ));
                }
            }
        }
        Ok(if aliased {
            Self::Map(
                pairs
                    .into_iter()
                    .map(|(alias, kind)| (alias.unwrap_or_else(|| kind.clone()), kind))
                    .collect(),
            )
        } else {
            Self::List(pairs.into_iter().map(|(_, kind)| kind).collect())
        })
    }

    /// What a document's `connectors` says; `None` when it says nothing.
    pub(super) fn of_value(value: Option<&Value>, problems: &mut Vec<Problem>) -> Option<Self> {
        let refuse = |problems: &mut Vec<Problem>, message: String| {
            problems.push(Problem::new(&["connectors"], message));
        };
        match value {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Self::of_text(text, problems),
            Some(Value::Sequence(list)) => Some(Self::List(
                list.iter()
                    .enumerate()
                    .filter_map(|(index, item)| {
                        let name = item.as_str().map(str::to_owned);
                        if name.is_none() {
                            problems.push(Problem::new(
                                &["connectors", &index.to_string()],
                                "expected the name of a connector type",
                            ));
                        }
                        name
                    })
                    .collect(),
            )),
            Some(Value::Mapping(map)) => Some(Self::Map(
                map.iter()
                    .filter_map(|(alias, kind)| {
                        let pair = alias.as_str().zip(kind.as_str());
                        if pair.is_none() {
                            problems.push(Problem::new(
                                &["connectors", alias.as_str().unwrap_or_default()],
                                "expected the name of a connector type",
                            ));
                        }
                        pair.map(|(alias, kind)| (alias.to_owned(), kind.to_owned()))
                    })
                    .collect(),
            )),
            Some(_) => {
                refuse(
                    problems,
                    "expected a list of connector types, or a mapping of names to types".to_owned(),
                );
                None
            }
        }
    }

    /// JSON of a list or a mapping, or names with commas between them.
    fn of_text(text: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let refuse = |problems: &mut Vec<Problem>, message: String| {
            problems.push(Problem::new(&["connectors"], message));
            None
        };
        if !text.trim_start().starts_with(['[', '{', '"']) {
            let names = text
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty());
            return Some(Self::List(names.map(str::to_owned).collect()));
        }
        match serde_json::from_str::<Value>(text) {
            Ok(Value::String(_)) => refuse(
                problems,
                format!("JSON string values for `connectors` cannot parse into strings: {text:?}"),
            ),
            Ok(value) => Self::of_value(Some(&value), problems),
            Err(_) => refuse(problems, format!("error parsing JSON for {text:?}")),
        }
    }

    /// The connectors, in order, each name once.
    pub fn routes(
        &self,
        registry: &Registry,
        problems: &mut Vec<Problem>,
        warnings: &mut Vec<Problem>,
    ) -> Vec<Route> {
        let mut routes: Vec<Route> = Vec::new();
        match self {
            Self::List(list) => {
                for (index, identifier) in list.iter().enumerate() {
                    let path = ["connectors".to_owned(), index.to_string()];
                    let Some(kind) = find(registry, identifier, &path, problems) else {
                        continue;
                    };
                    let name = kind.metadata().default_name.to_owned();
                    if routes.iter().any(|(n, _)| *n == name) {
                        warnings.push(Problem::new(
                            &path,
                            format!("\"{identifier}\" is listed twice; once counts"),
                        ));
                    } else {
                        routes.push((name, kind.clone()));
                    }
                }
            }
            Self::Map(map) => {
                for (alias, identifier) in map {
                    let path = ["connectors".to_owned(), alias.clone()];
                    let kind = find(registry, identifier, &path, problems);
                    let Some(kind) = kind else { continue };
                    match refusal(registry, alias, kind) {
                        Some(reason) => problems.push(Problem::new(&path, reason)),
                        None if routes.iter().any(|(n, _)| n == alias) => problems.push(
                            Problem::new(&path, format!("\"{alias}\" names two connectors")),
                        ),
                        None => routes.push((alias.clone(), kind.clone())),
                    }
                }
            }
        }
        routes
    }
}

/// The connectors whose stanzas are in the document, or in a variable, when nothing else is said.
pub(super) fn by_stanzas(
    registry: &Registry,
    document: &Mapping,
    in_environment: impl Fn(&str) -> bool,
) -> Vec<Route> {
    let mut routes: Vec<Route> = document
        .iter()
        .filter(|(_, stanza)| !stanza.is_null())
        .filter_map(|(key, _)| by_default_name(registry, key.as_str()?))
        .map(|kind| (kind.metadata().default_name.to_owned(), kind.clone()))
        .collect();
    for kind in registry.types() {
        let name = kind.metadata().default_name;
        if in_environment(name) && routes.iter().all(|(n, _)| n != name) {
            routes.push((name.to_owned(), kind.clone()));
        }
    }
    routes
}

/// The type with this default name.
pub(super) fn by_default_name<'r>(registry: &'r Registry, name: &str) -> Option<&'r ConnectorType> {
    registry
        .types()
        .iter()
        .find(|kind| kind.metadata().default_name == name)
}

fn find<'r>(
    registry: &'r Registry,
    identifier: &str,
    path: &[String],
    problems: &mut Vec<Problem>,
) -> Option<&'r ConnectorType> {
    let found = registry.find(identifier);
    if found.is_none() {
        let known = registry.types().iter().map(|t| t.metadata().default_name);
        problems.push(
            Problem::new(
                path,
                format!("no connector found for the identifier \"{identifier}\""),
            )
            .suggest(identifier, known),
        );
    }
    found
}

/// Why `alias` cannot name a connector of the type `kind`.
fn refusal(registry: &Registry, alias: &str, kind: &ConnectorType) -> Option<String> {
    let legal = (3..=128).contains(&alias.len())
        && alias
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_/.".contains(c));
    if !legal {
        return Some(format!(
            "\"{alias}\" is not a valid connector name: names may only contain alphanumeric characters, hyphens, slashes, periods, and underscores, and have 3 to 128 of them"
        ));
    }
    if TOP_LEVEL.contains(&alias) || RESERVED.contains(&alias) || alias.starts_with("x-") {
        return Some(format!("Name \"{alias}\" is reserved"));
    }
    by_default_name(registry, alias)
        .filter(|owner| owner.class_name() != kind.class_name())
        .map(|owner| format!("Name \"{alias}\" is reserved by `{}`", owner.class_name()))
}

impl Descriptors {
    /// As the file would say it.
    pub fn to_value(&self) -> Value {
        match self {
            Self::List(list) => list.iter().map(|name| Value::from(name.as_str())).collect(),
            Self::Map(map) => Value::Mapping(
                map.iter()
                    .map(|(alias, kind)| (alias.as_str().into(), kind.as_str().into()))
                    .collect(),
            ),
        }
    }
}
