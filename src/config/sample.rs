//! Servos for tests, as a file of theirs would make them.

#![allow(clippy::unwrap_used)]

use servo_dispatch::Registry;

use super::{Environment, LoadOptions, Need, OptimizerFlags, ServoConfig, Source, load_text};

/// The servos of `yaml`, with these variables set and no others.
pub(crate) fn servos(
    yaml: &str,
    variables: &[(&str, &str)],
    registry: &Registry,
) -> Vec<ServoConfig> {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let options = LoadOptions {
        registry,
        environment: &Environment::new(variables, [].into()),
        flags: &OptimizerFlags::default(),
        optimizer: Need::Optional,
        words: None,
        keep_given: false,
    };
    let source = Source {
        name: "servo.yaml".to_owned(),
        path: None,
    };
    load_text(&source, yaml, &options).unwrap().servos
}
