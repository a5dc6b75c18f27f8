//! The file `.env` (`spec/config-and-cli.md` §3.2).

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Why a `.env` file was not read to its end.
#[derive(Debug, Error)]
#[error("{}: {cause}; what stands before it was read", file.display())]
pub struct DotenvError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong, and where.
    pub cause: dotenvy::Error,
}

/// Reads `.env` in `directory`, else in the nearest directory above it that holds one.
///
/// The variables are returned, not set: the real environment wins over them, even an empty value
/// there. A syntax error ends the reading; what came before it holds.
pub fn read(directory: &Path) -> (HashMap<String, String>, Option<DotenvError>) {
    let mut variables = HashMap::new();
    let Some(file) = directory
        .ancestors()
        .map(|d| d.join(".env"))
        .find(|f| f.is_file())
    else {
        return (variables, None);
    };
    let failed = |cause| DotenvError {
        file: file.clone(),
        cause,
    };
    let lines = match dotenvy::from_path_iter(&file) {
        Ok(lines) => lines,
        Err(cause) => return (variables, Some(failed(cause))),
    };
    for line in lines {
        match line {
            Ok((name, value)) => {
                variables.insert(name, value);
            }
            Err(cause) => return (variables, Some(failed(cause))),
        }
    }
    (variables, None)
}
