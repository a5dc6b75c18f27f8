//! The file `.env` (`spec/config-and-cli.md` §3.2).

mod line;

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::whole_file;
use line::{Cause, Lines};

/// Larger files hold no variables.
const LARGEST_FILE: u64 = 1024 * 1024;

/// Which files of variables are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dotenv {
    /// `.env` in the working directory, else in the nearest directory above it that has one.
    Nearest,
    /// These; the first that sets a variable wins.
    Files(Vec<PathBuf>),
    /// No file at all.
    None,
}

/// Why a file that was named gives no variables.
#[derive(Debug, Error)]
pub enum DotenvError {
    /// There is no such file.
    #[error("Invalid value for '--env-file': File '{}' does not exist.", .0.display())]
    Missing(PathBuf),
    /// It is there, but cannot be read.
    #[error("Invalid value for '--env-file': File '{}' cannot be read: {cause}", file.display())]
    Unreadable {
        /// As it was named.
        file: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

/// A part of a file that was left out. Never holds a value, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DotenvWarning {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1; none when it is the whole file that was left out.
    pub line: Option<usize>,
    /// What is wrong.
    pub cause: String,
}

/// Reads variables for a program that runs in `directory`.
///
/// They are returned, not set: the real environment wins over them, even an empty value there. A
/// line that cannot be read is left out with a warning; the others count.
///
/// # Errors
/// When a file that was named cannot be read.
pub fn read(
    directory: &Path,
    which: &Dotenv,
) -> Result<(BTreeMap<String, String>, Vec<DotenvWarning>), DotenvError> {
    let mut variables = Variables::of_process();
    match which {
        Dotenv::None => {}
        Dotenv::Nearest => {
            if let Some(file) = nearest(directory) {
                match whole_file::read_text(&file, LARGEST_FILE) {
                    Ok(text) => variables.read(&file, &text),
                    Err(cause) => variables.warnings.push(DotenvWarning {
                        file,
                        line: None,
                        cause: format!("cannot be read: {cause}"),
                    }),
                }
            }
        }
        Dotenv::Files(files) => {
            for file in files {
                let text = whole_file::read_text(&directory.join(file), LARGEST_FILE);
                let text = text.map_err(|cause| match cause.kind() {
                    io::ErrorKind::NotFound => DotenvError::Missing(file.clone()),
                    _ => DotenvError::Unreadable {
                        file: file.clone(),
                        cause,
                    },
                })?;
                variables.read(file, &text);
            }
        }
    }
    Ok((variables.found, variables.warnings))
}

/// A line that gives `name` this value when it is read; plain where that is possible. The value must
/// have no line breaks.
pub fn assignment(name: &str, value: &str) -> String {
    let plain = value.trim() == value
        && !value.starts_with(['"', '\''])
        && ![" #", "\t#", "${"].iter().any(|part| value.contains(part));
    if plain {
        return format!("{name}={value}\n");
    }
    let value = value.replace('\\', "\\\\").replace('\'', "\\'");
    format!("{name}='{value}'\n")
}

/// Variables of files, over those that the process was given.
struct Variables<F> {
    real: F,
    found: BTreeMap<String, String>,
    warnings: Vec<DotenvWarning>,
    /// How many bytes the values may still have: references to earlier values must not multiply
    /// without bound.
    budget: usize,
}

impl Variables<fn(&str) -> Option<String>> {
    fn of_process() -> Self {
        Self::over(|name| {
            let value = std::env::var_os(name)?;
            Some(value.to_string_lossy().into_owned())
        })
    }
}

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    /// The most bytes that all values together may have.
    const BUDGET: usize = 4 * 1024 * 1024;

    fn over(real: F) -> Self {
        Self {
            real,
            found: BTreeMap::new(),
            warnings: Vec::new(),
            budget: Self::BUDGET,
        }
    }

    fn read(&mut self, file: &Path, text: &str) {
        let mut own: BTreeMap<String, String> = BTreeMap::new();
        for (number, line) in Lines::of(text) {
            let assigned = line.and_then(|assignment| {
                // What an earlier file said, this one cannot change.
                let known = |name: &str| {
                    (self.real)(name)
                        .or_else(|| self.found.get(name).cloned())
                        .or_else(|| own.get(name).cloned())
                };
                let value = assignment.value.expanded(&known, self.budget)?;
                Ok((assignment.name.to_owned(), value))
            });
            match assigned {
                Ok((name, value)) => {
                    self.budget = self.budget.saturating_sub(value.len());
                    own.insert(name, value);
                }
                Err(cause) => {
                    self.warnings.push(DotenvWarning {
                        file: file.to_owned(),
                        line: Some(number),
                        cause: cause.to_string(),
                    });
                    if cause == Cause::TooMuch {
                        break;
                    }
                }
            }
        }
        for (name, value) in own {
            self.found.entry(name).or_insert(value);
        }
    }
}

/// `.env` in `directory`, else in the nearest directory above it.
///
/// The administrator's search ends at the own home, and below a directory into which others can
/// write: what they put there must not configure what root runs.
fn nearest(directory: &Path) -> Option<PathBuf> {
    let root = rustix::process::geteuid().is_root();
    let home = std::env::home_dir();
    let owner = fs::metadata(directory).ok().map(|found| found.uid());
    let mut below = None;
    for candidate in directory.ancestors() {
        if root && let Some(below) = below {
            let left_home = home.as_deref() == Some(below);
            let trusted = fs::metadata(candidate).is_ok_and(|found| {
                found.mode() & 0o002 == 0 && (found.uid() == 0 || Some(found.uid()) == owner)
            });
            if left_home || !trusted {
                return None;
            }
        }
        let file = candidate.join(".env");
        if file.is_file() {
            return Some(file);
        }
        below = Some(candidate);
    }
    None
}

impl fmt::Display for DotenvWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(
                f,
                "{} line {line} is left out: {}",
                self.file.display(),
                self.cause
            ),
            None => write!(f, "{} is left out: {}", self.file.display(), self.cause),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn parsed(text: &str) -> (BTreeMap<String, String>, Vec<String>) {
        let mut variables =
            Variables::over(|name: &str| (name == "REAL").then(|| "real".to_owned()));
        variables.read(Path::new(".env"), text);
        let warnings = variables.warnings.iter().map(ToString::to_string);
        (variables.found, warnings.collect())
    }

    #[track_caller]
    fn reads(text: &str, expected: &[(&str, &str)]) {
        let (found, warnings) = parsed(text);
        let found: Vec<(&str, &str)> = found.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(found, expected, "{text}");
        assert_eq!(warnings, Vec::<String>::new(), "{text}");
    }

    #[test]
    fn references_name_the_real_environment_and_earlier_keys() {
        reads(
            "A=one\nB=${A}-${REAL}\nC=\"<${A}>\"\nD='${A}'\nE=${NONE}x\nF=${NONE:-y z}\nG=${A:-y}",
            &[
                ("A", "one"),
                ("B", "one-real"),
                ("C", "<one>"),
                ("D", "${A}"),
                ("E", "x"),
                ("F", "y z"),
                ("G", "one"),
            ],
        );
        reads("REAL=mine\nA=${REAL}", &[("A", "real"), ("REAL", "mine")]);
        reads("B=${A}\nA=1", &[("A", "1"), ("B", "")]);
        reads("A=${B:-${REAL}}", &[("A", "real")]);
        reads("A=$REAL ${ open", &[("A", "$REAL ${ open")]);
        reads("A=\"\\${REAL}\"", &[("A", "${REAL}")]);
    }

    #[test]
    fn of_two_lines_of_a_file_the_later_wins_of_two_files_the_first() {
        let mut variables = Variables::over(|_: &str| None);
        variables.read(Path::new("a"), "A=1\nA=2\n");
        variables.read(Path::new("b"), "A=3\nB=${A}\n");
        let found: Vec<_> = variables.found.into_iter().collect();
        let expected = [("A", "2"), ("B", "2")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_wrong_line_is_told_without_its_value_and_the_others_count() {
        let (found, warnings) = parsed("A=1\nnonsense hunter2\nB=\"hunter2\nC=3\n");
        assert_eq!(found.keys().collect::<Vec<_>>(), ["A", "C"]);
        let [first, second] = warnings.as_slice() else {
            panic!("{warnings:?}");
        };
        assert!(first.starts_with(".env line 2 is left out: "), "{first}");
        assert!(second.starts_with(".env line 3 is left out: "), "{second}");
        assert!(!warnings.concat().contains("hunter2"), "{warnings:?}");
    }

    #[test]
    fn values_do_not_multiply_without_bound() {
        let mut text = "A0=0123456789\n".to_owned();
        for n in 0..60 {
            text.push_str(&format!("A{}=${{A{n}}}${{A{n}}}\n", n + 1));
        }
        let (found, warnings) = parsed(&text);
        assert!(found.values().map(String::len).sum::<usize>() <= 4 * 1024 * 1024);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }

    #[test]
    fn the_nearest_file_counts() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::write(directory.path().join(".env"), "DOTENV_TEST=top\n").unwrap();
        let value = |which: &Dotenv| read(&deep, which).unwrap().0.remove("DOTENV_TEST");
        assert_eq!(value(&Dotenv::Nearest).as_deref(), Some("top"));
        fs::write(directory.path().join("a/.env"), "DOTENV_TEST=a\n").unwrap();
        assert_eq!(value(&Dotenv::Nearest).as_deref(), Some("a"));
        assert_eq!(value(&Dotenv::None), None);
        let both = [PathBuf::from("../../.env"), PathBuf::from("../.env")];
        assert_eq!(value(&Dotenv::Files(both.into())).as_deref(), Some("top"));
        let error = read(&deep, &Dotenv::Files(vec!["none.env".into()])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Invalid value for '--env-file': File 'none.env' does not exist."
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "([A-C]=|[A-C\"'$#={}:\\\\ \n\r\t-]|export |\\PC){0,60}") {
            let lines = text.matches('\n').count() + 1;
            let (found, warnings) = parsed(&text);
            proptest::prop_assert!(found.len() + warnings.len() <= lines);
        }

        #[test]
        fn what_is_written_comes_back(value in "([a#'\"$ {}\\\\]|\\PC){0,20}") {
            let (found, warnings) = parsed(&assignment("A", &value));
            proptest::prop_assert_eq!(warnings, Vec::<String>::new());
            proptest::prop_assert_eq!(&found["A"], &value);
        }

        #[test]
        fn what_is_quoted_comes_back(value in "\\PC{0,20}") {
            let double = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
            let single = value.replace('\\', "\\\\").replace('\'', "\\'");
            let (found, warnings) = parsed(&format!("A=\"{double}\" # c\nexport B='{single}'#c\n"));
            proptest::prop_assert_eq!(warnings, Vec::<String>::new());
            proptest::prop_assert_eq!(&found["A"], &value);
            proptest::prop_assert_eq!(&found["B"], &value);
        }
    }
}
