//! HTTP proxies: which request goes through which.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::{Host, Url};

use crate::secret::Secret;

/// Which request goes through which proxy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub enum Proxies {
    /// Everything through this one.
    All(ProxyUrl),
    /// By pattern; none = a direct connection. What no pattern matches goes directly.
    ByPattern(BTreeMap<ProxyPattern, Option<ProxyUrl>>),
}

/// The address of a proxy. Printed and written with its password masked.
#[derive(Clone)]
pub struct ProxyUrl {
    /// With user and password.
    url: Secret,
    shown: String,
}

/// Which URLs a proxy is for: `all://`, `http://`, `https://*.example.com`, `all://*:1234`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProxyPattern {
    scheme: Scheme,
    host: HostPattern,
    port: Option<u16>,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Scheme {
    Any,
    Http,
    Https,
}

/// Names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum HostPattern {
    Any,
    Exactly(String),
    /// `*.example.com`: every name that ends so, not `example.com` itself.
    Below(String),
    /// `*example.com`: `example.com` and every name below it.
    AtOrBelow(String),
}

/// Why a text is no proxy or no pattern. Quotes no proxy's address, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Neither http nor https.
    #[error(
        "a proxy's address must begin with http:// or https://, as in http://proxy.internal:3128"
    )]
    Scheme,
    /// Begins well, but is no URL.
    #[error("the proxy's address is no URL ({0}): expected one such as http://proxy.internal:3128")]
    Url(url::ParseError),
    /// No pattern.
    #[error(
        "proxy pattern '{pattern}': {problem}; expected all://, http:// or https://, then nothing, a host, \
         *.domain or *, and maybe :port"
    )]
    Pattern {
        /// What was given.
        pattern: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

// === impl Proxies ===

impl Proxies {
    /// The proxy that a request to `url` goes through; none = a direct connection.
    ///
    /// Of several patterns that match the most specific decides: one with a port before one without, then the longer
    /// host, then one with a scheme before `all`.
    pub fn choose(&self, url: &Url) -> Option<&ProxyUrl> {
        match self {
            Self::All(proxy) => Some(proxy),
            Self::ByPattern(patterns) => patterns
                .iter()
                .filter(|(pattern, _)| pattern.matches(url))
                .max_by_key(|(pattern, _)| pattern.specificity())
                .and_then(|(_, proxy)| proxy.as_ref()),
        }
    }
}

impl<'de> Deserialize<'de> for Proxies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ProxiesVisitor;

        impl<'de> Visitor<'de> for ProxiesVisitor {
            type Value = Proxies;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a proxy's URL, or a mapping of patterns such as 'all://' to URLs or null",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Proxies, E> {
                text.parse().map(Proxies::All).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Proxies, A::Error> {
                BTreeMap::deserialize(MapAccessDeserializer::new(map)).map(Proxies::ByPattern)
            }
        }

        deserializer.deserialize_any(ProxiesVisitor)
    }
}

impl JsonSchema for Proxies {
    fn schema_name() -> Cow<'static, str> {
        "Proxies".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (url, perhaps_url) = (
            generator.subschema_for::<ProxyUrl>(),
            generator.subschema_for::<Option<ProxyUrl>>(),
        );
        json_schema!({
            "description": "One proxy for everything, or a mapping of patterns to proxies; null for a direct connection.",
            "anyOf": [
                url,
                {
                    "type": "object",
                    "propertyNames": {"pattern": PATTERN, "examples": ["all://", "https://*.example.com"]},
                    "additionalProperties": perhaps_url,
                },
            ],
        })
    }
}

// === impl ProxyUrl ===

impl ProxyUrl {
    /// The address with user and password, for the connection itself.
    pub fn expose(&self) -> &str {
        self.url.expose()
    }
}

impl FromStr for ProxyUrl {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        if !is_http(text) {
            return Err(ProxyError::Scheme);
        }
        let url = Url::parse(text).map_err(ProxyError::Url)?;
        let mut shown = url.clone();
        // Both only fail for URLs without a host, which http and https always have. A user alone may be a token.
        if url.password().is_some() {
            let _ = shown.set_password(Some(Secret::MASK));
        } else if !url.username().is_empty() {
            let _ = shown.set_username(Secret::MASK);
        }
        Ok(Self {
            shown: shown.as_str().trim_end_matches('/').to_owned(),
            url: Secret::from(url.to_string()),
        })
    }
}

fn is_http(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| {
        text.get(..scheme.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(scheme))
    })
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl PartialEq for ProxyUrl {
    fn eq(&self, other: &Self) -> bool {
        self.url == other.url
    }
}

impl Eq for ProxyUrl {}

impl Hash for ProxyUrl {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expose().hash(state);
    }
}

impl Serialize for ProxyUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown)
    }
}

impl<'de> Deserialize<'de> for ProxyUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UrlVisitor;

        impl Visitor<'_> for UrlVisitor {
            type Value = ProxyUrl;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a proxy's URL such as http://proxy.internal:3128")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ProxyUrl, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(UrlVisitor)
    }
}

impl JsonSchema for ProxyUrl {
    fn schema_name() -> Cow<'static, str> {
        "ProxyUrl".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // It may hold a password, so nothing that shows configuration may show it as it was written.
        json_schema!({
            "type": "string",
            "format": "uri",
            "writeOnly": true,
            "pattern": "^[hH][tT][tT][pP][sS]?://.",
            "examples": ["http://proxy.internal:3128"],
        })
    }
}

// === impl ProxyPattern ===

/// What [`ProxyPattern`] reads, for the schema.
const PATTERN: &str = r"^(https?|all)://(\*?[^*/:@?#\[\]\s]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?$";

impl ProxyPattern {
    /// Whether a request to `url` is meant.
    pub fn matches(&self, url: &Url) -> bool {
        let scheme = match self.scheme {
            Scheme::Any => true,
            Scheme::Http => url.scheme() == "http",
            Scheme::Https => url.scheme() == "https",
        };
        let port = self.port.is_none() || self.port == url.port_or_known_default();
        scheme && port && url.host_str().is_some_and(|host| self.host.matches(host))
    }

    fn specificity(&self) -> impl Ord + use<> {
        let host = match &self.host {
            HostPattern::Any => (0, 0),
            HostPattern::AtOrBelow(name) => (name.len(), 0),
            HostPattern::Below(name) => (name.len(), 1),
            HostPattern::Exactly(name) => (name.len(), 2),
        };
        // The text makes the choice certain where nothing else does.
        (
            self.port.is_some(),
            host,
            self.scheme != Scheme::Any,
            Reverse(self.text.clone()),
        )
    }
}

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
        let below = |name: &str| {
            host.strip_suffix(name)
                .and_then(|head| head.strip_suffix('.'))
                .is_some_and(|head| !head.is_empty())
        };
        match self {
            Self::Any => true,
            Self::Exactly(name) => host == name,
            Self::Below(name) => below(name),
            Self::AtOrBelow(name) => host == name || below(name),
        }
    }
}

impl FromStr for ProxyPattern {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        let error = |problem| ProxyError::Pattern {
            pattern: text.to_owned(),
            problem,
        };
        let (scheme, rest) = [
            ("all://", Scheme::Any),
            ("http://", Scheme::Http),
            ("https://", Scheme::Https),
        ]
        .into_iter()
        .find_map(|(head, scheme)| Some((scheme, text.strip_prefix(head)?)))
        .ok_or_else(|| error("it begins with none of all://, http:// and https://"))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let bracket = rest.rfind(']').unwrap_or(0);
        let (host, port) = match rest
            .rfind(':')
            .filter(|colon| *colon > bracket || bracket == 0)
        {
            Some(colon) => rest.split_at(colon),
            None => (rest, ""),
        };
        let port = match port.strip_prefix(':') {
            None => None,
            Some(port) => {
                let digits = port.bytes().all(|byte| byte.is_ascii_digit());
                let port = port.parse::<u16>().ok().filter(|port| digits && *port > 0);
                Some(port.ok_or_else(|| error("the port is no number from 1 to 65535"))?)
            }
        };
        let host = host_pattern(host).map_err(error)?;
        Ok(Self {
            scheme,
            host,
            port,
            text: text.to_owned(),
        })
    }
}

fn host_pattern(host: &str) -> Result<HostPattern, &'static str> {
    let name = |name: &str| {
        if name.is_empty() {
            return Err("the host is incomplete");
        }
        if name.contains('*') {
            return Err("* may only stand at the beginning of the host");
        }
        if name.contains('@') {
            return Err("a pattern holds no user or password");
        }
        // As the URL of a request says it.
        Host::parse(name)
            .map(|host| host.to_string())
            .map_err(|_| "the host is no host name and no IP address")
    };
    Ok(match host.strip_prefix('*') {
        None if host.is_empty() => HostPattern::Any,
        None => HostPattern::Exactly(name(host)?),
        Some("") => HostPattern::Any,
        Some(rest) => match rest.strip_prefix('.') {
            Some(domain) => HostPattern::Below(name(domain)?),
            None => HostPattern::AtOrBelow(name(rest)?),
        },
    })
}

impl fmt::Display for ProxyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for ProxyPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for ProxyPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PatternVisitor;

        impl Visitor<'_> for PatternVisitor {
            type Value = ProxyPattern;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a pattern such as 'all://' or 'https://*.example.com'")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ProxyPattern, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(PatternVisitor)
    }
}
