//! What is wanted and what must hold.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::expression::{Constraint, Formula};

/// What is wanted: the least or the most of an expression.
#[derive(Debug, Clone, PartialEq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum Objective {
    /// The less the better, such as a cost.
    Minimize(Formula),
    /// The more the better, such as a throughput.
    Maximize(Formula),
}

impl Objective {
    /// The expression.
    #[must_use]
    pub fn formula(&self) -> &Formula {
        match self {
            Self::Minimize(formula) | Self::Maximize(formula) => formula,
        }
    }

    /// Whether more is better.
    #[must_use]
    pub fn maximises(&self) -> bool {
        matches!(self, Self::Maximize(_))
    }

    /// `minimize p99`
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Minimize(formula) => format!("minimize {}", formula.source()),
            Self::Maximize(formula) => format!("maximize {}", formula.source()),
        }
    }
}

// By hand, because YAML would want a tag (`!minimize p99`) where everybody writes a map.
impl Serialize for Objective {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let key = if self.maximises() {
            "maximize"
        } else {
            "minimize"
        };
        serializer.collect_map([(key, self.formula())])
    }
}

impl<'de> Deserialize<'de> for Objective {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneKey;

        impl<'de> serde::de::Visitor<'de> for OneKey {
            type Value = Objective;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(
                    "a map with the key `minimize` or `maximize`, such as `minimize: p99`",
                )
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                use serde::de::Error as _;

                let Some(key) = map.next_key::<String>()? else {
                    return Err(A::Error::custom(
                        "one of the keys `minimize` and `maximize` is missing",
                    ));
                };
                let objective = match key.as_str() {
                    "minimize" => Objective::Minimize(map.next_value()?),
                    "maximize" => Objective::Maximize(map.next_value()?),
                    other => return Err(A::Error::unknown_field(other, &["minimize", "maximize"])),
                };
                match map.next_key::<String>()? {
                    None => Ok(objective),
                    Some(second) => Err(A::Error::custom(format!(
                        "`{key}` and `{second}`: a study has one objective; put the other under `constraints`, or \
                         weigh both in one expression"
                    ))),
                }
            }
        }

        deserializer.deserialize_map(OneKey)
    }
}

/// One constraint and how it is called in results.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NamedConstraint {
    /// The name; its text where none was given.
    pub name: String,
    /// What must hold.
    pub constraint: Constraint,
}

/// The constraints of a study: a list of comparisons, or a map of names to comparisons.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Constraints(#[schemars(with = "ConstraintsForm")] pub Vec<NamedConstraint>);

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only the schema is taken from it")]
enum ConstraintsForm {
    List(Vec<Constraint>),
    Named(std::collections::BTreeMap<String, Constraint>),
}

impl<'de> Deserialize<'de> for Constraints {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        // By hand, because an untagged enum would swallow the column that a wrong constraint points at.
        impl<'de> serde::de::Visitor<'de> for Form {
            type Value = Vec<NamedConstraint>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(
                    "a list of comparisons such as `p99 <= 250`, or a map of names to comparisons",
                )
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> Result<Self::Value, A::Error> {
                let mut constraints = Vec::new();
                while let Some(constraint) = list.next_element::<Constraint>()? {
                    constraints.push(NamedConstraint {
                        name: constraint.source().to_owned(),
                        constraint,
                    });
                }
                Ok(constraints)
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut constraints = Vec::new();
                while let Some((name, constraint)) = map.next_entry::<String, Constraint>()? {
                    constraints.push(NamedConstraint { name, constraint });
                }
                Ok(constraints)
            }
        }

        let constraints = deserializer.deserialize_any(Form)?;
        if constraints.len() > MAX_CONSTRAINTS {
            return Err(serde::de::Error::custom(format!(
                "{} constraints; at most {MAX_CONSTRAINTS} are accepted",
                constraints.len()
            )));
        }
        Ok(Self(constraints))
    }
}

/// Each constraint costs the search a computation for every candidate.
const MAX_CONSTRAINTS: usize = 50;
