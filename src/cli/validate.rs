//! `servo validate`

use super::{Context, Failure, print};

/// Check the configuration without starting anything
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Say nothing when it is valid
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let assembly = context.load()?;
    if let Some(servo) = assembly.servos.iter().find(|s| s.optimizer.is_none()) {
        return Err(Failure::Failed(format!(
            "X Invalid configuration in {}\nservo \"{}\": optimizer\n  field required: add `optimizer: {{embedded: {{...}}}}`, or `optimizer: {{id: ..., token_file: ...}}`, or set OPSANI_OPTIMIZER and OPSANI_TOKEN",
            assembly.file.display(),
            servo.name
        )));
    }
    if !arguments.quiet {
        print(&format!(
            "√ Valid configuration in {}",
            assembly.file.display()
        ))?;
    }
    Ok(())
}
