//! What the type of a key does not say, checked where the key is read, so that an error names its place.

use serde::{Deserialize, Deserializer, de::Error};
use servo_messages::Duration;

use super::{MAX_CONFIRMATIONS, MAX_FAILURES, MAX_ID, MAX_TRIALS};

fn bounded<E: Error>(found: u32, least: u32, most: u32) -> Result<u32, E> {
    if (least..=most).contains(&found) {
        return Ok(found);
    }
    Err(E::custom(format!(
        "{found} is not between {least} and {most}"
    )))
}

pub(super) fn trials<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let found = Option::deserialize(from)?;
    found.map(|found| bounded(found, 1, MAX_TRIALS)).transpose()
}

pub(super) fn confirmations<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let found = Option::deserialize(from)?;
    found
        .map(|found| bounded(found, 0, MAX_CONFIRMATIONS))
        .transpose()
}

pub(super) fn max_failures<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    bounded(u32::deserialize(from)?, 1, MAX_FAILURES)
}

pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let duration = Duration::deserialize(from)?;
    if duration == Duration::ZERO {
        return Err(D::Error::custom(
            "a measurement of no length measures nothing; write for instance `30s`",
        ));
    }
    Ok(duration)
}

pub(super) fn id<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let id: Option<String> = Option::deserialize(from)?;
    match &id {
        Some(id) if id.trim().is_empty() => Err(D::Error::custom(
            "an optimizer id needs at least one character",
        )),
        Some(id) if id.len() > MAX_ID => Err(D::Error::custom(format!(
            "an optimizer id of {} bytes; at most {MAX_ID} are accepted",
            id.len()
        ))),
        Some(id) if id.chars().any(char::is_control) => Err(D::Error::custom(format!(
            "the optimizer id {id:?} has control characters"
        ))),
        _ => Ok(id),
    }
}
