//! `servo show`: what the servos of the configuration consist of, and what they can do.

mod active;
pub(super) mod events;
mod offers;

use serde::Serialize;
use servo_dispatch::Metadata;

use super::{Context, Failure};

/// Show what the servos have
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Components(offers::ComponentsArguments),
    Connectors(active::Arguments),
    Events(events::Arguments),
    Metrics(offers::MetricsArguments),
}

/// What programs get: a flat list, each item with the servo that it is of.
#[derive(Serialize)]
struct Of<T> {
    servo: String,
    #[serde(flatten)]
    item: T,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.what {
        What::Components(arguments) => offers::components(context, arguments),
        What::Connectors(arguments) => active::execute(context, arguments),
        What::Events(arguments) => events::execute(context, arguments),
        What::Metrics(arguments) => offers::metrics(context, arguments),
    }
}

/// How tables of events and metrics name a connector: by its type, and by its own name too if that
/// is not the type's (`spec/events-and-checks.md` §2.10).
fn label(name: &str, kind: &Metadata) -> String {
    if name == kind.default_name {
        kind.type_name.to_owned()
    } else {
        format!("{name} ({})", kind.type_name)
    }
}

/// A table as it is printed: below the servo's name where there are several, and with an empty line
/// after it.
fn block(servo: &str, several: bool, table: &str) -> String {
    if several {
        format!("{servo}\n{table}\n")
    } else {
        format!("{table}\n")
    }
}
