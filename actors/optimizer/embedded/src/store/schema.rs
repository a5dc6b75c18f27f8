//! The file's layout, its versions, and how a file is recognised as ours.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::StoreError;

/// Written into every file, so that another program's database is not taken for ours: "SVOT".
const APPLICATION_ID: i32 = 0x5356_4f54;

/// Each entry brings a file from the version of its index to the next. Never change one that was released.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE studies (
        id INTEGER PRIMARY KEY,
        optimizer TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        objective TEXT,
        constraints TEXT NOT NULL,
        application TEXT NOT NULL,
        baseline TEXT NOT NULL,
        created_at TEXT NOT NULL,
        ended_at TEXT,
        result TEXT,
        activated INTEGER NOT NULL,
        UNIQUE (optimizer, fingerprint)
    );
    CREATE TABLE trials (
        id INTEGER PRIMARY KEY,
        study INTEGER NOT NULL REFERENCES studies (id),
        number INTEGER NOT NULL,
        purpose TEXT NOT NULL,
        state TEXT NOT NULL,
        settings TEXT NOT NULL,
        metrics TEXT NOT NULL DEFAULT '{}',
        objective REAL,
        violated TEXT NOT NULL DEFAULT '[]',
        p_feasible REAL,
        step TEXT,
        cmd_uid TEXT,
        attempts INTEGER NOT NULL DEFAULT 0,
        created_at TEXT NOT NULL,
        started_at TEXT,
        finished_at TEXT,
        message TEXT,
        UNIQUE (study, number)
    );
    CREATE UNIQUE INDEX one_pending_trial ON trials (study) WHERE state = 'pending';
"];

/// How long a write waits for another process that writes to the same file.
const BUSY: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    ReadWrite,
    ReadOnly,
}

pub(super) fn open(path: &Path, access: Access) -> Result<Connection, StoreError> {
    look_first(path, access)?;
    let failed = |doing: &'static str| move |error| StoreError::from_sqlite(path, doing, error);
    let mode = match access {
        Access::ReadWrite => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        Access::ReadOnly => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let mut connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(failed("open"))?;
    connection.busy_timeout(BUSY).map_err(failed("open"))?;
    match check_owner(&connection, path) {
        // Who may only look cannot make the shared memory that a write-ahead log needs. Where nobody is
        // writing, none is needed.
        Err(StoreError::ReadOnly { .. }) if access == Access::ReadOnly && !has_log(path) => {
            connection = open_unchanging(path).map_err(failed("open"))?;
            check_owner(&connection, path)?;
        }
        checked => checked?,
    }
    if access == Access::ReadOnly {
        return match version(&connection, path)? {
            found if found > MIGRATIONS.len() => Err(too_new(path, found)),
            found if found < MIGRATIONS.len() => Err(StoreError::TooOld {
                path: path.to_owned(),
            }),
            _ => Ok(connection),
        };
    }
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
        )
        .map_err(failed("prepare"))?;
    migrate(&mut connection, path)?;
    Ok(connection)
}

fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

/// Opens a file that nobody writes to: without locks and without files beside it.
fn open_unchanging(path: &Path) -> rusqlite::Result<Connection> {
    let path = path.to_string_lossy();
    let escaped = path
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    // Two slashes at the beginning would name a host.
    let root = if path.starts_with('/') { "//" } else { "" };
    Connection::open_with_flags(
        format!("file:{root}{escaped}?immutable=1"),
        OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
}

/// Most wrong paths are told apart before SQLite reduces them to "unable to open database file".
fn look_first(path: &Path, access: Access) -> Result<(), StoreError> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(StoreError::IsDirectory {
            path: path.to_owned(),
        }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if access == Access::ReadOnly {
                return Err(StoreError::Missing {
                    path: path.to_owned(),
                });
            }
            match path.parent() {
                Some(directory) if !directory.as_os_str().is_empty() && !directory.is_dir() => {
                    Err(StoreError::NoDirectory {
                        path: path.to_owned(),
                        directory: directory.to_owned(),
                    })
                }
                _ => Ok(()),
            }
        }
        Err(error) => Err(StoreError::Io {
            path: path.to_owned(),
            error,
        }),
    }
}

fn check_owner(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |error| StoreError::from_sqlite(path, "read", error);
    let owner: i32 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(failed)?;
    if owner == APPLICATION_ID {
        return Ok(());
    }
    let tables: i64 = connection
        .query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    if owner == 0 && tables == 0 {
        return Ok(());
    }
    Err(StoreError::Foreign {
        path: path.to_owned(),
    })
}

fn version(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let version: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| StoreError::from_sqlite(path, "read", error))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

fn too_new(path: &Path, found: usize) -> StoreError {
    StoreError::TooNew {
        path: path.to_owned(),
        found,
        known: MIGRATIONS.len(),
    }
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |error| StoreError::from_sqlite(path, "prepare", error);
    if version(connection, path)? == MIGRATIONS.len() {
        return Ok(());
    }
    // Immediate: of two processes that open a new file at once, the second waits and then finds it done.
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let found = version(&transaction, path)?;
    if found > MIGRATIONS.len() {
        return Err(too_new(path, found));
    }
    for migration in MIGRATIONS.iter().skip(found) {
        transaction.execute_batch(migration).map_err(failed)?;
    }
    transaction
        .pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(failed)?;
    transaction
        .pragma_update(None, "user_version", MIGRATIONS.len() as i64)
        .map_err(failed)?;
    transaction.commit().map_err(failed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_is_read_without_writing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a?b#c%20.db");
        drop(open(&path, Access::ReadWrite).unwrap());
        assert!(!has_log(&path), "the last to leave tidies up");
        let connection = open_unchanging(&path).unwrap();
        check_owner(&connection, &path).unwrap();
        assert_eq!(version(&connection, &path).unwrap(), MIGRATIONS.len());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
