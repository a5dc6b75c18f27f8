//! Somebody who counts what servos do.

use std::{fmt, time::Duration};

use servo_messages::Status;
use servo_protocol::Operation;

/// Is told of each command that a servo has done with. Called on the servo's arbiter, which serves
/// many servos: it must not block.
pub trait ServoObserver: Send + Sync {
    /// `operation` came to `outcome`, `took` after it was given; time in which it was held back by
    /// [`ServoPolicy::commands`](crate::ServoPolicy::commands) included.
    fn command(&self, operation: Operation, outcome: CommandOutcome, took: Duration);
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandOutcome {
    /// The optimizer is told this.
    Completed(Status),
    /// The optimizer did not expect it any more, or expects another deployment of the servo.
    Abandoned,
    /// The servo was stopped; the optimizer will give the command again.
    Stopped,
}

impl fmt::Debug for dyn ServoObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServoObserver")
    }
}
