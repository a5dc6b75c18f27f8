//! Secrets that no type knows as such: variables of child processes and headers of requests, told by
//! their names.

use serde_yaml::Value;
use servo_messages::Secret;

/// Names with one of these in them are those of secrets, however they are spelt.
const PARTS: [&str; 11] = [
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "authorization",
    "cookie",
];

/// So are names with one of these as a word of its own: `SIGNING_KEY`, `X-Auth`, not `KEYBOARD`.
const WORDS: [&str; 5] = ["key", "auth", "pass", "pwd", "pat"];

/// Keys below which names are those of variables.
const OF_VARIABLES: [&str; 2] = ["env", "environment"];

/// Whether what has this name is a secret: not if it is where one lies, or how long one is.
pub(crate) fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let harmless = ["file", "path", "url", "dir", "length", "id"];
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    if words
        .next_back()
        .is_some_and(|last| harmless.contains(&last))
    {
        return false;
    }
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    PARTS.iter().any(|part| plain.contains(part))
        || name
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| WORDS.contains(&word))
}

/// Masks, in a stanza, the values of variables and of header lines whose names sound like secrets.
pub(super) fn hide(value: &mut Value) {
    match value {
        Value::Mapping(map) => {
            for (key, value) in map {
                let of_variables = key.as_str().is_some_and(|key| OF_VARIABLES.contains(&key));
                if of_variables {
                    hide_variables(value);
                } else {
                    hide(value);
                }
            }
        }
        Value::Sequence(items) => items.iter_mut().for_each(hide),
        Value::Tagged(tagged) => hide(&mut tagged.value),
        Value::String(text) => {
            if let Some(shown) = without_headers(text) {
                *text = shown;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `{NAME: value}`, or a list of `{name: NAME, value: value}`.
fn hide_variables(value: &mut Value) {
    match value {
        Value::Mapping(map) => {
            for (name, value) in map {
                if name.as_str().is_some_and(sounds_secret) {
                    mask(value);
                } else {
                    hide(value);
                }
            }
        }
        Value::Sequence(items) => {
            for item in items {
                let named = item
                    .get("name")
                    .and_then(Value::as_str)
                    .is_some_and(sounds_secret);
                for key in ["value", "literal"] {
                    if let Some(value) = item.get_mut(key).filter(|_| named) {
                        mask(value);
                    }
                }
            }
        }
        other => hide(other),
    }
}

fn mask(value: &mut Value) {
    if !value.is_null() {
        *value = Secret::MASK.into();
    }
}

/// `text` with the values of its header lines masked, or of the headers of its JSON objects, as far as
/// they sound secret; none if there are none.
fn without_headers(text: &str) -> Option<String> {
    if text.trim_start().starts_with(['{', '[']) {
        return without_json_headers(text);
    }
    let mut found = false;
    let lines: Vec<String> = text
        .split('\n')
        .enumerate()
        .map(|(number, line)| {
            // The first line is a method and a URL, or a text of another kind.
            match line.split_once(':') {
                Some((name, value))
                    if number > 0 && is_header(name.trim()) && !value.trim().is_empty() =>
                {
                    found = true;
                    format!("{name}: {}", Secret::MASK)
                }
                _ => line.to_owned(),
            }
        })
        .collect();
    found.then(|| lines.join("\n"))
}

fn is_header(name: &str) -> bool {
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    !name.is_empty() && name.bytes().all(is_name) && sounds_secret(name)
}

fn without_json_headers(text: &str) -> Option<String> {
    let mut found = false;
    let stream = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
    let mut shown = Vec::new();
    for object in stream {
        // What is no JSON after all is nothing that requests are made of.
        let mut object = object.ok()?;
        hide_json(&mut object, &mut found);
        shown.push(object.to_string());
    }
    found.then(|| shown.join("\n") + "\n")
}

fn hide_json(value: &mut serde_json::Value, found: &mut bool) {
    match value {
        serde_json::Value::Array(items) => items.iter_mut().for_each(|i| hide_json(i, found)),
        serde_json::Value::Object(members) => {
            for (name, value) in members {
                let holds = matches!(
                    value,
                    serde_json::Value::String(_) | serde_json::Value::Array(_)
                );
                if holds && is_header(name) {
                    *found = true;
                    *value = Secret::MASK.into();
                } else {
                    hide_json(value, found);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names() {
        for secret in [
            "API_TOKEN",
            "DB_PASSWORD",
            "apiKey",
            "AWS_SECRET_ACCESS_KEY",
            "SIGNING_KEY",
            "x-api-key",
            "Authorization",
            "Proxy-Authorization",
            "Cookie",
            "Set-Cookie",
            "X-Auth",
            "PGPASS_PASSPHRASE",
            "DB_PASS",
        ] {
            assert!(sounds_secret(secret), "{secret}");
        }
        for plain in [
            "LEVEL",
            "KEYBOARD",
            "MONKEY",
            "TOKEN_FILE",
            "SECRET_PATH",
            "AWS_ACCESS_KEY_ID",
            "AUTHOR",
            "Accept",
            "PATH",
            "COMPASS",
            "PASSWORD_LENGTH",
        ] {
            assert!(!sounds_secret(plain), "{plain}");
        }
    }

    #[test]
    fn variables_and_headers_are_masked_and_nothing_else() {
        let text = "
process:
  components:
    - env: {DB_PASSWORD: hush1, LEVEL: info, API_KEY: 7, TOKEN_FILE: /run/t}
      command: [run, \"token: shown\"]
    - env: [{name: AUTH_TOKEN, value: hush2}, {name: MODE, value: fast}]
vegeta:
  target: |
    GET http://h/
    Authorization: Bearer hush3
    Accept: text/plain
    x-api-key:hush4

    POST http://h/
    Cookie: a=hush5
    @body.json
json:
  target: '{\"method\":\"GET\",\"url\":\"http://h/\",\"header\":{\"Authorization\":[\"hush6\"],\"Accept\":[\"x\"]}}'
";
        let mut value: Value = serde_yaml::from_str(text).unwrap();
        hide(&mut value);
        let shown = serde_yaml::to_string(&value).unwrap();
        assert!(!shown.contains("hush"), "{shown}");
        for kept in [
            "LEVEL: info",
            "/run/t",
            "token: shown",
            "value: fast",
            "Accept: text/plain",
            "@body.json",
            "GET http://h/",
            "\"Accept\":[\"x\"]",
        ] {
            assert!(shown.contains(kept), "{kept}: {shown}");
        }
        assert_eq!(
            value["process"]["components"][0]["env"]["API_KEY"],
            Secret::MASK
        );
        let before = value.clone();
        hide(&mut value);
        assert_eq!(value, before);
    }
}
