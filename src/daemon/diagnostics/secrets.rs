//! Takes secrets out of what leaves the machine.
//!
//! Configurations mask what their types call secret. Here comes what no type knows: values under names
//! that sound like secrets, as variables of child processes have, and every known secret wherever it is
//! repeated.

use serde_json::Value;
use servo_messages::Secret;

use crate::config::sensitive::sounds_secret;

/// What stands in place of a secret.
pub(super) const REDACTED: &str = "[REDACTED]";

/// Shorter texts are no secrets that could be told from ordinary words.
const SHORTEST: usize = 4;

/// Texts that must not leave the machine, longest first.
#[derive(Debug, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// The texts of `clear` in whose place `masked` has another.
    pub(super) fn between(clear: &Value, masked: &Value) -> Self {
        let mut found = Vec::new();
        differing(clear, masked, &mut found);
        let mut texts: Vec<String> = found
            .iter()
            .flat_map(|text| [text.as_str(), text.trim()].map(str::to_owned))
            // `Bearer abc`: the log may have the last word alone.
            .chain(
                found
                    .iter()
                    .filter_map(|text| text.split_whitespace().last().map(str::to_owned)),
            )
            .filter(|text| text.len() >= SHORTEST)
            .collect();
        texts.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        texts.dedup();
        Self(texts)
    }

    /// `text` without them.
    pub(super) fn without(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| {
            if text.contains(secret.as_str()) {
                text.replace(secret.as_str(), REDACTED)
            } else {
                text
            }
        })
    }

    /// `value` without them, without what is masked, without null, and without what is said under names
    /// that sound like secrets.
    pub(super) fn redact(&self, value: Value) -> Value {
        match value {
            Value::String(text) => {
                Value::String(self.without(&text).replace(Secret::MASK, REDACTED))
            }
            Value::Array(items) => items.into_iter().map(|item| self.redact(item)).collect(),
            Value::Object(members) => {
                // `{name: DB_PASSWORD, value: ...}`
                let named = members
                    .get("name")
                    .and_then(Value::as_str)
                    .is_some_and(sounds_secret);
                let inside = members.into_iter().filter(|(_, value)| !value.is_null());
                inside
                    .map(|(key, value)| {
                        let is_secret =
                            sounds_secret(&key) || (named && matches!(&*key, "value" | "literal"));
                        let value = match value {
                            Value::String(_) | Value::Number(_) if is_secret => REDACTED.into(),
                            other => self.redact(other),
                        };
                        (key, value)
                    })
                    .collect()
            }
            other => other,
        }
    }
}

fn differing(clear: &Value, masked: &Value, found: &mut Vec<String>) {
    match (clear, masked) {
        (Value::String(clear), masked) if masked.as_str() != Some(clear) => {
            found.push(clear.clone());
        }
        (Value::Array(clear), masked) => {
            for (index, item) in clear.iter().enumerate() {
                differing(item, masked.get(index).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Object(clear), masked) => {
            for (key, item) in clear {
                differing(item, masked.get(key).unwrap_or(&Value::Null), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn masks_names_and_repetitions() {
        let clear = json!({
            "optimizer": {"id": "o/a", "token": "Bearer hush1", "token_file": "/run/t", "url": "http://h/"},
            "settings": {"proxies": {"all://": "http://u:hush2@p"}},
        });
        let masked = json!({
            "optimizer": {"id": "o/a", "token": Secret::MASK, "token_file": "/run/t", "url": "http://h/"},
            "settings": {"proxies": {"all://": format!("http://{}@p", Secret::MASK)}},
        });
        let secrets = Secrets::between(&clear, &masked);
        let mut document = masked;
        document["process"] = json!({
            "command": "run --key hush1",
            "env": {"DB_PASSWORD": "hush3", "LEVEL": "info", "AWS_SECRET_ACCESS_KEY": "hush4", "PIN_TOKEN": 1234},
            "list": [{"name": "API_KEY", "value": "hush5"}, {"name": "PLAIN", "value": "shown"}],
            "nothing": null,
        });
        let shown = secrets.redact(document);
        assert!(!shown.to_string().contains("hush"), "{shown}");
        assert!(!shown.to_string().contains(Secret::MASK), "{shown}");
        assert_eq!(shown["optimizer"]["token"], REDACTED);
        assert_eq!(shown["optimizer"]["token_file"], "/run/t");
        assert_eq!(shown["optimizer"]["id"], "o/a");
        assert_eq!(
            shown["settings"]["proxies"]["all://"],
            "http://[REDACTED]@p"
        );
        assert_eq!(shown["process"]["env"]["PIN_TOKEN"], REDACTED);
        assert_eq!(shown["process"]["env"]["LEVEL"], "info");
        assert_eq!(shown["process"]["list"][1]["value"], "shown");
        assert!(shown["process"].get("nothing").is_none());
        assert_eq!(
            secrets.without("sent Bearer hush1 and hush1 to http://u:hush2@p"),
            "sent [REDACTED] and [REDACTED] to [REDACTED]"
        );
    }

    #[test]
    fn nothing_differs_nothing_is_hidden() {
        let value = json!({"a": ["x", "longer text"]});
        let secrets = Secrets::between(&value, &value);
        assert_eq!(secrets.without("longer text"), "longer text");
        assert_eq!(secrets.redact(value.clone()), value);
    }
}
