//! What the program says of its own words: help, and what is wrong with words that it does not
//! understand (`spec/config-and-cli.md` §7.1).

use clap::{
    Command,
    error::{ContextKind, ContextValue, Error, ErrorKind},
};

/// The usage, where to find help, and what is wrong.
pub(super) fn report(error: &Error, command: &Command) -> String {
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => Some(usage.to_string().trim().to_owned()),
        _ => None,
    };
    let path = match &usage {
        Some(usage) => path_in(usage),
        None => path_of(command, words_before(error)),
    };
    let usage = usage.unwrap_or_else(|| match path.split_once(' ') {
        Some(_) => format!("Usage: {path} [OPTIONS]"),
        None => format!("Usage: {path} [OPTIONS] COMMAND [ARGS]..."),
    });
    format!(
        "{}\nTry '{path} --help' for help.\n\nError: {}",
        plain(&usage),
        message(error)
    )
}

/// Help with values as `FILE` where clap writes `<FILE>`. What stands in columns keeps its place.
pub(super) fn plain(help: &str) -> String {
    let lines: Vec<String> = help.lines().map(plain_line).collect();
    lines.join("\n")
}

fn plain_line(line: &str) -> String {
    let indented = line.len() - line.trim_start().len();
    // The first column of a list ends where two blanks follow.
    let end = line
        .get(indented..)
        .and_then(|rest| rest.find("  "))
        .filter(|_| indented > 0)
        .map(|length| indented + length);
    match end {
        Some(end) => {
            let (left, right) = line.split_at(end);
            let bare = without_brackets(left);
            let lost = left.len() - bare.len();
            format!("{bare}{:lost$}{right}", "").trim_end().to_owned()
        }
        None => without_brackets(line).trim_end().to_owned(),
    }
}

fn without_brackets(text: &str) -> String {
    let is_value = |name: &str| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || "_-.=|".contains(c))
    };
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        bare.push_str(before);
        match after.split_once('>') {
            Some((name, behind)) if is_value(name) => {
                bare.push_str(name);
                rest = behind;
            }
            _ => {
                bare.push('<');
                rest = after;
            }
        }
    }
    bare + rest
}

/// The program's name and the commands that a usage line begins with.
fn path_in(usage: &str) -> String {
    usage
        .trim_start_matches("Usage:")
        .split_whitespace()
        .take_while(|word| !word.starts_with(['[', '<', '-', '(']))
        .take_while(|word| *word != "COMMAND")
        .collect::<Vec<_>>()
        .join(" ")
}

/// The words of the process, up to the option that the error is about.
fn words_before(error: &Error) -> impl Iterator<Item = String> {
    let option = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) => bare_argument(option).to_owned(),
        _ => String::new(),
    };
    std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .take_while(move |word| word.split('=').next() != Some(&option))
}

/// The program's name and the commands that `words` go through.
fn path_of(command: &Command, words: impl Iterator<Item = String>) -> String {
    let mut path = vec![command.get_name().to_owned()];
    let mut inside = command;
    for word in words {
        if let Some(found) = inside.find_subcommand(&word) {
            path.push(found.get_name().to_owned());
            inside = found;
        }
    }
    path.join(" ")
}

fn message(error: &Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    let argument = text(ContextKind::InvalidArg).unwrap_or_default();
    let argument = bare_argument(&argument);
    let value = text(ContextKind::InvalidValue).unwrap_or_default();
    let known = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => {
            format!(" is not one of {}", values.join(", "))
        }
        _ => String::new(),
    };
    let suggestion = [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
    ]
    .into_iter()
    .find_map(text);
    let suggestion = match (&suggestion, error.kind()) {
        (None, _) => String::new(),
        (Some(near), ErrorKind::UnknownArgument) => format!(" (did you mean '{near}'?)"),
        (Some(near), _) => format!(" Did you mean '{near}'?"),
    };
    match error.kind() {
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            format!("No such option: {argument}{suggestion}")
        }
        ErrorKind::UnknownArgument => format!("Got unexpected extra argument ({argument})"),
        ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand).unwrap_or_default();
            format!("No such command '{word}'.{suggestion}")
        }
        ErrorKind::MissingRequiredArgument if argument.starts_with('-') => {
            format!("Missing option '{argument}'.")
        }
        ErrorKind::MissingRequiredArgument => format!("Missing argument '{argument}'."),
        ErrorKind::MissingSubcommand => "Missing command.".to_owned(),
        ErrorKind::InvalidValue if value.is_empty() => {
            format!("Option '{argument}' requires an argument.")
        }
        ErrorKind::InvalidValue => {
            format!("Invalid value for '{argument}': '{value}'{known}.{suggestion}")
        }
        ErrorKind::ValueValidation => {
            let cause = std::error::Error::source(error)
                .map(ToString::to_string)
                .unwrap_or_else(|| format!("'{value}' is not valid"));
            format!("Invalid value for '{argument}': {cause}")
        }
        ErrorKind::ArgumentConflict => {
            let other = text(ContextKind::PriorArg).unwrap_or_default();
            let other = bare_argument(&other);
            if other.is_empty() || other == argument {
                format!("{argument} cannot be given more than once")
            } else {
                format!("{argument} and {other} cannot both be given")
            }
        }
        _ => {
            let whole = error.to_string();
            let line = whole.lines().next().unwrap_or_default();
            plain(line.trim_start_matches("error: "))
        }
    }
}

/// `--file` of `--file <FILE>`, `TARGET` of `<TARGET>...`.
fn bare_argument(spelled: &str) -> &str {
    if spelled.starts_with('-') {
        spelled.split([' ', '=']).next().unwrap_or(spelled)
    } else {
        spelled.trim_matches(['<', '>', '[', ']', '.'])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_without_brackets_and_columns_keep_their_places() {
        let help = "Usage: servo show [OPTIONS] <COMMAND>\n\n  -c, --file <FILE>  Which\n  -h, --help         Print <b> help";
        assert_eq!(
            plain(help),
            "Usage: servo show [OPTIONS] COMMAND\n\n  -c, --file FILE    Which\n  -h, --help         Print <b> help"
        );
    }

    #[test]
    fn the_commands_of_a_usage_line() {
        assert_eq!(path_in("Usage: servo [OPTIONS] COMMAND [ARGS]..."), "servo");
        assert_eq!(
            path_in("Usage: servo show events [OPTIONS]"),
            "servo show events"
        );
        assert_eq!(path_in("servo adjust <A.B=C>"), "servo adjust");
    }
}
