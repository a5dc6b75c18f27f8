//! The variables that count as configuration: the real environment's, then those of `.env`
//! (`spec/config-and-cli.md` §3).

use std::collections::BTreeMap;

/// Variables by name. A real variable hides one of `.env`, even when it is empty; an empty one is
/// as good as none.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Those under the names that ServoX reads for `checks` and `settings`.
    legacy: BTreeMap<String, String>,
}

/// Prefixes of ServoX's own names for the fields of `checks` and `settings`.
const LEGACY: [&str; 2] = ["CHECKS_", "COMMON_"];

/// Beginnings of the names of Servo's own variables.
const OURS: [&str; 4] = ["SERVO_", "SERVOD_", "OPSANI_", "APPD_"];

impl Environment {
    /// What the process was given, over what `.env` says.
    pub fn of_process(dotenv: BTreeMap<String, String>) -> Self {
        // What is no text is told of by `unreadable`.
        let real = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::new(real, dotenv)
    }

    /// Names of the process's variables that are Servo's, with values that are no text.
    pub fn unreadable() -> Vec<String> {
        std::env::vars_os()
            .filter(|(_, value)| value.to_str().is_none())
            .filter_map(|(name, _)| name.into_string().ok())
            .filter(|name| OURS.iter().any(|prefix| name.starts_with(prefix)))
            .collect()
    }

    /// These variables, over those of `.env`.
    pub fn new(
        real: impl IntoIterator<Item = (String, String)>,
        dotenv: BTreeMap<String, String>,
    ) -> Self {
        let mut variables = dotenv;
        variables.extend(real);
        variables.retain(|_, value| !value.trim().is_empty());
        let legacy = variables
            .iter()
            .filter(|(name, _)| LEGACY.iter().any(|prefix| name.starts_with(prefix)))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Self { variables, legacy }
    }

    /// The value of `name`, if it has one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// All variables.
    pub(super) fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// The variables under ServoX's names for the fields of `checks` and `settings`. The bare
    /// words `CHECKS` and `COMMON` belong to others.
    pub(super) fn legacy(&self) -> &BTreeMap<String, String> {
        &self.legacy
    }
}

impl std::fmt::Debug for Environment {
    /// Names alone: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_variable_hides_that_of_the_file_even_when_it_is_empty() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let dotenv = [pair("A", "file"), pair("B", "file"), pair("C", "file")].into();
        let environment = Environment::new([pair("A", "real"), pair("B", "")], dotenv);
        assert_eq!(environment.get("A"), Some("real"));
        assert_eq!(environment.get("B"), None);
        assert_eq!(environment.get("C"), Some("file"));
    }
}
