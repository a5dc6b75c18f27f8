//! Reading `servo.toml` and the variables above it: everything that is wrong is told at once, with
//! file, line and key, or with the variable.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use serde_yaml::Value;
use servo_shape::{FaultKind, Shape};
use thiserror::Error;

use super::{DaemonConfig, places::Places};
use crate::config::{
    Environment, InvalidConfig, Problem,
    stanza::{knock_out, tell_as_the_type_does},
    whole_file,
};

/// What the names of the variables begin with.
const PREFIX: &str = "SERVOD_";

/// Larger files are no `servo.toml`.
const LARGEST: u64 = 1024 * 1024;

/// More mistakes than this are not looked for.
const MOST_MISTAKES: usize = 50;

static SHAPE: LazyLock<Shape> = LazyLock::new(|| Shape::of(&schemars::schema_for!(DaemonConfig)));

/// Why `servo.toml` cannot be used.
#[derive(Debug, Error)]
pub enum DaemonConfigError {
    /// There is something that cannot be read.
    #[error("cannot read '{}': {cause}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// It is wrong.
    #[error(transparent)]
    Invalid(#[from] InvalidConfig),
}

impl DaemonConfig {
    /// As [`DaemonConfig::load`], with the variables of the process.
    ///
    /// # Errors
    /// As [`DaemonConfig::load`].
    pub fn load(file: &Path) -> Result<Self, DaemonConfigError> {
        Self::load_with(file, &Environment::of_process(BTreeMap::new()))
    }

    /// Reads `file` if it exists, and the environment, which wins: `SERVOD_LOG__LEVEL` is `log.level`.
    ///
    /// # Errors
    /// When there is something that cannot be read, as the directory that a container runtime makes
    /// of a mount without a source, when it is not TOML, or has a key or a value that is not known.
    pub fn load_with(file: &Path, environment: &Environment) -> Result<Self, DaemonConfigError> {
        let (text, name) = match whole_file::read_text(file, LARGEST) {
            Ok(text) => (text, file.display().to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = format!("the environment (there is no {})", file.display());
                (String::new(), name)
            }
            Err(cause) => {
                let file = file.to_owned();
                return Err(DaemonConfigError::Unreadable { file, cause });
            }
        };
        Reader::of(&text, environment)
            .and_then(Reader::read)
            .map_err(|problems| {
                InvalidConfig {
                    file: name,
                    problems,
                }
                .into()
            })
    }
}

/// What was written, and where.
struct Reader {
    value: Value,
    places: Places,
    /// The variables that say something, by the paths that they are for.
    variables: BTreeMap<Vec<String>, String>,
}

impl Reader {
    fn of(text: &str, environment: &Environment) -> Result<Self, Vec<Problem>> {
        let places = Places::of(text).map_err(|error| {
            vec![Problem {
                place: error.place,
                ..Problem::new::<&str>(&[], format!("not valid TOML: {}", error.message))
            }]
        })?;
        let given: config::Map<String, String> = environment
            .variables()
            .iter()
            .filter(|(name, _)| name.starts_with(PREFIX))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let variables = given.keys().map(|name| (path_of(name), name.clone()));
        let variables = variables.collect();
        let value = config::Config::builder()
            .add_source(config::File::from_str(text, config::FileFormat::Toml))
            .add_source(
                config::Environment::with_prefix("SERVOD")
                    .prefix_separator("_")
                    .separator("__")
                    .ignore_empty(true)
                    .try_parsing(true)
                    .source(Some(given)),
            )
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(|error| vec![Problem::new::<&str>(&[], error.to_string())])?;
        Ok(Self {
            value,
            places,
            variables,
        })
    }

    fn read(mut self) -> Result<DaemonConfig, Vec<Problem>> {
        let mut faults = SHAPE.check(&mut self.value);
        let parse = |value: Value| serde_path_to_error::deserialize::<_, DaemonConfig>(value);
        let told = |error: serde_path_to_error::Error<serde_yaml::Error>| {
            let path: Vec<String> = super::super::problem::keys(&error.path().to_string())
                .filter(|key| key != ".")
                .collect();
            (path, message(&error.into_inner().to_string()))
        };
        tell_as_the_type_does(&mut faults, &self.value, &SHAPE, &|value| {
            parse(value).err().map(told)
        });
        let mut problems: Vec<Problem> = Vec::new();
        let mut crippled = self.value.clone();
        for fault in faults {
            knock_out(&mut crippled, &fault.path);
            // What is missing may be knocked out with what it is missing from.
            if matches!(fault.kind, FaultKind::Missing)
                && let Some((_, around)) = fault.path.split_last()
            {
                knock_out(&mut crippled, around);
            }
            problems.push(self.problem(&fault.path, fault.message, fault.nearest));
        }
        // Serde tells of one mistake at a time: without the one it told, it tells the next.
        for _ in 0..MOST_MISTAKES {
            let (path, message) = match parse(crippled.clone()) {
                Ok(config) if problems.is_empty() => return Ok(config),
                Ok(_) => break,
                Err(error) => told(error),
            };
            let problem = self.problem(&path, message, None);
            if problems.contains(&problem) {
                break;
            }
            problems.push(problem);
            if !knock_out(&mut crippled, &path) {
                break;
            }
        }
        problems.sort_by_key(|problem| problem.place);
        Err(problems)
    }

    /// A mistake at `path`, with the variable or the place that it comes from.
    fn problem(&self, path: &[String], message: String, nearest: Option<String>) -> Problem {
        let variable = (1..=path.len())
            .rev()
            .find_map(|depth| self.variables.get(path.get(..depth)?));
        let problem = match variable {
            Some(variable) => Problem::new(path, format!("{variable}: {message}")),
            None => Problem {
                place: self.places.at(path),
                ..Problem::new(path, message)
            },
        };
        Problem { nearest, ..problem }
    }
}

/// `SERVOD_LOG__LEVEL` is for `log`, `level`.
fn path_of(variable: &str) -> Vec<String> {
    let name = variable.strip_prefix(PREFIX).unwrap_or(variable);
    name.to_lowercase().split("__").map(str::to_owned).collect()
}

/// What the type says, without what serde puts around it.
fn message(text: &str) -> String {
    // The YAML library puts the path before the message.
    let text = match text.split_once(": ") {
        Some((path, rest)) if path.split('.').all(is_key) => rest,
        _ => text,
    };
    text.to_owned()
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn told(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("servo.toml");
        std::fs::write(&file, text).unwrap();
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment = Environment::new(variables, BTreeMap::new());
        match DaemonConfig::load_with(&file, &environment) {
            Ok(_) => Vec::new(),
            Err(DaemonConfigError::Invalid(invalid)) => {
                assert!(invalid.file.ends_with("servo.toml"));
                let lines = invalid.problems.iter();
                lines.map(|p| p.to_string().replace("\n  ", ": ")).collect()
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn all_mistakes_are_told_with_their_lines_and_what_was_meant() {
        let text = "watch = 'maybe'\n[log]\nlevl = 'debug'\nrate_limit = '5 parsecs'\n[reload]\ncommand = 'finsh'\n\
                    finish_within = '2h'\n[admin]\nlisten = '9797'\nmetrics_per_servo = -1\n[optimizer]\n\
                    max_concurrent_requests = 0\n[logs]\n";
        let told = told(text, &[]);
        let expected: [(&str, &[&str]); 9] = [
            (
                "watch (line 1, column 1): ",
                &["true or false", "\"maybe\""],
            ),
            (
                "log -> levl (line 3, column 1): ",
                &["did you mean \"level\"?"],
            ),
            ("log -> rate_limit (line 4, column 1): ", &["5 parsecs"]),
            (
                "reload -> command (line 6, column 1): ",
                &["\"cancel\"", "\"finish\"", "finsh"],
            ),
            (
                "reload -> finish_within (line 7, column 1): ",
                &["2h", "no longer than 1h"],
            ),
            (
                "admin -> listen (line 9, column 1): ",
                &["'9797'", "127.0.0.1:9797"],
            ),
            ("admin -> metrics_per_servo (line 10, column 1): ", &["-1"]),
            (
                "optimizer -> max_concurrent_requests (line 12, column 1): ",
                &["0"],
            ),
            ("logs (line 13, column 2): ", &["did you mean \"log\"?"]),
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, (begins, parts)) in told.iter().zip(expected) {
            assert!(told.starts_with(begins), "{told} <- {begins}");
            for part in parts {
                assert!(told.contains(part), "{told} <- {part}");
            }
            assert!(!told.contains("for key"), "{told}");
        }
    }

    #[test]
    fn one_mistake_hides_no_other() {
        for (text, at) in [
            ("[log\n", "line 1, column 5"),
            (
                "[log]\nlevel = 'loud'\n",
                "log -> level (line 2, column 1): invalid log level 'loud'",
            ),
            ("[log]\nlevel = 'debgu'\n", "did you mean \"DEBUG\"?"),
            (
                "[log.file]\nkeep = 1\n",
                "log -> file -> directory (line 1, column 6): field required",
            ),
            ("[admin]\ntls_key = 'k'\n", "admin (line 1, column 2): "),
            (
                "a = 1\na = 2\n",
                "line 2, column 1: not valid TOML: duplicate key",
            ),
        ] {
            let told = told(text, &[]);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].contains(at), "{told:?} <- {at}");
        }
    }

    #[test]
    fn variables_win_and_are_named() {
        let text = "[log]\nlevel = 'info'\n";
        assert_eq!(
            told(text, &[("SERVOD_LOG__LEVEL", "debug,hyper=off")]),
            [""; 0]
        );
        for (name, value, parts) in [
            (
                "SERVOD_LOG__LEVEL",
                "loud",
                "log -> level: SERVOD_LOG__LEVEL: invalid log level 'loud'",
            ),
            (
                "SERVOD_LOG__LEVL",
                "info",
                "log -> levl: SERVOD_LOG__LEVL: extra fields not permitted (did you mean \"level\"?)",
            ),
            (
                "SERVOD_WATCH",
                "maybe",
                "watch: SERVOD_WATCH: expected true or false, found the text \"maybe\"",
            ),
            (
                "SERVOD_OPTIMIZER__MAX_CONCURRENT_REQUESTS",
                "abc",
                "SERVOD_OPTIMIZER__MAX_CONCURRENT_REQUESTS: expected a whole number",
            ),
        ] {
            let told = told(text, &[(name, value)]);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].contains(parts), "{told:?} <- {parts}");
        }
    }
}
