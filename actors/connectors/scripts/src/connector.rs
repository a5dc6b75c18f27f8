//! The connector type, as far as this build has it.

use std::sync::Arc;

use servo_dispatch::{BoxError, ConfigProblem, Connector, ConnectorContext, Metadata, Routes};

use crate::{config::ScriptsConfig, validation};

const UNAVAILABLE: &str =
    "this build reads and validates the scripts configuration, but cannot run the connector yet";

/// Runs shell commands around events. There is no value of it in this build.
#[derive(Debug)]
pub enum Scripts {}

impl Connector for Scripts {
    type Config = ScriptsConfig;

    const METADATA: Metadata = Metadata::new("scripts", "Scripts", "0.0.0");

    const UNAVAILABLE: Option<&'static str> = Some(UNAVAILABLE);

    fn validate(config: &ScriptsConfig) -> Vec<ConfigProblem> {
        validation::problems(config)
    }

    fn build(_: Arc<ScriptsConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
        Err(UNAVAILABLE.into())
    }

    fn routes(_: &ScriptsConfig, _: &mut Routes<Self>) {}
}
