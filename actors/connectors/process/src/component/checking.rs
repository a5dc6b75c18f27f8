//! From the stanza as it is written to components that can be relied on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use servo_dispatch::ConfigProblem;
use servo_messages::{EnumSetting, Number, RangeSetting, Setting, SettingError, SettingValue};

use super::{Component, Probe, Ready, Tunable, accept, nearest};
use crate::config::{ComponentConfig, ProcessConfig, ReadyConfig, SettingConfig, SettingKind};
use crate::template::Template;

/// No wait of this connector is meant to be longer; it also keeps clock arithmetic far from overflow.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Makes the checked form of a stanza, and says everything that is wrong with it, not only the first
/// thing. A component with an error is left out.
#[must_use]
pub fn components(config: &ProcessConfig) -> (Vec<Component>, Vec<ConfigProblem>) {
    let mut problems = Problems::default();
    if config.components.is_empty() {
        problems.add("components", "is empty: name at least one process");
    }
    let mut seen = BTreeSet::new();
    let mut checked = Vec::new();
    for (at, component) in config.components.iter().enumerate() {
        let path = if component.name.is_empty() {
            format!("components[{at}]")
        } else {
            format!("components.{}", component.name)
        };
        problems.name(&path, &component.name);
        if !seen.insert(component.name.as_str()) && !component.name.is_empty() {
            problems.add(&path, "two components have this name");
        }
        checked.extend(check(component, &path, &mut problems));
    }
    (checked, problems.0)
}

#[derive(Default)]
struct Problems(Vec<ConfigProblem>);

impl Problems {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(ConfigProblem::error(path, message));
    }

    fn warn(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(ConfigProblem::warning(path, message));
    }

    fn errors(&self) -> usize {
        self.0.iter().filter(|problem| !problem.warning).count()
    }

    fn name(&mut self, path: &str, name: &str) {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
        if name.is_empty() {
            self.add(path, "`name` is missing");
        } else if !name.chars().all(allowed) {
            self.add(
                path,
                "a name may only hold letters, digits, hyphens, slashes, periods and underscores",
            );
        }
    }

    fn time(&mut self, path: String, time: Duration) {
        if time > LONGEST {
            self.add(path, "is longer than a day");
        }
    }

    fn positive(&mut self, path: String, time: Duration) {
        if time.is_zero() {
            self.add(path, "must be longer than 0");
        } else {
            self.time(path, time);
        }
    }

    fn variable(&mut self, path: String, name: &str) {
        if name.is_empty() || name.contains(['=', '\0']) {
            self.add(
                path,
                format!("`{name}` cannot name an environment variable"),
            );
        }
    }
}

fn check(config: &ComponentConfig, path: &str, problems: &mut Problems) -> Option<Component> {
    let before = problems.errors();
    let (program, rest) = match config.command.split_first() {
        Some((program, rest)) if !program.is_empty() => (program.clone(), rest),
        _ => {
            problems.add(
                format!("{path}.command"),
                "is empty: give the program and its arguments as a list",
            );
            (String::new(), config.command.as_slice())
        }
    };
    let arguments: Vec<Template> = rest
        .iter()
        .map(|argument| Template::parse(argument))
        .collect();
    let names: Vec<&str> = config
        .settings
        .iter()
        .map(|setting| setting.name.as_str())
        .collect();
    for (at, argument) in arguments.iter().enumerate() {
        for name in argument.names().filter(|name| !names.contains(name)) {
            let hint = match nearest(name, names.iter().copied()) {
                Some(nearest) => format!("did you mean `{{{nearest}}}`?"),
                None => format!("write `{{{{{name}}}}}` for the plain text"),
            };
            let message = format!("no setting is named `{name}`: {hint}");
            problems.add(format!("{path}.command[{}]", at + 1), message);
        }
    }
    for name in config.env.keys() {
        problems.variable(format!("{path}.env"), name);
    }

    let mut seen = BTreeSet::new();
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    let mut settings = Vec::new();
    for (at, setting) in config.settings.iter().enumerate() {
        let path = if setting.name.is_empty() {
            format!("{path}.settings[{at}]")
        } else {
            format!("{path}.settings.{}", setting.name)
        };
        problems.name(&path, &setting.name);
        if !seen.insert(setting.name.as_str()) && !setting.name.is_empty() {
            problems.add(&path, "two settings have this name");
        }
        let placed = arguments
            .iter()
            .any(|argument| argument.names().any(|name| name == setting.name));
        let Some(tunable) = check_setting(setting, placed, &path, problems) else {
            continue;
        };
        if let Some(variable) = &tunable.variable {
            if config.env.contains_key(variable) {
                let message =
                    format!("`{variable}` has a fixed value under `env` of the component");
                problems.add(format!("{path}.env"), message);
            }
            if let Some(other) = variables.insert(variable.clone(), setting.name.clone()) {
                let message = format!("`{variable}` already holds the setting `{other}`");
                problems.add(format!("{path}.env"), message);
            }
        }
        settings.push(tunable);
    }

    let ready = config
        .ready
        .as_ref()
        .and_then(|ready| check_ready(ready, &format!("{path}.ready"), problems));
    problems.time(format!("{path}.stop.grace"), config.stop.grace());
    problems.positive(
        format!("{path}.restart.backoff"),
        config.restart.backoff.as_std(),
    );
    problems.positive(
        format!("{path}.restart.max_backoff"),
        config.restart.max_backoff.as_std(),
    );
    let settle = match (config.settle, &config.ready) {
        (Some(settle), _) => settle.as_std(),
        (None, Some(_)) => Duration::ZERO,
        (None, None) => Duration::from_secs(1),
    };
    problems.time(format!("{path}.settle"), settle);
    (problems.errors() == before).then(|| Component {
        name: config.name.clone(),
        program,
        arguments,
        directory: config.cwd.clone(),
        environment: config.env.clone(),
        settings,
        ready,
        stop: config.stop,
        restart: config.restart,
        output: config.output,
        settle,
    })
}

fn check_setting(
    config: &SettingConfig,
    placed: bool,
    path: &str,
    problems: &mut Problems,
) -> Option<Tunable> {
    let before = problems.errors();
    let kind = config.kind.unwrap_or(match config.values {
        Some(_) => SettingKind::Enum,
        None => SettingKind::Range,
    });
    let name = config.name.clone();
    let unit = config.unit.clone();
    // Pinned only afterwards: a pinned setting still has to take its first value.
    let setting = match kind {
        SettingKind::Range => {
            if config.values.is_some() {
                problems.add(format!("{path}.values"), "belongs to `type: enum` only");
            }
            for (key, number) in [
                ("min", config.min),
                ("max", config.max),
                ("step", config.step),
            ] {
                if number.is_none() {
                    problems.add(
                        format!("{path}.{key}"),
                        "is missing: a range has min, max and step",
                    );
                }
            }
            let (min, max, step) = (config.min?, config.max?, config.step?);
            if min > max {
                let message = format!("min cannot be greater than max ({min} > {max})");
                problems.add(format!("{path}.min"), message);
            }
            if step < Number::Int(0) {
                problems.add(
                    format!("{path}.step"),
                    format!("cannot be negative ({step})"),
                );
            } else if step == Number::Int(0) && min != max {
                problems.add(
                    format!("{path}.step"),
                    "cannot be zero where min and max differ",
                );
            }
            Setting::Range(RangeSetting {
                name,
                unit,
                min,
                max,
                step,
                pinned: false,
                value: None,
            })
        }
        SettingKind::Enum => {
            for (key, number) in [
                ("min", config.min),
                ("max", config.max),
                ("step", config.step),
            ] {
                if number.is_some() {
                    problems.add(format!("{path}.{key}"), "belongs to `type: range` only");
                }
            }
            let values = config.values.clone().unwrap_or_default();
            if values.is_empty() {
                problems.add(
                    format!("{path}.values"),
                    "is empty: give at least one value",
                );
            }
            Setting::Enum(EnumSetting {
                name,
                unit,
                values,
                pinned: false,
                value: None,
            })
        }
    };
    if let Some(variable) = &config.env {
        problems.variable(format!("{path}.env"), variable);
    }
    let argument = config.argument.as_deref().map(Template::parse);
    if let Some(argument) = &argument {
        let path = format!("{path}.argument");
        if let Some(other) = argument.names().find(|name| *name != "value") {
            problems.add(
                &path,
                format!("`{{{other}}}` is unknown: only `{{value}}` stands for something here"),
            );
        } else if argument.names().next().is_none() {
            problems.add(
                &path,
                "does not hold `{value}`, so the value would not reach the process",
            );
        }
    }
    let passed_on = placed || argument.is_some();
    let default = (!passed_on).then(|| variable_of(&config.name));
    if problems.errors() > before {
        return None;
    }
    let baseline = match accept(&setting, &config.value) {
        Ok(value) => value,
        // A baseline between two steps is a fact of the application, not a mistake; it can be restored.
        Err(SettingError::OffStep { value, .. }) => SettingValue::Number(value),
        Err(error) => {
            problems.add(format!("{path}.value"), error.to_string());
            return None;
        }
    };
    let setting = pin(setting.with_live_value(baseline.clone()), config.pinned);
    for warning in setting.warnings() {
        problems.warn(path, warning.to_string());
    }
    Some(Tunable {
        setting,
        baseline,
        variable: config.env.clone().or(default),
        argument,
    })
}

fn pin(setting: Setting, pinned: bool) -> Setting {
    match setting {
        Setting::Range(range) => Setting::Range(RangeSetting { pinned, ..range }),
        Setting::Enum(list) => Setting::Enum(EnumSetting { pinned, ..list }),
    }
}

/// `cache-size` → `CACHE_SIZE`.
fn variable_of(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect()
}

fn check_ready(config: &ReadyConfig, path: &str, problems: &mut Problems) -> Option<Ready> {
    problems.positive(format!("{path}.timeout"), config.timeout.as_std());
    problems.positive(format!("{path}.interval"), config.interval.as_std());
    let probe = match (&config.http, &config.tcp, &config.log) {
        (Some(http), None, None) => {
            if !matches!(http.url.scheme(), "http" | "https") || http.url.host_str().is_none() {
                problems.add(
                    format!("{path}.http.url"),
                    format!("`{}` is no http(s) URL", http.url),
                );
            }
            Probe::Http(http.clone())
        }
        (None, Some(address), None) => {
            let port = address
                .rsplit_once(':')
                .filter(|(host, _)| !host.is_empty());
            if !port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port != 0)) {
                problems.add(
                    format!("{path}.tcp"),
                    format!("`{address}` is not of the form host:port"),
                );
            }
            Probe::Tcp(address.clone())
        }
        (None, None, Some(matcher)) => Probe::Log(matcher.clone()),
        _ => {
            problems.add(path, "give exactly one of `http`, `tcp` and `log`");
            return None;
        }
    };
    Some(Ready {
        probe,
        timeout: config.timeout.as_std(),
        interval: config.interval.as_std(),
    })
}
