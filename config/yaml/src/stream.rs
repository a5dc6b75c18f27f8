//! The documents of a text.

use std::iter::FusedIterator;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_yaml::Value;

use crate::{MAX_COPIES, Place, Places, YamlError, build::Builder, lines::Lines};

/// One document of a text.
#[derive(Clone, Debug)]
pub struct Document {
    /// Which one, from 1.
    pub number: usize,
    /// Where its content begins; where its `---` stands if it has none.
    pub place: Place,
    /// What it holds, with aliases and merge keys expanded. All keys are text. Null if it holds nothing but comments.
    pub value: Value,
    /// Where everything in it stands.
    pub places: Places,
}

/// The documents of a text; see [`documents`].
pub struct Documents<'a> {
    parser: Parser<'a, StrInput<'a>>,
    lines: Lines<'a>,
    number: usize,
    /// How many more values the aliases of all documents may copy.
    copies: usize,
    ended: bool,
}

/// Reads `text`, one document at each step of the iterator.
///
/// A document that is not valid YAML is an error, and the last item: nobody knows where the next one begins. Any other
/// error leaves the documents after it readable; all errors of a document come together.
///
/// A text without any document (empty, or comments only) yields nothing.
#[must_use]
pub fn documents(text: &str) -> Documents<'_> {
    // Left in, the mark would move everything in the first line one column to the right.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Documents {
        parser: Parser::new_from_str(text),
        lines: Lines::new(text),
        number: 0,
        // Keeps the whole linear in the text, however many documents use up their own limit.
        copies: MAX_COPIES.saturating_add(text.len().saturating_mul(4)),
        ended: false,
    }
}

impl Iterator for Documents<'_> {
    type Item = Result<Document, Vec<YamlError>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut open: Option<(Builder, Place)> = None;
        while !self.ended {
            let (event, span) = match self.parser.next_event() {
                Some(Ok(next)) => next,
                Some(Err(error)) => {
                    self.ended = true;
                    let builder = match open {
                        Some((builder, _)) => builder,
                        None => Builder::new(self.number + 1, 0),
                    };
                    let place = self.lines.limit(Place::from(*error.marker()));
                    return Some(Err(builder.fail(place, error.info())));
                }
                None => break,
            };
            let place = Place::from(span.start);
            match (event, &mut open) {
                (Event::DocumentStart(_), open) => {
                    self.number += 1;
                    let builder = Builder::new(self.number, self.copies.min(MAX_COPIES));
                    *open = Some((builder, place));
                }
                (Event::DocumentEnd, _) => {
                    let (builder, place) = open?;
                    return Some(self.finish(builder, place));
                }
                (Event::StreamEnd, _) => break,
                (event, Some((builder, start))) => {
                    if builder.is_new() && !is_nothing(&event) {
                        *start = place;
                    }
                    let better = match event {
                        Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, 0, None)
                            if builder.at_item() || builder.at_key() =>
                        {
                            self.lines.header(span.start)
                        }
                        _ if builder.at_item() && is_nothing(&event) => self.lines.dash(span.start),
                        _ => None,
                    };
                    builder.event(event, better.unwrap_or(place));
                }
                _ => {}
            }
        }
        self.ended = true;
        None
    }
}

impl FusedIterator for Documents<'_> {}

impl Documents<'_> {
    fn finish(&mut self, builder: Builder, place: Place) -> Result<Document, Vec<YamlError>> {
        let copied = self.copies.min(MAX_COPIES) - builder.copies_left();
        self.copies -= copied;
        let (value, branch) = builder.finish()?;
        Ok(Document {
            number: self.number,
            place,
            value,
            places: Places::new(branch),
        })
    }
}

/// Whether the parser made this scalar up for want of any.
fn is_nothing(event: &Event<'_>) -> bool {
    matches!(event, Event::Scalar(text, ScalarStyle::Plain, 0, None) if text.is_empty())
}
