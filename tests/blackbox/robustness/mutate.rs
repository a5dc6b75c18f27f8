//! Mistakes such as people, editors and broken copies make.

use std::path::Path;

use proptest::{prelude::*, sample::Index};
use serde_yaml::Value;

/// A file of `tests/corpus`.
pub(crate) fn corpus(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// Texts that have meant trouble to somebody.
const NASTY: &[&str] = &[
    "",
    " ",
    "~",
    "null",
    "yes",
    "on",
    "0",
    "-0",
    "1e999",
    "-1e-999",
    ".nan",
    ".inf",
    "-.inf",
    "NaN",
    "0x1F",
    "0o17",
    "010",
    "1_000",
    "1:30",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "-9223372036854775809",
    "340282366920938463463374607431768211456",
    "1e308",
    "5e-324",
    "0.1e-300",
    "99999999999999999999y",
    "1y1y1y",
    "-5s",
    ".5s",
    "5.",
    ".",
    "-",
    "+",
    "1.2.3s",
    "1e9/1ns",
    "18446744073709551615/1ns",
    "0/0s",
    "infinity",
    "1Ei",
    "1e30Gi",
    "-250m",
    "0.0001m",
    "[",
    "{",
    "]",
    "}",
    "[[[[[[[[",
    "{a: {a: {a: ",
    "*a",
    "&a",
    "!x",
    "!!int x",
    "<<",
    "<<: *base",
    "? ",
    "- ",
    "---",
    "...",
    "%YAML 1.2",
    "|",
    ">",
    "|-\n  x",
    "\"",
    "'",
    "\"\\x\"",
    "\"\\uD800\"",
    "@",
    "`",
    "#",
    ": ",
    "\t",
    "\u{0}",
    "\u{7}",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "\u{1f600}",
    "e\u{301}",
    "\u{202e}",
    "${A",
    "${A:-${A:-${A}}}",
    "$",
    "../../etc/passwd",
    "/",
    ".",
    "/dev/null",
    "//",
    "http://",
    "http://[",
    "http://a:b@c:99999/",
    "ftp://x",
    "https://u:p@h:1/?q#f",
    "all://*:1",
    "all://[::1]:1",
    "/(/",
    "/[a-/",
    "/(a*)*b/",
    "(((((",
    "a.b.c=d=e",
    "=",
    ".=",
    "a=",
    "wait",
    "name",
    "optimizer",
    "default",
    "control",
];

pub(crate) fn nasty() -> impl Strategy<Value = String> {
    proptest::sample::select(NASTY).prop_map(str::to_owned)
}

/// One mistake.
#[derive(Clone, Debug)]
pub(crate) enum Mutation {
    DeleteLine(Index),
    RepeatLine(Index),
    MoveLine(Index, Index),
    Indent(Index, usize),
    Dedent(Index, usize),
    /// A line of the other file of the corpus.
    Foreign(Index, Index),
    /// In place of what stands between two characters that mean something.
    ReplaceWord(Index, String),
    /// In place of a value, or of a key.
    Insert(Index, String),
    DeleteChars(Index, usize),
    Truncate(Index),
    /// Many of the same.
    Flood(Index, usize),
}

pub(crate) fn any_mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<Index>;
    prop_oneof![
        2 => index().prop_map(Mutation::DeleteLine),
        2 => index().prop_map(Mutation::RepeatLine),
        1 => (index(), index()).prop_map(|(a, b)| Mutation::MoveLine(a, b)),
        1 => (index(), 1..6_usize).prop_map(|(a, n)| Mutation::Indent(a, n)),
        1 => (index(), 1..6_usize).prop_map(|(a, n)| Mutation::Dedent(a, n)),
        2 => (index(), index()).prop_map(|(a, b)| Mutation::Foreign(a, b)),
        8 => (index(), prop_oneof![3 => nasty(), 1 => any::<String>()]).prop_map(|(a, t)| Mutation::ReplaceWord(a, t)),
        3 => (index(), prop_oneof![3 => nasty(), 1 => any::<String>()]).prop_map(|(a, t)| Mutation::Insert(a, t)),
        2 => (index(), 1..12_usize).prop_map(|(a, n)| Mutation::DeleteChars(a, n)),
        1 => index().prop_map(Mutation::Truncate),
        1 => (index(), 2..300_usize).prop_map(|(a, n)| Mutation::Flood(a, n)),
    ]
}

impl Mutation {
    pub(crate) fn apply_all(all: &[Mutation], text: &str) -> String {
        let mut text = text.to_owned();
        for mutation in all {
            text = mutation.apply(&text);
        }
        text
    }

    fn apply(&self, text: &str) -> String {
        let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
        let line = |index: &Index| index.index(lines.len().max(1));
        match self {
            Self::DeleteLine(at) => {
                let at = line(at);
                lines.remove(at);
            }
            Self::RepeatLine(at) => {
                let at = line(at);
                lines.insert(at, lines[at].clone());
            }
            Self::MoveLine(from, to) => {
                let (from, to) = (line(from), line(to));
                let moved = lines.remove(from);
                lines.insert(to.min(lines.len()), moved);
            }
            Self::Indent(at, by) => {
                let at = line(at);
                lines[at].insert_str(0, &" ".repeat(*by));
            }
            Self::Dedent(at, by) => {
                let at = line(at);
                let blanks = lines[at].len() - lines[at].trim_start_matches(' ').len();
                lines[at].replace_range(..blanks.min(*by), "");
            }
            Self::Foreign(from, to) => {
                let other = format!(
                    "{}{}",
                    corpus("several.yaml"),
                    corpus("every-connector.yaml")
                );
                let other: Vec<&str> = other.split('\n').collect();
                let to = line(to);
                lines.insert(to, from.get(&other).to_string());
            }
            Self::ReplaceWord(at, new) => {
                let words: Vec<(usize, &str)> = text
                    .split(|c: char| " \n:,{}[]\"'=".contains(c))
                    .filter(|word| !word.is_empty())
                    .map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
                    .collect();
                if words.is_empty() {
                    return new.clone();
                }
                let (begin, word) = at.get(&words);
                return [&text[..*begin], new, &text[begin + word.len()..]].concat();
            }
            Self::Insert(at, new) => {
                let at = boundary(text, at);
                return [&text[..at], new, &text[at..]].concat();
            }
            Self::DeleteChars(at, count) => {
                let at = boundary(text, at);
                let rest: String = text[at..].chars().skip(*count).collect();
                return format!("{}{rest}", &text[..at]);
            }
            Self::Truncate(at) => return text[..boundary(text, at)].to_owned(),
            Self::Flood(at, count) => {
                let at = boundary(text, at);
                let what: String = text[at..].chars().take(1).collect();
                return [&text[..at], &what.repeat(*count), &text[at..]].concat();
            }
        }
        lines.join("\n")
    }
}

fn boundary(text: &str, at: &Index) -> usize {
    let mut at = at.index(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Paths to all values of a document.
pub(crate) fn places(value: &Value) -> Vec<Vec<Value>> {
    let mut all = vec![Vec::new()];
    let mut below = |key: Value, inner: &Value| {
        all.extend(places(inner).into_iter().map(|mut path| {
            path.insert(0, key.clone());
            path
        }));
    };
    match value {
        Value::Mapping(map) => map
            .iter()
            .for_each(|(key, inner)| below(key.clone(), inner)),
        Value::Sequence(list) => list
            .iter()
            .enumerate()
            .for_each(|(index, inner)| below(index.into(), inner)),
        _ => {}
    }
    all
}

pub(crate) fn at<'a>(value: &'a mut Value, path: &[Value]) -> &'a mut Value {
    path.iter().fold(value, |value, key| match (value, key) {
        (Value::Sequence(list), Value::Number(index)) => {
            let index = usize::try_from(index.as_u64().unwrap()).unwrap();
            &mut list[index]
        }
        (value, key) => &mut value[key],
    })
}
