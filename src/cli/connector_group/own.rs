//! Commands of a connector type's own: events that are dispatched by their names.

use std::{sync::Arc, time::Duration};

use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::{Map, Value};
use servo_dispatch::{
    CommandArgument, ConnectorCommand, DispatchError, DispatchOptions, ProgressUpdate,
};

use super::super::{
    Failure, Output,
    live::{self, LiveServo},
    say, table,
};

const OUTPUT: &str = "output";
/// What an event says of arguments that are wrong usage.
const INVALID_ARGUMENT: &str = "invalid-argument";
/// An attack lasts as long as its arguments say: this only ends what hangs.
const LONGEST: Duration = Duration::from_secs(86_400);

/// How the command line spells it.
pub(super) fn command(command: &ConnectorCommand) -> Command {
    let mut letters = vec!['h', 'c', 'o'];
    let mut spelled = Command::new(command.name).about(command.about);
    for argument in command.arguments {
        let letter = argument.name.chars().next();
        let letter = letter.filter(|l| l.is_ascii_alphabetic() && !letters.contains(l));
        letters.extend(letter);
        spelled = spelled.arg(option(argument, letter));
    }
    let output = Arg::new(OUTPUT)
        .long(OUTPUT)
        .short('o')
        .alias("format")
        .value_name("OUTPUT")
        .help("What it looks like")
        .value_parser(value_parser!(Output))
        .default_value("table");
    let output = if letters.contains(&'f') {
        output
    } else {
        output.short_alias('f')
    };
    spelled.arg(output)
}

/// Has the connector `name` do what the words say, and shows what came of it.
pub(super) async fn run(
    servo: LiveServo,
    name: &Arc<str>,
    command: &ConnectorCommand,
    matches: &ArgMatches,
) -> Result<(), Failure> {
    let arguments: Map<String, Value> = command
        .arguments
        .iter()
        .filter_map(|argument| {
            let value = matches.get_one::<String>(argument.name)?;
            Some((argument.name.to_owned(), value.clone().into()))
        })
        .collect();
    let output = matches.get_one::<Output>(OUTPUT).copied();
    let result = ask(&servo, name, command, arguments).await?;
    match output.unwrap_or_default() {
        Output::Table => servo.print(&text(command, &result)),
        output => servo.print_data(output, result),
    }
}

fn option(argument: &CommandArgument, letter: Option<char>) -> Arg {
    let option = Arg::new(argument.name)
        .long(argument.name)
        .value_name(argument.value)
        .help(argument.about)
        .required(argument.required);
    match letter {
        Some(letter) => option.short(letter),
        None => option,
    }
}

/// Has the connector do what the command says, and tells of its progress.
async fn ask(
    servo: &LiveServo,
    name: &Arc<str>,
    command: &ConnectorCommand,
    arguments: Map<String, Value>,
) -> Result<Value, Failure> {
    let options = DispatchOptions {
        timeout: LONGEST,
        progress: Some(Arc::new(|update: ProgressUpdate| tell(&update))),
        ..servo.options(&[name.to_string()])
    };
    let outcome = servo
        .dispatcher
        .dispatch_named(command.event, Value::Object(arguments), options)
        .await
        .map_err(failure)?;
    if let Some(veto) = outcome.cancelled_by.first() {
        return Err(Failure::Failed(format!(
            "{}: {}",
            veto.connector, veto.reason
        )));
    }
    let answer = outcome.values().next();
    answer.ok_or_else(|| Failure::Failed(format!("{name} did not answer {}", command.name)))
}

fn tell(update: &ProgressUpdate) {
    if let Some(message) = &update.message {
        say(&format!("{}: {message}", update.connector));
    }
}

fn failure(error: DispatchError) -> Failure {
    match &error {
        DispatchError::Handlers(errors) => errors
            .iter()
            .find(|e| e.error.reason.as_deref() == Some(INVALID_ARGUMENT))
            .map(|e| Failure::Usage(e.error.message.clone()))
            .unwrap_or_else(|| live::failure(error)),
        DispatchError::Arguments { message, .. } => Failure::Usage(message.clone()),
        _ => live::failure(error),
    }
}

/// A result as a table; where there is one column only, the bare texts in it.
fn text(command: &ConnectorCommand, result: &Value) -> String {
    let rows = match result {
        Value::Array(rows) => rows.as_slice(),
        one => std::slice::from_ref(one),
    };
    let cell = |row: &Value, key: &str| row.get(key).map_or_else(|| "-".to_owned(), plain);
    if let [(_, key)] = command.columns {
        let texts: Vec<String> = rows.iter().map(|row| cell(row, key)).collect();
        return texts.join("\n").trim_end().to_owned();
    }
    let headers: Vec<&'static str> = command.columns.iter().map(|(header, _)| *header).collect();
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            command
                .columns
                .iter()
                .map(|(_, key)| cell(row, key))
                .collect()
        })
        .collect();
    // One blank line follows, §7.2.
    table::render(headers, rows) + "\n"
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join("\n"),
        other => other.to_string(),
    }
}
