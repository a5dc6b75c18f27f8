//! `servo validate`

use super::{Context, Failure, print};
use crate::config::Need;

/// Check the configuration without starting anything
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Say nothing when it is valid
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let assembly = context.load(&context.load_options(Need::Required))?;
    if !arguments.quiet {
        print(&format!(
            "√ Valid configuration in {}",
            assembly.source.name
        ))?;
    }
    Ok(())
}
