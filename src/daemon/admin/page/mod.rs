//! The page for people at `/`: what the daemon and its servos do, live.
//!
//! It is built into the program, and asks nobody but the JSON API beside it. It needs no token itself,
//! for it holds nothing of the daemon: it asks for the token that its questions need.

use axum::{
    Router,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};

/// A file of the page.
struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

macro_rules! file {
    ($path:literal, $kind:ident, $source:literal) => {
        File {
            path: $path,
            kind: $kind,
            text: include_str!($source),
        }
    };
}

const FILES: [File; 10] = [
    file!("/", HTML, "page.html"),
    file!("/page.css", STYLE, "page.css"),
    file!("/page.js", SCRIPT, "page.js"),
    file!("/page/api.js", SCRIPT, "api.js"),
    file!("/page/dom.js", SCRIPT, "dom.js"),
    file!("/page/format.js", SCRIPT, "format.js"),
    file!("/page/mark.svg", PICTURE, "mark.svg"),
    file!("/page/panel.js", SCRIPT, "panel.js"),
    file!("/page/table.js", SCRIPT, "table.js"),
    file!("/page/view.js", SCRIPT, "view.js"),
];

/// Nothing but this page's own files runs or shows, and it talks to nobody else; no other site frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Whether `path` is of this page, which everybody may see without a token.
pub fn is_page(path: &str) -> bool {
    FILES.iter().any(|file| file.path == path)
}

/// Serves the page at `/`, and its files at `/page.js`, `/page.css` and below `/page/`.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |router, file| {
        router.route(file.path, get(move || async move { file.answer() }))
    })
}

impl File {
    fn answer(&self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, self.kind),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            // The next version of the program has another page.
            (header::CACHE_CONTROL, "no-cache"),
        ]
        .map(|(name, value)| (name, HeaderValue::from_static(value)));
        (headers, self.text).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_a_file_names_is_served() {
        for file in &FILES {
            for (mark, end) in [("href=\"", '"'), ("src=\"", '"'), ("from \"", '"')] {
                for (at, _) in file.text.match_indices(mark) {
                    let rest = &file.text[at + mark.len()..];
                    let named = rest.split(end).next().unwrap_or_default();
                    if named.starts_with('#') {
                        continue;
                    }
                    let folder = &file.path[..=file.path.rfind('/').unwrap_or_default()];
                    let path = format!("{folder}{}", named.trim_start_matches("./"));
                    assert!(is_page(&path), "{} names {named}: {path}", file.path);
                }
            }
        }
    }

    #[test]
    fn only_its_own_files_are_of_the_page() {
        assert!(is_page("/") && is_page("/page.js"));
        assert!(!is_page("/page/") && !is_page("/page/../api") && !is_page("/api/v1/servos"));
    }

    #[test]
    fn no_text_of_the_daemon_becomes_markup() {
        for file in FILES.iter().filter(|file| file.kind == SCRIPT) {
            for dangerous in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "localStorage",
            ] {
                assert!(!file.text.contains(dangerous), "{}: {dangerous}", file.path);
            }
        }
    }
}
