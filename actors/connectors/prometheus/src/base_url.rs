//! Where a Prometheus server is.

use std::{borrow::Cow, fmt, str::FromStr};

use percent_encoding::percent_decode_str;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::Url;

use servo_messages::Secret;

/// Root of a Prometheus server: http or https, maybe with a path prefix, no trailing slash.
///
/// User info is kept apart from the URL, so that the URL can be shown. Printing masks the password.
#[derive(Clone, Debug)]
pub struct BaseUrl {
    /// Without user info; the path ends with a slash only where it is the root.
    url: Url,
    user_info: Option<UserInfo>,
}

/// Who asks, as the URL says it; decoded.
#[derive(Clone, Debug)]
pub(crate) struct UserInfo {
    pub(crate) username: String,
    pub(crate) password: Option<Secret>,
}

/// Why a text is no [`BaseUrl`]. Never quotes the text, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    /// Not a URL at all.
    #[error("not a URL ({0}): expected one such as http://prometheus:9090")]
    Invalid(url::ParseError),
    /// Neither http nor https.
    #[error("URL scheme not permitted: '{0}' is neither http nor https")]
    Scheme(String),
    /// A query or a fragment, which would be lost.
    #[error("the root of a server cannot have a query ('?') or a fragment ('#')")]
    Tail,
}

impl BaseUrl {
    /// The address of an endpoint of the API, such as `query_range`.
    pub(crate) fn endpoint(&self, name: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!(
            "{}/api/v1/{name}",
            url.path().trim_end_matches('/')
        ));
        url
    }

    pub(crate) fn user_info(&self) -> Option<&UserInfo> {
        self.user_info.as_ref()
    }

    pub(crate) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }
}

impl Default for BaseUrl {
    /// `https://prometheus:9090`
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "a constant, seen by every test")]
        "https://prometheus:9090".parse().expect("a URL")
    }
}

impl FromStr for BaseUrl {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<Self, BaseUrlError> {
        let mut url = Url::parse(text.trim()).map_err(BaseUrlError::Invalid)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BaseUrlError::Scheme(url.scheme().to_owned()));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BaseUrlError::Tail);
        }
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user_info =
            (!url.username().is_empty() || url.password().is_some()).then(|| UserInfo {
                username: decode(url.username()),
                password: url.password().map(|password| decode(password).into()),
            });
        // Both only fail for URLs without a host, which http and https always have.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self { url, user_info })
    }
}

/// Without trailing slash; user info as `user:***@`.
impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.url.as_str().trim_end_matches('/');
        match (&self.user_info, text.split_once("://")) {
            (Some(user), Some((scheme, rest))) => {
                let mut shown = self.url.clone();
                let _ = shown.set_username(&user.username);
                let password = if user.password.is_some() { ":***" } else { "" };
                write!(f, "{scheme}://{}{password}@{rest}", shown.username())
            }
            _ => f.write_str(text),
        }
    }
}

impl Serialize for BaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl JsonSchema for BaseUrl {
    fn schema_name() -> Cow<'static, str> {
        "BaseUrl".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // No pattern: what is wrong with a URL is told better by reading it.
        json_schema!({
            "type": "string",
            "format": "uri",
            "examples": ["http://prometheus.monitoring.svc:9090"],
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn trailing_slashes_go_and_a_prefix_stays() {
        for (given, shown, endpoint) in [
            (
                "http://h:9090/a//",
                "http://h:9090/a",
                "http://h:9090/a/api/v1/query",
            ),
            (
                "http://h/some/path/",
                "http://h/some/path",
                "http://h/some/path/api/v1/query",
            ),
            ("https://h///", "https://h", "https://h/api/v1/query"),
            ("http://h", "http://h", "http://h/api/v1/query"),
        ] {
            let url: BaseUrl = given.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(url.endpoint("query").as_str(), endpoint);
        }
        assert_eq!(BaseUrl::default().to_string(), "https://prometheus:9090");
    }

    #[test]
    fn a_password_is_masked_and_kept_out_of_the_endpoints() {
        let url: BaseUrl = "http://me%40x:se%3Acret@h/p".parse().unwrap();
        assert_eq!(url.to_string(), "http://me%40x:***@h/p");
        assert_eq!(url.endpoint("query").as_str(), "http://h/p/api/v1/query");
        assert!(!format!("{url:?}").contains("cret"));
        let user = url.user_info().unwrap();
        assert_eq!(user.username, "me@x");
        assert_eq!(user.password.as_ref().unwrap().expose(), "se:cret");
    }

    #[test]
    fn what_is_no_root_of_a_server_is_refused_without_quoting_it() {
        for (given, expected) in [
            ("gopher://x", "URL scheme not permitted"),
            ("ftp://u:secret@h", "URL scheme not permitted"),
            ("http://u:secret@", "not a URL"),
            ("prometheus", "not a URL"),
            ("http://u:secret@h/?x=1", "query"),
            ("http://h/#x", "fragment"),
        ] {
            let error = given.parse::<BaseUrl>().unwrap_err().to_string();
            assert!(error.contains(expected), "{given}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
