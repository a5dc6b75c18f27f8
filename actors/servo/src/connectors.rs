//! Connectors that come and go while their servo runs (`spec/events-and-checks.md` §3.4).

use servo_dispatch::{
    AddConnectorError, ConnectorHandle, NewConnector, RemoveConnectorError, WhichConnector,
};
use thiserror::Error;

use crate::handle::{NotStarted, ServoHandle};

/// Why the connectors of a servo were not changed. Everything is as it was before.
#[derive(Debug, Error)]
pub enum ConnectorsError {
    /// There is no servo to change yet.
    #[error(transparent)]
    NotStarted(#[from] NotStarted),
    /// A connector could not be added.
    #[error(transparent)]
    Add(#[from] AddConnectorError),
    /// A connector could not be removed.
    #[error(transparent)]
    Remove(#[from] RemoveConnectorError),
}

impl ServoHandle {
    /// Adds a connector to the servo while it runs: it attaches and starts as far as the others
    /// have, and takes part from the next event on. One whose `attach` or `startup` fails is gone
    /// again. It stays through restarts of the servo.
    ///
    /// # Errors
    /// When the servo does not come up in time, and as
    /// [`DispatcherRef::add_connector`](servo_dispatch::DispatcherRef::add_connector).
    pub async fn add_connector(
        &self,
        new: NewConnector,
    ) -> Result<ConnectorHandle, ConnectorsError> {
        Ok(self.started().await?.add_connector(new).await?)
    }

    /// Has a connector leave the servo while it runs: it shuts down and detaches, and whatever it
    /// repeats, publishes or listens to ends. It stays away when the servo is restarted.
    ///
    /// # Errors
    /// When the servo does not come up in time, and as
    /// [`DispatcherRef::remove_connector`](servo_dispatch::DispatcherRef::remove_connector).
    pub async fn remove_connector(
        &self,
        which: impl Into<WhichConnector>,
    ) -> Result<(), ConnectorsError> {
        Ok(self.started().await?.remove_connector(which).await?)
    }
}
