//! The files that the configuration of a servo names.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    fs::File,
    hash::{Hash, Hasher},
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde_yaml::Value;
use servo_messages::SslVerify;
use servo_protocol::TokenSource;

use crate::config::{OptimizerConfig, ServoConfig};

/// More of a file is not looked at: what is meant here are certificates and credentials.
const LARGEST: u64 = 16 * 1024 * 1024;

/// The keys of connectors that name files, beside those that end with `_file`.
const KEYS: [&str; 3] = ["kubeconfig", "root_certs", "targets"];

/// The files that the configuration of a servo names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReferredFiles {
    /// Read when the servo starts: it has to start again when one of them changes.
    pub(super) held: Vec<PathBuf>,
    /// The optimizer's token. It is among what was given for the servo, and read again when the
    /// optimizer refuses it.
    token: Option<PathBuf>,
}

/// What stands in files, each read once.
#[derive(Debug, Default)]
pub struct FileContents(HashMap<PathBuf, u64>);

impl ReferredFiles {
    /// Those that `servo` names, of a program that runs in `directory`.
    pub fn of(servo: &ServoConfig, directory: &Path) -> Self {
        let mut held = Vec::new();
        if let SslVerify::Authorities(file) = &servo.settings.ssl_verify {
            held.push(directory.join(file));
        }
        for (_, connector) in &servo.connectors {
            named_by(&connector.effective(), &mut |file| {
                held.push(directory.join(file));
            });
        }
        held.sort_unstable();
        held.dedup();
        let token = match &servo.optimizer {
            Some(OptimizerConfig::Opsani(config)) => match &config.token {
                TokenSource::File(file) => Some(directory.join(file)),
                _ => None,
            },
            _ => None,
        };
        Self { held, token }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Path> {
        self.held.iter().chain(&self.token).map(PathBuf::as_path)
    }
}

/// Tells of each file that a stanza names.
fn named_by(stanza: &Value, tell: &mut impl FnMut(&str)) {
    let Value::Mapping(keys) = stanza else {
        if let Value::Sequence(items) = stanza {
            items.iter().for_each(|item| named_by(item, tell));
        }
        return;
    };
    for (key, value) in keys {
        let names_files = key
            .as_str()
            .is_some_and(|key| key.ends_with("_file") || KEYS.contains(&key));
        match value {
            Value::String(file) if names_files && !file.is_empty() => tell(file),
            Value::Sequence(files) if names_files => {
                files.iter().filter_map(Value::as_str).for_each(&mut *tell);
            }
            other => named_by(other, tell),
        }
    }
}

impl FileContents {
    /// A number that differs where what stands in any of `files` differs. A file that cannot be
    /// read is one more content.
    pub(super) fn of_all(&mut self, files: &[PathBuf]) -> u64 {
        if files.is_empty() {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        for file in files {
            self.of(file).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// A number that differs where what stands in `file` does.
    pub fn of(&mut self, file: &Path) -> u64 {
        if let Some(known) = self.0.get(file) {
            return *known;
        }
        let content = content(file);
        self.0.insert(file.to_owned(), content);
        content
    }
}

fn content(file: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    match read(file) {
        Ok(bytes) => bytes.hash(&mut hasher),
        Err(error) => error.kind().hash(&mut hasher),
    }
    hasher.finish()
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for its other end.
    if !std::fs::metadata(file)?.is_file() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut bytes = Vec::new();
    File::open(file)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_are_found_by_their_keys() {
        let stanza = serde_yaml::from_str(
            "tls: {ca_file: ca.pem, insecure: true}\n\
             password_file: ''\nbearer_token_file: /run/token\n\
             root_certs: [a.pem, b.pem]\ntargets: load.txt\ntarget: GET http://h/\n\
             components: [{settings: {kubeconfig: k}}]\n",
        )
        .unwrap();
        let mut found = Vec::new();
        named_by(&stanza, &mut |file| found.push(file.to_owned()));
        assert_eq!(
            found,
            ["ca.pem", "/run/token", "a.pem", "b.pem", "load.txt", "k"]
        );
    }

    #[test]
    fn contents_differ_as_the_files_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let files = [file.clone()];
        let now = || FileContents::default().of_all(&files);
        let none = now();
        std::fs::write(&file, "one").unwrap();
        let one = now();
        std::fs::write(&file, "two").unwrap();
        assert!(none != one && one != now());
        std::fs::write(&file, "one").unwrap();
        assert_eq!(one, now());
        assert_eq!(FileContents::default().of_all(&[]), 0);
    }
}
