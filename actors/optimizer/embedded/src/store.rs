//! Trials on disk.
//!
//! One SQLite file holds any number of studies. The order of writes is what makes a SIGKILL harmless: a
//! trial's row is committed before its first command is handed out, every further command's uid before
//! that command, and the result before the servo is told `ok`. Whatever is pending when the file is opened
//! again is handed out again.
//!
//! The journal is a write-ahead log and `synchronous` is `FULL`: each commit reaches the disk before it is
//! answered, which also covers a loss of power. Commits are as rare as measurements, so the price of one
//! fsync each does not matter.
//!
//! Every call blocks. The store lives on the optimizer's own thread, never on an event loop.

mod claim;
mod error;
mod record;
mod schema;

pub(crate) use claim::Claim;
pub use error::StoreError;
pub use record::{
    Finding, Issued, NewStudy, NewTrial, Purpose, Step, StudyRecord, TrialRecord, TrialState,
};

use record::{SELECT_STUDY, SELECT_TRIAL, TRIAL_COLUMNS, study_from_row, trial_from_row};

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

/// A file of trials.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

const MAX_MESSAGE: usize = 4000;

impl Store {
    /// Opens `path`, creating the file when it is not there and bringing an older schema up to date.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be opened for writing, or is not a file of trials.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        schema::open(path, schema::Access::ReadWrite).map(|connection| Self {
            connection,
            path: path.to_owned(),
        })
    }

    /// Opens an existing file to look at it; a servo may be writing to it meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] when there is no such file, or it is not a file of trials.
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        schema::open(path, schema::Access::ReadOnly).map(|connection| Self {
            connection,
            path: path.to_owned(),
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError + '_ {
        move |error| StoreError::from_sqlite(&self.path, doing, error)
    }

    /// All studies, the most recently active last.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn studies(&self) -> Result<Vec<StudyRecord>, StoreError> {
        let doing = "read the studies";
        let mut statement = self
            .connection
            .prepare_cached(&format!("{SELECT_STUDY} ORDER BY activated, id"))
            .map_err(self.failed(doing))?;
        let rows = statement
            .query_map([], study_from_row)
            .map_err(self.failed(doing))?;
        rows.collect::<Result<_, _>>().map_err(self.failed(doing))
    }

    /// The study with this row id.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn study(&self, id: i64) -> Result<Option<StudyRecord>, StoreError> {
        self.connection
            .query_row(
                &format!("{SELECT_STUDY} WHERE id = ?1"),
                [id],
                study_from_row,
            )
            .optional()
            .map_err(self.failed("read a study"))
    }

    /// The study of `optimizer` that was active last.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn latest_study(&self, optimizer: &str) -> Result<Option<StudyRecord>, StoreError> {
        self.connection
            .query_row(
                &format!(
                    "{SELECT_STUDY} WHERE optimizer = ?1 ORDER BY activated DESC, id DESC LIMIT 1"
                ),
                [optimizer],
                study_from_row,
            )
            .optional()
            .map_err(self.failed("read the latest study"))
    }

    /// The study with this fingerprint made the active one of `optimizer`, created if there is none.
    /// A study that exists keeps its baseline; its description is brought up to date.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn activate_study(
        &mut self,
        study: &NewStudy<'_>,
        now: Timestamp,
    ) -> Result<StudyRecord, StoreError> {
        let doing = "write a study";
        self.connection
            .execute(
                "INSERT INTO studies (optimizer, fingerprint, objective, constraints, application, baseline, created_at, activated)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, (SELECT COALESCE(MAX(activated), 0) + 1 FROM studies))
                 ON CONFLICT (optimizer, fingerprint) DO UPDATE SET
                   application = excluded.application,
                   activated = excluded.activated",
                params![
                    study.optimizer,
                    study.fingerprint,
                    study.objective,
                    json(&study.constraints),
                    json(study.application),
                    json(study.baseline),
                    now.to_string(),
                ],
            )
            .map_err(self.failed(doing))?;
        self.connection
            .query_row(
                &format!("{SELECT_STUDY} WHERE optimizer = ?1 AND fingerprint = ?2"),
                [study.optimizer, study.fingerprint],
                study_from_row,
            )
            .map_err(self.failed(doing))
    }

    /// Marks a study as ended with this result, or as open again with none.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_result(
        &mut self,
        study: i64,
        result: Option<&serde_json::Value>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.connection
            .execute(
                "UPDATE studies SET ended_at = ?2, result = ?3 WHERE id = ?1",
                params![study, result.map(|_| now.to_string()), result.map(json)],
            )
            .map(drop)
            .map_err(self.failed("write a study's result"))
    }

    /// The trials of a study in order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn trials(&self, study: i64) -> Result<Vec<TrialRecord>, StoreError> {
        let doing = "read the trials";
        let mut statement = self
            .connection
            .prepare_cached(&format!("{SELECT_TRIAL} WHERE study = ?1 ORDER BY number"))
            .map_err(self.failed(doing))?;
        let rows = statement
            .query_map([study], trial_from_row)
            .map_err(self.failed(doing))?;
        rows.collect::<Result<_, _>>().map_err(self.failed(doing))
    }

    /// Writes a pending trial, before any command of it is handed out. The file refuses a second pending
    /// trial of the same study.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add_trial(
        &mut self,
        study: i64,
        trial: &NewTrial,
        now: Timestamp,
    ) -> Result<TrialRecord, StoreError> {
        // `query_one` steps to the end, where the commit happens; `query_row` would not see it fail.
        self.connection
            .query_one(
                &format!(
                    "INSERT INTO trials (study, number, purpose, state, settings, p_feasible, created_at)
                     VALUES (?1, (SELECT COALESCE(MAX(number), 0) + 1 FROM trials WHERE study = ?1), ?2, 'pending', ?3, ?4, ?5)
                     RETURNING {TRIAL_COLUMNS}"
                ),
                params![
                    study,
                    trial.purpose.as_str(),
                    json(&trial.settings),
                    trial.p_feasible,
                    now.to_string()
                ],
                trial_from_row,
            )
            .map_err(self.failed("write a new trial"))
    }

    /// Writes which command of a pending trial is about to be handed out.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn issue(&mut self, trial: i64, issued: &Issued, now: Timestamp) -> Result<(), StoreError> {
        self.connection
            .execute(
                "UPDATE trials SET step = ?2, cmd_uid = ?3, started_at = ?4 WHERE id = ?1",
                params![trial, issued.step.as_str(), issued.cmd_uid, now.to_string()],
            )
            .map(drop)
            .map_err(self.failed("write a trial's command"))
    }

    /// Forgets which command of a pending trial is handed out: the servo that had it is gone.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn forget_commands(&mut self, optimizer: &str) -> Result<(), StoreError> {
        self.connection
            .execute(
                "UPDATE trials SET step = NULL, cmd_uid = NULL
                 WHERE state = 'pending' AND cmd_uid IS NOT NULL
                   AND study IN (SELECT id FROM studies WHERE optimizer = ?1)",
                [optimizer],
            )
            .map(drop)
            .map_err(self.failed("write that a servo was restarted"))
    }

    /// Writes that carrying out a trial has failed once more, and in which state that leaves it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record_attempt(
        &mut self,
        trial: i64,
        state: TrialState,
        attempts: u32,
        message: &str,
    ) -> Result<(), StoreError> {
        self.connection
            .execute(
                "UPDATE trials SET attempts = ?2, message = ?3, state = ?4, step = NULL, cmd_uid = NULL WHERE id = ?1",
                params![trial, attempts, clipped(message), state.as_str()],
            )
            .map(drop)
            .map_err(self.failed("write a trial's failed attempt"))
    }

    /// Writes a trial's verdict.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish_trial(
        &mut self,
        trial: i64,
        state: TrialState,
        finding: &Finding,
        now: Timestamp,
    ) -> Result<TrialRecord, StoreError> {
        self.connection
            .query_one(
                &format!(
                    "UPDATE trials SET state = ?2, metrics = ?3, objective = ?4, violated = ?5, message = ?6,
                       finished_at = ?7, step = NULL, cmd_uid = NULL
                     WHERE id = ?1 RETURNING {TRIAL_COLUMNS}"
                ),
                params![
                    trial,
                    state.as_str(),
                    json(&finding.metrics),
                    finding.objective,
                    json(&finding.violated),
                    finding.message.as_deref().map(clipped),
                    now.to_string(),
                ],
                trial_from_row,
            )
            .map_err(self.failed("write a trial's result"))
    }
}

/// The types stored here are maps with text keys, lists and finite numbers, which always have a JSON form.
fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

fn clipped(message: &str) -> String {
    match message.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests;
