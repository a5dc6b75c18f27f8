//! `servo.yaml` and `servo.toml`: read, checked, and turned into what a servo is made of.

mod daemon;
mod document;
mod dotenv;
mod locate;
mod optimizer;
mod problem;

pub use daemon::{DaemonConfig, DaemonConfigError, LogConfig, LogFormat};
pub use document::{AssemblyConfig, LoadError, ServoConfig, load};
pub use dotenv::{DotenvError, read as read_dotenv};
pub use locate::Location;
pub use optimizer::{OpsaniConfig, OptimizerConfig};
pub use problem::{InvalidConfig, Problem};

/// Reads an environment variable, from the environment or `.env`.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;
