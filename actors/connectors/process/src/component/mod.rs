//! A component as it is used: checked once, so that everything later can rely on it.

mod checking;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use servo_messages::{Setting, SettingError, SettingValue};

use crate::child::Launch;
use crate::config::{HttpReady, LineMatcher, OutputPolicy, RestartPolicy, StopPolicy};
use crate::template::Template;

pub use checking::components;

/// One process with its settings.
#[derive(Debug, Clone)]
pub struct Component {
    name: String,
    program: String,
    arguments: Vec<Template>,
    directory: Option<PathBuf>,
    environment: BTreeMap<String, String>,
    settings: Vec<Tunable>,
    pub(crate) ready: Option<Ready>,
    pub(crate) stop: StopPolicy,
    pub(crate) restart: RestartPolicy,
    output: OutputPolicy,
    pub(crate) settle: Duration,
}

#[derive(Debug, Clone)]
struct Tunable {
    /// With the baseline as its value.
    setting: Setting,
    baseline: SettingValue,
    variable: Option<String>,
    argument: Option<Template>,
}

/// How a component is found to be ready.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ready {
    pub(crate) probe: Probe,
    pub(crate) timeout: Duration,
    pub(crate) interval: Duration,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Probe {
    Http(HttpReady),
    /// `host:port`.
    Tcp(String),
    Log(LineMatcher),
}

/// One value for each setting of a component, in its order.
#[derive(Debug, Clone, PartialEq)]
pub struct Values(Vec<SettingValue>);

/// Why a wanted value cannot be had.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ValueError {
    /// No such setting.
    #[error("component `{component}` has no setting `{setting}`{}", hint(.nearest, .valid))]
    Unknown {
        /// The component's name.
        component: String,
        /// The name that was asked for.
        setting: String,
        /// The name that was perhaps meant.
        nearest: Option<String>,
        /// All names.
        valid: Vec<String>,
    },
    /// The setting does not take the value.
    #[error("component `{component}`: {error}")]
    Refused {
        /// The component's name.
        component: String,
        /// Which setting, which value, and what is allowed.
        error: SettingError,
    },
}

fn hint(nearest: &Option<String>, valid: &[String]) -> String {
    match nearest {
        Some(nearest) => format!(": did you mean `{nearest}`?"),
        None if valid.is_empty() => ": it has none".to_owned(),
        None => format!(": it has {}", valid.join(", ")),
    }
}

/// The nearest of `valid`, if one is near enough to be a typo.
fn nearest<'a>(word: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<String> {
    valid
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= 0.75)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate.to_owned())
}

// === impl Component ===

impl Component {
    /// The component's name for the optimizer.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The values it starts with.
    #[must_use]
    pub fn baseline(&self) -> Values {
        Values(
            self.settings
                .iter()
                .map(|tunable| tunable.baseline.clone())
                .collect(),
        )
    }

    /// What the optimizer is told: the settings with these values.
    #[must_use]
    pub fn describe(&self, values: &Values) -> servo_messages::Component {
        let settings = self.settings.iter().zip(&values.0);
        servo_messages::Component {
            name: self.name.clone(),
            settings: settings
                .map(|(tunable, value)| tunable.setting.with_live_value(value.clone()))
                .collect(),
        }
    }

    /// `current` with `changes` applied.
    ///
    /// # Errors
    /// All changes that cannot be had.
    pub fn apply<'a>(
        &self,
        current: &Values,
        changes: impl IntoIterator<Item = (&'a str, &'a SettingValue)>,
    ) -> Result<Values, Vec<ValueError>> {
        let mut next = current.clone();
        let mut errors = Vec::new();
        for (name, wanted) in changes {
            let slot = self
                .settings
                .iter()
                .zip(&mut next.0)
                .find(|(tunable, _)| tunable.name() == name);
            let Some((tunable, slot)) = slot else {
                let valid = self.settings.iter().map(Tunable::name);
                errors.push(ValueError::Unknown {
                    component: self.name.clone(),
                    setting: name.to_owned(),
                    nearest: nearest(name, valid.clone()),
                    valid: valid.map(ToOwned::to_owned).collect(),
                });
                continue;
            };
            match accept(&tunable.setting, wanted) {
                Ok(value) => *slot = value,
                Err(error) => errors.push(ValueError::Refused {
                    component: self.name.clone(),
                    error,
                }),
            }
        }
        if errors.is_empty() {
            Ok(next)
        } else {
            Err(errors)
        }
    }

    /// How the process is started with these values.
    pub(crate) fn launch(&self, values: &Values) -> Launch {
        let text = |name: &str| {
            let found = self
                .settings
                .iter()
                .zip(&values.0)
                .find(|(tunable, _)| tunable.name() == name);
            // The check has made sure that each name in a template is a setting's.
            found
                .map(|(_, value)| value.to_string())
                .unwrap_or_default()
        };
        let mut arguments: Vec<String> = self
            .arguments
            .iter()
            .map(|template| template.fill(text))
            .collect();
        let mut environment: Vec<(String, String)> = self
            .environment
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        for (tunable, value) in self.settings.iter().zip(&values.0) {
            if let Some(argument) = &tunable.argument {
                arguments.push(argument.fill(|_| value.to_string()));
            }
            if let Some(variable) = &tunable.variable {
                environment.push((variable.clone(), value.to_string()));
            }
        }
        Launch {
            component: self.name.clone(),
            program: self.program.clone(),
            arguments,
            environment,
            directory: self.directory.clone(),
            stop: self.stop,
            output: self.output,
            awaited: match &self.ready {
                Some(Ready {
                    probe: Probe::Log(matcher),
                    ..
                }) => Some(matcher.clone()),
                _ => None,
            },
        }
    }

    /// The values in words: `workers=2, codec=zstd`.
    #[must_use]
    pub fn summary(&self, values: &Values) -> String {
        let pairs: Vec<String> = self
            .settings
            .iter()
            .zip(&values.0)
            .map(|(tunable, value)| format!("{}={value}", tunable.name()))
            .collect();
        if pairs.is_empty() {
            "no settings".to_owned()
        } else {
            pairs.join(", ")
        }
    }
}

// === impl Tunable ===

impl Tunable {
    fn name(&self) -> &str {
        self.setting.name()
    }
}

/// The value in the setting's own form: `4.0` is `4` in a range of whole numbers.
fn accept(setting: &Setting, wanted: &SettingValue) -> Result<SettingValue, SettingError> {
    match setting {
        Setting::Range(range) => {
            let typed = match wanted {
                SettingValue::Text(text) => SettingValue::from_typed(text),
                SettingValue::Number(_) => wanted.clone(),
            };
            setting.accepts(&typed)?;
            Ok(match typed {
                SettingValue::Number(number) => SettingValue::Number(range.conform(number)),
                text => text,
            })
        }
        Setting::Enum(list) => {
            // A command line cannot tell the text `9` from the number.
            let listed = list
                .values
                .iter()
                .find(|listed| *listed == wanted)
                .or_else(|| {
                    list.values
                        .iter()
                        .find(|listed| listed.to_string() == wanted.to_string())
                });
            let value = listed.unwrap_or(wanted);
            setting.accepts(value)?;
            Ok(value.clone())
        }
    }
}
