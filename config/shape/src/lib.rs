//! The shape of configuration: the JSON schema that is derived from a stanza's Rust type, compiled once
//! and put to use.
//!
//! A [`Shape`] checks a value and tells everything that is wrong with it at once, where reading it into
//! the type stops at the first mistake; it converts scalars to what the type wants; fills in what
//! environment variables say; knows what is secret, what a key means and what it is by default; and
//! publishes a schema that other programs can check files with.
//!
//! ```
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Load {
//!     rate: String,
//!     #[serde(default)]
//!     insecure: bool,
//! }
//!
//! let shape = servo_shape::Shape::of(&schemars::schema_for!(Load));
//! let mut value = serde_yaml::from_str("{rate: 7, insecure: 'yes'}").unwrap();
//! assert_eq!(shape.check(&mut value), []);
//! let load: Load = serde_yaml::from_value(value).unwrap();
//! assert_eq!((load.rate.as_str(), load.insecure), ("7", true));
//!
//! let mut value = serde_yaml::from_str("{insecur: 5}").unwrap();
//! let faults: Vec<String> = shape.check(&mut value).iter().map(ToString::to_string).collect();
//! assert_eq!(faults, [
//!     "insecur: extra fields not permitted (did you mean \"insecure\"?)",
//!     "rate: field required",
//! ]);
//! ```
//!
//! It knows schemas and values. It must not know servos, connectors, files or places in files, nor where
//! variables come from.
//!
//! Beside the keywords of JSON Schema two extensions are read: `"x-strict": true` switches conversion of
//! scalars off for a node, and `"x-aliases": {"base-url": "base_url"}` in an object names other spellings
//! of keys. Not read are `not`, `if`, `multipleOf` and `uniqueItems`: types check those themselves.

mod check;
mod compile;
mod expected;
mod fault;
mod fill;
mod lookup;
mod merge;
mod node;
mod number_text;
mod publish;
mod published;
mod scalar;
mod secrets;
mod union;
mod variables;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_yaml::Value;

pub use fault::{Fault, FaultKind, nearest};
pub use fill::Filled;
pub use published::Published;
pub use variables::variable_segment;

/// All environment variables that count, by name; which of two sources wins is settled before.
pub type Environment = BTreeMap<String, String>;

/// The compiled schema of a type. Cheap to clone.
#[derive(Clone)]
pub struct Shape {
    nodes: Arc<node::Nodes>,
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shape")
            .field("keys", &self.keys_at(&[] as &[&str]))
            .finish_non_exhaustive()
    }
}

impl Shape {
    /// Compiles `schema`. What it says that cannot be understood limits nothing.
    #[must_use]
    pub fn of(schema: &schemars::Schema) -> Self {
        Self {
            nodes: Arc::new(compile::compile(schema.as_value())),
        }
    }

    /// Everything that is wrong with `value`; none if nothing is. Scalars are converted in place, other
    /// spellings of keys become the proper ones, and keys that are null and need not be there go.
    ///
    /// Without faults the type accepts the value, but for what its text means: whether `5 parsecs` is a
    /// duration, the type knows. With faults the value may be half converted.
    pub fn check(&self, value: &mut Value) -> Vec<Fault> {
        let mut check = check::Check::new(&self.nodes);
        check.check(self.nodes.root, value, check::Hush::default());
        check.faults
    }

    /// Fills what `value` lacks from environment variables.
    ///
    /// `prefix` (such as `SERVO_PROM1`) itself holds JSON that is merged under `value`, key by key; below it
    /// are `prefix_FIELD` and `prefix_FIELD__SUB__0__X`. What is there always wins, null is not there. A null
    /// `value` stays null unless `prefix` itself is set: variables of fields do not activate a stanza.
    /// Variables of lists and mappings hold JSON; those of lists of scalars also `a,b`.
    pub fn fill(&self, value: &mut Value, prefix: &str, environment: &Environment) -> Filled {
        let mut filler = fill::Filler::new(&self.nodes, environment);
        filler.fill(self.nodes.root, value, prefix);
        filler.filled
    }

    /// Every path of named keys with its variable, the whole value's first. What is below lists, free keys
    /// and recursion is left out.
    #[must_use]
    pub fn variables(&self, prefix: &str) -> Vec<(Vec<String>, String)> {
        self.nodes.variables(prefix)
    }

    /// Whether `variable` addresses anything here, items of lists and free keys included.
    #[must_use]
    pub fn recognises(&self, prefix: &str, variable: &str) -> bool {
        self.nodes.recognises(self.nodes.root, prefix, variable, 0)
    }

    /// Whether the value at `path` is, or is inside of, a secret.
    #[must_use]
    pub fn is_secret(&self, path: &[impl AsRef<str>]) -> bool {
        self.nodes.secret_at(path)
    }

    /// Whether the value at `path` is or holds a secret, so that it must not be quoted.
    #[must_use]
    pub fn holds_secret(&self, path: &[impl AsRef<str>]) -> bool {
        self.is_secret(path)
            || self
                .nodes
                .at(path)
                .into_iter()
                .any(|id| self.nodes.node(id).hushed)
    }

    /// Whether the schema knows `path`: by name, as an item of a list or as a free key.
    #[must_use]
    pub fn knows(&self, path: &[impl AsRef<str>]) -> bool {
        !self.nodes.at(path).is_empty()
    }

    /// The value at `path` when none is given. A key's own default comes before what the default of the
    /// whole above it says.
    #[must_use]
    pub fn default_at(&self, path: &[impl AsRef<str>]) -> Option<serde_json::Value> {
        self.nodes.default_at(path)
    }

    /// What the value at `path` means, for users.
    #[must_use]
    pub fn description_at(&self, path: &[impl AsRef<str>]) -> Option<String> {
        self.nodes.note_at(path, |notes| notes.description.clone())
    }

    /// The title of the value at `path`: the schema's own, else the key in title case.
    #[must_use]
    pub fn title_at(&self, path: &[impl AsRef<str>]) -> Option<String> {
        let all = self.nodes.at(path);
        let own = all.iter().find_map(|id| {
            let node = self.nodes.node(*id);
            let named = node.name.is_some() && !path.is_empty();
            node.notes.title.clone().filter(|_| !named)
        });
        own.or_else(|| {
            let key = path.last().filter(|_| !all.is_empty())?;
            Some(publish::title_case(key.as_ref()))
        })
    }

    /// What the value at `path` may be, in words, such as `a whole number, at least 1`.
    #[must_use]
    pub fn expected_at(&self, path: &[impl AsRef<str>]) -> Option<String> {
        let all = self.nodes.at(path);
        Some(self.nodes.expected(*all.first()?))
    }

    /// The named keys of the mapping at `path`, in the order of the type.
    #[must_use]
    pub fn keys_at(&self, path: &[impl AsRef<str>]) -> Vec<String> {
        self.nodes.keys_at(path)
    }

    /// Whether the mapping at `path` takes keys that the schema does not name.
    #[must_use]
    pub fn takes_free_keys(&self, path: &[impl AsRef<str>]) -> bool {
        self.nodes
            .at(path)
            .into_iter()
            .any(|id| self.nodes.is_free(id))
    }

    /// Puts `**********` in place of each secret.
    pub fn mask(&self, value: &mut Value) {
        self.nodes.mask(self.nodes.root, value);
    }

    /// The schema for other programs, which accepts exactly what [`Shape::check`] does. With a `prefix`
    /// each property says in `env_names` which variable fills it.
    #[must_use]
    pub fn published(&self, prefix: Option<&str>) -> Published {
        publish::publish(&self.nodes, prefix)
    }
}
