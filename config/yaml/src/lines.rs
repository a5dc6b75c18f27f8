//! The lines of a text, for the places that the parser does not tell.

use saphyr_parser::Marker;

use crate::Place;

/// Goes through the lines of a text from the first to the last.
pub(crate) struct Lines<'a> {
    text: &'a str,
    /// From 1.
    line: usize,
    /// Where `line` begins, in bytes.
    start: usize,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            line: 1,
            start: 0,
        }
    }

    /// Where the dash of an empty item is. The parser places it behind the dash, and behind the comment after that.
    pub(crate) fn dash(&mut self, marker: Marker) -> Option<Place> {
        let (_, before) = self.before(marker)?;
        Some(Place {
            line: marker.line(),
            column: column(before, |rest| rest.strip_prefix('-'))?,
        })
    }

    /// Where the `|` or `>` of a block scalar is. The parser places it at the first character of the content, which
    /// may be many lines below.
    pub(crate) fn header(&mut self, marker: Marker) -> Option<Place> {
        let indicator = |rest: &'a str| {
            let modifiers = rest.strip_prefix(['|', '>'])?;
            Some(modifiers.trim_start_matches(|c: char| c.is_ascii_digit() || "+-".contains(c)))
        };
        let mut line = marker.line();
        let (mut start, mut text) = self.before(marker)?;
        loop {
            if let Some(column) = column(text, indicator) {
                return Some(Place { line, column });
            }
            // Between the two are only empty lines.
            if line == 1 || (line < marker.line() && !text.trim().is_empty()) {
                return None;
            }
            line -= 1;
            let above = self.text.get(..start)?;
            let above = above.strip_suffix('\n').unwrap_or(above);
            let above = above.strip_suffix('\r').unwrap_or(above);
            start = above.rfind(['\r', '\n']).map_or(0, |at| at + 1);
            text = above.get(start..)?;
        }
    }

    /// Where the text ends, for a place that the parser puts on the line after the last.
    pub(crate) fn limit(&mut self, place: Place) -> Place {
        if self.start_of(place.line).is_some() || place.line <= self.line {
            return place;
        }
        let last = self.text.get(self.start..).unwrap_or_default();
        Place {
            line: self.line,
            column: last.chars().count() + 1,
        }
    }

    /// Where the line of `marker` begins, in bytes, and what stands in it before `marker`.
    fn before(&mut self, marker: Marker) -> Option<(usize, &'a str)> {
        let start = self.start_of(marker.line())?;
        let line = self.text.get(start..)?;
        let mut column = 0;
        let end = line.find(|c| {
            column += 1;
            column > marker.col() || matches!(c, '\r' | '\n')
        });
        Some((start, end.map_or(line, |end| &line[..end])))
    }

    /// Where a line begins that is not above those asked for before.
    fn start_of(&mut self, line: usize) -> Option<usize> {
        if line < self.line {
            return None;
        }
        while self.line < line {
            let rest = self.text.get(self.start..)?;
            let at = rest.find(['\r', '\n'])?;
            let width = if rest[at..].starts_with("\r\n") { 2 } else { 1 };
            self.start += at + width;
            self.line += 1;
        }
        Some(self.start)
    }
}

/// The first column of `line` at which an indicator stands that nothing but a comment comes after. `indicator` gives
/// what is behind it.
fn column<'a>(line: &'a str, indicator: impl Fn(&'a str) -> Option<&'a str>) -> Option<usize> {
    line.char_indices()
        .enumerate()
        .find(|&(_, (at, _))| {
            indicator(&line[at..]).is_some_and(|rest| {
                let tail = rest.trim_start();
                tail.is_empty() || (tail.starts_with('#') && tail.len() < rest.len())
            })
        })
        .map(|(column, _)| column + 1)
}
