//! One process at a time makes the studies of a trial file; others may look at it.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::StoreError;

/// How long a process that is about to end is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// The right to make the studies of a trial file. The operating system takes it back from a process
/// that ends, in whatever way.
///
/// It is a lock on a file of its own: SQLite loses its locks on the trial file when another handle
/// to that is closed (<https://www.sqlite.org/howtocorrupt.html>, §2.2).
#[derive(Debug)]
pub(crate) struct Claim {
    _file: File,
}

impl Claim {
    /// Claims `database`. Blocks for up to 5 s while another process has it.
    pub(crate) fn take(database: &Path) -> Result<Self, StoreError> {
        let mut name = OsString::from(database);
        name.push("-lock");
        let path = PathBuf::from(name);
        let io = |error| StoreError::Io {
            path: path.clone(),
            error,
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(io)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::Error(error)) => return Err(io(error)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    thread::sleep(BETWEEN_TRIES);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::InUse {
                        path: database.to_owned(),
                    });
                }
            }
        }
    }
}
