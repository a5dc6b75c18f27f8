//! Where in the file a key stands, so that an error can point at it.

use std::fmt;

use saphyr_parser::{Event, Parser};

/// A place in a file, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// The place of the key or item at `path` in the `document`th document of `text`, or of the
/// deepest part of it that is in the file: what is missing has no place, but what it is missing
/// from does.
pub(super) fn locate(text: &str, document: usize, path: &[String]) -> Option<Location> {
    let mut walk = Walk {
        path,
        open: Vec::new(),
        matched: 0,
        found: None,
    };
    let mut current = 0;
    for event in Parser::new_from_str(text) {
        // A file that does not parse has its own error, with its own place.
        let (event, span) = event.ok()?;
        match event {
            Event::DocumentStart(_) => current += 1,
            Event::DocumentEnd if current == document => break,
            event if current == document => {
                let place = Location {
                    line: span.start.line(),
                    column: span.start.col() + 1,
                };
                walk.event(&event, place);
            }
            _ => {}
        }
    }
    walk.found
}

struct Walk<'a> {
    path: &'a [String],
    /// Collections that the parser is inside of, outermost first.
    open: Vec<Open>,
    /// How many keys of the path led to `found`.
    matched: usize,
    found: Option<Location>,
}

/// A collection that the parser is inside of.
struct Open {
    kind: Kind,
    /// Whether the keys up to this collection are those of the path.
    on_path: bool,
}

enum Kind {
    /// A key is next.
    Keys,
    /// The value of a key is next; whether that key is on the path.
    Value(bool),
    /// The item with this index is next.
    Items(usize),
}

impl Walk<'_> {
    fn event(&mut self, event: &Event<'_>, place: Location) {
        match event {
            Event::Scalar(text, ..) => {
                self.node(Some(text), place);
            }
            Event::Alias(_) => {
                self.node(None, place);
            }
            Event::MappingStart(..) => {
                let on_path = self.node(None, place);
                let kind = Kind::Keys;
                self.open.push(Open { kind, on_path });
            }
            Event::SequenceStart(..) => {
                let on_path = self.node(None, place);
                let kind = Kind::Items(0);
                self.open.push(Open { kind, on_path });
            }
            Event::MappingEnd | Event::SequenceEnd => {
                self.open.pop();
            }
            _ => {}
        }
    }

    /// A node begins; `text` when it is a scalar. Says whether what it holds is on the path.
    fn node(&mut self, text: Option<&str>, place: Location) -> bool {
        let depth = self.open.len();
        let Some(inside) = self.open.last_mut() else {
            // The document's own node: everything is below it.
            return true;
        };
        let wanted = self.path.get(depth - 1).map(String::as_str);
        let (matches, is_key) = match inside.kind {
            Kind::Keys => {
                let matches = inside.on_path && text.is_some() && text == wanted;
                inside.kind = Kind::Value(matches);
                (matches, true)
            }
            Kind::Value(matches) => {
                inside.kind = Kind::Keys;
                return matches;
            }
            Kind::Items(index) => {
                inside.kind = Kind::Items(index + 1);
                let index = index.to_string();
                (inside.on_path && wanted == Some(&index), false)
            }
        };
        if matches && depth > self.matched {
            self.matched = depth;
            self.found = Some(place);
        }
        matches && !is_key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# comment
name: one
process:
  components:
    - name: a
      settings:
        - {name: workers, min: 1}
        - name: cache
          max: 5
---
[x, {y: 1}]: odd
name: two
process: &anchor {components: []}
";

    fn at(document: usize, path: &[&str]) -> Option<(usize, usize)> {
        let path: Vec<String> = path.iter().map(ToString::to_string).collect();
        locate(FILE, document, &path).map(|l| (l.line, l.column))
    }

    #[test]
    fn keys_and_items_are_found_in_their_document() {
        assert_eq!(at(1, &["name"]), Some((2, 1)));
        assert_eq!(at(2, &["name"]), Some((12, 1)));
        let settings = ["process", "components", "0", "settings"];
        assert_eq!(at(1, &settings), Some((6, 7)));
        assert_eq!(
            at(1, &[&settings[..], &["0", "min"]].concat()),
            Some((7, 27))
        );
        assert_eq!(
            at(1, &[&settings[..], &["1", "max"]].concat()),
            Some((9, 11))
        );
        assert_eq!(at(2, &["process", "components"]), Some((13, 19)));
    }

    #[test]
    fn what_is_missing_is_placed_where_it_is_missing_from() {
        assert_eq!(
            at(1, &["process", "components", "0", "command"]),
            Some((5, 7))
        );
        assert_eq!(at(1, &["optimizer"]), None);
        assert_eq!(at(3, &["name"]), None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(text in "\\PC*", key in "[a-z0-9]{1,3}") {
            let _ = locate(&text, 1, &[key]);
        }
    }
}
