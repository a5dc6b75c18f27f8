//! The documents of `servo.yaml`, one for each servo (`spec/config-and-cli.md` §2).

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;
use serde_yaml::{Mapping, Value};
use servo_dispatch::{ConfiguredConnector, ConnectorType, Registry};
use thiserror::Error;

use super::{
    Lookup,
    optimizer::OptimizerConfig,
    problem::{InvalidConfig, Problem},
};

/// Larger files are no configuration.
const LARGEST_FILE: u64 = 10 * 1024 * 1024;

/// Keys of a document that name no connector.
const TOP_LEVEL: [&str; 8] = [
    "name",
    "description",
    "servo_uid",
    "optimizer",
    "connectors",
    "no_diagnostics",
    "settings",
    "checks",
];

/// Names that no connector may bear beside those in [`TOP_LEVEL`] (§2.7).
const RESERVED: [&str; 5] = ["control", "measure", "adjust", "optimization", "servo"];

/// All servos of a file.
#[derive(Debug)]
pub struct AssemblyConfig {
    /// The file.
    pub file: PathBuf,
    /// At least one.
    pub servos: Vec<ServoConfig>,
    /// What deserves a warning but stops nobody.
    pub warnings: Vec<Problem>,
}

/// One servo.
pub struct ServoConfig {
    /// `name`, else the optimizer's id, else `servo`.
    pub name: Arc<str>,
    /// For people.
    pub description: Option<String>,
    /// Identifies this deployment to the optimizer.
    pub servo_uid: Option<String>,
    /// Which optimizer it listens to.
    pub optimizer: Option<OptimizerConfig>,
    /// Its connectors in order, with their names.
    pub connectors: Vec<(Arc<str>, Arc<dyn ConfiguredConnector>)>,
}

/// Why a file gives no assembly.
#[derive(Debug, Error)]
pub enum LoadError {
    /// There is no such file.
    #[error(
        "Config file '{}' does not exist: name another one with --config-file, or try `make demo` to see a working one",
        .0.display()
    )]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("cannot read config file '{}': {cause}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It is wrong.
    #[error(transparent)]
    Invalid(#[from] InvalidConfig),
}

impl std::fmt::Debug for ServoConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServoConfig")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Reads all documents of `file`.
///
/// # Errors
/// When it cannot be read, or when anything in it is wrong: everything at once.
pub fn load(
    file: &Path,
    registry: &Registry,
    environment: Lookup<'_>,
) -> Result<AssemblyConfig, LoadError> {
    let text = read(file)?;
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let documents = split(&text, &mut problems);
    let many = documents.len() > 1;
    let mut servos = Vec::new();
    let mut names = BTreeSet::new();
    let mut optimizers = BTreeSet::new();
    for (number, mapping) in documents {
        let reader = DocumentReader {
            number,
            registry,
            environment,
            many,
        };
        if let Some(servo) = reader.read(&mapping, &mut problems, &mut warnings) {
            if !names.insert(servo.name.clone()) {
                problems.push(Problem::new(
                    number,
                    &["name"],
                    format!(
                        "another document is named \"{}\" too: give each servo its own `name`",
                        servo.name
                    ),
                ));
            }
            if let Some(optimizer) = &servo.optimizer
                && !optimizers.insert(optimizer.identity(&servo.name))
            {
                problems.push(Problem::new(
                    number,
                    &["optimizer"],
                    format!(
                        "another document has the optimizer {} too: each servo needs its own",
                        optimizer.identity(&servo.name)
                    ),
                ));
            }
            servos.push(servo);
        }
    }
    let located = |problems: Vec<Problem>| {
        problems
            .into_iter()
            .map(|problem| problem.located(&text))
            .collect::<Vec<_>>()
    };
    if problems.is_empty() {
        Ok(AssemblyConfig {
            file: file.to_owned(),
            servos,
            warnings: located(warnings),
        })
    } else {
        Err(InvalidConfig {
            file: file.to_owned(),
            problems: located(problems),
        }
        .into())
    }
}

fn read(file: &Path) -> Result<String, LoadError> {
    let unreadable = |cause| LoadError::Unreadable {
        file: file.to_owned(),
        cause,
    };
    let metadata = match fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(LoadError::Missing(file.to_owned()));
        }
        other => other.map_err(unreadable)?,
    };
    if metadata.is_dir() {
        return Err(unreadable(io::Error::other("it is a directory")));
    }
    let mut text = String::new();
    // A pipe or a device does not tell its length.
    fs::File::open(file)
        .and_then(|file| file.take(LARGEST_FILE + 1).read_to_string(&mut text))
        .map_err(unreadable)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(unreadable(io::Error::other("it is larger than 10 MiB")));
    }
    Ok(text)
}

/// The documents with their numbers; an empty one counts only when it is the only one.
fn split(text: &str, problems: &mut Vec<Problem>) -> Vec<(usize, Mapping)> {
    let mut documents = Vec::new();
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let number = index + 1;
        match Value::deserialize(document).and_then(|mut value| {
            value.apply_merge()?;
            Ok(value)
        }) {
            Ok(Value::Null) => {}
            Ok(Value::Mapping(mapping)) => documents.push((number, mapping)),
            Ok(other) => problems.push(Problem::new(
                number,
                &[],
                format!("expected a mapping of keys, but found {}", kind(&other)),
            )),
            // The parser cannot go on after an error.
            Err(error) => {
                problems.push(Problem::new(number, &[], error.to_string()));
                break;
            }
        }
    }
    if documents.is_empty() && problems.is_empty() {
        documents.push((1, Mapping::new()));
    }
    documents
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "a mapping",
        Value::Tagged(_) => "a tagged value",
    }
}

struct DocumentReader<'a> {
    number: usize,
    registry: &'a Registry,
    environment: Lookup<'a>,
    /// Whether it is one of several documents.
    many: bool,
}

impl DocumentReader<'_> {
    fn read(
        &self,
        document: &Mapping,
        problems: &mut Vec<Problem>,
        warnings: &mut Vec<Problem>,
    ) -> Option<ServoConfig> {
        let before = problems.len();
        let optimizer = OptimizerConfig::read(
            document.get("optimizer"),
            self.number,
            self.environment,
            problems,
        );
        if self.many && optimizer.is_none() && problems.len() == before {
            problems.push(self.problem(
                &["optimizer"],
                "cannot configure a multi-servo assembly without an optimizer specified in each config",
            ));
        }
        let name = self.text(document, "name", problems);
        let description = self.text(document, "description", problems);
        let servo_uid = self
            .text(document, "servo_uid", problems)
            .or_else(|| (self.environment)("SERVO_UID"));
        let routes = self.routes(document, problems);
        let connectors = self.connectors(document, &routes, problems, warnings);
        if problems.len() > before {
            return None;
        }
        let name = name
            .as_deref()
            .or_else(|| optimizer.as_ref().and_then(OptimizerConfig::id))
            .unwrap_or("servo")
            .into();
        Some(ServoConfig {
            name,
            description,
            servo_uid,
            optimizer,
            connectors,
        })
    }

    fn problem(&self, path: &[&str], message: impl Into<String>) -> Problem {
        Problem::new(self.number, path, message)
    }

    fn text(&self, document: &Mapping, key: &str, problems: &mut Vec<Problem>) -> Option<String> {
        match document.get(key) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(other) => {
                problems.push(
                    self.problem(&[key], format!("expected text, but found {}", kind(other))),
                );
                None
            }
        }
    }

    /// Which connectors run, by name and type, in order (§2.7).
    fn routes(
        &self,
        document: &Mapping,
        problems: &mut Vec<Problem>,
    ) -> Vec<(String, ConnectorType)> {
        let mut routes: Vec<(String, ConnectorType)> = Vec::new();
        match document.get("connectors") {
            None | Some(Value::Null) => {
                for key in document.keys().filter_map(Value::as_str) {
                    if let Some(found) = self.by_default_name(key)
                        && !document.get(key).is_some_and(Value::is_null)
                    {
                        routes.push((key.to_owned(), found.clone()));
                    }
                }
            }
            Some(Value::Sequence(list)) => {
                for item in list {
                    let Some(identifier) = item.as_str() else {
                        problems
                            .push(self.problem(&["connectors"], "expected names of connectors"));
                        continue;
                    };
                    if let Some(found) = self.find(identifier, problems) {
                        let name = found.metadata().default_name.to_owned();
                        if routes.iter().all(|(n, _)| *n != name) {
                            routes.push((name, found.clone()));
                        }
                    }
                }
            }
            Some(Value::Mapping(map)) => {
                for (alias, identifier) in map {
                    let (Some(alias), Some(identifier)) = (alias.as_str(), identifier.as_str())
                    else {
                        problems.push(self.problem(
                            &["connectors"],
                            "expected a mapping of names to connector types",
                        ));
                        continue;
                    };
                    let found = self.find(identifier, problems);
                    if let Some(found) = found
                        && self.alias_is_free(alias, found, problems)
                    {
                        routes.push((alias.to_owned(), found.clone()));
                    }
                }
            }
            Some(other) => problems.push(self.problem(
                &["connectors"],
                format!(
                    "expected a list or a mapping of connectors, but found {}",
                    kind(other)
                ),
            )),
        }
        routes
    }

    fn by_default_name(&self, key: &str) -> Option<&ConnectorType> {
        self.registry
            .types()
            .iter()
            .find(|t| t.metadata().default_name == key)
    }

    fn find(&self, identifier: &str, problems: &mut Vec<Problem>) -> Option<&ConnectorType> {
        let found = self.registry.find(identifier);
        if found.is_none() {
            let known = self
                .registry
                .types()
                .iter()
                .map(|t| t.metadata().default_name);
            problems.push(
                self.problem(
                    &["connectors"],
                    format!("no connector found for the identifier \"{identifier}\""),
                )
                .suggest(identifier, known),
            );
        }
        found
    }

    fn alias_is_free(
        &self,
        alias: &str,
        target: &ConnectorType,
        problems: &mut Vec<Problem>,
    ) -> bool {
        let legal = (3..=128).contains(&alias.len())
            && alias
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_/.".contains(c));
        let message = if !legal {
            format!(
                "\"{alias}\" is not a valid connector name: names may only contain alphanumeric characters, hyphens, slashes, periods, and underscores, and have 3 to 128 of them"
            )
        } else if TOP_LEVEL.contains(&alias) || RESERVED.contains(&alias) {
            format!("Name \"{alias}\" is reserved")
        } else if let Some(owner) = self.by_default_name(alias)
            && owner.class_name() != target.class_name()
        {
            format!("Name \"{alias}\" is reserved by `{}`", owner.class_name())
        } else {
            return true;
        };
        problems.push(self.problem(&["connectors"], message));
        false
    }

    fn connectors(
        &self,
        document: &Mapping,
        routes: &[(String, ConnectorType)],
        problems: &mut Vec<Problem>,
        warnings: &mut Vec<Problem>,
    ) -> Vec<(Arc<str>, Arc<dyn ConfiguredConnector>)> {
        self.refuse_unknown_keys(document, routes, problems);
        for key in ["settings", "checks"] {
            if document.get(key).is_some_and(|value| !value.is_null()) {
                warnings.push(self.problem(&[key], "has no effect in this build yet"));
            }
        }
        let mut connectors = Vec::new();
        for (name, kind) in routes {
            let Some(stanza) = document.get(name).filter(|v| !v.is_null()) else {
                problems.push(self.problem(
                    &[name],
                    format!(
                        "field required: the connector {} is active but has no stanza",
                        kind.metadata().default_name
                    ),
                ));
                continue;
            };
            match kind.parse(stanza.clone()) {
                Err(error) => problems.push(
                    self.problem(&[name], error.message.clone())
                        .below(error.path.trim_start_matches('.')),
                ),
                Ok(connector) => {
                    for problem in connector.problems() {
                        let list = if problem.warning {
                            &mut *warnings
                        } else {
                            &mut *problems
                        };
                        list.push(self.problem(&[name], problem.message).below(&problem.path));
                    }
                    connectors.push((Arc::from(name.as_str()), connector));
                }
            }
        }
        connectors
    }

    /// Keys that are neither known, nor a connector's, nor holders of anchors (`x-...`).
    fn refuse_unknown_keys(
        &self,
        document: &Mapping,
        routes: &[(String, ConnectorType)],
        problems: &mut Vec<Problem>,
    ) {
        for key in document.keys() {
            let Some(key) = key.as_str() else {
                problems.push(self.problem(&[], "keys must be text"));
                continue;
            };
            let known = TOP_LEVEL.contains(&key)
                || key.starts_with("x-")
                || routes.iter().any(|(name, _)| name == key)
                // The stanza of a connector that is not active may stay in the file.
                || self.by_default_name(key).is_some();
            if !known {
                let candidates = TOP_LEVEL
                    .into_iter()
                    .chain(routes.iter().map(|(name, _)| name.as_str()))
                    .chain(
                        self.registry
                            .types()
                            .iter()
                            .map(|t| t.metadata().default_name),
                    );
                problems.push(
                    self.problem(&[key], "extra fields not permitted")
                        .suggest(key, candidates),
                );
            }
        }
    }
}
