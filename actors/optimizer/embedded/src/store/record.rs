//! Studies and trials as they are kept, and how a row becomes one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::Row;
use serde::{Deserialize, Serialize};

use crate::application::{Application, Assignment};

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
    pub(super) fn as_str(self) -> &'static str {
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

/// What [`crate::Store::activate_study`] writes.
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

pub(super) const SELECT_STUDY: &str = "SELECT id, optimizer, fingerprint, objective, constraints, application, baseline, created_at, ended_at, result FROM studies";
pub(super) const TRIAL_COLUMNS: &str = "id, study, number, purpose, state, settings, metrics, objective, violated, p_feasible, step, cmd_uid, attempts, created_at, started_at, finished_at, message";
pub(super) const SELECT_TRIAL: &str = "SELECT id, study, number, purpose, state, settings, metrics, objective, violated, p_feasible, step, cmd_uid, attempts, created_at, started_at, finished_at, message FROM trials";

pub(super) fn study_from_row(row: &Row<'_>) -> rusqlite::Result<StudyRecord> {
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

pub(super) fn trial_from_row(row: &Row<'_>) -> rusqlite::Result<TrialRecord> {
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
