//! What connectors do beside handling events: repeating tasks (`spec/events-and-checks.md` §5),
//! publishers and subscribers (§4.6-4.7).

mod home;
mod looping;
mod routes;
mod tasks;

pub(crate) use home::{Homes, Tenure};
pub use looping::{Every, Tick};
pub use tasks::{StartError, TaskHandle, TaskKind, Tasks, UnknownTask, current_message};
