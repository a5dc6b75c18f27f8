//! Names of things in a cluster (`spec/kubernetes.md` §2.6).

use std::{borrow::Cow, fmt, ops::Deref, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid name '{text}': expected {expected}")]
pub struct NameError {
    /// What was given.
    pub text: String,
    /// What a name of this sort is made of.
    pub expected: &'static str,
}

/// Name of a namespace or of an object in it: 1 to 253 letters, digits, dots and hyphens, a letter or digit at both
/// ends. Blanks around it are dropped.
///
/// Kubernetes has no upper-case names; they are read all the same, so that one warning can say so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ObjectName(String);

/// Name of a container, or an alias for a component: 1 to 128 letters, digits and `_ . - / : @`, a letter or digit
/// first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ContainerName(String);

const OBJECT: &str =
    "1 to 253 letters, digits, dots and hyphens that begin and end with a letter or digit";
const OBJECT_PATTERN: &str = r"^\s*[0-9A-Za-z]([0-9A-Za-z.-]{0,251}[0-9A-Za-z])?\s*$";

const CONTAINER: &str =
    "1 to 128 letters, digits and _ . - / : @ that begin with a letter or digit";
const CONTAINER_PATTERN: &str = r"^[0-9A-Za-z][0-9A-Za-z_.\-/:@]{0,127}$";

// === impl ObjectName ===

impl ObjectName {
    /// `default`, the namespace that every cluster has.
    pub fn default_namespace() -> Self {
        Self("default".to_owned())
    }

    /// Whether there are upper-case letters in it, which Kubernetes does not allow.
    pub fn has_upper_case(&self) -> bool {
        self.0.bytes().any(|byte| byte.is_ascii_uppercase())
    }
}

impl FromStr for ObjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let name = text.trim();
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = name.as_bytes();
        if bytes.len() <= 253
            && outer(bytes.first())
            && outer(bytes.last())
            && bytes.iter().copied().all(inner)
        {
            Ok(Self(name.to_owned()))
        } else {
            Err(NameError {
                text: text.to_owned(),
                expected: OBJECT,
            })
        }
    }
}

// === impl ContainerName ===

impl ContainerName {
    /// Whether there are upper-case letters in it, which the name of a container cannot have.
    pub fn has_upper_case(&self) -> bool {
        self.0.bytes().any(|byte| byte.is_ascii_uppercase())
    }
}

impl FromStr for ContainerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/' | b':' | b'@')
        };
        let bytes = text.as_bytes();
        if bytes.len() <= 128
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().copied().all(allowed)
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError {
                text: text.to_owned(),
                expected: CONTAINER,
            })
        }
    }
}

macro_rules! text_form {
    ($name:ident, $pattern:ident, $description:literal, $examples:tt) => {
        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "description": $description,
                    "pattern": $pattern,
                    "examples": $examples,
                })
            }
        }
    };
}

text_form!(
    ObjectName,
    OBJECT_PATTERN,
    "A name in the cluster: up to 253 lower-case letters, digits, dots and hyphens",
    ["web", "shop.cart"]
);
text_form!(
    ContainerName,
    CONTAINER_PATTERN,
    "A name: up to 128 letters, digits and _ . - / : @",
    ["main", "tuning"]
);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_of_objects() {
        for good in [
            "a",
            "0",
            "web",
            "my.app-2",
            "Web",
            " web\t",
            &"x".repeat(253),
        ] {
            let name: ObjectName = good.parse().unwrap();
            assert_eq!(&*name, good.trim());
        }
        for bad in [
            "",
            " ",
            "-a",
            "a-",
            ".a",
            "a.",
            "a_b",
            "a b",
            "é",
            "a/b",
            &"x".repeat(254),
        ] {
            let error = bad.parse::<ObjectName>().unwrap_err().to_string();
            assert!(error.contains(&format!("'{bad}'")), "{error}");
        }
        assert!("Web".parse::<ObjectName>().unwrap().has_upper_case());
        assert!(!"web-0".parse::<ObjectName>().unwrap().has_upper_case());
    }

    #[test]
    fn names_of_containers() {
        for good in ["a", "opsani/fiber-http:latest", "a@b_", &"x".repeat(128)] {
            good.parse::<ContainerName>().unwrap();
        }
        for bad in ["", " a", "a ", "_a", "/a", "a b", "é", &"x".repeat(129)] {
            bad.parse::<ContainerName>().unwrap_err();
        }
    }

    /// The published pattern and the reader agree.
    #[test]
    fn patterns_say_the_same() {
        let object = regex::Regex::new(OBJECT_PATTERN).unwrap();
        let container = regex::Regex::new(CONTAINER_PATTERN).unwrap();
        let long = [
            "x".repeat(128),
            "x".repeat(129),
            "x".repeat(253),
            "x".repeat(254),
        ];
        let short = [
            "",
            "a",
            "-",
            "a-",
            "a-b",
            "A.b",
            " a ",
            "a b",
            "a/b:c@d_e",
            "_",
            "é",
            "a\n",
        ];
        for text in long.iter().map(String::as_str).chain(short) {
            assert_eq!(
                object.is_match(text),
                text.parse::<ObjectName>().is_ok(),
                "{text:?}"
            );
            assert_eq!(
                container.is_match(text),
                text.parse::<ContainerName>().is_ok(),
                "{text:?}"
            );
        }
    }
}
