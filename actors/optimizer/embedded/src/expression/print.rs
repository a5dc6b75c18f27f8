//! Tree to text, with no more brackets than the grammar needs. Parsing the text gives the same tree.

use std::fmt;

use super::{Constraint, Formula, Name, Node, Operator, Relation};

impl Relation {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::AtMost => "<=",
            Self::Below => "<",
            Self::AtLeast => ">=",
            Self::Above => ">",
        }
    }
}

impl Operator {
    fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Power => "^",
        }
    }
}

/// How tightly a node holds together: a sum 1, a product 2, a sign 3, a power 4, anything closed 5.
fn strength(node: &Node) -> u8 {
    match node {
        Node::Binary(Operator::Add | Operator::Subtract, ..) => 1,
        Node::Binary(Operator::Multiply | Operator::Divide, ..) => 2,
        Node::Negate(_) => 3,
        Node::Binary(Operator::Power, ..) => 4,
        Node::Number(_) | Node::Name(_) | Node::Call(..) => 5,
    }
}

fn bracketed(node: &Node, at_least: u8, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    if strength(node) >= at_least {
        write!(formatter, "{node}")
    } else {
        write!(formatter, "({node})")
    }
}

impl fmt::Display for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Name(name) => write!(formatter, "{name}"),
            Self::Negate(inner) => {
                formatter.write_str("-")?;
                bracketed(inner, 3, formatter)
            }
            Self::Binary(operator, left, right) => {
                let own = strength(self);
                let (left_needs, right_needs) = if *operator == Operator::Power {
                    (5, 3)
                } else {
                    (own, own + 1)
                };
                bracketed(left, left_needs, formatter)?;
                match operator {
                    Operator::Power => formatter.write_str("^")?,
                    other => write!(formatter, " {} ", other.symbol())?,
                }
                bracketed(right, right_needs, formatter)
            }
            Self::Call(function, arguments) => {
                write!(formatter, "{}(", function.name())?;
                for (index, argument) in arguments.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(formatter, "{comma}{argument}")?;
                }
                formatter.write_str(")")
            }
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, piece) in self.pieces.iter().enumerate() {
            let dot = if index == 0 { "" } else { "." };
            let plain = piece
                .chars()
                .enumerate()
                .all(|(at, c)| c == '_' || c.is_alphabetic() || (at > 0 && c.is_alphanumeric()));
            if plain {
                write!(formatter, "{dot}{piece}")?
            } else {
                write!(formatter, "{dot}`{piece}`")?
            }
        }
        Ok(())
    }
}

impl fmt::Display for Formula {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.root)
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} {} {}",
            self.left,
            self.relation.symbol(),
            self.right
        )
    }
}
