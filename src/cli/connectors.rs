//! `servo connectors`

use serde::Serialize;
use servo_dispatch::{Maturity, Metadata};

use super::{Context, Failure, Output, print, print_data, table};
use crate::connectors::SERVO;

/// List the connector types that there are
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
struct Row {
    name: &'static str,
    #[serde(flatten)]
    facts: Facts,
}

/// What tables say of a connector type.
#[derive(Serialize)]
pub(super) struct Facts {
    #[serde(rename = "type")]
    kind: &'static str,
    version: &'static str,
    description: Option<&'static str>,
    homepage: Option<&'static str>,
    maturity: Option<Maturity>,
    license: Option<&'static str>,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let types = context.registry.types().iter();
    let mut all: Vec<Metadata> = types.map(|kind| *kind.metadata()).collect();
    all.push(SERVO);
    all.sort_by_key(|metadata| metadata.default_name);
    let rows = all.iter().map(|metadata| Row {
        name: metadata.default_name,
        facts: Facts::of(metadata),
    });
    if arguments.output != Output::Table {
        return print_data(arguments.output, &rows.collect::<Vec<_>>());
    }
    let rows = rows
        .map(|row| {
            let mut cells = vec![row.name.to_owned()];
            cells.extend(row.facts.cells(arguments.verbose));
            cells
        })
        .collect();
    let mut headers = vec!["NAME"];
    headers.extend(Facts::headers(arguments.verbose));
    print(&format!("{}\n", table::render(headers, rows)))
}

impl Facts {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            kind: metadata.type_name,
            version: metadata.version,
            description: metadata.description,
            homepage: metadata.homepage,
            maturity: metadata.maturity,
            license: metadata.license,
        }
    }

    /// Headers of [`Facts::cells`].
    pub(super) fn headers(verbose: bool) -> &'static [&'static str] {
        let all = &["VERSION", "DESCRIPTION", "HOMEPAGE", "MATURITY", "LICENSE"];
        if verbose {
            all
        } else {
            &["VERSION", "DESCRIPTION"]
        }
    }

    pub(super) fn cells(&self, verbose: bool) -> Vec<String> {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let mut cells = vec![self.version.to_owned(), text(self.description)];
        if verbose {
            cells.extend([
                text(self.homepage),
                self.maturity
                    .map(|maturity| format!("{maturity:?}"))
                    .unwrap_or_default(),
                text(self.license),
            ]);
        }
        cells
    }
}
