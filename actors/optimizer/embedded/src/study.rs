//! What a study is to find out, as a user writes it.
//!
//! In `servo.yaml`:
//!
//! ```yaml
//! optimizer:
//!   embedded:
//!     objective: {minimize: 3 * settings.web.cpu + settings.web.mem}
//!     constraints: [p99 <= 1.05 * baseline, error_rate <= 0.5]
//!     trials: 40
//!     warmup: 10s
//!     duration: 1m
//! ```
//!
//! A study file of `servo optimizer serve` holds the same keys, one document for each optimizer id.

mod bounds;
mod objective;

pub use objective::{Constraints, NamedConstraint, Objective};

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use servo_messages::{Control, Duration};

use crate::application::Application;

/// Which configuration the application is left with when the study is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Apply {
    /// The chosen one; the baseline where nothing is better beyond the noise.
    #[default]
    Best,
    /// The baseline in any case: the result is only told.
    Baseline,
}

/// Two of the configuration's structures share all but a few keys, and `deny_unknown_fields` does not go
/// together with `flatten`.
macro_rules! with_study_keys {
    ($(#[$attribute:meta])* pub struct $name:ident { $($own:tt)* }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($own)*

            /// What is wanted: `minimize` or `maximize`, and an expression over metrics and settings, for
            /// instance `minimize: 3 * settings.web.cpu + settings.web.mem`. What is computed from settings
            /// alone is known to the search and need not be learned.
            pub objective: Objective,

            /// What must hold, for instance `p99 <= 250` or, against the baseline,
            /// `p99 <= 1.05 * baseline`. A list, or a map of names to comparisons.
            ///
            /// Where nothing here nor the objective speaks of the metric `error_rate`, and the application
            /// measures it in per cent, it may rise by one percentage point above the baseline's: what fails
            /// fast is no improvement.
            #[serde(default)]
            pub constraints: Constraints,

            /// How many trials to make in all, the baseline's and the last re-measurements included.
            /// Default: 10 + 10 for each adjustable setting, at most 200.
            #[serde(default, deserialize_with = "bounds::trials", skip_serializing_if = "Option::is_none")]
            #[schemars(range(min = 1, max = 10000))]
            pub trials: Option<u32>,

            /// How long to let the application run at a new configuration before measuring.
            #[serde(default)]
            pub warmup: Duration,

            /// How long to measure. Default: one minute.
            #[serde(default = "one_minute", deserialize_with = "bounds::duration")]
            pub duration: Duration,

            /// How long after a measurement its metrics are complete.
            #[serde(default)]
            pub delay: Duration,

            /// How long an adjusted application is watched before it counts as adjusted. Default: what its
            /// connector is configured with.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub settlement: Option<Duration>,

            /// Which metrics to ask for. Default: all that are described. Those which the objective or a
            /// constraint names are always asked for.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub metrics: Option<Vec<String>>,

            /// Where the search's chance begins: with the same seed and the same measurements it makes the
            /// same suggestions.
            #[serde(default)]
            pub seed: u64,

            /// How many of the last trials re-measure the finalists. Default: an eighth of the trials, at
            /// least 2 and at most 6.
            #[serde(default, deserialize_with = "bounds::confirmations", skip_serializing_if = "Option::is_none")]
            #[schemars(range(max = 1000))]
            pub confirmations: Option<u32>,

            /// After how many failures in a row, with the configuration the study began from, to stop: the
            /// target is broken then, not a configuration. What was measured is kept; the next start goes on.
            #[serde(default = "five", deserialize_with = "bounds::max_failures")]
            #[schemars(range(min = 1, max = 1000))]
            pub max_failures: u32,

            /// Which configuration the application is left with: `best` or `baseline`.
            #[serde(default)]
            pub apply: Apply,
        }
    };
}

with_study_keys! {
    /// A study for the servos of `servo optimizer serve`: one document of the study file.
    pub struct StudyConfig {
        /// The optimizer id whose servos get this study. Without one it is for every id that no other
        /// document names; each id has its own trials all the same.
        #[serde(default, deserialize_with = "bounds::id", skip_serializing_if = "Option::is_none")]
        pub id: Option<String>,
    }
}

with_study_keys! {
    /// `optimizer: {embedded: {...}}` of `servo.yaml`: a study made inside the servo's own process.
    pub struct EmbeddedConfig {
        /// The optimizer id under which the trials are kept. Default: `local/<name of the servo>`.
        #[serde(default, deserialize_with = "bounds::id", skip_serializing_if = "Option::is_none")]
        pub id: Option<String>,

        /// The file of trials. Default: `servo-trials.db` in the working directory.
        #[serde(default = "trials_file")]
        pub database: PathBuf,

        /// Keep the servo running when the study is over, instead of ending with the result.
        #[serde(default)]
        pub keep_running: bool,
    }
}

/// Most trials of a study.
const MAX_TRIALS: u32 = 10_000;

/// Most re-measurements of finalists.
const MAX_CONFIRMATIONS: u32 = 1000;

/// Most failures in a row that may be asked for.
const MAX_FAILURES: u32 = 1000;

/// Longest accepted optimizer id in bytes; the protocol's own grammar allows 115 characters.
pub(crate) const MAX_ID: usize = 256;

fn one_minute() -> Duration {
    Duration::from_secs(60)
}

fn five() -> u32 {
    5
}

fn trials_file() -> PathBuf {
    PathBuf::from("servo-trials.db")
}

/// Why a study cannot be made as it is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StudyError {
    /// A number outside its range.
    #[error("`{key}` is {found}, but must be {wanted}")]
    Number {
        /// The key.
        key: &'static str,
        /// Its value.
        found: u32,
        /// What it may be.
        wanted: &'static str,
    },
    /// Not a study file.
    #[error("cannot read the study file: document {document}: {problem}")]
    File {
        /// Counted from 1.
        document: usize,
        /// The parser's finding, with its place.
        problem: String,
    },
    /// Two documents for one id.
    #[error("two studies are for {}", .id.as_deref().map_or("servos of any id; give one of them an `id`".to_owned(), |id| format!("the optimizer id {id}; give one of them another `id`")))]
    Twice {
        /// The id.
        id: Option<String>,
    },
}

impl StudyConfig {
    /// Checks what the grammar of the file cannot.
    ///
    /// # Errors
    /// The first number that is outside its range.
    pub fn check(&self) -> Result<(), StudyError> {
        let refuse = |key, found, wanted| Err(StudyError::Number { key, found, wanted });
        match self {
            Self {
                trials: Some(trials),
                ..
            } if !(1..=MAX_TRIALS).contains(trials) => {
                refuse("trials", *trials, "between 1 and 10000")
            }
            Self {
                confirmations: Some(found),
                ..
            } if *found > MAX_CONFIRMATIONS => refuse("confirmations", *found, "at most 1000"),
            Self { max_failures, .. } if !(1..=MAX_FAILURES).contains(max_failures) => {
                refuse("max_failures", *max_failures, "between 1 and 1000")
            }
            _ => Ok(()),
        }
    }

    /// How many trials to make for an application with so many adjustable settings.
    ///
    /// A common advice is 20 for each setting; with fitted noise half of that is enough, and a tenth setting
    /// does not make a study two days long.
    #[must_use]
    pub fn budget(&self, adjustable: usize) -> usize {
        match self.trials {
            Some(trials) => trials as usize,
            None => adjustable.saturating_mul(10).saturating_add(10).min(200),
        }
    }

    /// How many of the last trials re-measure the finalists.
    #[must_use]
    pub fn confirmation_trials(&self, budget: usize) -> usize {
        match self.confirmations {
            Some(confirmations) => confirmations as usize,
            None => (budget / 8).clamp(2, 6).min(budget.saturating_sub(2)),
        }
    }

    /// How to measure a trial.
    #[must_use]
    pub fn measure_control(&self) -> Control {
        Control {
            warmup: self.warmup,
            duration: self.duration,
            delay: self.delay,
            ..Control::default()
        }
    }

    /// How to adjust to a trial.
    #[must_use]
    pub fn adjust_control(&self) -> Control {
        Control {
            settlement: self.settlement,
            ..Control::default()
        }
    }
}

impl EmbeddedConfig {
    /// The study itself, for the optimizer id `id`.
    #[must_use]
    pub fn study(&self, id: &str) -> StudyConfig {
        let Self {
            id: _,
            database: _,
            keep_running: _,
            objective,
            constraints,
            trials,
            warmup,
            duration,
            delay,
            settlement,
            metrics,
            seed,
            confirmations,
            max_failures,
            apply,
        } = self.clone();
        StudyConfig {
            id: Some(id.to_owned()),
            objective,
            constraints,
            trials,
            warmup,
            duration,
            delay,
            settlement,
            metrics,
            seed,
            confirmations,
            max_failures,
            apply,
        }
    }

    /// The optimizer id of the servo called `servo`.
    #[must_use]
    pub fn optimizer_id(&self, servo: &str) -> String {
        self.id.clone().unwrap_or_else(|| format!("local/{servo}"))
    }
}

/// The studies of a server: which study the servo of an optimizer id gets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Studies(Vec<StudyConfig>);

impl Studies {
    /// Takes studies of which no two are for the same id.
    ///
    /// # Errors
    /// When two are, or a number in one of them is outside its range.
    pub fn new(studies: Vec<StudyConfig>) -> Result<Self, StudyError> {
        for (index, study) in studies.iter().enumerate() {
            study.check()?;
            if studies
                .iter()
                .take(index)
                .any(|earlier| earlier.id == study.id)
            {
                return Err(StudyError::Twice {
                    id: study.id.clone(),
                });
            }
        }
        Ok(Self(studies))
    }

    /// Reads a study file: YAML, one study in each document.
    ///
    /// # Errors
    /// The first thing that is wrong with it, and in which document.
    pub fn from_yaml(text: &str) -> Result<Self, StudyError> {
        let mut studies = Vec::new();
        for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
            let study: Option<StudyConfig> =
                serde_path_to_error::deserialize(document).map_err(|error| {
                    let path = error.path().to_string();
                    let place = if path == "." {
                        String::new()
                    } else {
                        format!("`{path}`: ")
                    };
                    StudyError::File {
                        document: index + 1,
                        problem: format!("{place}{}", error.into_inner()),
                    }
                })?;
            studies.extend(study);
        }
        Self::new(studies)
    }

    /// The study for the servo of this optimizer id.
    #[must_use]
    pub fn get(&self, optimizer: &str) -> Option<&StudyConfig> {
        let named = self
            .0
            .iter()
            .find(|study| study.id.as_deref() == Some(optimizer));
        named.or_else(|| self.0.iter().find(|study| study.id.is_none()))
    }
}

/// Identifies a study: its space, its objective and its constraints. Budget, seed and times are no part of
/// it, so that a study can be continued with more of them.
#[must_use]
pub fn fingerprint(application: &Application, study: Option<&StudyConfig>) -> String {
    let mut text = application.space_text();
    if let Some(study) = study {
        // The tree rather than the source: respacing an expression does not begin a new study.
        let direction = if study.objective.maximises() {
            "max"
        } else {
            "min"
        };
        text.push_str(&format!("|{direction} {}", study.objective.formula()));
        for NamedConstraint { constraint, .. } in &study.constraints.0 {
            text.push_str(&format!("|{constraint}"));
        }
    }
    format!(
        "{:016x}{:016x}",
        fnv1a(text.as_bytes(), 0),
        fnv1a(text.as_bytes(), 1)
    )
}

/// FNV-1a. Not against an adversary: who can write the study file owns the study.
fn fnv1a(bytes: &[u8], lane: u8) -> u64 {
    let basis = (0xcbf2_9ce4_8422_2325_u64 ^ u64::from(lane)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(basis, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
