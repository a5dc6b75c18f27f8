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

mod error;
mod schema;

pub use error::StoreError;

use std::{collections::BTreeMap, path::Path, path::PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use crate::application::{Application, Assignment};

/// A file of trials.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

/// What one study is about. Two studies of an optimizer id never have the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StudyRecord {
    /// Row id; rises with creation.
    pub id: i64,
    /// The optimizer id whose servo is tuned.
    pub optimizer: String,
    /// Identifies space, objective and constraints; see [`crate::study::fingerprint`].
    pub fingerprint: String,
    /// The objective as configured, for people; absent when the study only observes.
    pub objective: Option<String>,
    /// The constraints as configured, for people.
    pub constraints: Vec<String>,
    /// How the application described itself last.
    pub application: Application,
    /// The configuration the study began from.
    pub baseline: Assignment,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ended, if it did. A larger budget opens it again.
    pub ended_at: Option<Timestamp>,
    /// The result with which it ended, as JSON.
    pub result: Option<serde_json::Value>,
}

/// How a trial stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrialState {
    /// Its command is handed out, or about to be.
    Pending,
    /// It could not be carried out; whether the configuration or the target is to blame is being found
    /// out by measuring the baseline.
    Suspect,
    /// Measured, and every constraint holds.
    Completed,
    /// Measured, and a constraint is broken; or the servo gave up because an SLO was violated.
    Infeasible,
    /// The configuration cannot run.
    Failed,
    /// Measured, but the objective has no value, for instance because a metric is missing.
    Invalid,
}

impl TrialState {
    /// Every state, in the order in which they are reported.
    pub const ALL: [Self; 6] = [
        Self::Completed,
        Self::Infeasible,
        Self::Failed,
        Self::Invalid,
        Self::Suspect,
        Self::Pending,
    ];

    /// The word in the file and in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Suspect => "suspect",
            Self::Completed => "completed",
            Self::Infeasible => "infeasible",
            Self::Failed => "failed",
            Self::Invalid => "invalid",
        }
    }

    /// Whether the trial has its verdict.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Suspect)
    }
}

/// Why a trial is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Measure the configuration the study began from.
    Baseline,
    /// Measure the baseline again: the difference is the noise.
    Repeat,
    /// Measure the baseline to find out whether the target works at all.
    Probe,
    /// Learn about the space.
    Explore,
    /// Expected to be better.
    Improve,
    /// Measure a finalist again.
    Confirm,
}

impl Purpose {
    const ALL: [Self; 6] = [
        Self::Baseline,
        Self::Repeat,
        Self::Probe,
        Self::Explore,
        Self::Improve,
        Self::Confirm,
    ];

    /// The word in the file and in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Repeat => "repeat",
            Self::Probe => "probe",
            Self::Explore => "explore",
            Self::Improve => "improve",
            Self::Confirm => "confirm",
        }
    }
}

/// Which of a trial's two commands is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Bring the application to the trial's settings.
    Adjust,
    /// Measure it there.
    Measure,
}

impl Step {
    fn as_str(self) -> &'static str {
        match self {
            Self::Adjust => "adjust",
            Self::Measure => "measure",
        }
    }
}

/// The command of a pending trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Issued {
    /// Which of the two.
    pub step: Step,
    /// Its uid, which the servo's answer carries.
    pub cmd_uid: String,
}

/// One trial: one configuration and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrialRecord {
    /// Row id.
    pub id: i64,
    /// The study's row id.
    pub study: i64,
    /// Place in the study, counted from 1.
    pub number: u32,
    /// Why it is made.
    pub purpose: Purpose,
    /// How it stands.
    pub state: TrialState,
    /// What the application is (to be) set to.
    pub settings: Assignment,
    /// What was measured; a metric that came as a series is here as its mean.
    pub metrics: BTreeMap<String, f64>,
    /// Value of the objective as configured, whichever the direction.
    pub objective: Option<f64>,
    /// The constraints that are broken, as configured.
    pub violated: Vec<String>,
    /// The model's probability, before the trial, that all constraints would hold.
    pub p_feasible: Option<f64>,
    /// The command handed out last.
    pub issued: Option<Issued>,
    /// How often carrying it out has failed.
    pub attempts: u32,
    /// When its row was written.
    pub created_at: Timestamp,
    /// When its last command was handed out first.
    pub started_at: Option<Timestamp>,
    /// When it got its verdict.
    pub finished_at: Option<Timestamp>,
    /// Why it failed, or what is worth knowing.
    pub message: Option<String>,
}

/// What is known of a trial before it is made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTrial {
    /// Why it is made.
    pub purpose: Purpose,
    /// What the application is to be set to.
    pub settings: Assignment,
    /// The model's probability that all constraints will hold.
    pub p_feasible: Option<f64>,
}

/// What a finished trial brought.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Finding {
    /// What was measured.
    pub metrics: BTreeMap<String, f64>,
    /// Value of the objective.
    pub objective: Option<f64>,
    /// The constraints that are broken.
    pub violated: Vec<String>,
    /// Why it failed, or what is worth knowing.
    pub message: Option<String>,
}

/// Messages come from connectors and may quote whole logs.
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
        self.connection
            .query_row(
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
            .query_row(
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

/// What [`Store::activate_study`] writes.
#[derive(Debug, Clone, Copy)]
pub struct NewStudy<'a> {
    /// The optimizer id.
    pub optimizer: &'a str,
    /// Identifies space, objective and constraints.
    pub fingerprint: &'a str,
    /// The objective as configured.
    pub objective: Option<&'a str>,
    /// The constraints as configured.
    pub constraints: &'a [String],
    /// The description.
    pub application: &'a Application,
    /// The configuration to begin from.
    pub baseline: &'a Assignment,
}

const SELECT_STUDY: &str = "SELECT id, optimizer, fingerprint, objective, constraints, application, baseline, created_at, ended_at, result FROM studies";
const TRIAL_COLUMNS: &str = "id, study, number, purpose, state, settings, metrics, objective, violated, p_feasible, step, cmd_uid, attempts, created_at, started_at, finished_at, message";
const SELECT_TRIAL: &str = "SELECT id, study, number, purpose, state, settings, metrics, objective, violated, p_feasible, step, cmd_uid, attempts, created_at, started_at, finished_at, message FROM trials";

fn study_from_row(row: &Row<'_>) -> rusqlite::Result<StudyRecord> {
    Ok(StudyRecord {
        id: row.get(0)?,
        optimizer: row.get(1)?,
        fingerprint: row.get(2)?,
        objective: row.get(3)?,
        constraints: from_json(row, 4)?,
        application: from_json(row, 5)?,
        baseline: from_json(row, 6)?,
        created_at: timestamp(row, 7)?.unwrap_or_default(),
        ended_at: timestamp(row, 8)?,
        result: match row.get_ref(9)? {
            rusqlite::types::ValueRef::Null => None,
            _ => Some(from_json(row, 9)?),
        },
    })
}

fn trial_from_row(row: &Row<'_>) -> rusqlite::Result<TrialRecord> {
    let step: Option<String> = row.get(10)?;
    let cmd_uid: Option<String> = row.get(11)?;
    let issued = match (step.as_deref(), cmd_uid) {
        (Some("adjust"), Some(cmd_uid)) => Some(Issued {
            step: Step::Adjust,
            cmd_uid,
        }),
        (Some("measure"), Some(cmd_uid)) => Some(Issued {
            step: Step::Measure,
            cmd_uid,
        }),
        _ => None,
    };
    Ok(TrialRecord {
        id: row.get(0)?,
        study: row.get(1)?,
        number: row.get(2)?,
        purpose: word(row, 3, &Purpose::ALL, Purpose::as_str)?,
        state: word(row, 4, &TrialState::ALL, TrialState::as_str)?,
        settings: from_json(row, 5)?,
        metrics: from_json(row, 6)?,
        objective: row.get(7)?,
        violated: from_json(row, 8)?,
        p_feasible: row.get(9)?,
        issued,
        attempts: row.get(12)?,
        created_at: timestamp(row, 13)?.unwrap_or_default(),
        started_at: timestamp(row, 14)?,
        finished_at: timestamp(row, 15)?,
        message: row.get(16)?,
    })
}

fn unreadable(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

fn from_json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(column, error))
}

fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| {
        text.parse()
            .map_err(|error: jiff::Error| unreadable(column, error))
    })
    .transpose()
}

fn word<T: Copy>(
    row: &Row<'_>,
    column: usize,
    all: &[T],
    as_str: impl Fn(T) -> &'static str,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    all.iter()
        .copied()
        .find(|candidate| as_str(*candidate) == text)
        .ok_or_else(|| {
            unreadable(
                column,
                std::io::Error::other(format!("unknown word {text:?}")),
            )
        })
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
