//! Lines `NAME=value`, and what their values mean.

use thiserror::Error;

/// How deep defaults may stand inside of defaults.
const DEEPEST: usize = 16;

/// Why a line gives no variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Cause {
    /// What stands before `=`, or in its place, cannot name a variable.
    #[error("expected NAME=value, with a name of letters, digits and underscores")]
    Name,
    /// There is a name alone.
    #[error("there is no `=` after the name")]
    Equals,
    /// The other quote is missing.
    #[error("the value's closing quote is missing")]
    Quote,
    /// Text stands behind the closing quote.
    #[error("only a comment may follow the value's closing quote")]
    Behind,
    /// The values are too long, all together.
    #[error("values are too long from here on; nothing that follows is read")]
    TooMuch,
}

/// One variable.
pub(super) struct Assignment<'a> {
    pub(super) name: &'a str,
    pub(super) value: Written<'a>,
}

/// A value as it is written.
pub(super) enum Written<'a> {
    /// Without quotes, comment and blanks around it.
    Bare(&'a str),
    /// What stands between `'`: nothing in it means anything but `\'` and `\\`.
    Single(&'a str),
    /// What stands between `"`.
    Double(&'a str),
}

/// The assignments of a text, each with its line. Blank lines and comments are none.
pub(super) struct Lines<'a> {
    rest: &'a str,
    /// The line at which `rest` begins.
    number: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self {
            rest: text.trim_start_matches('\u{feff}'),
            number: 1,
        }
    }

    /// What the line says, and how many bytes of the rest it takes: a quoted value may go on over
    /// several lines.
    fn assignment(&self, line: &'a str) -> Result<(Assignment<'a>, usize), Cause> {
        let trimmed = line.trim_start();
        let unexported = match trimmed.strip_prefix("export") {
            Some(after) if after.starts_with([' ', '\t']) => after.trim_start(),
            _ => trimmed,
        };
        let end = unexported
            .find(|c: char| !(c.is_ascii_alphanumeric() || "_.-".contains(c)))
            .unwrap_or(unexported.len());
        let (name, after) = unexported.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| !(c.is_ascii_alphabetic() || c == '_')) {
            return Err(Cause::Name);
        }
        let after = after.trim_start();
        let Some(after) = after.strip_prefix('=') else {
            let alone = after.is_empty() || after.starts_with('#');
            return Err(if alone { Cause::Equals } else { Cause::Name });
        };
        let written = after.trim_start();
        let Some(quote @ ('"' | '\'')) = written.chars().next() else {
            let value = Written::Bare(without_comment(after));
            return Ok((Assignment { name, value }, line.len()));
        };
        // Quoted text may go on behind the line.
        let start = line.len() - written.len() + 1;
        let quoted = self.rest.get(start..).unwrap_or_default();
        let length = closing(quoted, quote).ok_or(Cause::Quote)?;
        let inner = quoted.get(..length).unwrap_or_default();
        let behind = quoted.get(length + 1..).unwrap_or_default();
        let behind = behind.lines().next().unwrap_or_default();
        let comment = behind.trim_start();
        if !(comment.is_empty() || comment.starts_with('#')) {
            return Err(Cause::Behind);
        }
        let value = match quote {
            '"' => Written::Double(inner),
            _ => Written::Single(inner),
        };
        let taken = start + length + 1 + behind.len();
        Ok((Assignment { name, value }, taken))
    }

    /// Goes on behind the first `taken` bytes and the line break that follows.
    fn skip(&mut self, taken: usize) {
        let (before, behind) = self.rest.split_at_checked(taken).unwrap_or((self.rest, ""));
        let rest = behind.split_once('\n').map_or("", |(_, rest)| rest);
        self.number += before.matches('\n').count() + 1;
        self.rest = rest;
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (usize, Result<Assignment<'a>, Cause>);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let number = self.number;
            let line = self.rest.lines().next().unwrap_or_default();
            let said = line.trim_start();
            if said.is_empty() || said.starts_with('#') {
                self.skip(line.len());
                continue;
            }
            return Some(match self.assignment(line) {
                Ok((assignment, taken)) => {
                    self.skip(taken);
                    (number, Ok(assignment))
                }
                Err(cause) => {
                    self.skip(line.len());
                    (number, Err(cause))
                }
            });
        }
        None
    }
}

/// A `#` begins a comment where a blank stands before it: `a#b` is a value.
fn without_comment(text: &str) -> &str {
    let comment = text
        .match_indices('#')
        .map(|(at, _)| at)
        .find(|at| text.get(..*at).is_some_and(|t| t.ends_with([' ', '\t'])));
    let value = comment.and_then(|at| text.get(..at)).unwrap_or(text);
    value.trim()
}

/// How many bytes stand before the closing `quote`.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices()
        .find(|(_, c)| {
            let closes = *c == quote && !escaped;
            escaped = *c == '\\' && !escaped;
            closes
        })
        .map(|(at, _)| at)
}

impl Written<'_> {
    /// What the value means where `known` are the variables, in at most `most` bytes.
    pub(super) fn expanded(
        &self,
        known: &impl Fn(&str) -> Option<String>,
        most: usize,
    ) -> Result<String, Cause> {
        let mut out = String::new();
        match self {
            Self::Bare(text) => expand(text, false, known, DEEPEST, most, &mut out)?,
            Self::Double(text) => expand(text, true, known, DEEPEST, most, &mut out)?,
            Self::Single(text) => {
                let mut characters = text.chars().peekable();
                while let Some(c) = characters.next() {
                    let escaped = characters.next_if(|next| c == '\\' && "\\'".contains(*next));
                    out.push(escaped.unwrap_or(c));
                }
            }
        }
        if out.len() > most {
            return Err(Cause::TooMuch);
        }
        Ok(out)
    }
}

/// Appends `text` with its references replaced, and in quotes its escapes too.
fn expand(
    text: &str,
    escapes: bool,
    known: &impl Fn(&str) -> Option<String>,
    depth: usize,
    most: usize,
    out: &mut String,
) -> Result<(), Cause> {
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if out.len() > most {
            return Err(Cause::TooMuch);
        }
        let behind = rest.get(c.len_utf8()..).unwrap_or_default();
        let reference = (c == '$').then(|| Reference::of(behind)).flatten();
        if let (Some((reference, behind)), true) = (reference, depth > 0) {
            match known(reference.name) {
                Some(value) if !value.is_empty() || reference.default.is_none() => {
                    out.push_str(&value);
                }
                _ => {
                    let default = reference.default.unwrap_or_default();
                    expand(default, escapes, known, depth - 1, most, out)?;
                }
            }
            rest = behind;
            continue;
        }
        let escaped = behind.chars().next().filter(|_| escapes && c == '\\');
        if let Some((next, meaning)) = escaped.and_then(|next| Some((next, meaning(next)?))) {
            out.push(meaning);
            rest = behind.get(next.len_utf8()..).unwrap_or_default();
            continue;
        }
        out.push(c);
        rest = behind;
    }
    Ok(())
}

/// What the character behind a backslash stands for.
fn meaning(escaped: char) -> Option<char> {
    Some(match escaped {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        '\\' | '"' | '\'' | '$' => escaped,
        _ => return None,
    })
}

/// `{NAME}` or `{NAME:-default}`, behind a `$`.
struct Reference<'a> {
    name: &'a str,
    default: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// The reference with which `text` begins, and what follows it.
    fn of(text: &'a str) -> Option<(Self, &'a str)> {
        let inside = text.strip_prefix('{')?;
        let end = inside.find(|c: char| !(c.is_ascii_alphanumeric() || "_.-".contains(c)))?;
        let (name, after) = inside.split_at(end);
        if name.is_empty() {
            return None;
        }
        if let Some(rest) = after.strip_prefix('}') {
            let default = None;
            return Some((Self { name, default }, rest));
        }
        let default = after.strip_prefix(":-")?;
        let end = closing_brace(default)?;
        let rest = default.get(end + 1..)?;
        let default = default.get(..end);
        Some((Self { name, default }, rest))
    }
}

/// Longer defaults are none, so that a text of nothing but open references is read in time.
const LONGEST_DEFAULT: usize = 4096;

/// Where the `}` stands that closes a reference; those of references inside of it are passed by.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    let mut before = ' ';
    for (at, c) in text.char_indices().take(LONGEST_DEFAULT) {
        match c {
            '{' if before == '$' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
        before = c;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = Result<(String, String), Cause>;

    fn lines(text: &str) -> Vec<(usize, Read)> {
        let value = |assignment: Assignment<'_>| {
            let value = assignment.value.expanded(&|_| None, 1000)?;
            Ok((assignment.name.to_owned(), value))
        };
        Lines::of(text)
            .map(|(number, line)| (number, line.and_then(value)))
            .collect()
    }

    #[track_caller]
    fn one(text: &str, expected: &str) {
        let expected = ("A".to_owned(), expected.to_owned());
        assert_eq!(lines(text), [(1, Ok(expected))], "{text:?}");
    }

    #[test]
    fn values() {
        one("A=b", "b");
        one("  A = b c  ", "b c");
        one("export A=b", "b");
        one("export\tA=b\r\n", "b");
        one("A=", "");
        one("A=b # a comment", "b");
        one("A= # a comment", "");
        one("A=b#c", "b#c");
        one("A=#c", "#c");
        one("A='b # c'  # a comment", "b # c");
        one(r#"A="b # \"c\" \n\t\\ \x""#, "b # \"c\" \n\t\\ \\x");
        one(r"A='b\n\'c\\'", r"b\n'c\");
        one("A=\"b\nc\"", "b\nc");
        one("\u{feff}A=b", "b");
        one("A=b=c==", "b=c==");
        one("A=it's", "it's");
    }

    #[test]
    fn lines_are_counted() {
        let text = "# a comment\n\nA=\"b\n\nc\"\nexport=1\n1A=2\nA\nA='b' c\n=\nA='b\nB=2";
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(
            lines(text),
            [
                (3, pair("A", "b\n\nc")),
                (6, pair("export", "1")),
                (7, Err(Cause::Name)),
                (8, Err(Cause::Equals)),
                (9, Err(Cause::Behind)),
                (10, Err(Cause::Name)),
                (11, Err(Cause::Quote)),
                (12, pair("B", "2")),
            ]
        );
    }

    #[test]
    fn defaults_in_defaults_end_somewhere() {
        let deep = format!("A={}x{}", "${B:-".repeat(50), "}".repeat(50));
        assert!(matches!(lines(&deep).as_slice(), [(1, Ok(_))]));
    }
}
