//! A connector's stanza: filled from the environment, checked as a whole, and read
//! (`spec/config-and-cli.md` §2.9, §2.10, §3.4).

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use serde_yaml::Value;
use servo_dispatch::{ConfiguredConnector, ConnectorType};
use servo_shape::{Fault, FaultKind, Shape, variable_segment};

use super::{given::Origin, optimizer::Findings, problem::Problem};

/// More mistakes in one stanza than this are not looked for.
const MOST_MISTAKES: usize = 50;

/// The shapes of stanzas, each made when it is first asked for.
#[derive(Debug, Default)]
pub struct Shapes(Mutex<HashMap<&'static str, Shape>>);

impl Shapes {
    /// The shape of the stanzas of `kind`.
    pub fn of(&self, kind: &ConnectorType) -> Shape {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(kind.metadata().default_name)
            .or_insert_with(|| Shape::of(&kind.schema()))
            .clone()
    }
}

/// The variable that holds the stanza of `route`, and with which those of its fields begin.
pub fn variable(route: &str) -> String {
    format!("SERVO_{}", variable_segment(route))
}

/// A stanza that was read.
pub(super) struct ReadStanza {
    pub(super) connector: Arc<dyn ConfiguredConnector>,
    /// What was given for it, coerced.
    pub(super) value: Value,
}

/// Reads `value`, the stanza of the connector `name`, with what `environment` adds.
pub(super) fn read(
    name: &str,
    kind: &ConnectorType,
    shape: &Shape,
    mut value: Value,
    environment: &BTreeMap<String, String>,
    origins: &mut Vec<(Vec<String>, Origin)>,
    findings: &mut Findings,
) -> Option<ReadStanza> {
    let at = [name.to_owned()];
    let filled = shape.fill(&mut value, &variable(name), environment);
    let mut fine = filled.faults.is_empty();
    findings.refuse(&at, filled.faults);
    origins.extend(
        filled
            .origins
            .into_iter()
            .map(|(path, variable)| ([&at[..], &path].concat(), Origin::Variable(variable))),
    );
    if value.is_null() {
        if fine {
            findings.problems.push(Problem::new(
                &at,
                format!(
                    "field required: the connector {} is active but has no stanza",
                    kind.metadata().default_name
                ),
            ));
        }
        return None;
    }
    let mut faults = shape.check(&mut value);
    fine &= faults.is_empty();
    let mut crippled = value.clone();
    for fault in &faults {
        knock_out(&mut crippled, &fault.path);
    }
    tell_as_the_type_does(&mut faults, &value, shape, &|value| {
        let error = kind.parse(value).err()?;
        Some((error.path, error.message))
    });
    findings.refuse(&at, faults);
    let mut read = None;
    // One mistake at a time is what serde tells of: without the one it told, it tells the next.
    for _ in 0..MOST_MISTAKES {
        match kind.parse(crippled.clone()) {
            Ok(connector) => {
                read = Some(connector);
                break;
            }
            Err(error) => {
                if !fine && error.message.starts_with("missing field") {
                    break;
                }
                fine = false;
                let message = if shape.is_secret(&error.path) {
                    "is not what is expected of it (its value is a secret and not shown)".to_owned()
                } else {
                    error.message
                };
                let problem = Problem::new(&[&at[..], &error.path].concat(), message);
                if findings.problems.contains(&problem) {
                    break;
                }
                findings.problems.push(problem);
                if error.path.is_empty() || !knock_out(&mut crippled, &error.path) {
                    break;
                }
            }
        }
    }
    let connector = read.filter(|_| fine)?;
    for problem in connector.problems() {
        let list = if problem.warning {
            &mut findings.warnings
        } else {
            fine = false;
            &mut findings.problems
        };
        list.push(Problem::new(&at, problem.message).below(&problem.path));
    }
    fine.then_some(ReadStanza { connector, value })
}

/// Lets the type tell what is wrong with a text where its message is its own: it knows that `5x` has no unit,
/// where its schema knows that it matches no pattern. `read` says what the type finds first, and where.
pub(super) fn tell_as_the_type_does(
    faults: &mut [Fault],
    value: &Value,
    shape: &Shape,
    read: &dyn Fn(Value) -> Option<(Vec<String>, String)>,
) {
    let paths: Vec<Vec<String>> = faults.iter().map(|fault| fault.path.clone()).collect();
    for (index, fault) in faults.iter_mut().enumerate().take(MOST_MISTAKES) {
        let wrong = matches!(fault.kind, FaultKind::Wrong { .. });
        if !wrong || shape.holds_secret(&fault.path) {
            continue;
        }
        let mut alone = value.clone();
        for (other, path) in paths.iter().enumerate() {
            if other != index {
                knock_out(&mut alone, path);
            }
        }
        if let Some((path, message)) = read(alone)
            && path == fault.path
            && !OF_SERDE.iter().any(|start| message.starts_with(start))
        {
            fault.message = message;
        }
    }
}

/// How the messages begin that serde makes itself: a schema says more.
const OF_SERDE: [&str; 6] = [
    "invalid type",
    "invalid value",
    "invalid length",
    "unknown variant",
    "missing field",
    "data did not match",
];

/// Takes what is at `path` out of `value`; says whether it was there.
pub(super) fn knock_out(value: &mut Value, path: &[String]) -> bool {
    let Some((last, before)) = path.split_last() else {
        return false;
    };
    let mut inside = value;
    for key in before {
        let next = match inside {
            Value::Mapping(map) => map.get_mut(key.as_str()),
            Value::Sequence(list) => key.parse::<usize>().ok().and_then(|i| list.get_mut(i)),
            _ => None,
        };
        match next {
            Some(next) => inside = next,
            None => return false,
        }
    }
    match inside {
        Value::Mapping(map) => map.remove(last.as_str()).is_some(),
        Value::Sequence(list) => match last.parse::<usize>() {
            // The others keep their places, so that what is told of them is right.
            Ok(index) if index + 1 == list.len() => list.pop().is_some(),
            _ => false,
        },
        _ => false,
    }
}
