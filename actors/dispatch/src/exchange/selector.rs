//! Which channels a subscriber or a transformer is for (`spec/events-and-checks.md` §4.5).

use std::{fmt, str::FromStr};

use regex::Regex;
use thiserror::Error;

use super::name::{ChannelName, ChannelNameError};

/// Selects channels by their names, also those that do not exist yet.
///
/// | text | selects |
/// |---|---|
/// | `metrics` | that channel |
/// | `metrics.*`, `m?trics`, `[!a]*` | by shell glob, on the whole name; `*` matches dots too |
/// | `/metrics\.(http\|mqtt)/` | by regular expression, on the whole name |
///
/// ```
/// use servo_dispatch::Selector;
///
/// let selector: Selector = "metrics.*".parse()?;
/// assert!(selector.matches("metrics.prometheus.http"));
/// assert!(!selector.matches("metrics"));
/// assert!("/(/".parse::<Selector>().is_err());
/// # Ok::<(), servo_dispatch::SelectorSyntaxError>(())
/// ```
#[derive(Clone)]
pub struct Selector(Kind);

#[derive(Clone)]
enum Kind {
    All,
    Literal(ChannelName),
    Pattern { text: Box<str>, regex: Regex },
}

/// A text selects no channels.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SelectorSyntaxError {
    /// Neither a pattern nor a name.
    #[error(transparent)]
    Name(#[from] ChannelNameError),
    /// Not a regular expression, or not a glob.
    #[error("invalid selector {selector}: {reason} (at offset {offset})")]
    Pattern {
        /// As it was given.
        selector: String,
        /// Bytes from the beginning of the selector to what is wrong.
        offset: usize,
        /// What is wrong.
        reason: String,
    },
}

// === impl Selector ===

impl Selector {
    /// Every channel.
    pub fn all() -> Self {
        Self(Kind::All)
    }

    /// This channel.
    pub fn channel(name: ChannelName) -> Self {
        Self(Kind::Literal(name))
    }

    /// The channels whose whole name matches.
    pub fn regex(regex: &Regex) -> Result<Self, SelectorSyntaxError> {
        from_regex(&format!("/{regex}/"), regex.as_str())
    }

    /// Whether the channel called `name` is selected.
    pub fn matches(&self, name: &str) -> bool {
        match &self.0 {
            Kind::All => true,
            Kind::Literal(literal) => literal == name,
            Kind::Pattern { regex, .. } => regex.is_match(name),
        }
    }

    /// The one channel that it names, if it is no pattern.
    pub fn literal(&self) -> Option<&ChannelName> {
        match &self.0 {
            Kind::Literal(name) => Some(name),
            Kind::All | Kind::Pattern { .. } => None,
        }
    }
}

impl FromStr for Selector {
    type Err = SelectorSyntaxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text == "*" {
            return Ok(Self::all());
        }
        if let Some(pattern) = text.strip_prefix('/').and_then(|t| t.strip_suffix('/')) {
            return from_regex(text, pattern);
        }
        if text.contains(['*', '?', '[']) {
            return from_glob(text);
        }
        Ok(Self(Kind::Literal(ChannelName::try_new(text)?)))
    }
}

fn from_regex(selector: &str, pattern: &str) -> Result<Selector, SelectorSyntaxError> {
    let wrong = |offset: usize, reason: String| SelectorSyntaxError::Pattern {
        selector: selector.to_owned(),
        offset,
        reason,
    };
    // Parsed by itself first: its faults must not be told at places of the pattern around it.
    regex_syntax::parse(pattern).map_err(|error| match error {
        regex_syntax::Error::Parse(error) => {
            wrong(error.span().start.offset + 1, error.kind().to_string())
        }
        regex_syntax::Error::Translate(error) => {
            wrong(error.span().start.offset + 1, error.kind().to_string())
        }
        other => wrong(0, other.to_string()),
    })?;
    compile(selector, &format!("\\A(?:{pattern})\\z"))
}

fn compile(selector: &str, regex: &str) -> Result<Selector, SelectorSyntaxError> {
    let regex = Regex::new(regex).map_err(|error| SelectorSyntaxError::Pattern {
        selector: selector.to_owned(),
        offset: 0,
        reason: error.to_string(),
    })?;
    Ok(Selector(Kind::Pattern {
        text: selector.into(),
        regex,
    }))
}

/// As a shell reads it: a `[` that nothing closes stands for itself.
fn from_glob(selector: &str) -> Result<Selector, SelectorSyntaxError> {
    let mut regex = String::from("\\A");
    let mut rest = selector.char_indices();
    while let Some((at, c)) = rest.next() {
        match c {
            '*' => regex.push_str("(?s:.*)"),
            '?' => regex.push_str("(?s:.)"),
            '[' => match class(rest.as_str()) {
                Some((class, length)) => {
                    let class = class.map_err(|reason| SelectorSyntaxError::Pattern {
                        selector: selector.to_owned(),
                        offset: at,
                        reason,
                    })?;
                    regex.push_str(&class);
                    for _ in 0..length {
                        rest.next();
                    }
                }
                None => regex.push_str("\\["),
            },
            other => regex.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    regex.push_str("\\z");
    compile(selector, &regex)
}

/// The class at the beginning of `text`, which follows a `[`, and how many characters it takes up
/// with its `]`.
fn class(text: &str) -> Option<(Result<String, String>, usize)> {
    let negated = text.starts_with(['!', '^']);
    let body = if negated { text.get(1..)? } else { text };
    // A `]` in front is a member.
    let close = body
        .char_indices()
        .skip(1)
        .find(|(_, c)| *c == ']')
        .map(|(at, _)| at)?;
    let members: Vec<char> = body.get(..close)?.chars().collect();
    let length = usize::from(negated) + members.len() + 1;
    let mut regex = String::from(if negated { "[^" } else { "[" });
    let mut member = |c: char| {
        regex.push('\\');
        regex.push_str(&format!("x{{{:x}}}", u32::from(c)));
    };
    let mut left = members.as_slice();
    let mut ranges = Vec::new();
    loop {
        left = match left {
            [from, '-', to, tail @ ..] => {
                if from > to {
                    let reason = format!("the range {from}-{to} is empty");
                    return Some((Err(reason), length));
                }
                ranges.push((*from, *to));
                tail
            }
            [one, tail @ ..] => {
                member(*one);
                tail
            }
            [] => break,
        };
    }
    for (from, to) in ranges {
        let (from, to) = (u32::from(from), u32::from(to));
        regex.push_str(&format!("\\x{{{from:x}}}-\\x{{{to:x}}}"));
    }
    regex.push(']');
    Some((Ok(regex), length))
}

impl From<ChannelName> for Selector {
    fn from(name: ChannelName) -> Self {
        Self::channel(name)
    }
}

impl TryFrom<&str> for Selector {
    type Error = SelectorSyntaxError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<std::convert::Infallible> for SelectorSyntaxError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::All, Kind::All) => true,
            (Kind::Literal(a), Kind::Literal(b)) => a == b,
            (Kind::Pattern { text: a, .. }, Kind::Pattern { text: b, .. }) => a == b,
            _ => false,
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::All => f.write_str("*"),
            Kind::Literal(name) => f.write_str(name.as_str()),
            Kind::Pattern { text, .. } => f.write_str(text),
        }
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Selector({self})")
    }
}
