//! What keeps a servo from running, told before anything starts.

use std::sync::Arc;

use thiserror::Error;

use super::optimizers::OptimizerError;
use crate::config::ServoConfig;

/// Why a servo cannot run, as its configuration alone tells.
#[derive(Debug, Error)]
pub enum Unfit {
    /// A connector is of a type that this build cannot run.
    #[error("servo \"{servo}\": connector \"{connector}\" of type {kind} cannot run: {reason}")]
    Connector {
        /// Whose.
        servo: Arc<str>,
        /// Which.
        connector: Arc<str>,
        /// Of which type.
        kind: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// Its optimizer is none.
    #[error(transparent)]
    Optimizer(#[from] OptimizerError),
}

impl Unfit {
    /// What keeps the connectors of `servo` from running.
    pub fn of_connectors(servo: &ServoConfig) -> Option<Self> {
        servo.connectors.iter().find_map(|(name, connector)| {
            Some(Self::Connector {
                servo: servo.name.clone(),
                connector: name.clone(),
                kind: connector.metadata().default_name,
                reason: connector.unavailable()?,
            })
        })
    }

    /// What keeps `servo` from running with its optimizer. A connection is not tried.
    pub fn of(servo: &ServoConfig) -> Option<Self> {
        let name = || servo.name.clone();
        let error = match &servo.optimizer {
            None => OptimizerError::None(name()),
            Some(optimizer) if optimizer.is_placeholder() => OptimizerError::Placeholder(name()),
            Some(_) => return Self::of_connectors(servo),
        };
        Some(Self::Optimizer(error))
    }

    /// Tells the servos of which `unfit` finds nothing from the others, and why these cannot run.
    pub fn sift(
        servos: Vec<ServoConfig>,
        unfit: impl Fn(&ServoConfig) -> Option<Self>,
    ) -> (Vec<ServoConfig>, Vec<(Arc<str>, Self)>) {
        let mut refused = Vec::new();
        let fit = servos
            .into_iter()
            .filter(|servo| match unfit(servo) {
                Some(why) => {
                    refused.push((servo.name.clone(), why));
                    false
                }
                None => true,
            })
            .collect();
        (fit, refused)
    }
}
