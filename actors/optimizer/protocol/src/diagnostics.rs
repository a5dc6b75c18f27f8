//! The requests by which an optimizer asks for diagnostics and gets them (`spec/optimizer-protocol.md` §18).

use serde_json::Value;

use crate::{BoxFuture, PostError};

/// What an optimizer says when it is asked whether it wants diagnostics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Not now. Also what an answer without sense, or with a status below 500 outside 2xx, means.
    Withhold,
    /// [`Diagnostics::upload`] them, then [`Diagnostics::withhold`].
    Send,
    /// Never ask again.
    Stop,
}

/// The way to an optimizer that may want diagnostics; see [`crate::OptimizerClient::diagnostics`].
///
/// Each method tries for up to 10 minutes or 20 times, with the delays of [`crate::Backoff::standard`] and the
/// server's `Retry-After`, over the same connections and with the same credential as events. Dropping the future
/// abandons it. Nothing but the returned error tells of a failure.
pub trait Diagnostics: Send + Sync {
    /// Asks whether diagnostics are wanted: `GET {url}assets/opsani.com/diagnostics-check`.
    ///
    /// # Errors
    /// No answer, or a status of 500 or more, until the last try.
    fn check(&self) -> BoxFuture<'_, Result<Verdict, PostError>>;

    /// Sends `{"data": data}`: `PUT {url}assets/opsani.com/diagnostics-output`. The caller has taken secrets out and
    /// bounded the size.
    ///
    /// # Errors
    /// Any status outside 2xx; those that may heal, and missing answers, after the last try only.
    fn upload<'a>(&'a self, data: &'a Value) -> BoxFuture<'a, Result<(), PostError>>;

    /// Takes back the wish: `PUT {url}assets/opsani.com/diagnostics-check` with `{"data": "WITHHOLD"}`.
    ///
    /// # Errors
    /// As [`Diagnostics::upload`].
    fn withhold(&self) -> BoxFuture<'_, Result<(), PostError>>;
}

impl Verdict {
    /// Reads the body of a 2xx answer.
    pub(crate) fn from_body(body: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(body).unwrap_or_default();
        match value.get("data").and_then(Value::as_str) {
            Some("SEND") => Self::Send,
            Some("STOP") => Self::Stop,
            _ => Self::Withhold,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_three_words_count() {
        for (body, verdict) in [
            (r#"{"data": "SEND"}"#, Verdict::Send),
            (r#"{"data": "STOP", "x": 1}"#, Verdict::Stop),
            (r#"{"data": "WITHHOLD"}"#, Verdict::Withhold),
            (r#"{"data": "send"}"#, Verdict::Withhold),
            (r#"{"data": null}"#, Verdict::Withhold),
            (r#""SEND""#, Verdict::Withhold),
            ("<html>", Verdict::Withhold),
            ("", Verdict::Withhold),
        ] {
            assert_eq!(Verdict::from_body(body.as_bytes()), verdict, "{body}");
        }
    }
}
