//! What can be wrong with a file of trials.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the file of trials cannot be used. Every message names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory is not there.
    #[error("cannot create the trial file {}: the directory {} does not exist; create it, or set `database` to another path", path.display(), directory.display())]
    NoDirectory {
        /// The file.
        path: PathBuf,
        /// Its directory.
        directory: PathBuf,
    },
    /// The path is a directory.
    #[error("the trial file {} is a directory; set `database` to the path of a file", path.display())]
    IsDirectory {
        /// The path.
        path: PathBuf,
    },
    /// There is nothing to read.
    #[error("there is no trial file {}; it is created by the first run with an embedded optimizer", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The operating system does not let us look at it.
    #[error("cannot look at the trial file {}: {error}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The system's answer.
        error: std::io::Error,
    },
    /// Not SQLite at all.
    #[error("{} is not a trial file: its content is not an SQLite database; set `database` to another path, the file was not touched", path.display())]
    NotADatabase {
        /// The path.
        path: PathBuf,
    },
    /// SQLite, but of another program.
    #[error("{} is an SQLite database of another program; set `database` to another path, the file was not touched", path.display())]
    Foreign {
        /// The path.
        path: PathBuf,
    },
    /// Written by a later release.
    #[error("the trial file {} has format {found}, this release knows formats up to {known}; use the newer release, or another file", path.display())]
    TooNew {
        /// The path.
        path: PathBuf,
        /// Its format.
        found: usize,
        /// The newest format known.
        known: usize,
    },
    /// Opened only for reading, so it cannot be brought up to date.
    #[error("the trial file {} is empty or was written by an older release; run a servo with it once", path.display())]
    TooOld {
        /// The path.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("the trial file {} cannot be written: permission denied or read-only; SQLite also needs to write beside it (`-wal`, `-shm`): make file and directory writable for this user, or set `database` to another path", path.display())]
    ReadOnly {
        /// The path.
        path: PathBuf,
    },
    /// No space.
    #[error("the disk with the trial file {} is full, could not {doing}; free some space, nothing recorded so far is lost", path.display())]
    Full {
        /// The path.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
    },
    /// Another process holds it.
    #[error("the trial file {} is locked by another process, could not {doing} within 5 s; end that process, or set `database` to another path", path.display())]
    Locked {
        /// The path.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
    },
    /// Another process makes its studies.
    #[error("the trial file {} is in use by another servo; end that one, or set `database` to another path", path.display())]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// Another process makes the same study.
    #[error("could not {doing} in the trial file {}: another process is making the same study; end one of the two, or give them different optimizer ids", path.display())]
    Contended {
        /// The path.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
    },
    /// SQLite, ours, but damaged.
    #[error("the trial file {} is damaged ({detail}), could not {doing}; restore a copy, or move it away to begin anew", path.display())]
    Corrupt {
        /// The path.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The finding.
        detail: String,
    },
    /// Anything else.
    #[error("could not {doing} the trial file {}: {error}", path.display())]
    Sqlite {
        /// The path.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// SQLite's answer.
        error: rusqlite::Error,
    },
}

impl StoreError {
    /// SQLite does not tell why it could not open a file; the system does when asked again.
    fn not_opened(path: PathBuf) -> Self {
        let existed = path.exists();
        match std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
        {
            Err(error) if error.kind() != std::io::ErrorKind::PermissionDenied => {
                Self::Io { path, error }
            }
            opened => {
                if opened.is_ok() && !existed {
                    // Nothing of it was there before this question was asked.
                    let _ = std::fs::remove_file(&path);
                }
                Self::ReadOnly { path }
            }
        }
    }

    pub(super) fn from_sqlite(path: &Path, doing: &'static str, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match &error {
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::NotADatabase => Self::NotADatabase { path },
                ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Self::ReadOnly { path },
                ErrorCode::CannotOpen => Self::not_opened(path),
                ErrorCode::ConstraintViolation => Self::Contended { path, doing },
                ErrorCode::DiskFull => Self::Full { path, doing },
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Locked { path, doing },
                ErrorCode::DatabaseCorrupt => Self::Corrupt {
                    path,
                    doing,
                    detail: error.to_string(),
                },
                _ => Self::Sqlite { path, doing, error },
            },
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..) => Self::Corrupt {
                path,
                doing,
                detail: error.to_string(),
            },
            _ => Self::Sqlite { path, doing, error },
        }
    }
}
