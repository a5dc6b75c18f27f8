//! `servo.yaml` and `servo.toml`: read, checked, and turned into what a servo is made of.
//!
//! A document of `servo.yaml` is text, then a value with places ([`servo_yaml`]), then filled from
//! the environment and checked as a whole against the schemas of its parts ([`servo_shape`]), and
//! at last the types of the connectors. Nothing here touches the network.

mod assembly;
mod credentials;
mod daemon;
mod diff;
mod document;
mod dotenv;
mod effective;
mod environment;
mod generate;
mod given;
mod optimizer;
mod problem;
mod routes;
#[cfg(test)]
pub(crate) mod sample;
mod schema;
pub(crate) mod sensitive;
mod source;
mod stanza;
pub(crate) mod whole_file;

pub use assembly::{AssemblyConfig, LoadError, LoadOptions, Need, load, load_text};
pub use daemon::{
    AdminConfig, AdminConfigError, AdminTls, DaemonConfig, DaemonConfigError, FinishWithin,
    FinishWithinError, Listen, ListenError, LogConfig, LogFile, LogFilePrefix, LogFilePrefixError,
    LogFormat, LogLevel, LogLevelError, LogRateLimit, LogRotation, OptimizerLimits, ReloadCommand,
    ReloadConfig,
};
pub use diff::{Diff, FileContents, Fingerprint, ReferredFiles, diff, optimizer_identity};
pub use document::ServoConfig;
pub use dotenv::{Dotenv, DotenvError, DotenvWarning, assignment, read as read_dotenv};
pub use effective::{Effective, Show, effective, origin};
pub use environment::Environment;
pub use generate::{Generate, Generated, generate};
pub use given::{Given, Origin};
pub use optimizer::{
    AppdynamicsConfig, OpsaniConfig, OptimizerConfig, OptimizerFlags, PLACEHOLDER_ID,
    PLACEHOLDER_TOKEN, optimizer_schemas,
};
pub use problem::{InvalidConfig, Problem};
pub use routes::{Descriptors, Route, TOP_LEVEL};
pub use schema::{
    SchemaKey, SchemaRoutes, SchemaSources, connector_keys, connector_schema, servo_keys,
    servo_schema, top_level_schema,
};
pub use source::{Source, SourceError};
pub use stanza::{Shapes, variable};
