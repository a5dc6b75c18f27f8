//! All servos of an assembly file (`spec/config-and-cli.md` §2.1, §4).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_yaml::{Mapping, Value};
use servo_dispatch::Registry;
use servo_shape::nearest;
use servo_yaml::YamlErrorKind;
use thiserror::Error;

use super::{
    Environment,
    credentials::hidden,
    document::{CHECKS, DocumentReader, SETTINGS, ServoConfig},
    given::Origin,
    optimizer::{EMBEDDED, Findings, OptimizerConfig, OptimizerFlags},
    problem::{InvalidConfig, Problem},
    routes::Descriptors,
    source::{Source, SourceError},
    stanza::{Shapes, variable},
};

/// What is made of an assembly file.
pub struct LoadOptions<'a> {
    /// The connector types.
    pub registry: &'a Registry,
    /// The variables that fill what the file leaves open.
    pub environment: &'a Environment,
    /// What the command line says of the optimizer.
    pub flags: &'a OptimizerFlags,
    /// Whether a servo without an optimizer is of any use.
    pub optimizer: Need,
    /// Connectors that alone may have stanzas, in documents that do not say which run.
    pub words: Option<&'a Descriptors>,
    /// Keep what was given beside what was made of it.
    pub keep_given: bool,
}

/// Whether something must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It must.
    Required,
    /// It may be missing.
    Optional,
}

/// All servos of a file.
#[derive(Debug)]
pub struct AssemblyConfig {
    /// The file.
    pub source: Source,
    /// In the order of their documents.
    pub servos: Vec<ServoConfig>,
    /// What deserves a warning but stops nobody.
    pub warnings: Vec<Problem>,
    /// What is worth knowing.
    pub notes: Vec<Problem>,
}

/// Why a file gives no assembly.
#[derive(Debug, Error)]
pub enum LoadError {
    /// There is no text.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The command line names one optimizer for several servos.
    #[error("{0}")]
    Flags(String),
    /// It is wrong.
    #[error(transparent)]
    Invalid(#[from] InvalidConfig),
}

/// Reads all documents of `source`.
///
/// # Errors
/// When it cannot be read, or when anything in it is wrong: everything at once.
pub fn load(source: &Source, options: &LoadOptions<'_>) -> Result<AssemblyConfig, LoadError> {
    load_text(source, &source.read()?, options)
}

/// As [`load`], of the text that is or will be in `source`.
///
/// # Errors
/// When anything in it is wrong: everything at once.
pub fn load_text(
    source: &Source,
    text: &str,
    options: &LoadOptions<'_>,
) -> Result<AssemblyConfig, LoadError> {
    let mut loading = Loading {
        options,
        shapes: Shapes::default(),
        problems: Vec::new(),
        warnings: Vec::new(),
        notes: Vec::new(),
        names: BTreeMap::new(),
        optimizers: BTreeMap::new(),
        unknown: Unknown::of(options.environment),
    };
    let many = is_many(text);
    if many {
        flags_of_one(options.flags)?;
    }
    let mut servos = Vec::new();
    let mut nothing = Vec::new();
    let mut read = 0_usize;
    for document in servo_yaml::documents(text) {
        match document {
            Ok(document) => match document.value {
                Value::Null => nothing.push(document),
                Value::Mapping(_) => {
                    read += 1;
                    servos.extend(loading.document(document, many));
                }
                ref other => {
                    read += 1;
                    let message = format!("expected a mapping of keys, but found {}", kind(other));
                    loading.problems.push(Problem {
                        document: many.then_some(document.number),
                        place: Some(document.place),
                        ..Problem::new::<&str>(&[], message)
                    });
                }
            },
            Err(errors) => {
                read += 1;
                loading
                    .problems
                    .extend(errors.into_iter().map(|error| Problem {
                        document: many.then_some(error.document),
                        place: error.place,
                        ..Problem::new(yaml_path(&error), error.kind.to_string())
                    }));
            }
        }
    }
    if read == 0 {
        let place = servo_yaml::Place { line: 1, column: 1 };
        servos.extend(loading.servo(1, place, &Mapping::new(), None, false));
    } else {
        loading
            .warnings
            .extend(nothing.iter().map(|document| Problem {
                place: Some(document.place),
                ..Problem::new::<&str>(
                    &[],
                    format!("document {} is empty and left out", document.number),
                )
            }));
    }
    loading.warn_of_variables(many);
    if loading.problems.is_empty() {
        Ok(AssemblyConfig {
            source: source.clone(),
            servos,
            warnings: loading.warnings,
            notes: loading.notes,
        })
    } else {
        Err(InvalidConfig {
            file: source.name.clone(),
            problems: loading.problems,
        }
        .into())
    }
}

/// Whether the text has more than one document that says something. Without reading them all:
/// only as far as the second.
fn is_many(text: &str) -> bool {
    servo_yaml::documents(text)
        .filter(|document| !matches!(document, Ok(document) if document.value.is_null()))
        .nth(1)
        .is_some()
}

fn flags_of_one(flags: &OptimizerFlags) -> Result<(), LoadError> {
    const WHERE: &str = "cannot be specified in a multi-servo configuration";
    let found = |what: &str, value: &dyn std::fmt::Display| {
        let value = value.to_string();
        format!("{what} {WHERE} (found {})", hidden(&value))
    };
    let messages: Vec<String> = [
        flags.optimizer.as_ref().map(|id| found("An optimizer", id)),
        flags.token.as_ref().map(|_| format!("A token {WHERE}")),
        flags
            .token_file
            .as_ref()
            .map(|file| found("A token file", &file.display())),
        flags.base_url.as_ref().map(|url| found("A base URL", url)),
        flags.url.as_ref().map(|url| found("A URL", url)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if messages.is_empty() {
        return Ok(());
    }
    Err(LoadError::Flags(messages.join("; ")))
}

/// The keys that lead to an error. Where the text ends to be YAML, what looks like the innermost of
/// them may be a part of a secret without quotes: no secret is that close to the top.
fn yaml_path(error: &servo_yaml::YamlError) -> &[String] {
    match error.kind {
        YamlErrorKind::Syntax(_) => error.path.get(..2).unwrap_or(&error.path),
        _ => &error.path,
    }
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

/// What is gathered over all documents.
struct Loading<'a> {
    options: &'a LoadOptions<'a>,
    shapes: Shapes,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    notes: Vec<Problem>,
    /// Which document has which name.
    names: BTreeMap<std::sync::Arc<str>, usize>,
    /// Which document has which optimizer.
    optimizers: BTreeMap<String, usize>,
    unknown: Unknown,
}

impl Loading<'_> {
    fn document(&mut self, document: servo_yaml::Document, many: bool) -> Option<ServoConfig> {
        let Value::Mapping(mapping) = &document.value else {
            return None;
        };
        self.servo(
            document.number,
            document.place,
            mapping,
            Some(document.places),
            many,
        )
    }

    fn servo(
        &mut self,
        number: usize,
        place: servo_yaml::Place,
        mapping: &Mapping,
        places: Option<servo_yaml::Places>,
        many: bool,
    ) -> Option<ServoConfig> {
        let mut reader = DocumentReader {
            number,
            many,
            options: self.options,
            shapes: &self.shapes,
            findings: Findings::default(),
            notes: Vec::new(),
            origins: Vec::new(),
            routes: Vec::new(),
        };
        let mut servo = reader.read(mapping);
        self.unknown.recognise(&reader.routes, &self.shapes);
        let DocumentReader {
            mut findings,
            notes,
            ..
        } = reader;
        if let Some(servo) = &servo {
            self.tell_apart(servo, &mut findings);
        }
        let fine = findings.problems.is_empty();
        let located = |problem: Problem| Problem {
            document: many.then_some(number),
            place: places
                .as_ref()
                .and_then(|places| places.of(&problem.path))
                .or(many.then_some(place)),
            ..problem
        };
        self.problems
            .extend(findings.problems.into_iter().map(located));
        self.warnings
            .extend(findings.warnings.into_iter().map(located));
        self.notes.extend(notes.into_iter().map(located));
        if let Some(given) = servo.as_mut().and_then(|servo| servo.given.as_mut()) {
            given.places = places;
        }
        servo.filter(|_| fine)
    }

    /// Names and optimizers are those of one servo each (§4).
    fn tell_apart(&mut self, servo: &ServoConfig, findings: &mut Findings) {
        let placeholder = servo
            .optimizer
            .as_ref()
            .is_some_and(OptimizerConfig::is_placeholder);
        let number = servo.document;
        let named_by_placeholder = placeholder && *servo.name == *super::PLACEHOLDER_ID;
        if !named_by_placeholder && let Some(first) = self.names.insert(servo.name.clone(), number)
        {
            findings.problems.push(Problem::new(
                &["name"],
                format!(
                    "document {first} is named \"{}\" too: give each servo its own `name`",
                    servo.name
                ),
            ));
            return;
        }
        let Some(optimizer) = &servo.optimizer else {
            return;
        };
        let identity = optimizer.identity(&servo.name);
        if let Some(first) = self.optimizers.insert(identity.clone(), number) {
            let problem = Problem::new(
                &["optimizer"],
                format!(
                    "document {first} has the optimizer {identity} too: each servo needs its own"
                ),
            );
            let list = if placeholder {
                &mut findings.warnings
            } else {
                &mut findings.problems
            };
            list.push(problem);
        }
    }

    fn warn_of_variables(&mut self, many: bool) {
        let warn = |message| Problem::new::<&str>(&[], message);
        if many {
            let set = ["OPSANI_OPTIMIZER", "OPSANI_ID", "OPSANI_URL"]
                .into_iter()
                .filter(|name| self.options.environment.get(name).is_some());
            self.warnings.extend(set.map(|name| {
                warn(format!(
                    "the variable {name} is ignored: it names one optimizer, but there are several servos"
                ))
            }));
        }
        let known = self.unknown.known(&self.shapes, self.options.registry);
        for name in &self.unknown.names {
            let nearest = nearest(name, known.iter().map(String::as_str));
            let nearest = nearest.map(str::to_owned);
            self.warnings.push(Problem {
                nearest,
                ..warn(format!("the variable {name} is that of no setting"))
            });
        }
    }
}

/// Variables that begin as Servo's do, and that nothing has recognised so far (§3.4).
struct Unknown {
    names: BTreeSet<String>,
    /// Variables of connectors that were seen, to tell of a near one.
    seen: HashSet<(String, &'static str)>,
    routes: Vec<(String, servo_dispatch::ConnectorType)>,
}

/// Variables that are read under their own names.
const NAMED: [&str; 21] = [
    "SERVO_CONFIG_FILE",
    "SERVO_NAME",
    "SERVO_LOG_LEVEL",
    "SERVO_LOG_FORMAT",
    "SERVO_NO_COLOR",
    "SERVO_RUN_CHECK",
    "SERVO_RUN_DEBUG",
    "SERVO_UID",
    "SERVO_DESCRIPTION",
    "SERVO_CONNECTORS",
    "SERVO_OPTIMIZER",
    "SERVO_SETTINGS",
    "SERVO_CHECKS",
    "SERVO_NO_DIAGNOSTICS",
    "SERVO_BANNER_FONT",
    "SERVO_BANNER_COLOR",
    "SERVO_NO_BANNER",
    "SERVO_DAEMON_FILE",
    "SERVO_ENV",
    "SERVO_ENV_FILE",
    "SERVO_LIMIT",
];

impl Unknown {
    fn of(environment: &Environment) -> Self {
        let names = environment
            .variables()
            .range("SERVO_".to_owned()..)
            .map(|(name, _)| name)
            .take_while(|name| name.starts_with("SERVO_"))
            .filter(|name| !NAMED.contains(&name.as_str()) && !is_service_link(name))
            // For the project's own tests.
            .filter(|name| !name.starts_with("SERVO_TEST_"))
            .filter(|name| {
                let sections = [
                    ("SERVO_SETTINGS", &SETTINGS),
                    ("SERVO_CHECKS", &CHECKS),
                    ("SERVO_OPTIMIZER_EMBEDDED", &EMBEDDED),
                ];
                !sections.iter().any(|(prefix, shape)| {
                    name.starts_with(prefix) && shape.recognises(prefix, name)
                })
            })
            .cloned()
            .collect();
        Self {
            names,
            seen: HashSet::new(),
            routes: Vec::new(),
        }
    }

    fn recognise(&mut self, routes: &[super::routes::Route], shapes: &Shapes) {
        if self.names.is_empty() {
            return;
        }
        for (route, kind) in routes {
            if !self
                .seen
                .insert((route.clone(), kind.metadata().default_name))
            {
                continue;
            }
            let shape = shapes.of(kind);
            let prefix = variable(route);
            self.names.retain(|name| !shape.recognises(&prefix, name));
            self.routes.push((route.clone(), kind.clone()));
        }
    }

    /// The variables that could have been meant. Those of known connectors that are not active
    /// are no mistakes.
    fn known(&mut self, shapes: &Shapes, registry: &Registry) -> Vec<String> {
        if self.names.is_empty() {
            return Vec::new();
        }
        for kind in registry.types() {
            let shape = shapes.of(kind);
            let prefix = variable(kind.metadata().default_name);
            self.names.retain(|name| !shape.recognises(&prefix, name));
        }
        let types = registry
            .types()
            .iter()
            .map(|kind| (kind.metadata().default_name.to_owned(), kind.clone()));
        let routes = self.routes.iter().cloned().chain(types);
        let fields = routes.flat_map(|(route, kind)| {
            let fields = shapes.of(&kind).variables(&variable(&route));
            fields.into_iter().map(|(_, name)| name)
        });
        let sections = [("SERVO_SETTINGS", &SETTINGS), ("SERVO_CHECKS", &CHECKS)]
            .into_iter()
            .flat_map(|(prefix, shape)| shape.variables(prefix))
            .map(|(_, name)| name);
        fields
            .chain(sections)
            .chain(NAMED.into_iter().map(str::to_owned))
            .collect()
    }
}

/// What Kubernetes sets for a Service that is called `servo` (§3.4).
fn is_service_link(name: &str) -> bool {
    name == "SERVO_SERVICE_HOST"
        || name.starts_with("SERVO_SERVICE_PORT")
        || name.starts_with("SERVO_PORT")
}

impl Origin {
    /// Whether somebody said it.
    pub fn is_default(&self) -> bool {
        *self == Self::Default
    }
}
