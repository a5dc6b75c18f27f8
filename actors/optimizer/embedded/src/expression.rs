//! The language of objectives and constraints.
//!
//! ```text
//! objective   3 * settings.web.cpu + 0.5 * settings.web.mem
//! objective   min(p99, 500) / throughput
//! constraint  p99 <= 250
//! constraint  p99 <= 1.05 * baseline
//! constraint  error_rate < baseline.error_rate + 0.1
//! ```
//!
//! * Operators, weakest first: `+ -`, `* /`, unary `-` and `+`, `^` (binds to the right).
//! * Functions: `min(a, b, ...)`, `max(a, b, ...)`, `abs(a)`, `sqrt(a)`, `log(a)` (natural), `exp(a)`.
//! * A bare name is a metric; `settings.<component>.<setting>` a setting, and so is `<component>.<setting>` when no metric has that name.
//!   A name with other characters than letters, digits and `_` is quoted piece by piece or whole with backticks: `` `web-app`.cpu ``.
//! * `baseline.<name>` is the value measured with the baseline configuration. In a constraint, `baseline` alone is the value which the *other* side of the
//!   comparison had there, so `p99 <= 1.05 * baseline` needs no name.
//!
//! An expression is read in two steps: [`Formula::parse`] and [`Constraint::parse`] know only the grammar, so a configuration file is checked before any
//! application has described itself; [`Formula::bind`] and [`Constraint::bind`] look the names up in a [`Vocabulary`]. What is bound evaluates without allocation.

mod bind;
mod parse;
mod print;

pub use bind::{BoundConstraint, BoundFormula, Evaluation, Vocabulary};

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest accepted expression, in bytes: far beyond what a person writes, small enough to hold against a hostile file.
pub const MAX_LENGTH: usize = 4096;

/// Deepest accepted nesting of parentheses, functions and signs.
pub const MAX_DEPTH: usize = 64;

/// Why an expression cannot be used, and where. Columns count characters from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column} of \"{source_text}\": {problem}")]
pub struct ExpressionError {
    /// The expression as it was written.
    pub source_text: String,
    /// Character position of the offending word, counted from 1.
    pub column: usize,
    /// What is wrong with it and, where one is near, what was probably meant.
    pub problem: String,
}

/// A function of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Min,
    Max,
    Abs,
    Sqrt,
    Log,
    Exp,
}

impl Function {
    pub(crate) const ALL: [(&'static str, Self); 6] = [
        ("min", Self::Min),
        ("max", Self::Max),
        ("abs", Self::Abs),
        ("sqrt", Self::Sqrt),
        ("log", Self::Log),
        ("exp", Self::Exp),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, function)| *function == self)
            .map_or("", |(name, _)| name)
    }

    /// `min` and `max` compare any number of values, the others take exactly one.
    pub(crate) fn accepts(self, arguments: usize) -> bool {
        match self {
            Self::Min | Self::Max => arguments >= 2,
            Self::Abs | Self::Sqrt | Self::Log | Self::Exp => arguments == 1,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
}

/// A name as written: its dotted pieces without quotes, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub(crate) pieces: Vec<String>,
    pub(crate) column: usize,
}

/// Equality is of meaning: two expressions that differ only in spacing are equal.
impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.pieces == other.pieces
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Number(f64),
    Name(Name),
    Negate(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Call(Function, Vec<Node>),
}

impl Node {
    fn visit_names<'a>(&'a self, visit: &mut impl FnMut(&'a Name)) {
        match self {
            Self::Number(_) => {}
            Self::Name(name) => visit(name),
            Self::Negate(inner) => inner.visit_names(visit),
            Self::Binary(_, left, right) => {
                left.visit_names(visit);
                right.visit_names(visit);
            }
            Self::Call(_, arguments) => arguments
                .iter()
                .for_each(|argument| argument.visit_names(visit)),
        }
    }

    fn mentions(&self, wanted: &str) -> bool {
        let mut found = false;
        self.visit_names(&mut |name| {
            found |= name.pieces.last().is_some_and(|piece| piece == wanted);
        });
        found
    }

    fn bare_baseline(&self) -> Option<&Name> {
        let mut found = None;
        self.visit_names(&mut |name| {
            if name.is_bare_baseline() && found.is_none() {
                found = Some(name);
            }
        });
        found
    }
}

impl Name {
    pub(crate) fn is_bare_baseline(&self) -> bool {
        self.pieces.len() == 1 && self.pieces.first().is_some_and(|piece| piece == "baseline")
    }
}

/// An arithmetic expression over metrics and settings whose grammar has been checked.
#[derive(Debug, Clone)]
pub struct Formula {
    pub(crate) source: String,
    pub(crate) root: Node,
}

impl Formula {
    /// Parses a formula such as `throughput / (3 * settings.web.cpu)`.
    ///
    /// # Errors
    /// When the text does not follow the grammar, is longer than [`MAX_LENGTH`], nests deeper than [`MAX_DEPTH`], or names `baseline` alone: only a
    /// constraint has another side for it to speak of.
    pub fn parse(source: &str) -> Result<Self, ExpressionError> {
        let root = parse::formula(source)?;
        if let Some(name) = root.bare_baseline() {
            return Err(ExpressionError {
                source_text: source.to_owned(),
                column: name.column,
                problem: "`baseline` alone has a meaning only in a constraint; name the metric, as in `baseline.p99`".to_owned(),
            });
        }
        Ok(Self {
            source: source.trim().to_owned(),
            root,
        })
    }

    /// The text it was parsed from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Looks the names up.
    ///
    /// # Errors
    /// When a name is neither a metric nor a setting of `vocabulary`; the message names the nearest one that is.
    pub fn bind(&self, vocabulary: &Vocabulary) -> Result<BoundFormula, ExpressionError> {
        bind::formula(self, vocabulary)
    }
}

impl Formula {
    /// Whether `name` is spoken of, as a metric or of the baseline.
    pub(crate) fn mentions(&self, name: &str) -> bool {
        self.root.mentions(name)
    }
}

impl PartialEq for Formula {
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root
    }
}

/// How the two sides of a constraint are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `<=`
    AtMost,
    /// `<`
    Below,
    /// `>=`
    AtLeast,
    /// `>`
    Above,
}

/// A comparison which a configuration must satisfy, such as `p99 <= 1.05 * baseline`.
#[derive(Debug, Clone)]
pub struct Constraint {
    pub(crate) source: String,
    pub(crate) left: Node,
    pub(crate) relation: Relation,
    pub(crate) right: Node,
}

impl Constraint {
    /// Parses a constraint.
    ///
    /// # Errors
    /// As [`Formula::parse`]; besides when there is not exactly one comparison, or both sides say `baseline` alone.
    pub fn parse(source: &str) -> Result<Self, ExpressionError> {
        let (left, relation, right) = parse::constraint(source)?;
        if let (Some(_), Some(name)) = (left.bare_baseline(), right.bare_baseline()) {
            return Err(ExpressionError {
                source_text: source.to_owned(),
                column: name.column,
                problem: "`baseline` alone on both sides of a comparison has nothing to refer to; name the metric, as in `baseline.p99`".to_owned(),
            });
        }
        Ok(Self {
            source: source.trim().to_owned(),
            left,
            relation,
            right,
        })
    }

    /// The text it was parsed from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Looks the names up; see [`Formula::bind`].
    ///
    /// # Errors
    /// When a name is unknown.
    pub fn bind(&self, vocabulary: &Vocabulary) -> Result<BoundConstraint, ExpressionError> {
        bind::constraint(self, vocabulary)
    }
}

impl Constraint {
    /// Whether `name` is spoken of, as a metric or of the baseline.
    pub(crate) fn mentions(&self, name: &str) -> bool {
        self.left.mentions(name) || self.right.mentions(name)
    }
}

impl PartialEq for Constraint {
    fn eq(&self, other: &Self) -> bool {
        self.left == other.left && self.relation == other.relation && self.right == other.right
    }
}

macro_rules! as_text {
    ($type:ident, $title:literal, $description:literal, $example:literal) => {
        impl FromStr for $type {
            type Err = ExpressionError;

            fn from_str(source: &str) -> Result<Self, Self::Err> {
                Self::parse(source)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.source)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                        formatter.write_str(concat!("an expression such as `", $example, "`"))
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                        $type::parse(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $title.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $description, "examples": [$example] })
            }
        }
    };
}

as_text!(
    Formula,
    "Formula",
    "Arithmetic over metrics and settings.",
    "3 * settings.web.cpu + settings.web.mem"
);
as_text!(
    Constraint,
    "Constraint",
    "A comparison over metrics and settings which must hold.",
    "p99 <= 1.05 * baseline"
);

#[cfg(test)]
mod tests;
