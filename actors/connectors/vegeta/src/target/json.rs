//! The JSON format: any sequence of target objects separated by white space (spec/metrics-and-load.md §3.3).

use base64::Engine as _;
use serde_json::{Map, Value};

use super::{Body, Method, Target, TargetError, is_header_name, is_header_value, parse_url};

pub(super) fn parse(text: &str) -> Result<Vec<Target>, TargetError> {
    let mut targets = Vec::new();
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    loop {
        let ordinal = targets.len() + 1;
        let line = line_of_next(text, documents.byte_offset());
        match documents.next() {
            None => return Ok(targets),
            Some(Ok(document)) => {
                targets.push(target(&document).map_err(|reason| TargetError::NotATarget {
                    ordinal,
                    line,
                    reason,
                })?);
            }
            Some(Err(error)) => {
                return Err(TargetError::NotJson {
                    ordinal,
                    line: error.line(),
                    reason: error.to_string(),
                });
            }
        }
    }
}

/// The line, from 1, of the first character at or after `offset` that is not white space.
fn line_of_next(text: &str, offset: usize) -> usize {
    let rest = text.get(offset..).unwrap_or_default();
    let start = offset + (rest.len() - rest.trim_start().len());
    1 + text
        .bytes()
        .take(start)
        .filter(|byte| *byte == b'\n')
        .count()
}

/// Checks in the order, and with the words, that users of the peer's schema know.
fn target(document: &Value) -> Result<Target, String> {
    let Value::Object(object) = document else {
        return Err(not_of_type(document, "object"));
    };
    for name in ["method", "url"] {
        if !object.contains_key(name) {
            return Err(format!("'{name}' is a required property"));
        }
    }
    let extra: Vec<String> = object
        .keys()
        .filter(|key| !matches!(key.as_str(), "method" | "url" | "body" | "header"))
        .map(|key| quoted(key))
        .collect();
    if !extra.is_empty() {
        let verb = if extra.len() == 1 { "was" } else { "were" };
        return Err(format!(
            "Additional properties are not allowed ({} {verb} unexpected)",
            extra.join(", ")
        ));
    }
    let method = object
        .get("method")
        .and_then(Value::as_str)
        .and_then(Method::from_name)
        .ok_or_else(|| {
            let known: Vec<String> = Method::ALL
                .iter()
                .map(|method| quoted(method.as_str()))
                .collect();
            format!(
                "{} is not one of [{}]",
                object.get("method").map(shown).unwrap_or_default(),
                known.join(", ")
            )
        })?;
    let url = match object.get("url") {
        Some(Value::String(url)) => {
            parse_url(url).ok_or("url must be an absolute http or https URL")?
        }
        other => return Err(not_of_type(other.unwrap_or(&Value::Null), "string")),
    };
    let body = match object.get("body") {
        None => Body::empty(),
        Some(Value::String(body)) => Body::Inline(
            base64::engine::general_purpose::STANDARD
                .decode(body)
                .map_err(|_| "body is not valid base64")?
                .into(),
        ),
        Some(other) => return Err(not_of_type(other, "string")),
    };
    let headers = match object.get("header") {
        None => Vec::new(),
        Some(Value::Object(header)) => headers(header)?,
        Some(other) => return Err(not_of_type(other, "object")),
    };
    Ok(Target {
        method,
        url,
        headers,
        body,
    })
}

fn headers(header: &Map<String, Value>) -> Result<Vec<(String, String)>, String> {
    let mut headers = Vec::new();
    for (name, values) in header {
        let Value::Array(values) = values else {
            return Err(not_of_type(values, "array"));
        };
        for value in values {
            let Value::String(value) = value else {
                return Err(not_of_type(value, "string"));
            };
            if !is_header_name(name) {
                return Err(format!("{} is not a valid header name", quoted(name)));
            }
            if !is_header_value(value) {
                return Err(format!(
                    "the value of header {} holds a character that HTTP does not allow",
                    quoted(name)
                ));
            }
            headers.push((name.clone(), value.clone()));
        }
    }
    Ok(headers)
}

fn not_of_type(value: &Value, expected: &str) -> String {
    format!("{} is not of type '{expected}'", shown(value))
}

fn quoted(text: &str) -> String {
    format!("'{text}'")
}

/// The value as the peer's users see it: strings in single quotes, everything else as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::target::{TargetFormat, parse};

    #[test]
    fn one_object_lines_of_objects_and_a_pretty_printed_object() {
        let one = r#"{"method": "POST", "url": "http://svc:8080/x", "header": {"Content-Type": ["text/plain"], "X": ["1", "2"]}, "body": "aGVsbG8="}"#;
        let lines = "{\"method\":\"GET\",\"url\":\"http://a/\"}\n{\"method\":\"HEAD\",\"url\":\"http://b/\"}";
        let pretty = "{\n  \"method\": \"GET\",\n  \"url\": \"http://a/\"\n}\n";
        let targets = parse(one, TargetFormat::Json).unwrap();
        let target = targets.first().unwrap();
        assert_eq!(target.body, Body::Inline("hello".into()));
        assert_eq!(
            target.headers,
            [("Content-Type", "text/plain"), ("X", "1"), ("X", "2")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(parse(lines, TargetFormat::Json).unwrap().len(), 2);
        assert_eq!(parse(pretty, TargetFormat::Json).unwrap().len(), 1);
        assert_eq!(
            parse(" \n", TargetFormat::Json).unwrap_err().to_string(),
            "no targets found"
        );
    }

    #[test]
    fn errors_use_the_known_words() {
        for (text, reason) in [
            (
                r#"{"method":"INVALID","url":"http://a/"}"#,
                "'INVALID' is not one of ['GET', 'POST', 'PUT', 'PATCH', 'OPTIONS', 'TRACE', 'HEAD', 'DELETE', 'CONNECT']",
            ),
            (r#"{"method":"GET"}"#, "'url' is a required property"),
            (
                r#"{"method":"GET","url":"http://a/","foo":1}"#,
                "Additional properties are not allowed ('foo' was unexpected)",
            ),
            (r#"{"method":"GET","url":5}"#, "5 is not of type 'string'"),
            (
                r#"{"method":"GET","url":"http://a/","header":{"a":"b"}}"#,
                "'b' is not of type 'array'",
            ),
            (
                r#"{"method":"GET","url":"http://a/","header":{"a":[1]}}"#,
                "1 is not of type 'string'",
            ),
            (
                r#"{"method":"GET","url":"http://a/","header":{"a":["x\r\ny: z"]}}"#,
                "the value of header 'a' holds a character that HTTP does not allow",
            ),
            (
                r#"{"method":"GET","url":"http://a/","body":"!"}"#,
                "body is not valid base64",
            ),
            (
                r#"{"method":"GET","url":"ftp://a/"}"#,
                "url must be an absolute http or https URL",
            ),
            ("[]", "[] is not of type 'object'"),
        ] {
            let error = parse(text, TargetFormat::Json).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("Invalid Vegeta JSON target: {reason} (target 1 at line 1)")
            );
        }
        let second = "{\"method\":\"GET\",\"url\":\"http://a/\"}\n\n  {\"method\":\"GET\"}";
        assert_eq!(
            parse(second, TargetFormat::Json).unwrap_err().to_string(),
            "Invalid Vegeta JSON target: 'url' is a required property (target 2 at line 3)"
        );
        let error = parse("GET http://a/", TargetFormat::Json)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("contains invalid JSON: target 1 at line 1: "),
            "{error}"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_text_is_parsed_or_refused_without_a_panic(text in "(\\{|\\}|\\[|\"method\":|\"GET\"|\"url\":|,|\\n|\\PC){0,24}") {
            let _ = parse(&text, TargetFormat::Json);
        }
    }
}
