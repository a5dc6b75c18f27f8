//! A YAML stream as values that know where they stand in it.
//!
//! # What this crate knows
//!
//! YAML, and nothing else: [`documents`] reads a text once, one document at a time, and yields each as a
//! [`serde_yaml::Value`] together with the [`Places`] of its keys and items, so that whoever finds a value wrong can
//! point at it. Whatever is wrong with the YAML itself is a [`YamlError`] with its own place.
//!
//! # What this crate must not know
//!
//! Servos, connectors, schemas, environment variables, files. It does no I/O and no logging.
//!
//! # How YAML is read (`spec/config-and-cli.md` §2.1)
//!
//! * Scalars follow the core schema of YAML 1.2: `yes`, `no`, `on`, `off` and `1:30` are text, `0o10` is 8. Two plain
//!   scalars stay text although the core schema makes them numbers, because a number would lose their digits:
//!   integers with leading zeros (`007`) and numbers that neither 64 bits nor a finite float can hold.
//! * Keys are text. A plain `on`, `1` or `null` as a key is the text as written; a list or a mapping is an error.
//! * The tags `!!str`, `!!int`, `!!float`, `!!bool`, `!!null`, `!!seq` and `!!map` are honoured; others are errors.
//! * Anchors and aliases work within a document. The merge key `<<` takes a mapping, an alias, or a list of them: the
//!   mapping's own keys win, then those of earlier mappings. Merged keys come in order where the `<<` stands.
//! * A key that stands twice in a mapping is an error.
//! * A document nests at most [`MAX_DEPTH`] levels, and its aliases copy at most [`MAX_COPIES`] values.
//!
//! # Cost
//!
//! Time is linear in the length of the text, whatever it holds. Memory is that of the largest document.
//!
//! ```
//! let text = "wait:\n  duration: 5m\n---\n- a\n- {b: on}\n";
//! let documents: Vec<_> = servo_yaml::documents(text).collect::<Result<_, _>>().unwrap();
//! assert_eq!(documents[1].value[1]["b"], "on");
//! let place = documents[0].places.exact(&["wait", "duration"]).unwrap();
//! assert_eq!(place.to_string(), "line 2, column 3");
//! ```

mod build;
mod error;
mod lines;
mod place;
mod scalar;
mod stream;
mod tree;

pub use build::{MAX_COPIES, MAX_DEPTH};
pub use error::{MAX_ERRORS, YamlError, YamlErrorKind};
pub use place::{Place, Places};
pub use stream::{Document, Documents, documents};
