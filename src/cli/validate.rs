//! `servo validate`

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{Context, Failure, generate::descriptors, print, say};
use crate::config::{
    self, AssemblyConfig, InvalidConfig, LoadError, LoadOptions, Need, Source, SourceError,
};

/// Check the configuration without starting anything
///
/// Nothing is asked over the network. Connector types that this build cannot run are checked too.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The only connectors that may have stanzas, where the file does not say which run: types such
    /// as vegeta, or names with their types, such as load:vegeta
    #[arg(value_name = "CONNECTORS")]
    connectors: Vec<String>,

    /// The file to check; - for stdin; may be given several times [default: servo.yaml, or what
    /// --config-file names]
    #[arg(short, long, value_name = "FILE")]
    file: Vec<PathBuf>,

    /// Say nothing: the exit code tells
    #[arg(short, long)]
    quiet: bool,

    /// Warnings are mistakes
    #[arg(long)]
    strict: bool,

    /// A servo needs no optimizer
    #[arg(long)]
    without_optimizer: bool,
}

/// What became of one file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Valid,
    Invalid,
    /// There is no such file, or the options do not fit it.
    WrongUsage,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let words = descriptors(context, &arguments.connectors)?;
    let options = LoadOptions {
        words: words.as_ref(),
        ..context.load_options(if arguments.without_optimizer {
            Need::Optional
        } else {
            Need::Required
        })
    };
    let sources = if arguments.file.is_empty() {
        vec![context.source()]
    } else {
        let files = arguments.file.iter().map(PathBuf::as_path);
        files.map(|file| source(context, file)).collect()
    };
    let mut worst = Verdict::Valid;
    for source in sources {
        worst = worst.max(check(&source, &options, arguments)?);
    }
    match worst {
        Verdict::Valid => Ok(()),
        Verdict::Invalid => Err(Failure::Told),
        Verdict::WrongUsage => Err(Failure::ToldUsage),
    }
}

fn source(context: &Context, file: &Path) -> Source {
    Source::new(file, &context.directory)
}

fn check(
    source: &Source,
    options: &LoadOptions<'_>,
    arguments: &Arguments,
) -> Result<Verdict, Failure> {
    let tell = |text: String| {
        if !arguments.quiet {
            say(&text);
        }
    };
    let mut assembly = match config::load(source, options) {
        Ok(assembly) => assembly,
        Err(LoadError::Source(error @ (SourceError::Missing(_) | SourceError::Directory(_)))) => {
            tell(format!("Error: Invalid value for '--file' / '-f': {error}"));
            return Ok(Verdict::WrongUsage);
        }
        Err(LoadError::Flags(text)) => {
            tell(format!("Error: {text}"));
            return Ok(Verdict::WrongUsage);
        }
        Err(error) => {
            tell(error.to_string());
            return Ok(Verdict::Invalid);
        }
    };
    let warnings = std::mem::take(&mut assembly.warnings);
    if arguments.strict && !warnings.is_empty() {
        let invalid = InvalidConfig {
            file: source.name.clone(),
            problems: warnings,
        };
        tell(invalid.to_string());
        return Ok(Verdict::Invalid);
    }
    for warning in warnings {
        tell(format!("warning: {}: {warning}", source.name));
    }
    for note in &assembly.notes {
        tell(format!("note: {}: {note}", source.name));
    }
    for (connector, reason) in unavailable(&assembly) {
        tell(format!("note: {}: {connector}: {reason}", source.name));
    }
    if !arguments.quiet {
        print(&format!("√ Valid configuration in {}", source.name))?;
    }
    Ok(Verdict::Valid)
}

/// The connector types that this build knows the configuration of only, each with the reason.
fn unavailable(assembly: &AssemblyConfig) -> BTreeMap<&'static str, &'static str> {
    let connectors = assembly.servos.iter().flat_map(|servo| &servo.connectors);
    connectors
        .filter_map(|(_, connector)| {
            Some((connector.metadata().type_name, connector.unavailable()?))
        })
        .collect()
}
