//! `servo show connectors`

use servo_dispatch::Metadata;

use super::{
    super::{Output, Selection, connectors::Facts, print, print_data, table},
    Context, Failure, Of, Serialize, block,
};
use crate::{
    config::{Need, ServoConfig},
    connectors::SERVO,
};

/// List the active connectors of each servo
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Home page, maturity and licence too
    #[arg(short, long)]
    verbose: bool,
    /// What it looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Serialize)]
struct Instance {
    name: String,
    #[serde(flatten)]
    facts: Facts,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let Selection { servos, several } = context.servos(&context.load_options(Need::Optional))?;
    if arguments.output != Output::Table {
        let all: Vec<Of<Instance>> = servos
            .iter()
            .flat_map(|servo| {
                instances(servo).map(|(name, metadata)| Of {
                    servo: servo.name.to_string(),
                    item: Instance {
                        name: name.to_owned(),
                        facts: Facts::of(metadata),
                    },
                })
            })
            .collect();
        return print_data(arguments.output, &all);
    }
    for servo in &servos {
        print(&block(
            &servo.name,
            several,
            &text(servo, arguments.verbose),
        ))?;
    }
    Ok(())
}

/// The servo, then its connectors, each with its type.
fn instances(servo: &ServoConfig) -> impl Iterator<Item = (&str, &Metadata)> {
    let connectors = servo.connectors.iter();
    std::iter::once((&*servo.name, &SERVO))
        .chain(connectors.map(|(name, connector)| (&**name, connector.metadata())))
}

/// One row for each type, with the names of all that are of it.
fn text(servo: &ServoConfig, verbose: bool) -> String {
    let mut types: Vec<(&Metadata, Vec<&str>)> = Vec::new();
    for (name, metadata) in instances(servo) {
        match types.iter_mut().find(|(known, _)| *known == metadata) {
            Some((_, names)) => names.push(name),
            None => types.push((metadata, vec![name])),
        }
    }
    let rows = types
        .into_iter()
        .map(|(metadata, names)| {
            let mut cells = vec![names.join("\n"), metadata.type_name.to_owned()];
            cells.extend(Facts::of(metadata).cells(verbose));
            cells
        })
        .collect();
    let mut headers = vec!["NAME", "TYPE"];
    headers.extend(Facts::headers(verbose));
    table::render(headers, rows)
}
