//! Foreign text in the log: it can neither begin a line of its own nor speak to a terminal.

use std::fmt::Write;

/// Whether a terminal or a reader could take `c` for something else than text.
fn is_dangerous(c: char) -> bool {
    // Bidirectional marks turn text around, U+2028 and U+2029 end lines in some viewers.
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn push(out: &mut String, c: char) {
    let _ = match c {
        '\n' => write!(out, "\\n"),
        '\r' => write!(out, "\\r"),
        '\t' => write!(out, "\\t"),
        c if (c as u32) < 0x100 => write!(out, "\\x{:02x}", c as u32),
        c => write!(out, "\\u{{{:x}}}", c as u32),
    };
}

/// `text` on one line.
pub(crate) fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_dangerous(c) {
            push(&mut out, c);
        } else {
            out.push(c);
        }
    }
    out
}

/// `text` as the value of a field: quoted when its end would not be seen otherwise.
pub(super) fn value(text: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !is_dangerous(c) && !matches!(c, '"' | '=');
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if is_dangerous(c) => push(&mut out, c),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// JSON text without the control characters that JSON itself lets through: U+009B begins an escape
/// sequence on some terminals as ESC [ does.
pub(super) fn json(text: String) -> String {
    if !text.chars().any(is_dangerous) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_dangerous(c) {
            // All of them are below U+10000: one code unit each.
            let _ = write!(out, "\\u{:04x}", c as u32);
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_speaks_to_the_terminal() {
        assert_eq!(one_line("a\x1b[31mred\r\n"), r"a\x1b[31mred\r\n");
        assert_eq!(one_line("\u{9b}2J \u{202e}x"), r"\x9b2J \u{202e}x");
        assert_eq!(one_line("ä → 日本"), "ä → 日本");
    }

    #[test]
    fn values_are_quoted_when_needed() {
        for (given, shown) in [
            ("plain/0.5%", "plain/0.5%"),
            ("", "\"\""),
            ("two words", "\"two words\""),
            ("say \"hi\"", r#""say \"hi\"""#),
            ("a\nb=c", r#""a\nb=c""#),
            (r"C:\x", r"C:\x"),
            (r"C:\x y", r#""C:\\x y""#),
        ] {
            assert_eq!(value(given), shown);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn json_means_the_same(text in "\\PC*|[\\x00-\\xff\u{2028}\u{202e}]*") {
            let line = json(serde_json::to_string(&text).unwrap());
            prop_assert!(!line.chars().any(is_dangerous));
            prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }

        #[test]
        fn text_stays_on_its_line(text in any::<String>()) {
            prop_assert!(!one_line(&text).chars().any(is_dangerous));
            prop_assert!(!value(&text).chars().any(is_dangerous));
        }
    }
}
