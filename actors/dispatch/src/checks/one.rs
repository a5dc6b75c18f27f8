//! Running a single check (`spec/events-and-checks.md` §6.9).

use serde_json::Value;
use servo_messages::{EventError, HaltOn};
use thiserror::Error;

use super::{
    check::{Check, CheckId, CheckResult, NO_MESSAGE},
    declare::Checks,
    event::CheckEvent,
    filter::{CheckFilter, Patterns},
};

/// The one check that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckTarget {
    /// The one with this id.
    Id(String),
    /// The first one with this name.
    Name(String),
}

/// Why a check has no result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RunOneError {
    /// Neither an id nor a name.
    #[error("unable to run check: an id or name must be given (both are None)")]
    NoTarget,
    /// Both.
    #[error("unable to run check: id and name cannot both be given (id='{id}', name='{name}')")]
    TwoTargets {
        /// The id.
        id: String,
        /// The name.
        name: String,
    },
    /// What was given is no text.
    #[error("unable to run check: {key} must be a string (got {value})")]
    NotText {
        /// `id` or `name`.
        key: &'static str,
        /// What was given.
        value: Value,
    },
    /// There is none.
    #[error("failed running check: no check found with {key} = '{value}'")]
    NotFound {
        /// `id` or `name`.
        key: &'static str,
        /// What was given.
        value: String,
    },
    /// One that it builds on failed.
    #[error(
        "failed running check: check {key} '{value}' was not run due to a prerequisite failure: \
         check id '{}' failed: \"{}\"", .cause.id, .cause.message
    )]
    Prerequisite {
        /// `id` or `name`.
        key: &'static str,
        /// What was given.
        value: String,
        /// What failed.
        cause: Box<FailedPrerequisite>,
    },
    /// The checks are declared wrongly.
    #[error("failed running check: {0}")]
    Declaration(#[from] EventError),
}

/// A check that kept another from being run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedPrerequisite {
    /// Its id.
    pub id: CheckId,
    /// What it said.
    pub message: String,
}

// === impl CheckTarget ===

impl CheckTarget {
    /// From arguments of which exactly one has to be there, as a text.
    ///
    /// # Errors
    /// When there is none, when both are there, or when it is no text.
    pub fn of_arguments(id: Option<&Value>, name: Option<&Value>) -> Result<Self, RunOneError> {
        fn text(key: &'static str, value: Option<&Value>) -> Result<Option<String>, RunOneError> {
            match value {
                None | Some(Value::Null) => Ok(None),
                Some(Value::String(text)) => Ok(Some(text.clone())),
                Some(other) => Err(RunOneError::NotText {
                    key,
                    value: other.clone(),
                }),
            }
        }
        match (text("id", id)?, text("name", name)?) {
            (None, None) => Err(RunOneError::NoTarget),
            (Some(id), Some(name)) => Err(RunOneError::TwoTargets { id, name }),
            (Some(id), None) => Ok(Self::Id(id)),
            (None, Some(name)) => Ok(Self::Name(name)),
        }
    }

    fn key_and_value(&self) -> (&'static str, &str) {
        match self {
            Self::Id(id) => ("id", id),
            Self::Name(name) => ("name", name),
        }
    }

    fn is(&self, check: &Check) -> bool {
        match self {
            Self::Id(id) => check.id.as_str() == id,
            Self::Name(name) => check.name == *name,
        }
    }
}

// === impl Checks ===

impl Checks<'_> {
    /// Runs the check that is wanted, after the critical ones before it unless `alone`.
    ///
    /// # Errors
    /// When there is no such check, when one that it builds on failed, or when the checks are declared wrongly.
    pub async fn run_one(
        self,
        target: &CheckTarget,
        halt_on: HaltOn,
        alone: bool,
    ) -> Result<Check, RunOneError> {
        let (key, value) = target.key_and_value();
        let exactly = Some(Patterns::exactly(value));
        let mut matching = CheckFilter {
            exclusive: alone,
            ..CheckFilter::default()
        };
        match target {
            CheckTarget::Id(_) => matching.id = exactly,
            CheckTarget::Name(_) => matching.name = exactly,
        }
        let event = CheckEvent::new(matching, halt_on);
        let mut results = self.run_alone(&event).await?;
        let value = value.to_owned();
        let Some(place) = results.iter().position(|check| target.is(check)) else {
            return Err(RunOneError::NotFound { key, value });
        };
        let found = results.swap_remove(place);
        let CheckResult::Skipped { blocked_by } = &found.result else {
            return Ok(found);
        };
        let cause = results.iter().find(|check| check.id == *blocked_by);
        let message = cause
            .and_then(Check::message)
            .filter(|message| !message.is_empty())
            .unwrap_or(NO_MESSAGE);
        Err(RunOneError::Prerequisite {
            key,
            value,
            cause: Box::new(FailedPrerequisite {
                id: blocked_by.clone(),
                message: message.to_owned(),
            }),
        })
    }
}
