//! `servo schema`

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::Value;
use servo_dispatch::ConnectorType;

use super::{
    Context, Failure, print,
    replace::{Readers, replace},
    table,
};
use crate::config::{
    self, LoadOptions, Need, SchemaKey, SchemaRoutes, SchemaSources, ServoConfig, Shapes,
    SourceError,
};

/// Widest lines of meanings in a table.
const WIDTH: usize = 72;

/// Widest lines of defaults.
const NARROW: usize = 32;

/// Show the schema of the configuration
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A connector type, or the name of a connector: show the schema of its stanza alone
    #[arg(conflicts_with_all = ["all", "top_level"])]
    pub(super) connector: Option<String>,
    /// Of all connector types that there are, whatever is configured
    #[arg(short, long)]
    all: bool,
    /// Show the parts of the schema, as definitions
    #[arg(long)]
    top_level: bool,
    /// What it looks like
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
    /// Write it to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// JSON Schema, draft 7
    #[default]
    Json,
    /// A table of all keys
    Text,
    /// As JSON
    #[value(hide = true)]
    Dict,
    #[value(hide = true)]
    Html,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    if let Some(word) = &arguments.connector {
        let (name, kind) = connector(context, word)?;
        return show_connector(&kind, &name, arguments.format, arguments.output.as_deref());
    }
    let registry = &context.registry;
    let routes = if arguments.all {
        SchemaRoutes::of_all(registry)
    } else {
        match servos(context)?.as_slice() {
            [servo] => SchemaRoutes::of_servo(servo, registry),
            _ => {
                return Err(Failure::Failed(
                    if arguments.top_level {
                        "error: schema can only be outputted for all connectors or a single servo"
                    } else {
                        "error: schema can only be outputted for a single servo"
                    }
                    .to_owned(),
                ));
            }
        }
    };
    let shapes = Shapes::default();
    let sources = SchemaSources {
        registry,
        shapes: &shapes,
        environment: &context.environment,
    };
    let schema = || {
        if arguments.top_level {
            config::top_level_schema(&routes, sources)
        } else {
            config::servo_schema(&routes, sources)
        }
    };
    let keys = || config::servo_keys(&routes, sources);
    show(arguments.format, arguments.output.as_deref(), schema, keys)
}

/// Shows the schema of the stanza of the connector `name`.
pub(super) fn show_connector(
    kind: &ConnectorType,
    name: &str,
    format: Format,
    output: Option<&Path>,
) -> Result<(), Failure> {
    let shapes = Shapes::default();
    let schema = || config::connector_schema(kind, name, &shapes);
    let keys = || config::connector_keys(kind, name, &shapes);
    show(format, output, schema, keys)
}

fn show(
    format: Format,
    output: Option<&Path>,
    schema: impl Fn() -> Value,
    keys: impl Fn() -> Vec<SchemaKey>,
) -> Result<(), Failure> {
    let text = match format {
        Format::Json | Format::Dict => serde_json::to_string_pretty(&schema())
            .map_err(|e| Failure::Failed(format!("the schema cannot be written as JSON: {e}")))?,
        Format::Text => text(keys()),
        Format::Html => {
            return Err(Failure::Failed("error: not yet implemented".to_owned()));
        }
    };
    match output {
        Some(file) => replace(file, &(text + "\n"), Readers::Usual),
        None => print(&text),
    }
}

/// The connector that `word` means: that of a type, else one of the configuration.
fn connector(context: &Context, word: &str) -> Result<(String, ConnectorType), Failure> {
    if let Some(kind) = context.registry.find(word) {
        return Ok((kind.metadata().default_name.to_owned(), kind.clone()));
    }
    let servos = servos(context)?;
    let found = servos
        .iter()
        .flat_map(|servo| &servo.connectors)
        .find(|(name, _)| **name == *word)
        .and_then(|(_, connector)| context.registry.find(connector.metadata().default_name));
    match found {
        Some(kind) => Ok((word.to_owned(), kind.clone())),
        None => Err(Failure::Usage(format!(
            "Invalid value for '[CONNECTOR]': no Connector type found for key '{word}'"
        ))),
    }
}

/// The servos of the configuration. Without a file there is one that is up to the environment.
fn servos(context: &Context) -> Result<Vec<ServoConfig>, Failure> {
    let options = LoadOptions {
        keep_given: true,
        ..context.load_options(Need::Optional)
    };
    let source = context.source();
    if context.config_file.is_none()
        && let Err(SourceError::Missing(_)) = source.read()
    {
        return config::load_text(&source, "", &options)
            .map(|assembly| assembly.servos)
            .map_err(|error| Failure::Failed(error.to_string()));
    }
    Ok(context.servos(&options)?.servos)
}

/// A key, what it is by default, and all that is to be said of it.
fn text(keys: Vec<SchemaKey>) -> String {
    let rows = keys
        .into_iter()
        .map(|key| {
            let mut about = wrapped(&key.description.unwrap_or_default(), WIDTH);
            about.extend(wrapped(&format!("Value: {}", key.expected), WIDTH));
            about.extend(key.variable.map(|name| format!("Variable: {name}")));
            let default = wrapped(&key.default.unwrap_or_default(), NARROW);
            [key.key, default.join("\n"), about.join("\n")]
        })
        .collect();
    table::render(["KEY", "DEFAULT", "MEANING"], rows)
}

/// Lines of up to `width` characters, broken between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
