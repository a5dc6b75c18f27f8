//! The results of checks as JUnit writes those of tests: what build servers read.

use std::fmt::Write as _;

use servo_dispatch::{Check, CheckResult, ConnectorChecks};

use crate::daemon::ServoChecks;

/// A suite for each servo, a case for each check. Warnings do not fail; what they say stands beside
/// them.
pub(super) fn document(all: &[ServoChecks]) -> String {
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n".to_owned();
    for checks in all {
        suite(&mut text, checks);
    }
    text.push_str("</testsuites>");
    text
}

fn suite(text: &mut String, checks: &ServoChecks) {
    let name = escaped(&checks.servo);
    let connectors = match &checks.outcome {
        Ok(outcome) => outcome.connectors.as_slice(),
        Err(error) => {
            let error = escaped(error);
            let _ = writeln!(
                text,
                "  <testsuite name=\"{name}\" tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\">\n    \
                 <testcase classname=\"{name}\" name=\"checks\">\n      \
                 <error message=\"{error}\"/>\n    </testcase>\n  </testsuite>"
            );
            return;
        }
    };
    let all = || connectors.iter().flat_map(|of| &of.checks);
    let count = |wanted: &dyn Fn(&Check) -> bool| all().filter(|check| wanted(check)).count();
    let _ = writeln!(
        text,
        "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{:.3}\">",
        all().count(),
        count(&Check::failed),
        count(&Check::skipped),
        all()
            .filter_map(Check::runtime)
            .map(|d| d.as_secs_f64())
            .sum::<f64>(),
    );
    for ConnectorChecks { connector, checks } in connectors {
        for check in checks {
            case(text, connector, check);
        }
    }
    text.push_str("  </testsuite>\n");
}

fn case(text: &mut String, connector: &str, check: &Check) {
    let _ = write!(
        text,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
        escaped(connector),
        escaped(&check.name),
        check.runtime().unwrap_or_default().as_secs_f64(),
    );
    let message = escaped(check.message().unwrap_or_default());
    let hint = escaped(check.hint().unwrap_or_default());
    let inside = match &check.result {
        CheckResult::Skipped { blocked_by } => {
            format!(
                "<skipped message=\"blocked by {}\"/>",
                escaped(blocked_by.as_str())
            )
        }
        CheckResult::Failed { .. } if check.failed() => {
            let severity = check.severity;
            format!("<failure type=\"{severity}\" message=\"{message}\">{hint}</failure>")
        }
        _ if message.is_empty() => {
            text.push_str("/>\n");
            return;
        }
        _ => format!("<system-out>{message}</system-out>"),
    };
    let _ = writeln!(text, ">\n      {inside}\n    </testcase>");
}

/// `text` as XML has it, without the characters that XML cannot have.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push('\t'),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_breaks_the_document() {
        assert_eq!(
            escaped("<a b=\"1\">&\u{1b}\u{0}\n"),
            "&lt;a b=&quot;1&quot;&gt;&amp;\u{fffd}\u{fffd}&#10;"
        );
        let failed = ServoChecks {
            servo: "a\"b".into(),
            outcome: Err("no <way>".to_owned()),
        };
        let text = document(&[failed]);
        assert!(text.contains("name=\"a&quot;b\""), "{text}");
        assert!(
            text.contains("<error message=\"no &lt;way&gt;\"/>"),
            "{text}"
        );
    }
}
