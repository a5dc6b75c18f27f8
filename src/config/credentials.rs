//! Users and passwords in URLs, which stand in texts that are otherwise no secret
//! (`spec/config-and-cli.md` §11.29).

use std::borrow::Cow;

use serde_yaml::Value;

const MASK: &str = "**********";

/// `text` with a mask in place of what stands before the `@` of each URL in it.
pub(super) fn hidden(text: &str) -> Cow<'_, str> {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        // A wrong URL counts too: its password may hold what should end the authority.
        let word = after
            .split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`'))
            .next()
            .unwrap_or_default();
        let authority = word.split(['/', '?', '#']).next().unwrap_or_default();
        let credentials = authority.rfind('@').or_else(|| {
            // Of a path, `@` may be a part: not so behind what is no port.
            let (_, port) = authority.rsplit_once(':')?;
            let is_port = port.chars().all(|c| c.is_ascii_digit());
            word.find('@').filter(|_| !is_port)
        });
        shown.push_str(before);
        shown.push_str("://");
        rest = match credentials {
            Some(end) => {
                shown.push_str(MASK);
                after.get(end..).unwrap_or_default()
            }
            None => after,
        };
    }
    if shown.is_empty() {
        return Cow::Borrowed(text);
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// As [`hidden`], in all texts of `value`.
pub(super) fn hide(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(shown) = hidden(text) {
                *text = shown;
            }
        }
        Value::Sequence(list) => list.iter_mut().for_each(hide),
        Value::Mapping(map) => map.values_mut().for_each(hide),
        Value::Tagged(tagged) => hide(&mut tagged.value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_the_at_of_a_url_is_hidden() {
        for (text, shown) in [
            ("http://u:p@h:1/x@y", "http://**********@h:1/x@y"),
            (
                "a http://u:p@h, https://t@h",
                "a http://**********@h, https://**********@h",
            ),
            (
                "found \"http://u:p@h:x\"",
                "found \"http://**********@h:x\"",
            ),
            ("http://u:p@p@h", "http://**********@h"),
            ("http://u:p/p@h", "http://**********@h"),
            ("http://h/a@b", "http://h/a@b"),
            ("http://h:80/a@b", "http://h:80/a@b"),
            ("GET http://h:1/a\n@body", "GET http://h:1/a\n@body"),
            ("all://", "all://"),
            ("a@b: c", "a@b: c"),
        ] {
            assert_eq!(hidden(text), shown);
        }
    }
}
