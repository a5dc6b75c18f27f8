//! What is said of words that are not understood (`spec/config-and-cli.md` §7.1).

use clap::{
    Command,
    error::{ContextKind, ContextValue, Error, ErrorKind},
};

/// The usage, where to find help, and what is wrong.
pub(super) fn report(error: &Error, command: &Command) -> String {
    let path = path_of(command, std::env::args().skip(1));
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => usage.to_string().trim().to_owned(),
        _ => format!("Usage: {path} [OPTIONS]"),
    };
    format!(
        "{usage}\nTry '{path} --help' for help.\n\nError: {}",
        message(error)
    )
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
    let mut argument = text(ContextKind::InvalidArg);
    if let Some(argument) = &mut argument
        && let Some(bare) = argument.split([' ', '=']).next()
    {
        *argument = bare.trim_matches(['<', '>', '[', ']', '.']).to_owned();
    }
    let argument = argument.unwrap_or_default();
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
    .find_map(text)
    .map(|near| format!(" Did you mean '{near}'?"))
    .unwrap_or_default();
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
        _ => {
            let whole = error.to_string();
            let line = whole.lines().next().unwrap_or_default();
            line.trim_start_matches("error: ").to_owned()
        }
    }
}
