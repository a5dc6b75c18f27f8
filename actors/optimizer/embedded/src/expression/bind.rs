//! Names to places: what an expression means for one application.

use super::{
    Constraint, ExpressionError, Formula, Function, MAX_DEPTH, Name, Node, Operator, Relation,
};

/// What an expression may name: the metrics and the numeric settings of one application, each at a fixed place.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vocabulary {
    /// Names of the metrics; their place is their index in [`Evaluation::metrics`].
    pub metrics: Vec<String>,
    /// `(component, setting, numeric)`; their place is their index in [`Evaluation::settings`]. A setting that is not numeric is known by name but cannot be
    /// calculated with.
    pub settings: Vec<(String, String, bool)>,
}

/// The values to calculate with. Metrics which an expression does not name may be NaN.
#[derive(Debug, Clone, Copy)]
pub struct Evaluation<'a> {
    /// Values of [`Vocabulary::metrics`].
    pub metrics: &'a [f64],
    /// Values of [`Vocabulary::settings`].
    pub settings: &'a [f64],
    /// Values of the metrics at the baseline.
    pub baseline_metrics: &'a [f64],
    /// Values of the settings at the baseline.
    pub baseline_settings: &'a [f64],
}

impl<'a> Evaluation<'a> {
    fn at_baseline(self) -> Self {
        Self {
            metrics: self.baseline_metrics,
            settings: self.baseline_settings,
            ..self
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Bound {
    Number(f64),
    Metric(usize),
    Setting(usize),
    BaselineMetric(usize),
    BaselineSetting(usize),
    /// The value of the constraint's other side at the baseline.
    OtherSide,
    Negate(Box<Bound>),
    Binary(Operator, Box<Bound>, Box<Bound>),
    Call(Function, Vec<Bound>),
}

impl Bound {
    fn value(&self, at: Evaluation<'_>, other_side: f64) -> f64 {
        let place = |values: &[f64], index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        match self {
            Self::Number(number) => *number,
            Self::Metric(index) => place(at.metrics, *index),
            Self::Setting(index) => place(at.settings, *index),
            Self::BaselineMetric(index) => place(at.baseline_metrics, *index),
            Self::BaselineSetting(index) => place(at.baseline_settings, *index),
            Self::OtherSide => other_side,
            Self::Negate(inner) => -inner.value(at, other_side),
            Self::Binary(operator, left, right) => {
                let (left, right) = (left.value(at, other_side), right.value(at, other_side));
                match operator {
                    Operator::Add => left + right,
                    Operator::Subtract => left - right,
                    Operator::Multiply => left * right,
                    Operator::Divide => left / right,
                    Operator::Power => left.powf(right),
                }
            }
            Self::Call(function, arguments) => {
                let mut values = arguments
                    .iter()
                    .map(|argument| argument.value(at, other_side));
                let first = values.next().unwrap_or(f64::NAN);
                match function {
                    // `f64::min` would hide a missing metric, since it prefers the operand that is a number.
                    Function::Min => values.fold(first, |least, value| {
                        if least.is_nan() || value.is_nan() {
                            f64::NAN
                        } else {
                            least.min(value)
                        }
                    }),
                    Function::Max => values.fold(first, |most, value| {
                        if most.is_nan() || value.is_nan() {
                            f64::NAN
                        } else {
                            most.max(value)
                        }
                    }),
                    Function::Abs => first.abs(),
                    Function::Sqrt => first.sqrt(),
                    Function::Log => first.ln(),
                    Function::Exp => first.exp(),
                }
            }
        }
    }

    fn visit(&self, visit: &mut impl FnMut(&Self)) {
        visit(self);
        match self {
            Self::Negate(inner) => inner.visit(visit),
            Self::Binary(_, left, right) => {
                left.visit(visit);
                right.visit(visit);
            }
            Self::Call(_, arguments) => arguments.iter().for_each(|argument| argument.visit(visit)),
            _ => {}
        }
    }

    fn metrics(&self, into: &mut Vec<usize>) {
        self.visit(&mut |node| {
            if let Self::Metric(index) | Self::BaselineMetric(index) = node
                && !into.contains(index)
            {
                into.push(*index);
            }
        });
    }
}

/// A formula whose names are resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundFormula {
    root: Bound,
}

impl BoundFormula {
    /// The value; not finite when a needed metric is missing or the arithmetic has no result (a division by zero, the root of a negative number).
    #[must_use]
    pub fn value(&self, at: Evaluation<'_>) -> f64 {
        self.root.value(at, f64::NAN)
    }

    /// Adds the places of the metrics it names to `into`, each once.
    pub fn metrics(&self, into: &mut Vec<usize>) {
        self.root.metrics(into);
    }
}

/// A constraint whose names are resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundConstraint {
    left: Bound,
    relation: Relation,
    right: Bound,
}

impl BoundConstraint {
    /// By how much it is broken: zero or less when it holds, not finite when it cannot be evaluated.
    #[must_use]
    pub fn violation(&self, at: Evaluation<'_>) -> f64 {
        let baseline = at.at_baseline();
        let left = self.left.value(at, self.right.value(baseline, f64::NAN));
        let right = self.right.value(at, self.left.value(baseline, f64::NAN));
        match self.relation {
            Relation::AtMost => left - right,
            Relation::AtLeast => right - left,
            // Equal sides break a strict relation by the least there is; any other difference is not changed by it.
            Relation::Below => left - right + f64::MIN_POSITIVE,
            Relation::Above => right - left + f64::MIN_POSITIVE,
        }
    }

    /// Adds the places of the metrics it names to `into`, each once.
    pub fn metrics(&self, into: &mut Vec<usize>) {
        self.left.metrics(into);
        self.right.metrics(into);
    }
}

pub(super) fn formula(
    formula: &Formula,
    vocabulary: &Vocabulary,
) -> Result<BoundFormula, ExpressionError> {
    Ok(BoundFormula {
        root: resolve(&formula.root, vocabulary, &formula.source)?,
    })
}

pub(super) fn constraint(
    constraint: &Constraint,
    vocabulary: &Vocabulary,
) -> Result<BoundConstraint, ExpressionError> {
    Ok(BoundConstraint {
        left: resolve(&constraint.left, vocabulary, &constraint.source)?,
        relation: constraint.relation,
        right: resolve(&constraint.right, vocabulary, &constraint.source)?,
    })
}

fn resolve(node: &Node, vocabulary: &Vocabulary, source: &str) -> Result<Bound, ExpressionError> {
    Ok(match node {
        Node::Number(number) => Bound::Number(*number),
        Node::Name(name) if name.is_bare_baseline() => Bound::OtherSide,
        Node::Name(name) => look_up(name, vocabulary, source)?,
        Node::Negate(inner) => Bound::Negate(Box::new(resolve(inner, vocabulary, source)?)),
        Node::Binary(operator, left, right) => Bound::Binary(
            *operator,
            Box::new(resolve(left, vocabulary, source)?),
            Box::new(resolve(right, vocabulary, source)?),
        ),
        Node::Call(function, arguments) => Bound::Call(
            *function,
            arguments
                .iter()
                .map(|argument| resolve(argument, vocabulary, source))
                .collect::<Result<_, _>>()?,
        ),
    })
}

fn look_up(name: &Name, vocabulary: &Vocabulary, source: &str) -> Result<Bound, ExpressionError> {
    let fail = |problem: String| ExpressionError {
        source_text: source.to_owned(),
        column: name.column,
        problem,
    };
    let (pieces, of_baseline) = match name.pieces.split_first() {
        Some((first, rest)) if first == "baseline" && !rest.is_empty() => (rest, true),
        _ => (name.pieces.as_slice(), false),
    };
    let (pieces, only_settings, only_metrics) = match pieces.split_first() {
        Some((first, rest)) if first == "settings" && !rest.is_empty() => (rest, true, false),
        Some((first, rest)) if first == "metrics" && !rest.is_empty() => (rest, false, true),
        _ => (pieces, false, false),
    };
    let text = pieces.join(".");
    if !only_settings
        && let Some(index) = vocabulary.metrics.iter().position(|metric| *metric == text)
    {
        return Ok(if of_baseline {
            Bound::BaselineMetric(index)
        } else {
            Bound::Metric(index)
        });
    }
    if !only_metrics
        && let Some((index, (.., numeric))) = vocabulary
            .settings
            .iter()
            .enumerate()
            .find(|(_, (component, setting, _))| is_selector(&text, component, setting))
    {
        if !numeric {
            return Err(fail(format!(
                "the setting `{text}` is not a number, so it cannot be calculated with"
            )));
        }
        return Ok(if of_baseline {
            Bound::BaselineSetting(index)
        } else {
            Bound::Setting(index)
        });
    }
    Err(fail(unknown(&text, vocabulary)))
}

fn is_selector(text: &str, component: &str, setting: &str) -> bool {
    text.strip_prefix(component)
        .and_then(|rest| rest.strip_prefix('.'))
        .is_some_and(|rest| rest == setting)
}

fn unknown(text: &str, vocabulary: &Vocabulary) -> String {
    let known: Vec<String> = vocabulary
        .metrics
        .iter()
        .cloned()
        .chain(
            vocabulary
                .settings
                .iter()
                .map(|(component, setting, _)| format!("settings.{component}.{setting}")),
        )
        .collect();
    // `web-app.cpu` reads as `web` minus `app.cpu`; the name that was meant starts with the word.
    let dashed = known.iter().find(|name| {
        let bare = name.strip_prefix("settings.").unwrap_or(name);
        bare.strip_prefix(text)
            .is_some_and(|rest| rest.starts_with('-'))
    });
    let hint = match dashed {
        Some(name) => format!(
            "; names with other characters than letters, digits and `_` are quoted, as in `{}`",
            quoted(name)
        ),
        None => {
            let bare = text.strip_prefix("settings.").unwrap_or(text);
            let candidates = known
                .iter()
                .map(|name| name.strip_prefix("settings.").unwrap_or(name));
            nearest(bare, candidates).map_or(String::new(), |name| {
                format!("; did you mean `{}`?", quoted(name))
            })
        }
    };
    let listed = if known.is_empty() {
        "the application describes no metrics and no settings".to_owned()
    } else {
        let shown: Vec<&str> = known.iter().take(20).map(String::as_str).collect();
        let more = if known.len() > shown.len() {
            format!(" and {} more", known.len() - shown.len())
        } else {
            String::new()
        };
        format!("known: {}{more}", shown.join(", "))
    };
    format!("unknown name `{text}`{hint} ({listed})")
}

/// The name as the user has to write it.
fn quoted(name: &str) -> String {
    Name {
        pieces: name.split('.').map(str::to_owned).collect(),
        column: 0,
    }
    .to_string()
}

/// The candidate nearest to `word`, if it is near enough to have been meant.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(2);
    candidates
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits, with neighbouring letters swapped counted as one, capped: names are short.
fn distance(left: &str, right: &str) -> usize {
    if left.len().max(right.len()) > 4 * MAX_DEPTH {
        return usize::MAX;
    }
    strsim::osa_distance(&left.to_lowercase(), &right.to_lowercase())
}
