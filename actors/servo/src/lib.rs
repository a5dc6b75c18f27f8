//! Servos: each an optimizer loop over its connectors; and the assembly of all of them.
//!
//! A [`ServoSpec`] becomes a supervisor with a dispatcher, the connectors and the optimizer loop
//! as its children, all on one arbiter. The loop talks to the optimizer through any
//! [`OptimizerClient`](servo_protocol::OptimizerClient): over HTTP or in the same process. The
//! [`Assembly`] holds the servos; they are added and removed while it runs, and one that cannot be
//! kept alive is set aside and tried again on a slow timer, without disturbing the others.
//!
//! What this crate must not know: configuration files and the command line, any particular
//! connector, what an optimizer does with what it is told.

mod assembly;
mod blueprint;
mod connectors;
mod crowd;
mod execution;
mod handle;
mod observer;
mod policy;
mod progress;
mod servo;
mod session;
mod standing;
mod status;

pub use assembly::{Assembly, AssemblyError, Farewell};
pub use connectors::ConnectorsError;
pub use handle::{NotStarted, ServoHandle};
pub use observer::{CommandOutcome, ServoObserver};
pub use policy::{Operator, Polling, Question, ServoPolicy};
pub use servo::ServoSpec;
pub use session::SessionError;
pub use status::{CommandStatus, LastCommand, Phase, Schedule, ServoStatus};
