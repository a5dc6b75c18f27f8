//! What to send: targets and their two text formats (spec/metrics-and-load.md §3.3).

mod http;
mod json;

use std::{fmt, path::PathBuf};

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use url::Url;

/// The text format that targets are written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetFormat {
    /// `METHOD URL` lines with headers and `@body-file` lines.
    #[default]
    Http,
    /// A sequence of JSON objects with `method`, `url`, `header` and `body`.
    Json,
}

/// The request methods that targets may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `OPTIONS`
    Options,
    /// `TRACE`
    Trace,
    /// `HEAD`
    Head,
    /// `DELETE`
    Delete,
    /// `CONNECT`
    Connect,
}

/// One request that the load consists of.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// The request method.
    pub method: Method,
    /// An absolute http or https URL; user information in it becomes HTTP Basic credentials.
    pub url: Url,
    /// Header names as written, in order; a name may repeat.
    pub headers: Vec<(String, String)>,
    /// What is sent after the headers.
    pub body: Body,
}

/// The body of a request.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// The bytes themselves; none at all for a request without a body.
    Inline(Bytes),
    /// A file, relative to the working directory, that is read once at the start of a run.
    File(PathBuf),
}

/// Why a text holds no usable targets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// A line of the http format that is none of the things a line may be.
    #[error("invalid target: {0}")]
    Line(String),
    /// Only blank lines and comments.
    #[error("no targets found")]
    Empty,
    /// The text is not a sequence of JSON documents.
    #[error("contains invalid JSON: target {ordinal} at line {line}: {reason}")]
    NotJson {
        /// The target's number, from 1.
        ordinal: usize,
        /// The line, from 1.
        line: usize,
        /// What the JSON parser said.
        reason: String,
    },
    /// A JSON document that is not a target.
    #[error("Invalid Vegeta JSON target: {reason} (target {ordinal} at line {line})")]
    NotATarget {
        /// The target's number, from 1.
        ordinal: usize,
        /// The line it starts on, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// Parses every target of `text`, in order; the result is never empty.
///
/// # Errors
/// The first thing in the text that is not a target.
pub fn parse(text: &str, format: TargetFormat) -> Result<Vec<Target>, TargetError> {
    let targets = match format {
        TargetFormat::Http => http::parse(text)?,
        TargetFormat::Json => json::parse(text)?,
    };
    if targets.is_empty() {
        Err(TargetError::Empty)
    } else {
        Ok(targets)
    }
}

/// `url` without a fragment and with any password masked: the form for logs, errors and progress.
#[must_use]
pub fn shown_url(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_fragment(None);
    if shown.password().is_some() {
        // Fails only for URLs that cannot have a password.
        let _ = shown.set_password(Some("***"));
    }
    shown.into()
}

/// An absolute http or https URL with a host; an empty host before a port (`http://:6060/`) is the local host.
fn parse_url(text: &str) -> Option<Url> {
    let (scheme, rest) = text.split_once("://")?;
    if !["http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
        || text.contains(char::is_whitespace)
    {
        return None;
    }
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host_start = rest.get(..authority_end)?.rfind('@').map_or(0, |at| at + 1);
    let (user, host_onwards) = rest.split_at(host_start);
    let url = if host_onwards.starts_with(':') {
        Url::parse(&format!("{scheme}://{user}localhost{host_onwards}"))
    } else if matches!(host_onwards.bytes().next(), None | Some(b'/' | b'?' | b'#')) {
        // `http:///path`: the URL standard would take `path` for the host.
        return None;
    } else {
        Url::parse(text)
    };
    url.ok().filter(Url::has_host)
}

/// A header name that HTTP allows.
pub(crate) fn is_header_name(name: &str) -> bool {
    ::http::HeaderName::from_bytes(name.as_bytes()).is_ok()
}

/// A header value that HTTP allows (in particular without line breaks).
pub(crate) fn is_header_value(value: &str) -> bool {
    ::http::HeaderValue::from_bytes(value.as_bytes()).is_ok()
}

// === impl Method ===

impl Method {
    /// All methods, in the order in which error texts list them.
    pub const ALL: [Self; 9] = [
        Self::Get,
        Self::Post,
        Self::Put,
        Self::Patch,
        Self::Options,
        Self::Trace,
        Self::Head,
        Self::Delete,
        Self::Connect,
    ];

    /// The name as it stands on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Head => "HEAD",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }

    /// The method of exactly this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }

    /// Whether a request may be repeated when its connection turned out to be closed already.
    pub(crate) fn is_repeatable(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

// === impl Target ===

impl Target {
    /// `METHOD URL` with any password masked.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("{} {}", self.method, shown_url(&self.url))
    }
}

/// Shows header names only: values carry credentials.
impl fmt::Debug for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Target")
            .field("method", &self.method)
            .field("url", &shown_url(&self.url))
            .field(
                "headers",
                &self
                    .headers
                    .iter()
                    .map(|(name, _)| name)
                    .collect::<Vec<_>>(),
            )
            .field("body", &self.body)
            .finish()
    }
}

impl Body {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self::Inline(Bytes::new())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(bytes) => write!(formatter, "{} bytes", bytes.len()),
            Self::File(path) => write!(formatter, "@{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn urls() {
        for (text, expected) in [
            ("http://:6060/", Some("http://localhost:6060/")),
            ("http://u:p@:6060/x", Some("http://u:p@localhost:6060/x")),
            ("HTTPS://Example.com", Some("https://example.com/")),
            ("http://[::1]:80/a?b#c", Some("http://[::1]/a?b#c")),
            (
                "http://h/$(touch${IFS}pwned)",
                Some("http://h/$(touch$%7BIFS%7Dpwned)"),
            ),
            ("http:/x", None),
            ("http://", None),
            ("http:///x", None),
            ("gopher://x/", None),
            ("http://h/a b", None),
            ("http://h:99999/", None),
            ("//h/", None),
        ] {
            assert_eq!(
                parse_url(text).map(String::from).as_deref(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn passwords_and_header_values_are_never_shown() {
        let text = "GET http://u:secret@h/\nAuthorization: Bearer secret\n";
        let targets = parse(text, TargetFormat::Http).unwrap();
        let shown = format!("{targets:?} {}", targets.first().unwrap().shown());
        assert!(!shown.contains("secret"), "{shown}");
        assert!(shown.contains("http://u:***@h/"), "{shown}");
    }
}
