//! Which connectors a run of checks asks (`spec/events-and-checks.md` §6.13).

use std::sync::Arc;

use thiserror::Error;

use super::event::CheckEvent;
use crate::{
    bus::Bus,
    event::{Event, Stage},
};

/// Why there is nobody to ask for checks. The sentences are those of ServoX.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CheckSelectionError {
    /// A name that no connector bears.
    #[error(
        "A connector named within the checks config was not found in the current Assembly: \
         no connector is named '{}'; there are {}", .unknown.join("', '"), .known.join(", ")
    )]
    Unknown {
        /// The wrong names.
        unknown: Vec<String>,
        /// The right ones.
        known: Vec<String>,
    },
    /// None of the connectors has checks.
    #[error(
        "At least one configured connector must respond to the Check event (of {} none does)",
        if .asked.is_empty() { "no connectors".to_owned() } else { .asked.join(", ") }
    )]
    NoResponder {
        /// The connectors that were to be asked.
        asked: Vec<String>,
    },
}

/// The connectors of a servo that answer the event `check`, in bus order.
pub(crate) fn responders(bus: &Bus) -> Vec<Arc<str>> {
    let mut responders: Vec<Arc<str>> = Vec::new();
    for route in bus.routes() {
        let answers = &*route.event == CheckEvent::NAME && route.stage == Stage::On;
        if answers && !responders.contains(&route.connector) {
            responders.push(route.connector);
        }
    }
    responders
}

/// Whether each of these servos has somebody to ask.
///
/// # Errors
/// When one of `names` is borne by no connector of any of them; when of all there is nobody to ask.
pub(crate) fn select(
    buses: &[&Bus],
    names: Option<&[Arc<str>]>,
) -> Result<Vec<bool>, CheckSelectionError> {
    let connectors: Vec<Vec<Arc<str>>> = buses.iter().map(|bus| bus.connectors()).collect();
    let text = |names: Vec<&Arc<str>>| names.iter().map(ToString::to_string).collect();
    if let Some(names) = names {
        let unknown: Vec<_> = names
            .iter()
            .filter(|name| connectors.iter().all(|of_one| !of_one.contains(name)))
            .collect();
        if !unknown.is_empty() {
            return Err(CheckSelectionError::Unknown {
                unknown: text(unknown),
                known: text(connectors.iter().flatten().collect()),
            });
        }
    }
    let asked = |connector: &&Arc<str>| names.is_none_or(|names| names.contains(connector));
    let found: Vec<bool> = buses
        .iter()
        .map(|bus| responders(bus).iter().any(|name| asked(&name)))
        .collect();
    if found.contains(&true) {
        return Ok(found);
    }
    Err(CheckSelectionError::NoResponder {
        asked: text(connectors.iter().flatten().filter(asked).collect()),
    })
}
