//! The results of checks as tables and as data (`spec/events-and-checks.md` §6.15, §6.16).

use serde_json::{Value, json};
use servo_dispatch::{Check, CheckResult, ConnectorChecks};

use crate::{cli::table, daemon::ServoChecks};

/// Characters in a line of a message.
const WIDTH: usize = 70;

/// What stands for the end of a message that is too long.
const MORE: &str = " [...]";

/// A row for each connector, with what is wrong.
pub(super) fn short(results: &[ConnectorChecks]) -> String {
    let rows = results
        .iter()
        .filter(|of| !of.checks.is_empty())
        .map(|of| {
            let status = if of.passed() {
                "√ PASSED"
            } else {
                "X FAILED"
            };
            let wrong: Vec<&Check> = of
                .checks
                .iter()
                .filter(|c| c.success() == Some(false))
                .collect();
            let count = wrong.len();
            let errors = wrong.into_iter().enumerate().map(|(index, check)| {
                let message = quoted(check.message().unwrap_or_default());
                format!("({}/{count}) {}: {message}", index + 1, check.name)
            });
            [
                of.connector.to_string(),
                status.to_owned(),
                errors.collect::<Vec<_>>().join("\n"),
            ]
        })
        .collect();
    table::render(["CONNECTOR", "STATUS", "ERRORS"], rows)
}

/// A line for each check.
pub(super) fn long(results: &[ConnectorChecks]) -> String {
    let rows = results
        .iter()
        .filter(|of| !of.checks.is_empty())
        .map(|of| {
            let column = |cell: &dyn Fn(&Check) -> String| {
                let cells: Vec<String> = of.checks.iter().map(cell).collect();
                cells.join("\n")
            };
            [
                of.connector.to_string(),
                column(&|check| one_line(&check.name)),
                column(&|check| check.id.to_string()),
                column(&|check| {
                    let tags: Vec<&str> = check.tags.iter().map(|tag| tag.as_str()).collect();
                    or_dash(tags.join(", "))
                }),
                column(&|check| status(check).to_owned()),
                column(&|check| match &check.result {
                    CheckResult::Skipped { blocked_by } => format!("blocked by {blocked_by}"),
                    _ => or_dash(shortened(check.message().unwrap_or_default())),
                }),
            ]
        })
        .collect();
    let headers = ["CONNECTOR", "CHECK", "ID", "TAGS", "STATUS", "MESSAGE"];
    table::render(headers, rows)
}

fn status(check: &Check) -> &'static str {
    if check.skipped() {
        "- SKIPPED"
    } else if check.warned() {
        "! WARNING"
    } else if check.passed() {
        "√ PASSED"
    } else {
        "X FAILED"
    }
}

fn or_dash(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whole words, as many as there is room for.
fn shortened(text: &str) -> String {
    let text = one_line(text);
    if text.chars().count() <= WIDTH {
        return text;
    }
    let room = WIDTH - MORE.chars().count();
    let mut kept = String::new();
    for word in text.split(' ') {
        let length = kept.chars().count() + usize::from(!kept.is_empty()) + word.chars().count();
        if length > room {
            break;
        }
        if !kept.is_empty() {
            kept.push(' ');
        }
        kept.push_str(word);
    }
    kept.push_str(MORE);
    kept.trim_start().to_owned()
}

/// The lines of a message, each in quotes, as a list; a dash for none.
fn quoted(message: &str) -> String {
    let lines: Vec<String> = wrapped(message)
        .iter()
        .map(|line| {
            if line.contains('\'') && !line.contains('"') {
                format!("\"{line}\"")
            } else {
                format!("'{}'", line.replace('\'', "\\'"))
            }
        })
        .collect();
    if lines.is_empty() {
        "-".to_owned()
    } else {
        format!("[{}]", lines.join(", "))
    }
}

/// Lines of whole words, unless one alone is too long.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut width = 0;
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        if let Some(line) = lines.last_mut()
            && width + 1 + letters.len() <= WIDTH
        {
            line.push(' ');
            line.push_str(word);
            width += 1 + letters.len();
            continue;
        }
        for part in letters.chunks(WIDTH) {
            lines.push(part.iter().collect());
            width = part.len();
        }
    }
    lines
}

/// What came of one servo, for programs.
pub(super) fn data(checks: &ServoChecks) -> Value {
    let servo = &*checks.servo;
    let outcome = match &checks.outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            return json!({"servo": servo, "ready": false, "error": error, "checks": []});
        }
    };
    let of_connector = |of: &ConnectorChecks| {
        let connector = of.connector.clone();
        let checks: Vec<Value> = of
            .checks
            .iter()
            .map(|check| item(&connector, check))
            .collect();
        checks
    };
    let checks: Vec<Value> = outcome.connectors.iter().flat_map(of_connector).collect();
    json!({"servo": servo, "ready": outcome.ready(), "checks": checks})
}

fn item(connector: &str, check: &Check) -> Value {
    let mut item = json!({
        "connector": connector,
        "id": check.id,
        "name": check.name,
        "severity": check.severity,
        "success": check.success(),
        "message": check.message(),
        "hint": check.hint(),
        "remedy": check.remedy().is_some(),
        "runtime": check.runtime().map(|d| d.as_secs_f64()),
    });
    if let (CheckResult::Skipped { blocked_by }, Some(item)) = (&check.result, item.as_object_mut())
    {
        item.insert("skipped".to_owned(), json!(true));
        item.insert("blocked_by".to_owned(), json!(blocked_by));
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_wrapped_and_quoted() {
        assert_eq!(quoted(""), "-");
        assert_eq!(quoted(" \n"), "-");
        assert_eq!(quoted("it's\nso"), "[\"it's so\"]");
        assert_eq!(quoted("it's \"so\""), "['it\\'s \"so\"']");
        let long = format!("{} {} end", "a".repeat(60), "b".repeat(80));
        let (b70, b10) = ("b".repeat(70), "b".repeat(10));
        assert_eq!(
            quoted(&long),
            format!("['{}', '{b70}', '{b10} end']", "a".repeat(60))
        );
    }

    #[test]
    fn messages_are_shortened_at_words() {
        assert_eq!(shortened("two\n  words"), "two words");
        let text = "word ".repeat(20);
        let short = shortened(&text);
        assert!(short.ends_with("word [...]"), "{short}");
        assert!(short.chars().count() <= 70, "{short}");
        assert_eq!(shortened(&"x".repeat(71)), "[...]");
    }
}
