//! What came of a study: the data behind the table *baseline vs chosen*, and one row for each trial.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    application::{Application, Assignment},
    store::{StudyRecord, TrialRecord, TrialState},
};

/// How a study ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StudyResult {
    /// The optimizer id.
    pub optimizer: String,
    /// The study's row id in the trial file.
    pub study: i64,
    /// What was wanted, such as `minimize p99`; absent when the application was only observed.
    pub objective: Option<String>,
    /// What had to hold.
    pub constraints: Vec<String>,
    /// What it amounts to.
    pub verdict: Verdict,
    /// Where it began.
    pub baseline: Option<Standing>,
    /// The best configuration, when it is not the baseline.
    pub chosen: Option<Standing>,
    /// What the chosen configuration gains over the baseline.
    pub gain: Option<Gain>,
    /// Which configuration the application was left with.
    pub applied: Applied,
    /// The metrics which objective and constraints are computed from, those of the objective first.
    pub judged_by: Vec<String>,
    /// How the trials went.
    pub trials: TrialCounts,
    /// When the study was begun.
    pub started_at: Timestamp,
    /// When its last trial ended; for a study that could not go on, when that was found.
    pub ended_at: Timestamp,
    /// Seconds between the two, the time between interruptions included.
    pub duration_seconds: f64,
}

/// What a study amounts to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Verdict {
    /// The chosen configuration beats the baseline by more than the noise.
    Improved,
    /// Nothing does; the baseline stays.
    NoImprovement {
        /// Why, for an operator.
        reason: String,
    },
    /// The baseline itself breaks a constraint; the chosen configuration, if there is one, does not.
    BaselineInfeasible {
        /// Probability that the baseline keeps them.
        p_feasible: f64,
        /// Whether a configuration was found that keeps them.
        #[serde(default)]
        remedied: bool,
    },
    /// No configuration keeps the constraints surely enough.
    NothingFeasible {
        /// The best probability found.
        p_feasible: f64,
    },
    /// The application was only measured once.
    Observed {
        /// Why it was not tuned.
        reason: String,
    },
    /// The study could not go on. What was measured is kept, and the next start continues it.
    Stopped {
        /// Why, and what to do.
        reason: String,
    },
}

impl Verdict {
    /// Whether the study came to its end, with whatever answer.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        !matches!(self, Self::Stopped { .. })
    }
}

/// One sentence.
impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Improved => formatter.write_str(
                "improved: the chosen configuration beats the baseline by more than the noise",
            ),
            Self::NoImprovement { reason } => {
                write!(formatter, "no improvement, the baseline stays: {reason}")
            }
            Self::BaselineInfeasible {
                p_feasible,
                remedied: true,
            } => write!(
                formatter,
                "remedied: the baseline breaks a constraint (probability that it keeps all: {p_feasible:.2}), \
                 the chosen configuration keeps them"
            ),
            Self::BaselineInfeasible {
                p_feasible,
                remedied: false,
            } => write!(
                formatter,
                "the baseline breaks a constraint (probability that it keeps all: {p_feasible:.2}), and nothing \
                 tried keeps all of them surely enough; relax a constraint, widen a range or allow more trials"
            ),
            Self::NothingFeasible { p_feasible } => write!(
                formatter,
                "no configuration keeps all constraints surely enough (best probability: {p_feasible:.2}); \
                 relax a constraint, widen a range or allow more trials"
            ),
            Self::Observed { reason } => write!(formatter, "not tuned: {reason}"),
            Self::Stopped { reason } => write!(formatter, "stopped: {reason}"),
        }
    }
}

/// A number measured several times.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of single measurements; absent for a single one.
    pub sd: Option<f64>,
    /// How many measurements.
    pub n: usize,
}

impl Spread {
    /// Mean and standard deviation (n - 1); `None` of nothing.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self {
            mean,
            // Equal values differ from their mean by its rounding.
            sd: (n > 1)
                .then(|| (squares / (n - 1) as f64).sqrt())
                .map(|sd| if sd <= 1e-12 * mean.abs() { 0.0 } else { sd }),
            n,
        })
    }
}

/// What the model believes of a number after all trials.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Belief {
    /// Expected value.
    pub mean: f64,
    /// Standard deviation of the belief, which shrinks with every measurement.
    pub sd: f64,
}

/// One configuration and what is known of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// The configuration.
    pub settings: Assignment,
    /// What was measured there, by metric.
    pub metrics: BTreeMap<String, MetricStanding>,
    /// The objective as measured.
    pub objective: Option<Spread>,
    /// The objective as the model sees it.
    pub believed: Option<Belief>,
    /// The model's probability that all constraints hold.
    pub p_feasible: Option<f64>,
    /// The numbers of its trials.
    pub trials: Vec<u32>,
}

/// One metric of a [`Standing`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricStanding {
    /// The unit as on the wire.
    pub unit: String,
    /// What was measured.
    #[serde(flatten)]
    pub spread: Spread,
}

impl Standing {
    /// What the finished trials of one configuration measured.
    #[must_use]
    pub fn of(settings: &Assignment, trials: &[TrialRecord], application: &Application) -> Self {
        let own: Vec<&TrialRecord> = trials
            .iter()
            .filter(|trial| trial.state.is_final() && trial.settings == *settings)
            .collect();
        let mut columns: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for trial in &own {
            for (name, value) in &trial.metrics {
                columns.entry(name).or_default().push(*value);
            }
        }
        let metrics = columns.into_iter().filter_map(|(name, values)| {
            let spread = Spread::of(&values)?;
            Some((
                name.to_owned(),
                MetricStanding {
                    unit: application.unit(name).to_owned(),
                    spread,
                },
            ))
        });
        let objectives: Vec<f64> = own.iter().filter_map(|trial| trial.objective).collect();
        Self {
            settings: settings.clone(),
            metrics: metrics.collect(),
            objective: Spread::of(&objectives),
            believed: None,
            p_feasible: None,
            trials: own.iter().map(|trial| trial.number).collect(),
        }
    }
}

/// How much better the chosen configuration is; above zero is better, whichever the direction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gain {
    /// In the objective's own unit.
    pub absolute: Belief,
    /// In per cent of the baseline's objective.
    pub percent: Belief,
    /// Probability that there is any gain.
    pub p_gain: f64,
}

/// Which configuration the application was left with.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "configuration", rename_all = "snake_case")]
pub enum Applied {
    /// The chosen one.
    Chosen,
    /// The baseline.
    Baseline,
    /// Whatever it had; nothing was adjusted.
    Untouched,
    /// Adjusting it failed.
    Unknown {
        /// The last error.
        message: String,
    },
}

/// How many trials ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TrialCounts {
    /// How many were allowed.
    pub budget: usize,
    /// Measured, constraints kept.
    pub completed: usize,
    /// Constraints broken.
    pub infeasible: usize,
    /// Configurations that cannot run.
    pub failed: usize,
    /// Measured without a value for the objective.
    pub invalid: usize,
    /// Not finished.
    pub unfinished: usize,
}

impl TrialCounts {
    /// Counts.
    #[must_use]
    pub fn of(budget: usize, trials: &[TrialRecord]) -> Self {
        let mut counts = Self {
            budget,
            ..Self::default()
        };
        for trial in trials {
            *match trial.state {
                TrialState::Completed => &mut counts.completed,
                TrialState::Infeasible => &mut counts.infeasible,
                TrialState::Failed => &mut counts.failed,
                TrialState::Invalid => &mut counts.invalid,
                TrialState::Suspect | TrialState::Pending => &mut counts.unfinished,
            } += 1;
        }
        counts
    }
}

/// A study of a trial file, for `servo optimizer trials`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StudyRow {
    /// Row id.
    pub id: i64,
    /// The optimizer id.
    pub optimizer: String,
    /// What is wanted.
    pub objective: Option<String>,
    /// What must hold.
    pub constraints: Vec<String>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it ended, if it did.
    pub ended_at: Option<Timestamp>,
    /// How many trials there are, and how many of them are finished.
    pub trials: usize,
    /// Finished ones.
    pub finished: usize,
    /// The verdict of an ended study, in words.
    pub verdict: Option<String>,
}

impl StudyRow {
    /// The row of a study and its trials.
    #[must_use]
    pub fn of(study: &StudyRecord, trials: &[TrialRecord]) -> Self {
        let verdict = study
            .result
            .as_ref()
            .and_then(|result| result.get("verdict"));
        let verdict =
            verdict.and_then(|verdict| serde_json::from_value::<Verdict>(verdict.clone()).ok());
        Self {
            id: study.id,
            optimizer: study.optimizer.clone(),
            objective: study.objective.clone(),
            constraints: study.constraints.clone(),
            created_at: study.created_at,
            ended_at: study.ended_at,
            trials: trials.len(),
            finished: trials.iter().filter(|trial| trial.state.is_final()).count(),
            verdict: verdict.map(|verdict| verdict.to_string()),
        }
    }
}

/// A trial of a trial file, for `servo optimizer trials` and the HTTP API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrialRow {
    /// Place in the study, from 1.
    pub number: u32,
    /// Why it was made.
    pub purpose: &'static str,
    /// How it stands.
    pub state: TrialState,
    /// The configuration.
    pub settings: Assignment,
    /// What was measured.
    pub metrics: BTreeMap<String, f64>,
    /// Value of the objective.
    pub objective: Option<f64>,
    /// Constraints that are broken.
    pub violated: Vec<String>,
    /// The model's probability, before the trial, that all would hold.
    pub p_feasible: Option<f64>,
    /// How often carrying it out failed.
    pub attempts: u32,
    /// When its row was written.
    pub created_at: Timestamp,
    /// When it got its verdict.
    pub finished_at: Option<Timestamp>,
    /// Why it failed.
    pub message: Option<String>,
}

impl From<TrialRecord> for TrialRow {
    fn from(trial: TrialRecord) -> Self {
        Self {
            number: trial.number,
            purpose: trial.purpose.as_str(),
            state: trial.state,
            settings: trial.settings,
            metrics: trial.metrics,
            objective: trial.objective,
            violated: trial.violated,
            p_feasible: trial.p_feasible,
            attempts: trial.attempts,
            created_at: trial.created_at,
            finished_at: trial.finished_at,
            message: trial.message,
        }
    }
}
