//! The line format: `METHOD URL`, headers, `@body-file` (spec/metrics-and-load.md §3.3).

use std::path::PathBuf;

use super::{Body, Method, Target, TargetError, is_header_name, is_header_value, parse_url};

/// What one trimmed line can be.
enum Line<'a> {
    Comment,
    Blank,
    Request(Target),
    BodyFile(&'a str),
    Header(&'a str, &'a str),
}

pub(super) fn parse(text: &str) -> Result<Vec<Target>, TargetError> {
    let mut targets: Vec<Target> = Vec::new();
    // Whether header and body lines may follow, that is, the last target has not ended yet.
    let mut open = false;
    for line in text.lines().map(str::trim) {
        let invalid = || TargetError::Line(quoted(line));
        let current = || if open { Some(()) } else { None };
        match classify(line).ok_or_else(invalid)? {
            Line::Comment => {}
            Line::Blank => open = false,
            Line::Request(target) => {
                targets.push(target);
                open = true;
            }
            Line::BodyFile(path) => {
                let target = current().and(targets.last_mut()).ok_or_else(invalid)?;
                target.body = Body::File(PathBuf::from(path));
                open = false;
            }
            Line::Header(name, value) => {
                let target = current().and(targets.last_mut()).ok_or_else(invalid)?;
                target.headers.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    Ok(targets)
}

fn classify(line: &str) -> Option<Line<'_>> {
    if line.is_empty() {
        return Some(Line::Blank);
    }
    if line.starts_with('#') {
        return Some(Line::Comment);
    }
    if let Some(path) = line.strip_prefix('@') {
        let path = path.trim();
        return (!path.is_empty()).then_some(Line::BodyFile(path));
    }
    // Before headers: a request line right after another one is a target, never a header of the first.
    if let Some((method, url)) = line.split_once(char::is_whitespace)
        && let Some(method) = Method::from_name(method)
    {
        return Some(Line::Request(target(method, url.trim_start())?));
    }
    if let Some(request) = target(Method::Get, line) {
        tracing::warn!(target = %request.shown(), "a target without a method is taken as GET; write `GET <url>`");
        return Some(Line::Request(request));
    }
    let (name, value) = line.split_once(':')?;
    let (name, value) = (name.trim(), value.trim());
    (!value.is_empty() && is_header_name(name) && is_header_value(value))
        .then_some(Line::Header(name, value))
}

fn target(method: Method, url: &str) -> Option<Target> {
    Some(Target {
        method,
        url: parse_url(url)?,
        headers: Vec::new(),
        body: Body::empty(),
    })
}

/// The line, if it was meant for a request; of what may be a header without its colon only the
/// name, for its value may be a secret.
fn quoted(line: &str) -> String {
    let line = line.trim();
    let first = line.split_whitespace().next().unwrap_or_default();
    let is_request = first.chars().all(|c| c.is_ascii_uppercase()) || line.contains("://");
    if first == line || is_request {
        line.to_owned()
    } else {
        format!("{first} ...")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::target::{TargetFormat, parse};

    #[test]
    fn two_targets_with_headers_comments_and_a_body_file() {
        let text = "
            # two targets
            POST http://svc:8080/orders
            Content-Type: application/json
            # a comment inside
            Authorization: Bearer a:b:c
            x-Two: 1
            x-Two: 2
            @orders/one.json
            GET  http://svc:8080/health
            Host: a:80
            DELETE http://svc:8080/orders/1";
        let targets = parse(text, TargetFormat::Http).unwrap();
        let [post, get, delete] = targets.as_slice() else {
            panic!("{targets:?}")
        };
        assert_eq!(post.method, Method::Post);
        assert_eq!(post.url.as_str(), "http://svc:8080/orders");
        let headers: Vec<_> = post
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            headers,
            [
                ("Content-Type", "application/json"),
                ("Authorization", "Bearer a:b:c"),
                ("x-Two", "1"),
                ("x-Two", "2")
            ]
        );
        assert_eq!(post.body, Body::File("orders/one.json".into()));
        assert_eq!(get.headers, [("Host".to_owned(), "a:80".to_owned())]);
        assert_eq!(delete.method, Method::Delete);
    }

    #[test]
    fn valid_targets() {
        for text in [
            "GET http://goku:9090/path/to/dragon?item=ball",
            "GET http://user:password@goku:9090/path/to",
            "HEAD http://goku:9090/path/to/success\nAuthorization: x",
            "POST http://goku:9090/things\n@/path/to/newthing.json\n\n\n   \nPATCH http://goku:9090/thing/71988591\n@/path/to/thing-71988591.json",
            "GET http://a/\nReferer: http://y/z",
            "https://opsani.com/",
            "GET http://a/\n# comment\nGET http://b/",
        ] {
            assert!(parse(text, TargetFormat::Http).is_ok(), "{text}");
        }
    }

    #[test]
    fn invalid_lines_are_named() {
        for (text, line) in [
            (
                "ZGET http://goku:9090/path/to/dragon?item=balls",
                "ZGET http://goku:9090/path/to/dragon?item=balls",
            ),
            (
                "GET gopher://goku:9090/path/to/dragon",
                "GET gopher://goku:9090/path/to/dragon",
            ),
            ("  ZGET http://goku/path", "ZGET http://goku/path"),
            ("get http://x/", "get http://x/"),
            ("GET http:/x", "GET http:/x"),
            ("@/x", "@/x"),
            ("X: 1", "X: ..."),
            ("GET http://x trailing", "GET http://x trailing"),
            ("POST http://goku:9090/\nX-Account-ID:", "X-Account-ID:"),
            (
                "GET http://goku:9090/\n!!! DELETE http://goku:9090/x",
                "!!! DELETE http://goku:9090/x",
            ),
            ("GET http://goku:9090/\n0@/path/to/f", "0@/path/to/f"),
            (
                "GET http://goku:9090/\nJUMP http://goku:9090/things",
                "JUMP http://goku:9090/things",
            ),
            ("GET http://a/\n\nX: 1", "X: ..."),
            ("GET http://a/\n@f\nX: 1", "X: ..."),
            ("GET http://a/\n@", "@"),
            ("GET", "GET"),
        ] {
            assert_eq!(
                parse(text, TargetFormat::Http).unwrap_err().to_string(),
                format!("invalid target: {line}"),
                "{text}"
            );
        }
    }

    #[test]
    fn nothing_but_comments_is_no_target() {
        assert_eq!(
            parse("# only\n\n # comments", TargetFormat::Http)
                .unwrap_err()
                .to_string(),
            "no targets found"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_text_is_parsed_or_refused_without_a_panic(text in "(GET |POST |@|#|http://|https://:|:|\\n|\\PC){0,24}") {
            let _ = parse(&text, TargetFormat::Http);
        }

        #[test]
        fn printed_targets_parse_back(
            targets in proptest::collection::vec(
                (0_usize..9, "[a-z]{1,8}", "[a-z/]{0,8}", proptest::collection::vec(("[A-Za-z-]{1,8}", "[!-~]{1,8}"), 0..3)), 1..4),
        ) {
            let mut text = String::new();
            for (method, host, path, headers) in &targets {
                text.push_str(&format!("{} http://{host}/{path}\n", Method::ALL[*method]));
                for (name, value) in headers {
                    text.push_str(&format!("{name}: {value}\n"));
                }
            }
            let parsed = parse(&text, TargetFormat::Http).unwrap();
            prop_assert_eq!(parsed.len(), targets.len());
            for (parsed, (method, host, _, headers)) in parsed.iter().zip(&targets) {
                prop_assert_eq!(parsed.method, Method::ALL[*method]);
                prop_assert_eq!(parsed.url.host_str(), Some(host.as_str()));
                prop_assert_eq!(&parsed.headers, headers);
            }
        }
    }
}
