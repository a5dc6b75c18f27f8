//! Log lines for programs: one JSON object each, with the fields of the spans around it beside its
//! own, so that `servo`, `connector`, `event` and `command_uid` are found in one place.

use serde_json::{Map, Value};

use super::{escape, record::Record};

/// What every line has. A field of the same name stands under `field_<name>`.
const RESERVED: [&str; 4] = ["ts", "level", "msg", "target"];

/// The line of `record`, with its newline: `{"ts": ..., "level": ..., "msg": ..., "target": ...,
/// <fields>}`.
pub(super) fn line(record: &Record) -> String {
    let mut line = Map::new();
    line.insert("ts".to_owned(), record.time.to_string().into());
    line.insert("level".to_owned(), record.severity.name().into());
    line.insert("msg".to_owned(), record.message.as_str().into());
    line.insert("target".to_owned(), record.target.as_str().into());
    for (name, value) in record.fields.iter() {
        let name = match RESERVED.contains(&name) {
            true => format!("field_{name}"),
            false => name.to_owned(),
        };
        line.insert(name, value.clone());
    }
    let mut text = escape::json(Value::Object(line).to_string());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::daemon::logging::severity::Severity;

    #[test]
    fn fields_stand_beside_what_every_line_has() {
        let mut record = Record::own(Severity::Success, "slow \"disk\"\nnext\u{9b}".to_owned());
        record.fields.set("command_uid", 7.into());
        record.fields.set("target", "http://x".into());
        let text = line(&record);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(!text.contains('\u{9b}'));
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["msg"], "slow \"disk\"\nnext\u{9b}");
        assert_eq!(line["level"], "SUCCESS");
        assert_eq!(line["command_uid"], 7);
        assert_eq!(line["target"], record.target);
        assert_eq!(line["field_target"], "http://x");
        assert!(line["ts"].as_str().unwrap().ends_with('Z'));
    }
}
