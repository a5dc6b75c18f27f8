//! The `optimizer` stanza: embedded, or reached over HTTP (`spec/config-and-cli.md` §2.3).

mod appdynamics;
mod opsani;

use std::{path::PathBuf, sync::LazyLock};

use schemars::Schema;
use secrecy::{ExposeSecret, SecretString};
use serde_yaml::{Mapping, Value};
use servo_embedded::EmbeddedConfig;
use servo_protocol::{EndpointError, OptimizerId, TokenSource};
use servo_shape::Shape;

pub use appdynamics::AppdynamicsConfig;
pub(super) use appdynamics::VARIABLES as APPDYNAMICS_VARIABLES;
pub use opsani::OpsaniConfig;
pub(super) use opsani::VARIABLES as OPSANI_VARIABLES;

use super::{
    Environment,
    given::Origin,
    problem::{self, Problem},
    stanza::tell_as_the_type_does,
    whole_file,
};

/// The optimizer that `servo generate` writes for want of a real one. It ranks below every other
/// source, and no servo runs with it (`spec/config-and-cli.md` §3.1).
pub const PLACEHOLDER_ID: &str = "generated-id.test/generated";

/// The token beside [`PLACEHOLDER_ID`].
pub const PLACEHOLDER_TOKEN: &str = "generated-token";

/// The URL that follows from [`PLACEHOLDER_ID`] and is written beside it.
const PLACEHOLDER_URL: &str =
    "https://api.opsani.com/accounts/generated-id.test/applications/generated/";

/// Which optimizer a servo listens to.
#[derive(Clone, Debug)]
pub enum OptimizerConfig {
    /// One inside this process, with a file of trials.
    Embedded(Box<EmbeddedConfig>),
    /// One reached over HTTP, that speaks the Opsani API.
    Opsani(OpsaniConfig),
    /// One reached over HTTP, that speaks the AppDynamics API.
    Appdynamics(Box<AppdynamicsConfig>),
}

/// What the command line says of the optimizer of the only servo.
#[derive(Clone, Debug, Default)]
pub struct OptimizerFlags {
    /// `--optimizer`
    pub optimizer: Option<String>,
    /// `--token`
    pub token: Option<secrecy::SecretString>,
    /// `--token-file`
    pub token_file: Option<PathBuf>,
    /// `--base-url`
    pub base_url: Option<String>,
    /// `--url`
    pub url: Option<String>,
}

/// A key of a stanza, the variables that fill it, and whether it is a secret.
pub(super) type Keys = [(&'static str, &'static [&'static str])];

/// Where the parts of an optimizer come from.
pub(super) struct Sources<'a> {
    pub(super) environment: &'a Environment,
    pub(super) flags: &'a OptimizerFlags,
    /// Whether the servo is one of several: flags and variables that name one optimizer are not
    /// for it.
    pub(super) many: bool,
}

/// An optimizer as it was read: for the servo, and as it is shown.
pub(super) struct ReadOptimizer {
    pub(super) config: OptimizerConfig,
    /// The stanza with everything that was filled in; computed addresses too.
    pub(super) shown: Mapping,
    pub(super) origins: Vec<(Vec<String>, Origin)>,
}

/// What is found while an optimizer is read.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

pub(super) static OPSANI: LazyLock<Shape> =
    LazyLock::new(|| Shape::of(&schemars::schema_for!(opsani::Stanza)));
pub(super) static APPDYNAMICS: LazyLock<Shape> =
    LazyLock::new(|| Shape::of(&schemars::schema_for!(appdynamics::Stanza)));
pub(super) static EMBEDDED: LazyLock<Shape> =
    LazyLock::new(|| Shape::of(&schemars::schema_for!(EmbeddedConfig)));

/// The schemas of the kinds, by the names under which they are published (§7.8).
pub fn optimizer_schemas() -> [(&'static str, Schema); 2] {
    [
        ("OpsaniOptimizer", schemars::schema_for!(opsani::Stanza)),
        (
            "AppdynamicsOptimizer",
            schemars::schema_for!(appdynamics::Stanza),
        ),
    ]
}

/// The kinds of optimizers that are reached over HTTP, and the embedded one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Embedded,
    Opsani,
    Appdynamics,
}

/// Keys that only the AppDynamics kind has.
const APPDYNAMICS_ONLY: [&str; 6] = [
    "optimizer_id",
    "tenant_id",
    "client_id",
    "client_secret",
    "connection_file",
    "token_url",
];

/// Reads the stanza over flags and environment. `None` with no findings: there is no optimizer.
pub(super) fn read(
    stanza: Option<&Value>,
    sources: &Sources<'_>,
    findings: &mut Findings,
) -> Option<ReadOptimizer> {
    let mut origins = Vec::new();
    let mut keys = match stanza {
        None | Some(Value::Null) => Mapping::new(),
        Some(Value::Mapping(keys)) => proper(keys, findings)?,
        Some(_) => {
            findings.problems.push(Problem::new(
                &["optimizer"],
                "expected a mapping such as `embedded: {...}` or `id: ..., token_file: ...`",
            ));
            return None;
        }
    };
    merge_variable(&mut keys, sources, &mut origins, findings)?;
    if keys.get("id").and_then(Value::as_str) == Some(PLACEHOLDER_ID)
        && let Some(replaced) = replace_placeholder(&keys, sources)
    {
        keys = replaced;
    }
    // Whoever has changed the id of a generated file means the optimizer of that id.
    if keys.get("id").and_then(Value::as_str) != Some(PLACEHOLDER_ID)
        && keys.get("url").and_then(Value::as_str) == Some(PLACEHOLDER_URL)
    {
        keys.remove("url");
    }
    refuse_unknown(&mut keys, findings);
    let kind = kind(&keys, sources, findings)?;
    match kind {
        None => None,
        Some(Kind::Embedded) => embedded(keys, sources, origins, findings),
        Some(Kind::Opsani) => opsani::read(keys, sources, origins, findings),
        Some(Kind::Appdynamics) => appdynamics::read(keys, sources, origins, findings),
    }
}

/// The stanza with hyphens and old names made proper, and known keys without a value left out.
fn proper(stanza: &Mapping, findings: &mut Findings) -> Option<Mapping> {
    let mut keys = Mapping::new();
    let known = known_keys();
    for (key, value) in stanza {
        let Some(written) = key.as_str() else {
            findings
                .problems
                .push(Problem::new(&["optimizer"], "keys must be text"));
            return None;
        };
        let mut name = written.replace('-', "_");
        if name == "workload_id" {
            findings.warnings.push(Problem::new(
                &["optimizer", written],
                "is the old name of `optimizer_id`: rename it",
            ));
            "optimizer_id".clone_into(&mut name);
        }
        if value.is_null() && is_known(&name) {
            continue;
        }
        if value.is_null() && known.contains(&name) {
            continue;
        }
        if keys.insert(name.clone().into(), value.clone()).is_some() {
            findings.problems.push(Problem::new(
                &["optimizer", written],
                format!("`{name}` is given twice, in two spellings"),
            ));
        }
    }
    Some(keys)
}

/// The keys of all kinds.
fn known_keys() -> Vec<String> {
    let mut known = vec!["embedded".to_owned()];
    for shape in [&OPSANI, &APPDYNAMICS] {
        known.extend(shape.keys_at(&[""; 0]));
    }
    known
}

/// The keys of all kinds.
static KNOWN: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut known = vec!["embedded".to_owned()];
    for shape in [&OPSANI, &APPDYNAMICS] {
        known.extend(shape.keys_at(&[""; 0]));
    }
    known
});

fn is_known(key: &str) -> bool {
    KNOWN.iter().any(|known| known == key)
}

/// Refuses keys that are those of no kind, and leaves them out.
fn refuse_unknown(keys: &mut Mapping, findings: &mut Findings) {
    keys.retain(|key, _| {
        let key = key.as_str().unwrap_or_default();
        let fine = is_known(key);
        if !fine {
            findings.problems.push(
                Problem::new(&["optimizer", key], "extra fields not permitted")
                    .suggest(key, KNOWN.iter().map(String::as_str)),
            );
        }
        fine
    });
}

/// `SERVO_OPTIMIZER` holds a whole stanza as JSON, which the file wins over key by key.
fn merge_variable(
    keys: &mut Mapping,
    sources: &Sources<'_>,
    origins: &mut Vec<(Vec<String>, Origin)>,
    findings: &mut Findings,
) -> Option<()> {
    const VARIABLE: &str = "SERVO_OPTIMIZER";
    if sources.many {
        return Some(());
    }
    let Some(text) = sources.environment.get(VARIABLE) else {
        return Some(());
    };
    match serde_json::from_str::<Mapping>(text) {
        Ok(given) => {
            for (key, value) in proper(&given, findings)? {
                if let Some(name) = key.as_str()
                    && !keys.contains_key(name)
                {
                    origins.push((path(name), Origin::Variable(VARIABLE.to_owned())));
                    keys.insert(key, value);
                }
            }
            Some(())
        }
        Err(error) => {
            findings.problems.push(Problem::new(
                &["optimizer"],
                format!(
                    "the variable {VARIABLE} must hold a JSON object, but is none at column {}",
                    error.column()
                ),
            ));
            None
        }
    }
}

/// Without the placeholder, where anything else names an optimizer.
fn replace_placeholder(keys: &Mapping, sources: &Sources<'_>) -> Option<Mapping> {
    let named = sources.flags.optimizer.is_some()
        || ["OPSANI_OPTIMIZER", "OPSANI_ID", "APPD_OPTIMIZER_ID"]
            .iter()
            .any(|name| sources.environment.get(name).is_some());
    if sources.many || !named {
        return None;
    }
    let mut keys = keys.clone();
    for key in ["id", "url"] {
        keys.remove(key);
    }
    if keys.get("token").and_then(Value::as_str) == Some(PLACEHOLDER_TOKEN) {
        keys.remove("token");
    }
    Some(keys)
}

/// Which kind is meant; the inner `None` is no optimizer at all.
#[expect(
    clippy::option_option,
    reason = "a kind that cannot be told is a finding, none at all is not"
)]
fn kind(keys: &Mapping, sources: &Sources<'_>, findings: &mut Findings) -> Option<Option<Kind>> {
    let appdynamics = APPDYNAMICS_ONLY
        .iter()
        .copied()
        .find(|key| keys.contains_key(key));
    if keys.contains_key("embedded") {
        if keys.len() > 1 {
            findings.problems.push(Problem::new(
                &["optimizer"],
                "`embedded` cannot stand beside the keys of an optimizer that is reached over HTTP",
            ));
            return None;
        }
        return Some(Some(Kind::Embedded));
    }
    if let Some(key) = appdynamics {
        if keys.contains_key("id") {
            findings.problems.push(Problem::new(
                &["optimizer"],
                format!("`id` is for an Opsani optimizer, `{key}` for one of AppDynamics: give the keys of one kind"),
            ));
            return None;
        }
        return Some(Some(Kind::Appdynamics));
    }
    if keys.contains_key("id") || sources.flags.optimizer.is_some() {
        return Some(Some(Kind::Opsani));
    }
    let environment = |name: &str| sources.environment.get(name).is_some();
    let opsani = !sources.many && (environment("OPSANI_OPTIMIZER") || environment("OPSANI_ID"));
    let appdynamics =
        !sources.many && (environment("APPD_OPTIMIZER_ID") || environment("APPD_WORKLOAD_ID"));
    Some(match (opsani, appdynamics) {
        (true, true) => {
            // As ServoX decides it.
            let complete = environment("APPD_CONNECTION_FILE")
                || [
                    "APPD_BASE_URL",
                    "APPD_CLIENT_ID",
                    "APPD_CLIENT_SECRET",
                    "APPD_TENANT_ID",
                ]
                .iter()
                .all(|name| environment(name));
            if complete {
                findings.warnings.push(Problem::new(
                    &["optimizer"],
                    "both OPSANI_* and APPD_* variables name an optimizer: that of AppDynamics is taken",
                ));
                Some(Kind::Appdynamics)
            } else {
                Some(Kind::Opsani)
            }
        }
        (false, true) => Some(Kind::Appdynamics),
        (true, false) => Some(Kind::Opsani),
        (false, false) if keys.is_empty() => None,
        (false, false) => Some(Kind::Opsani),
    })
}

fn embedded(
    keys: Mapping,
    sources: &Sources<'_>,
    mut origins: Vec<(Vec<String>, Origin)>,
    findings: &mut Findings,
) -> Option<ReadOptimizer> {
    let mut value = match keys.get("embedded") {
        Some(Value::Null) | None => Value::Mapping(Mapping::new()),
        Some(value) => value.clone(),
    };
    let at = ["optimizer".to_owned(), "embedded".to_owned()];
    if !sources.many {
        let filled = EMBEDDED.fill(
            &mut value,
            "SERVO_OPTIMIZER_EMBEDDED",
            sources.environment.variables(),
        );
        origins.extend(
            filled
                .origins
                .into_iter()
                .map(|(path, name)| ([&at[..], &path].concat(), Origin::Variable(name))),
        );
        findings.refuse(&at, filled.faults);
    }
    let mut faults = EMBEDDED.check(&mut value);
    if !faults.is_empty() {
        tell_as_the_type_does(&mut faults, &value, &EMBEDDED, &|value| {
            let error = serde_path_to_error::deserialize::<_, EmbeddedConfig>(value).err()?;
            let path = problem::keys(&error.path().to_string()).collect();
            Some((path, error.into_inner().to_string()))
        });
        findings.refuse(&at, faults);
        return None;
    }
    match serde_path_to_error::deserialize::<_, EmbeddedConfig>(value.clone()) {
        Ok(config) => Some(ReadOptimizer {
            config: OptimizerConfig::Embedded(Box::new(config)),
            shown: [("embedded".into(), value)].into_iter().collect(),
            origins,
        }),
        Err(error) => {
            let path = error.path().to_string();
            findings
                .problems
                .push(Problem::new(&at, error.into_inner().to_string()).below(&path));
            None
        }
    }
}

/// Fills what is missing from flags and variables, and checks what is there.
fn complete(
    keys: &mut Mapping,
    shape: &Shape,
    variables: &Keys,
    flags: &[(&'static str, &'static str, Option<String>)],
    sources: &Sources<'_>,
    origins: &mut Vec<(Vec<String>, Origin)>,
    findings: &mut Findings,
) -> bool {
    for (key, flag, value) in flags {
        if let Some(value) = value {
            if keys.insert((*key).into(), value.clone().into()).is_some() {
                tracing::info!("{flag} overrides optimizer -> {key} of the file");
            }
            origins.push((path(key), Origin::Flag(flag)));
        }
    }
    for (key, names) in variables {
        if keys.contains_key(key) {
            continue;
        }
        if let Some((name, value)) = names
            .iter()
            .find_map(|name| Some((name, sources.environment.get(name)?)))
        {
            keys.insert((*key).into(), value.into());
            origins.push((path(key), Origin::Variable((*name).to_owned())));
        }
    }
    // What the id's own type says of a bad one is of more help than its pattern.
    let refused = match text(keys, "id").map(str::parse::<OptimizerId>) {
        Some(Err(error)) => {
            findings.problem("id", error.to_string());
            keys.remove("id").is_some()
        }
        _ => false,
    };
    let mut value = Value::Mapping(std::mem::take(keys));
    let faults = shape.check(&mut value);
    let fine = faults.is_empty() && !refused;
    findings.refuse(&["optimizer".to_owned()], faults);
    if let Value::Mapping(checked) = value {
        *keys = checked;
    }
    fine
}

fn path(key: &str) -> Vec<String> {
    vec!["optimizer".to_owned(), key.to_owned()]
}

fn text<'a>(keys: &'a Mapping, key: &str) -> Option<&'a str> {
    keys.get(key).and_then(Value::as_str)
}

impl Findings {
    /// Adds faults that were found below `at`.
    pub(super) fn refuse(&mut self, at: &[String], faults: Vec<servo_shape::Fault>) {
        self.problems
            .extend(faults.into_iter().map(|fault| Problem {
                nearest: fault.nearest,
                ..Problem::new(&[at, &fault.path].concat(), fault.message)
            }));
    }

    pub(super) fn problem(&mut self, key: &str, message: impl Into<String>) {
        self.problems
            .push(Problem::new(&["optimizer", key], message));
    }
}

impl OptimizerConfig {
    /// What no two servos may share: the optimizer id, and the file of its trials.
    pub(super) fn identity(&self, servo: &str) -> String {
        match self {
            Self::Embedded(config) => {
                format!(
                    "{} in {}",
                    config.optimizer_id(servo),
                    config.database.display()
                )
            }
            Self::Opsani(config) => config.id.clone(),
            Self::Appdynamics(config) => config.endpoint.displayed_id(),
        }
    }

    /// What names the optimizer, and the servo when the document does not.
    pub fn id(&self) -> Option<String> {
        match self {
            Self::Embedded(config) => config.id.clone(),
            Self::Opsani(config) => Some(config.id.clone()),
            Self::Appdynamics(config) => Some(config.endpoint.displayed_id()),
        }
    }

    /// Whether it is the one that `servo generate` writes for want of a real one.
    pub fn is_placeholder(&self) -> bool {
        matches!(self, Self::Opsani(config) if config.id == PLACEHOLDER_ID)
    }
}

/// Larger files are no tokens.
const LARGEST_TOKEN: u64 = 64 * 1024;

/// The token in `file`; none when the file is empty, which says that there is no token here (§9). What
/// can be read once only, as the pipe of `<(...)` in a shell, is read here and now.
fn token_file(file: &str) -> Result<Option<TokenSource>, EndpointError> {
    let path = PathBuf::from(file);
    let is_pipe = std::fs::metadata(&path).is_ok_and(|m| !m.is_file() && !m.is_dir());
    if !is_pipe {
        let source = TokenSource::File(path);
        return Ok(source.is_present()?.then_some(source));
    }
    let token = match whole_file::read_text(&path, LARGEST_TOKEN) {
        Ok(text) => SecretString::from(text.trim()),
        Err(error) => return Err(EndpointError::TokenFile { path, error }),
    };
    let is_empty = token.expose_secret().is_empty();
    Ok((!is_empty).then_some(TokenSource::Inline(token)))
}
