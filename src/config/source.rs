//! The text of an assembly file, wherever it comes from (`spec/config-and-cli.md` §2.1).

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::whole_file;

/// Larger files are no configuration.
const LARGEST_FILE: u64 = 10 * 1024 * 1024;

/// An assembly file.
#[derive(Clone, Debug)]
pub struct Source {
    /// As it was named.
    pub name: String,
    /// The file; none for standard input.
    pub path: Option<PathBuf>,
}

/// Why there is no text.
#[derive(Debug, Error)]
pub enum SourceError {
    /// There is no such file.
    #[error("File '{0}' does not exist.")]
    Missing(String),
    /// It is a directory.
    #[error("File '{0}' is a directory.")]
    Directory(String),
    /// It cannot be read.
    #[error("cannot read '{name}': {cause}")]
    Unreadable {
        /// As it was named.
        name: String,
        /// Why.
        cause: io::Error,
    },
}

impl Source {
    /// The file at `path`, looked for in `directory`; `-` is standard input.
    pub fn new(path: &Path, directory: &Path) -> Self {
        if path.as_os_str() == "-" {
            return Self {
                name: "-".to_owned(),
                path: None,
            };
        }
        Self {
            name: path.display().to_string(),
            path: Some(directory.join(path)),
        }
    }

    /// The whole text.
    ///
    /// # Errors
    /// When it cannot be read, is larger than 10 MiB, is not UTF-8, or is a pipe that nobody closes
    /// within 10 s.
    pub fn read(&self) -> Result<String, SourceError> {
        let unreadable = |cause| SourceError::Unreadable {
            name: self.name.clone(),
            cause,
        };
        let Some(path) = &self.path else {
            return text(io::stdin().lock()).map_err(unreadable);
        };
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(SourceError::Missing(self.name.clone()))
            }
            Err(error) => Err(unreadable(error)),
            Ok(metadata) if metadata.is_dir() => Err(SourceError::Directory(self.name.clone())),
            Ok(_) => whole_file::read_text(path, LARGEST_FILE).map_err(unreadable),
        }
    }
}

/// Standard input ends when whoever gives it wants it to: a person may type it.
fn text(input: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    input.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(whole_file::too_large(LARGEST_FILE));
    }
    whole_file::text(bytes)
}
