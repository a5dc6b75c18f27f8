//! One document of `servo.yaml`: one servo (`spec/config-and-cli.md` §2.2).

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, LazyLock},
};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};
use servo_dispatch::{CheckPolicy, ConfiguredConnector};
use servo_messages::{ChecksConfig, CommonConfig};
use servo_shape::{Shape, variable_segment};

use super::{
    assembly::{LoadOptions, Need},
    given::{Given, Origin},
    optimizer::{self, Findings, OptimizerConfig, Sources},
    problem::{Problem, keys},
    routes::{self, Descriptors, Route, TOP_LEVEL},
    stanza::{self, Shapes, variable},
};

/// One servo.
#[derive(Clone)]
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
    /// Whether it leaves the optimizer's requests for diagnostics alone.
    pub no_diagnostics: bool,
    /// How it reaches others over the network.
    pub settings: Arc<CommonConfig>,
    /// How its checks are run.
    pub checks: Arc<ChecksConfig>,
    /// Which document of the file it is, counted from 1.
    pub document: usize,
    /// What was given for it, where that was asked for or diagnostics may want it.
    pub given: Option<Box<Given>>,
    /// Tells one configuration from another.
    pub(super) digest: u64,
}

/// The keys of a document that are plain values.
#[derive(JsonSchema)]
#[schemars(extend("additionalProperties" = false))]
#[expect(dead_code, reason = "it is the schema of what is read key by key")]
pub(super) struct Basics {
    /// Name of the servo. Default: the id of its optimizer.
    name: Option<String>,
    /// A remark for people.
    description: Option<String>,
    /// Unique id of this deployment, sent with every request to the optimizer.
    servo_uid: Option<String>,
    /// Do not answer the optimizer's requests for diagnostics.
    #[schemars(extend("default" = true))]
    no_diagnostics: Option<bool>,
}

pub(super) static BASICS: LazyLock<Shape> =
    LazyLock::new(|| Shape::of(&schemars::schema_for!(Basics)));
pub(super) static SETTINGS: LazyLock<Shape> =
    LazyLock::new(|| Shape::of(&schemars::schema_for!(CommonConfig)));
pub(super) static CHECKS: LazyLock<Shape> =
    LazyLock::new(|| Shape::of(&schemars::schema_for!(ChecksConfig)));

/// What servos that say nothing of it share.
static DEFAULT_SETTINGS: LazyLock<Arc<CommonConfig>> = LazyLock::new(Arc::default);
static DEFAULT_CHECKS: LazyLock<Arc<ChecksConfig>> = LazyLock::new(Arc::default);

/// The variables of the plain keys.
pub(super) const VARIABLES: [(&str, &str); 4] = [
    ("name", "SERVO_NAME"),
    ("description", "SERVO_DESCRIPTION"),
    ("servo_uid", "SERVO_UID"),
    ("no_diagnostics", "SERVO_NO_DIAGNOSTICS"),
];

/// Reads one document.
pub(super) struct DocumentReader<'a> {
    pub(super) number: usize,
    /// Whether it is one of several documents.
    pub(super) many: bool,
    pub(super) options: &'a LoadOptions<'a>,
    pub(super) shapes: &'a Shapes,
    pub(super) findings: Findings,
    pub(super) notes: Vec<Problem>,
    pub(super) origins: Vec<(Vec<String>, Origin)>,
    /// Its connectors, whatever is wrong with them.
    pub(super) routes: Vec<Route>,
}

impl DocumentReader<'_> {
    /// The servo, if nothing is wrong with it; `findings` say what is.
    pub(super) fn read(&mut self, document: &Mapping) -> Option<ServoConfig> {
        let mut given = Mapping::new();
        let basics = self.basics(document);
        given.extend(basics.clone());
        let optimizer = self.optimizer(document, &mut given);
        if let Some(connectors) = document.get("connectors").filter(|v| !v.is_null()) {
            given.insert("connectors".into(), connectors.clone());
        }
        self.routes = self.routes(document, &mut given);
        let settings = self.section(
            document,
            ("settings", "COMMON"),
            &SETTINGS,
            &DEFAULT_SETTINGS,
            &mut given,
        );
        let checks = self.section(
            document,
            ("checks", "CHECKS"),
            &CHECKS,
            &DEFAULT_CHECKS,
            &mut given,
        );
        for (at, list) in [
            ("settings", settings.as_ref().map(|s| s.problems())),
            ("checks", checks.as_ref().map(|c| problems_of_checks(c))),
        ] {
            for (path, message) in list.into_iter().flatten() {
                let problem = Problem::new(&[at], message).below(&path);
                self.findings.problems.push(problem);
            }
        }
        self.unknown_keys(document);
        self.colliding_variables();
        let connectors = self.connectors(document, &mut given);
        if !self.findings.problems.is_empty() {
            return None;
        }
        let text = |key: &str| basics.get(key).and_then(Value::as_str).map(str::to_owned);
        let name = text("name")
            .filter(|name| !name.is_empty())
            .or_else(|| optimizer.as_ref().and_then(OptimizerConfig::id))
            .unwrap_or_else(|| "servo".to_owned());
        let digest = digest(&given);
        let no_diagnostics = basics
            .get("no_diagnostics")
            .and_then(Value::as_bool)
            .unwrap_or(true);
        Some(ServoConfig {
            name: name.into(),
            description: text("description"),
            servo_uid: text("servo_uid"),
            no_diagnostics,
            optimizer,
            connectors,
            settings: settings?,
            checks: checks?,
            document: self.number,
            // Diagnostics tell what was given, too.
            given: (self.options.keep_given || !no_diagnostics).then(|| {
                Box::new(Given {
                    document: given,
                    origins: std::mem::take(&mut self.origins)
                        .into_iter()
                        .collect::<BTreeMap<_, _>>(),
                    places: None,
                })
            }),
            digest,
        })
    }

    fn basics(&mut self, document: &Mapping) -> Mapping {
        let mut basics = Mapping::new();
        for (key, variable) in VARIABLES {
            let value = document.get(key).filter(|value| !value.is_null()).cloned();
            let filled = || {
                // The variable only selects among several servos.
                let meant = !(self.many && matches!(key, "name" | "servo_uid"));
                let value = self.options.environment.get(variable).filter(|_| meant)?;
                Some(Value::from(value))
            };
            if let Some(value) = value {
                basics.insert(key.into(), value);
            } else if let Some(value) = filled() {
                basics.insert(key.into(), value);
                self.origins
                    .push((vec![key.to_owned()], Origin::Variable(variable.to_owned())));
            }
        }
        let mut value = Value::Mapping(basics);
        let faults = BASICS.check(&mut value);
        self.findings.refuse(&[], faults);
        match value {
            Value::Mapping(basics) => basics,
            _ => Mapping::new(),
        }
    }

    fn optimizer(&mut self, document: &Mapping, given: &mut Mapping) -> Option<OptimizerConfig> {
        let before = self.findings.problems.len();
        let sources = Sources {
            environment: self.options.environment,
            flags: self.options.flags,
            many: self.many,
        };
        let stanza = document.get("optimizer");
        let empty =
            |value: &Value| value.is_null() || value.as_mapping().is_some_and(Mapping::is_empty);
        if self.many && stanza.is_none_or(empty) && self.options.optimizer == Need::Required {
            self.findings.problems.push(Problem::new(
                &["optimizer"],
                "cannot configure a multi-servo assembly without an optimizer specified in each config",
            ));
            return None;
        }
        match optimizer::read(stanza, &sources, &mut self.findings) {
            Some(read) => {
                given.insert("optimizer".into(), Value::Mapping(read.shown));
                self.origins.extend(read.origins);
                Some(read.config)
            }
            None => {
                if self.findings.problems.len() == before
                    && self.options.optimizer == Need::Required
                {
                    self.findings.problems.push(Problem::new(
                        &["optimizer", "id"],
                        "field required: set it to organization/name, or set OPSANI_OPTIMIZER and OPSANI_TOKEN, or use `optimizer: {embedded: {...}}`",
                    ));
                }
                None
            }
        }
    }

    fn routes(&mut self, document: &Mapping, given: &mut Mapping) -> Vec<Route> {
        let registry = self.options.registry;
        let environment = self.options.environment;
        let Findings { problems, warnings } = &mut self.findings;
        let mut descriptors = Descriptors::of_value(document.get("connectors"), problems);
        let silent = document.get("connectors").is_none_or(Value::is_null);
        if let Some(text) = environment.get("SERVO_CONNECTORS")
            && silent
        {
            let text = Value::from(text);
            descriptors = Descriptors::of_value(Some(&text), problems);
            if let Some(descriptors) = &descriptors {
                given.insert("connectors".into(), descriptors.to_value());
                self.origins.push((
                    vec!["connectors".to_owned()],
                    Origin::Variable("SERVO_CONNECTORS".to_owned()),
                ));
            }
        } else if silent && let Some(words) = self.options.words {
            descriptors = Some(words.clone());
        }
        match descriptors {
            Some(descriptors) => descriptors.routes(registry, problems, warnings),
            // What is wrong with the key has been told.
            None if !silent => Vec::new(),
            None => routes::by_stanzas(registry, document, |name| {
                environment.get(&variable(name)).is_some()
            }),
        }
    }

    /// `settings` or `checks`, with what their variables add.
    fn section<T: DeserializeOwned>(
        &mut self,
        document: &Mapping,
        (key, legacy): (&str, &str),
        shape: &Shape,
        default: &Arc<T>,
        given: &mut Mapping,
    ) -> Option<Arc<T>> {
        let mut value = match document.get(key) {
            None | Some(Value::Null) => Value::Mapping(Mapping::new()),
            Some(value) => value.clone(),
        };
        let environment = self.options.environment;
        let at = [key.to_owned()];
        let sources = [
            (variable(key), environment.variables()),
            (legacy.to_owned(), environment.legacy()),
        ];
        for (prefix, variables) in sources {
            let filled = shape.fill(&mut value, &prefix, variables);
            self.findings.refuse(&at, filled.faults);
            self.origins.extend(
                filled
                    .origins
                    .into_iter()
                    .map(|(path, name)| ([&at[..], &path].concat(), Origin::Variable(name))),
            );
        }
        if value.as_mapping().is_some_and(Mapping::is_empty) {
            return Some(default.clone());
        }
        let mut faults = shape.check(&mut value);
        let fine = faults.is_empty();
        stanza::tell_as_the_type_does(&mut faults, &value, shape, &|value| {
            let error = serde_path_to_error::deserialize::<_, T>(value).err()?;
            let path = keys(&error.path().to_string()).collect();
            Some((path, error.into_inner().to_string()))
        });
        self.findings.refuse(&at, faults);
        given.insert(key.into(), value.clone());
        if !fine {
            return None;
        }
        match serde_path_to_error::deserialize(value) {
            Ok(section) => Some(Arc::new(section)),
            Err(error) => {
                let path = error.path().to_string();
                let problem = Problem::new(&at, error.into_inner().to_string()).below(&path);
                self.findings.problems.push(problem);
                None
            }
        }
    }

    fn connectors(
        &mut self,
        document: &Mapping,
        given: &mut Mapping,
    ) -> Vec<(Arc<str>, Arc<dyn ConfiguredConnector>)> {
        let mut connectors = Vec::new();
        for (name, kind) in &self.routes {
            let shape = self.shapes.of(kind);
            let stanza = stanza::read(
                name,
                kind,
                &shape,
                document.get(name).cloned().unwrap_or(Value::Null),
                self.options.environment.variables(),
                &mut self.origins,
                &mut self.findings,
            );
            if let Some(stanza) = stanza {
                given.insert(name.as_str().into(), stanza.value);
                connectors.push((Arc::from(name.as_str()), stanza.connector));
            }
        }
        // Kept for as long as the servo runs, as one of thousands.
        connectors.shrink_to_fit();
        connectors
    }

    /// Keys that are neither known, nor a connector's, nor holders of anchors (`x-...`).
    fn unknown_keys(&mut self, document: &Mapping) {
        let registry = self.options.registry;
        for key in document.keys().filter_map(Value::as_str) {
            if TOP_LEVEL.contains(&key)
                || key.starts_with("x-")
                || self.routes.iter().any(|(name, _)| name == key)
            {
                continue;
            }
            // The stanza of a connector that is not active may stay in the file.
            if routes::by_default_name(registry, key).is_some() && self.options.words.is_none() {
                if document.get(key).is_some_and(|stanza| !stanza.is_null()) {
                    self.notes.push(Problem::new(
                        &[key],
                        "is inactive: `connectors` does not name it",
                    ));
                }
                continue;
            }
            let active = self.routes.iter().map(|(name, _)| name.as_str());
            // Where words name the connectors, other types are no better.
            let types = registry.types().iter().map(|t| t.metadata().default_name);
            let types = types.filter(|_| self.options.words.is_none());
            let candidates = TOP_LEVEL.into_iter().chain(active).chain(types);
            let problem = Problem::new(&[key], "extra fields not permitted");
            self.findings
                .problems
                .push(problem.suggest(key, candidates));
        }
    }

    /// Two fields whose variables have one name: neither could be set without the other (§3.4).
    fn colliding_variables(&mut self) {
        if self.routes.len() < 2
            && self
                .routes
                .iter()
                .all(|(name, kind)| name == kind.metadata().default_name)
        {
            return;
        }
        let mut owners: BTreeMap<String, String> = BTreeMap::new();
        let sections = [("settings", SETTINGS.clone()), ("checks", CHECKS.clone())];
        let stanzas = self
            .routes
            .iter()
            .map(|(name, kind)| (name.as_str(), self.shapes.of(kind)));
        let segments: Vec<String> = self
            .routes
            .iter()
            .map(|(name, _)| variable_segment(name))
            .collect();
        // Only a name that begins with another one can share variables with it.
        let close = segments.iter().enumerate().any(|(index, name)| {
            let others = segments.iter().enumerate();
            others
                .filter(|(other, _)| *other != index)
                .any(|(_, other)| other.starts_with(name.as_str()))
                || ["SETTINGS", "CHECKS"]
                    .iter()
                    .any(|section| name.starts_with(section))
        });
        if !close {
            return;
        }
        for (name, shape) in sections.into_iter().chain(stanzas) {
            for (path, variable) in shape.variables(&variable(name)) {
                let field = std::iter::once(name.to_owned())
                    .chain(path)
                    .collect::<Vec<_>>();
                let field = field.join(" -> ");
                if let Some(first) = owners.insert(variable.clone(), field.clone())
                    && first != field
                {
                    self.findings.problems.push(Problem::new(
                        &[name],
                        format!(
                            "the variable {variable} would be that of {first} and of {field}: rename one connector"
                        ),
                    ));
                    // One collision says enough of a pair.
                    break;
                }
            }
        }
    }
}

/// What is wrong with filters of checks, and with the rest of their stanza.
fn problems_of_checks(checks: &ChecksConfig) -> Vec<(String, String)> {
    let mut problems = checks.problems();
    if problems.is_empty()
        && let Err(error) = CheckPolicy::of(checks)
    {
        problems.push((
            format!("{}[{}]", error.key, error.index),
            error.problem.to_string(),
        ));
    }
    problems
}

/// A number that differs where anything that was given differs.
fn digest(given: &Mapping) -> u64 {
    let mut hasher = DefaultHasher::new();
    given.hash(&mut hasher);
    hasher.finish()
}

impl std::fmt::Debug for ServoConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServoConfig")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
