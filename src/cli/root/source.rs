//! The configuration of `servo run`, as it is read again by a reload.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use servo_dispatch::Registry;

use super::{Context, DEFAULT_FILE, RootOptions};
use crate::{
    config::{
        self, DaemonConfigError, Dotenv, Environment, InvalidConfig, LoadError, LoadOptions, Need,
        OptimizerFlags, ServoConfig, Source,
    },
    daemon::{
        fleet::{ConfigurationSource, Loaded},
        logging::Log,
    },
};

/// How many mistakes one line names.
const NAMED: usize = 3;

/// Variables that name one optimizer, or one servo: they are not for those that join others.
const OF_ONE: [&str; 8] = [
    "SERVO_NAME",
    "SERVO_UID",
    "OPSANI_OPTIMIZER",
    "OPSANI_ID",
    "OPSANI_URL",
    "APPD_OPTIMIZER_ID",
    "APPD_WORKLOAD_ID",
    "APPD_URL",
];

/// Such variables with a whole stanza, and those of its keys.
const STANZA_OF_ONE: &str = "SERVO_OPTIMIZER";

/// The files, under the flags and the variables that the process was given.
pub(in crate::cli) struct Files {
    registry: Registry,
    directory: PathBuf,
    options: RootOptions,
    flags: OptimizerFlags,
    /// The end of the program ends the log, whoever still holds this.
    log: Weak<Mutex<Log>>,
}

impl Context {
    /// The configuration, to be read again; none where it comes from standard input, which has been
    /// read.
    pub(in crate::cli) fn rereading(&self) -> Option<Arc<dyn ConfigurationSource>> {
        self.source().path.as_ref()?;
        Some(Arc::new(Files {
            registry: self.registry.clone(),
            directory: self.directory.clone(),
            options: self.options.clone(),
            flags: self.flags.clone(),
            log: Arc::downgrade(&self.log),
        }))
    }
}

impl Files {
    fn environment(&self) -> Result<(Environment, Vec<String>), String> {
        let (dotenv, warnings) = config::read_dotenv(&self.directory, &self.options.dotenv())
            .map_err(|e| one_line(&e.to_string()))?;
        let warnings = warnings.iter().map(ToString::to_string).collect();
        Ok((Environment::of_process(dotenv), warnings))
    }

    fn assembly_file(&self, environment: &Environment, daemon: &config::DaemonConfig) -> Source {
        let file = self.options.config_file(environment, daemon);
        let file = file.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        Source::new(file, &self.directory)
    }

    fn load_options<'a>(
        &'a self,
        environment: &'a Environment,
        flags: &'a OptimizerFlags,
    ) -> LoadOptions<'a> {
        LoadOptions {
            registry: &self.registry,
            environment,
            flags,
            optimizer: Need::Required,
            words: None,
            keep_given: false,
        }
    }
}

impl ConfigurationSource for Files {
    fn load(&self) -> Result<Loaded, String> {
        let (environment, mut warnings) = self.environment()?;
        let file = self.options.daemon_file(&environment);
        if self.options.daemon_file.is_some() && !file.exists() {
            return Err(format!("{}: there is no such file", file.display()));
        }
        let daemon =
            config::DaemonConfig::load_with(&file, &environment).map_err(|error| match error {
                DaemonConfigError::Invalid(invalid) => refusal(&LoadError::Invalid(invalid)),
                other => one_line(&other.to_string()),
            })?;
        let level = self.options.level(&environment, &daemon.log)?;
        let log_level = level.unwrap_or("info").to_owned();
        let source = self.assembly_file(&environment, &daemon);
        let options = self.load_options(&environment, &self.flags);
        let assembly = config::load(&source, &options).map_err(|error| refusal(&error))?;
        let about =
            |problem: &config::Problem| one_line(&format!("{}: {problem}", assembly.source.name));
        warnings.extend(assembly.warnings.iter().map(about));
        let several = assembly.servos.len() > 1;
        let mut servos = assembly.servos;
        let name = self.options.name.as_deref();
        if let Some(name) = name.or_else(|| environment.get("SERVO_NAME")) {
            servos.retain(|servo| *servo.name == *name);
            if servos.is_empty() {
                return Err(format!(
                    "{}: No servo was found named \"{name}\"",
                    source.name
                ));
            }
        }
        Ok(Loaded {
            servos,
            several,
            log_level,
            daemon,
            warnings,
        })
    }

    fn documents(&self, yaml: &str) -> Result<Vec<ServoConfig>, String> {
        let (dotenv, _) = config::read_dotenv(&self.directory, &self.options.dotenv())
            .map_err(|e| one_line(&e.to_string()))?;
        let is_for_many = |name: &str| !OF_ONE.contains(&name) && !name.starts_with(STANZA_OF_ONE);
        let of_process = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| is_for_many(name));
        let dotenv = dotenv.into_iter().filter(|(name, _)| is_for_many(name));
        let environment = Environment::new(of_process, dotenv.collect());
        let flags = OptimizerFlags::default();
        let options = self.load_options(&environment, &flags);
        let source = Source {
            name: "the documents".to_owned(),
            path: None,
        };
        let documents = config::load_text(&source, yaml, &options);
        Ok(documents.map_err(|error| refusal(&error))?.servos)
    }

    fn apply_log(&self, loaded: &Loaded) -> Result<(), String> {
        let Some(log) = self.log.upgrade() else {
            return Ok(());
        };
        let log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.set_level(&loaded.log_level)
            .map_err(|e| one_line(&e.to_string()))?;
        log.set_rate_limit(loaded.daemon.log.rate_limit.get());
        Ok(())
    }

    fn files(&self) -> Vec<PathBuf> {
        let environment = match self.environment() {
            Ok((environment, _)) => environment,
            Err(_) => Environment::of_process(Default::default()),
        };
        let daemon_file = self.options.daemon_file(&environment);
        // What is wrong with it does not hide which file is meant by default.
        let daemon =
            config::DaemonConfig::load_with(&daemon_file, &environment).unwrap_or_default();
        let mut files = vec![self.directory.join(daemon_file)];
        files.extend(self.assembly_file(&environment, &daemon).path);
        match self.options.dotenv() {
            Dotenv::None => {}
            Dotenv::Files(named) => {
                files.extend(named.iter().map(|file| self.directory.join(file)));
            }
            // Any of them may be there tomorrow.
            Dotenv::Nearest => {
                files.extend(self.directory.ancestors().map(|above| above.join(".env")));
            }
        }
        files
    }

    fn directory(&self) -> PathBuf {
        self.directory.clone()
    }
}

/// Why the file gives no servos, in one line.
fn refusal(error: &LoadError) -> String {
    match error {
        LoadError::Invalid(InvalidConfig { file, problems }) => {
            let named: Vec<String> = problems
                .iter()
                .take(NAMED)
                .map(|problem| one_line(&problem.to_string()))
                .collect();
            let mut text = format!("{file}: {}", named.join("; "));
            match problems.len().saturating_sub(NAMED) {
                0 => {}
                1 => text.push_str("; and 1 more problem"),
                more => text.push_str(&format!("; and {more} more problems")),
            }
            text
        }
        other => one_line(&other.to_string()),
    }
}

/// A text of several lines, without the pieces of files that some quote.
fn one_line(text: &str) -> String {
    let is_quote = |line: &str| {
        let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
        rest.trim_start().starts_with('|')
    };
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !is_quote(line))
        .collect();
    lines.join(": ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn mistakes_are_told_in_one_line() {
        assert_eq!(
            one_line(
                "TOML parse error at line 2, column 5\n  |\n2 | [adm\n  |     ^\nexpected `]`\n"
            ),
            "TOML parse error at line 2, column 5: expected `]`"
        );
        let problem = |path: &str| config::Problem {
            document: Some(2),
            path: vec![path.to_owned()],
            message: "extra fields not permitted".to_owned(),
            nearest: None,
            place: Some(servo_yaml::Place { line: 7, column: 1 }),
        };
        let told = |problems: &[&str]| {
            refusal(&LoadError::Invalid(InvalidConfig {
                file: "servo.yaml".to_owned(),
                problems: problems.iter().map(|path| problem(path)).collect(),
            }))
        };
        assert_eq!(
            told(&["wiat"]),
            "servo.yaml: document 2: wiat (line 7, column 1): extra fields not permitted"
        );
        assert!(told(&["a", "b", "c", "d"]).ends_with("permitted; and 1 more problem"));
        assert!(told(&["a"; 9]).ends_with("; and 6 more problems"));
    }
}
