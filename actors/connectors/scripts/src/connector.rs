//! The connector type, as far as this build has it.

use std::sync::Arc;

use servo_dispatch::{
    BoxError, ConfigProblem, Connector, ConnectorContext, Metadata, Routes, Stage,
};

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

    /// `spec/metrics-and-load.md` §4: what its stanza names.
    fn foreseen(config: &ScriptsConfig) -> Vec<(&'static str, Stage)> {
        [
            (&config.before, Stage::Before),
            (&config.on, Stage::On),
            (&config.after, Stage::After),
        ]
        .into_iter()
        .filter_map(|(scripts, stage)| Some((scripts.as_ref()?, stage)))
        .flat_map(|(scripts, stage)| scripts.iter().map(move |(event, _)| (event.name(), stage)))
        .collect()
    }

    fn routes(_: &ScriptsConfig, _: &mut Routes<Self>) {}
}
