//! `servo version`

use clap::ValueEnum;
use serde::Serialize;
use servo_dispatch::{Maturity, Metadata, Registry};

use super::{Context, Failure, print, print_json};
use crate::connectors::SERVO;

/// Say which version this is, or that of a connector
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A connector type, in place of the program
    pub(super) connector: Option<String>,
    /// Name and version alone
    #[arg(short, long)]
    short: bool,
    /// What it looks like
    #[arg(
        short,
        long,
        value_enum,
        default_value_t,
        alias = "output",
        short_alias = 'o'
    )]
    format: Format,
    /// Say also from what it was built, when, and for which machines
    #[arg(short, long, conflicts_with = "short")]
    verbose: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

/// What is known of a version; null is what is not (`spec/config-and-cli.md` §7.9).
#[derive(Serialize)]
struct Version {
    name: String,
    version: &'static str,
    cryptonym: Option<&'static str>,
    #[serde(flatten)]
    terms: Option<Terms>,
    #[serde(flatten)]
    build: Option<Build>,
}

#[derive(Serialize)]
struct Terms {
    maturity: Option<Maturity>,
    description: Option<&'static str>,
    homepage: Option<&'static str>,
    license: Option<&'static str>,
}

/// From what the program was built.
#[derive(Serialize)]
struct Build {
    commit: Option<&'static str>,
    /// When, in UTC.
    built: Option<String>,
    target: Option<&'static str>,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let (name, metadata) = subject(&context.registry, arguments.connector.as_deref())?;
    let version = Version {
        name,
        version: metadata.version,
        cryptonym: None,
        terms: (!arguments.short).then_some(Terms {
            maturity: metadata.maturity,
            description: metadata.description,
            homepage: metadata.homepage,
            license: metadata.license,
        }),
        build: arguments.verbose.then(Build::of_program),
    };
    match arguments.format {
        Format::Text => print(&version.text()),
        Format::Json => print_json(&version),
    }
}

/// The full name of what the words mean, and what is known of it.
fn subject(registry: &Registry, word: Option<&str>) -> Result<(String, Metadata), Failure> {
    match word {
        None | Some("servo" | "Servo") => Ok((SERVO.type_name.to_owned(), SERVO)),
        Some(word) => registry
            .find(word)
            .map(|kind| (kind.full_name(), *kind.metadata()))
            .ok_or_else(|| Failure::Usage(format!("no connector found for key '{word}'"))),
    }
}

impl Build {
    fn of_program() -> Self {
        let built = option_env!("SERVO_BUILT")
            .and_then(|seconds| seconds.parse().ok())
            .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        Self {
            commit: option_env!("SERVO_COMMIT"),
            built: built.map(|built| built.to_string()),
            target: option_env!("SERVO_TARGET"),
        }
    }
}

impl Version {
    fn text(&self) -> String {
        let mut first = format!("{} v{}", self.name, self.version);
        let mut lines = Vec::new();
        if let Some(terms) = &self.terms {
            if let Some(maturity) = terms.maturity {
                first.push_str(&format!(" ({maturity:?})"));
            }
            lines.extend(terms.description.map(str::to_owned));
            lines.extend(terms.homepage.map(str::to_owned));
            lines.extend(
                terms
                    .license
                    .map(|license| format!("Licensed under the terms of {license}")),
            );
        }
        if let Some(build) = &self.build {
            let unknown = || "unknown".to_owned();
            for (what, value) in [
                ("Commit", build.commit.map(str::to_owned)),
                ("Built", build.built.clone()),
                ("Target", build.target.map(str::to_owned)),
            ] {
                lines.push(format!("{what} {}", value.unwrap_or_else(unknown)));
            }
        }
        lines.insert(0, first);
        lines.join("\n")
    }
}
