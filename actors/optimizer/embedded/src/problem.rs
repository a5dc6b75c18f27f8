//! A study's objective and constraints, bound to one application: what a measurement is worth, and the
//! same question in the search's terms.

use std::collections::BTreeMap;

use servo_messages::SettingValue;

use crate::{
    application::{Application, Assignment, Values},
    expression::{BoundConstraint, BoundFormula, Evaluation, ExpressionError, Vocabulary},
    study::StudyConfig,
};

/// Objective and constraints over the metrics they name and the settings of one application.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Names of the metrics that must be measured, in the order of the search's outputs.
    outputs: Vec<String>,
    objective: BoundFormula,
    maximises: bool,
    constraints: Vec<(String, BoundConstraint)>,
    application: Application,
    settings: Vec<Column>,
}

/// Where the value of a setting comes from, so that a candidate is evaluated without looking up names.
#[derive(Debug, Clone)]
enum Column {
    Coordinate(usize),
    Choice(usize, Vec<f64>),
    Fixed(f64),
}

/// What the measurement of a configuration is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Worth {
    /// Value of the objective as configured.
    pub objective: f64,
    /// Names of the constraints that are broken.
    pub violated: Vec<String>,
}

/// Why a measurement is worth nothing that can be compared.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WorthlessError {
    /// A metric did not come.
    #[error(
        "the measurement has no value for the metric `{metric}`, which the {wanted_by} needs (measured: {measured}); does a connector report it, and was there any traffic?"
    )]
    Missing {
        /// The metric.
        metric: String,
        /// Objective or constraint.
        wanted_by: String,
        /// What came.
        measured: String,
    },
    /// It came, but the arithmetic has no result.
    #[error(
        "the {what} has no finite value for this measurement ({values}); a division by zero, or the logarithm or root of a negative number?"
    )]
    NotFinite {
        /// Objective or constraint.
        what: String,
        /// The metrics it was computed from.
        values: String,
    },
}

/// Values at the baseline, against which relative constraints are judged.
#[derive(Debug, Clone, PartialEq)]
pub struct BaselineValues {
    metrics: Vec<f64>,
    settings: Vec<f64>,
}

impl Problem {
    /// Binds the study's expressions to what the application describes.
    ///
    /// # Errors
    /// When an expression names what is neither a metric nor a setting.
    pub fn new(application: &Application, study: &StudyConfig) -> Result<Self, ExpressionError> {
        let more = study.metrics.as_deref().unwrap_or_default();
        let everything = application.vocabulary(more);
        // Bound once to learn which metrics are needed, then again to those alone, so that the outputs of
        // the search are the values to calculate with.
        let mut needed = Vec::new();
        study
            .objective
            .formula()
            .bind(&everything)?
            .metrics(&mut needed);
        for constraint in &study.constraints.0 {
            constraint
                .constraint
                .bind(&everything)?
                .metrics(&mut needed);
        }
        let outputs: Vec<String> = needed
            .iter()
            .filter_map(|index| everything.metrics.get(*index).cloned())
            .collect();
        // Unmeasured names stay known as metrics, so a setting of the same name is not taken instead.
        let mut metrics = outputs.clone();
        metrics.extend(
            everything
                .metrics
                .iter()
                .filter(|name| !outputs.contains(name))
                .cloned(),
        );
        let vocabulary = Vocabulary {
            metrics,
            settings: everything.settings,
        };
        Ok(Self {
            objective: study.objective.formula().bind(&vocabulary)?,
            maximises: study.objective.maximises(),
            constraints: study
                .constraints
                .0
                .iter()
                .map(|named| Ok((named.name.clone(), named.constraint.bind(&vocabulary)?)))
                .collect::<Result<_, ExpressionError>>()?,
            settings: columns(application),
            application: application.clone(),
            outputs,
        })
    }

    /// The metrics that must be measured.
    #[must_use]
    pub fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// Whether more of the objective is better.
    #[must_use]
    pub fn maximises(&self) -> bool {
        self.maximises
    }

    /// The measured metrics as the search's outputs; `None` when one is missing.
    #[must_use]
    pub fn output_values(&self, metrics: &BTreeMap<String, f64>) -> Option<Vec<f64>> {
        self.outputs
            .iter()
            .map(|name| metrics.get(name).copied())
            .collect()
    }

    /// What is measured at the baseline, averaged over its measurements.
    #[must_use]
    pub fn baseline<'a>(
        &self,
        settings: &Assignment,
        measurements: impl Iterator<Item = &'a BTreeMap<String, f64>>,
    ) -> BaselineValues {
        let rows: Vec<Vec<f64>> = measurements
            .filter_map(|metrics| self.output_values(metrics))
            .collect();
        let mean = |index: usize| {
            let sum: f64 = rows.iter().filter_map(|row| row.get(index)).sum();
            if rows.is_empty() {
                f64::NAN
            } else {
                sum / rows.len() as f64
            }
        };
        BaselineValues {
            metrics: (0..self.outputs.len()).map(mean).collect(),
            settings: self.application.setting_values(settings),
        }
    }

    /// What a measurement at `settings` is worth.
    ///
    /// # Errors
    /// When a needed metric is missing, or the arithmetic has no finite result.
    pub fn worth(
        &self,
        settings: &Assignment,
        metrics: &BTreeMap<String, f64>,
        baseline: &BaselineValues,
    ) -> Result<Worth, WorthlessError> {
        let mut outputs = Vec::with_capacity(self.outputs.len());
        for (index, name) in self.outputs.iter().enumerate() {
            match metrics.get(name) {
                Some(value) if value.is_finite() => outputs.push(*value),
                _ => {
                    return Err(WorthlessError::Missing {
                        metric: name.clone(),
                        wanted_by: self.wanted_by(index),
                        measured: if metrics.is_empty() {
                            "nothing".to_owned()
                        } else {
                            metrics.keys().cloned().collect::<Vec<_>>().join(", ")
                        },
                    });
                }
            }
        }
        let setting_values = self.application.setting_values(settings);
        let at = Evaluation {
            metrics: &outputs,
            settings: &setting_values,
            baseline_metrics: &baseline.metrics,
            baseline_settings: &baseline.settings,
        };
        let finite = |what: &dyn Fn() -> String, value: f64| {
            if value.is_finite() {
                return Ok(value);
            }
            let values: Vec<String> = self
                .outputs
                .iter()
                .zip(&outputs)
                .map(|(name, value)| format!("{name} = {value}"))
                .collect();
            Err(WorthlessError::NotFinite {
                what: what(),
                values: values.join(", "),
            })
        };
        let objective = finite(&|| "objective".to_owned(), self.objective.value(at))?;
        let mut violated = Vec::new();
        for (name, constraint) in &self.constraints {
            if finite(&|| format!("constraint `{name}`"), constraint.violation(at))? > 0.0 {
                violated.push(name.clone());
            }
        }
        Ok(Worth {
            objective,
            violated,
        })
    }

    fn wanted_by(&self, output: usize) -> String {
        let mut needed = Vec::new();
        self.objective.metrics(&mut needed);
        if needed.contains(&output) {
            return "objective".to_owned();
        }
        let constraint = self.constraints.iter().find(|(_, constraint)| {
            let mut needed = Vec::new();
            constraint.metrics(&mut needed);
            needed.contains(&output)
        });
        constraint.map_or_else(
            || "study".to_owned(),
            |(name, _)| format!("constraint `{name}`"),
        )
    }
}

fn columns(application: &Application) -> Vec<Column> {
    let number = |value: &SettingValue| match value {
        SettingValue::Number(number) => number.as_f64(),
        SettingValue::Text(text) => text.parse().unwrap_or(f64::NAN),
    };
    let mut next = 0;
    application
        .settings
        .iter()
        .map(|knob| {
            if !knob.adjustable() {
                return Column::Fixed(knob.value.as_ref().map_or(f64::NAN, number));
            }
            let coordinate = next;
            next += 1;
            match &knob.values {
                Values::Range { .. } => Column::Coordinate(coordinate),
                Values::OneOf(values) => {
                    Column::Choice(coordinate, values.iter().map(number).collect())
                }
            }
        })
        .collect()
}

/// A [`Problem`] with its baseline, as the search asks it: always minimised.
#[derive(Debug, Clone, Copy)]
pub struct SearchProblem<'a> {
    /// The question.
    pub problem: &'a Problem,
    /// What relative constraints are judged against.
    pub baseline: &'a BaselineValues,
}

/// Applications have a handful of settings; more go to the heap.
const ON_STACK: usize = 32;

impl SearchProblem<'_> {
    fn at<R>(
        &self,
        point: &[f64],
        outputs: &[f64],
        calculate: impl FnOnce(Evaluation<'_>) -> R,
    ) -> R {
        let columns = &self.problem.settings;
        let value = |column: &Column| match column {
            Column::Fixed(value) => *value,
            Column::Coordinate(index) => point.get(*index).copied().unwrap_or(f64::NAN),
            Column::Choice(index, values) => {
                let option = point
                    .get(*index)
                    .map_or(usize::MAX, |coordinate| coordinate.round() as usize);
                values.get(option).copied().unwrap_or(f64::NAN)
            }
        };
        let mut small = [f64::NAN; ON_STACK];
        let large: Vec<f64>;
        let settings = match small.get_mut(..columns.len()) {
            Some(places) => {
                for (place, column) in places.iter_mut().zip(columns) {
                    *place = value(column);
                }
                &*places
            }
            None => {
                large = columns.iter().map(value).collect();
                large.as_slice()
            }
        };
        calculate(Evaluation {
            metrics: outputs,
            settings,
            baseline_metrics: &self.baseline.metrics,
            baseline_settings: &self.baseline.settings,
        })
    }
}

impl servo_search::Problem for SearchProblem<'_> {
    fn outputs(&self) -> usize {
        self.problem.outputs.len()
    }

    fn objective(&self, point: &[f64], outputs: &[f64]) -> f64 {
        let value = self.at(point, outputs, |at| self.problem.objective.value(at));
        if self.problem.maximises {
            -value
        } else {
            value
        }
    }

    fn constraints(&self) -> usize {
        self.problem.constraints.len()
    }

    fn constraint(&self, index: usize, point: &[f64], outputs: &[f64]) -> f64 {
        match self.problem.constraints.get(index) {
            Some((_, constraint)) => self.at(point, outputs, |at| constraint.violation(at)),
            None => f64::NAN,
        }
    }
}
