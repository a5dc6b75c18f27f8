//! What can be wrong with a text as YAML.

use thiserror::Error;

use crate::{MAX_COPIES, MAX_DEPTH, Place};

/// How many errors of one document are reported one by one; the rest is only counted.
pub const MAX_ERRORS: usize = 100;

/// Something wrong with the YAML itself. It prints without its document, place and path.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{kind}")]
pub struct YamlError {
    /// In which document of the text, from 1.
    pub document: usize,
    /// Where in the text.
    pub place: Option<Place>,
    /// The keys and item indices that lead to it, outermost first.
    pub path: Vec<String>,
    /// What.
    pub kind: YamlErrorKind,
}

/// What is wrong.
///
/// No message repeats a value, which may be a secret, nor a tag, which a secret without quotes looks like. The key in
/// [`DuplicateKey`](Self::DuplicateKey) is repeated.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum YamlErrorKind {
    /// The text is not YAML. Nothing after it is read.
    #[error("not valid YAML: {0}")]
    Syntax(String),
    /// A mapping has a key twice. The error's place is that of the second one.
    #[error("duplicate key \"{key}\": it already stands at {first}, remove one of the two")]
    DuplicateKey {
        /// The key.
        key: String,
        /// Where it stands first.
        first: Place,
        /// Where it stands again.
        second: Place,
    },
    /// A tag that this crate does not know. The message does not say which.
    #[error(
        "unknown tag: remove it, or quote the value if it is to begin with an exclamation mark"
    )]
    UnknownTag(String),
    /// A value is not what its tag says.
    #[error("the value is not {expected}, as its tag {tag} says")]
    WrongTag {
        /// The tag, such as `!!int`.
        tag: &'static str,
        /// What the tag asks for, such as "an integer".
        expected: &'static str,
    },
    /// A key is a list or a mapping.
    #[error("a key must be text, but this one is {0}: quote it if it is meant as text")]
    KeyIsNoText(
        /// "a list" or "a mapping".
        &'static str,
    ),
    /// An alias whose anchor is in an earlier document.
    #[error("this alias has no anchor in its document: anchors end where their document ends")]
    UnknownAnchor,
    /// An alias inside the value of its own anchor.
    #[error("this alias stands inside the value of its own anchor, which would never end")]
    EndlessAlias,
    /// The aliases of a document stand for too many values; reported once for a document.
    #[error(
        "the aliases of this document stand for too many values: at most {MAX_COPIES} are allowed"
    )]
    AliasBomb,
    /// A document nests too deep; reported once for a document.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The value of `<<` cannot be merged.
    #[error("the merge key \"<<\" takes a mapping or a list of mappings, but this is {0}")]
    BadMerge(
        /// "a scalar" or "a list with something else than mappings".
        &'static str,
    ),
    /// More errors than are reported one by one.
    #[error("and {0} more errors in this document")]
    More(usize),
}

impl YamlErrorKind {
    /// `message` is the parser's. Some of these speak of its own tokens.
    pub(crate) fn syntax(message: &str) -> Self {
        let message = match message {
            "did not find expected <document start>" => {
                "this belongs to no document: check its indentation and quotes, or put \"---\" before it"
            }
            "simple key expected" | "simple key expect ':'" => {
                "expected \"key: value\", but there is no colon"
            }
            "while parsing node, found unknown anchor" => {
                "this alias has no anchor above it: quote it if it is meant as text"
            }
            message => message,
        };
        Self::Syntax(message.to_owned())
    }
}

/// The errors of one document while it is read.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    reported: Vec<YamlError>,
    more: usize,
}

impl Errors {
    pub(crate) fn is_empty(&self) -> bool {
        self.reported.is_empty()
    }

    /// `path` is only built for errors that are reported: it can be as long as the document.
    pub(crate) fn push(
        &mut self,
        document: usize,
        place: Place,
        path: impl FnOnce() -> Vec<String>,
        kind: YamlErrorKind,
    ) {
        if self.reported.len() >= MAX_ERRORS {
            self.more += 1;
            return;
        }
        self.reported.push(YamlError {
            document,
            place: Some(place),
            path: path(),
            kind,
        });
    }

    /// All of them, and at the end the one that stopped the reading.
    pub(crate) fn finish(mut self, document: usize, last: Option<YamlError>) -> Vec<YamlError> {
        if self.more > 0 {
            self.reported.push(YamlError {
                document,
                place: None,
                path: Vec::new(),
                kind: YamlErrorKind::More(self.more),
            });
        }
        self.reported.extend(last);
        self.reported
    }
}
