//! `servo config`

mod configmap;
mod lines;

use std::path::PathBuf;

use clap::ValueEnum;
use serde_yaml::{Mapping, Value};
use servo_shape::nearest;

use super::{
    Context, Failure, Output, Selection, print, print_json,
    replace::{Readers, replace},
    table,
};
use crate::config::{
    Effective, LoadOptions, Need, ServoConfig, Shapes, Show, TOP_LEVEL, effective,
};

/// Show the configuration that counts: file, variables and options put together
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only these keys of the document, such as settings or the name of a connector
    pub(super) keys: Vec<String>,
    /// What it looks like
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
    /// Write it to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show what nobody said, too
    #[arg(short, long)]
    defaults: bool,
    /// Show secrets in the clear; a file gets to be readable for its owner alone
    #[arg(long)]
    show_secrets: bool,
    /// Show where each value comes from
    #[arg(long, conflicts_with = "output")]
    origin: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One document for each servo
    #[default]
    Yaml,
    /// A list, when there are several servos
    Json,
    /// As JSON
    #[value(hide = true)]
    Dict,
    /// A line for each value
    Text,
    /// A ConfigMap for Kubernetes, without the optimizer
    Configmap,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let options = LoadOptions {
        keep_given: true,
        ..context.load_options(Need::Optional)
    };
    let Selection { servos, .. } = context.servos(&options)?;
    known(&arguments.keys, &servos)?;
    let shapes = Shapes::default();
    let show = Show {
        defaults: arguments.defaults,
        secrets: arguments.show_secrets,
    };
    let mut shown: Vec<Effective> = servos
        .iter()
        .map(|servo| effective(servo, &context.registry, &shapes, show))
        .collect();
    for shown in &mut shown {
        shown.retain(|key| {
            let all = arguments.keys.is_empty();
            let left_out = arguments.format == Format::Configmap && key == "optimizer";
            !left_out && (all || arguments.keys.iter().any(|wanted| key == wanted))
        });
    }
    if arguments.origin {
        return origins(context, arguments.format, &servos, &shown);
    }
    let holds_secrets = shown.iter().any(Effective::holds_secrets);
    if arguments.format == Format::Configmap && holds_secrets {
        tracing::warn!(
            "there are secrets in the stanzas of connectors: {}; better give them to the servo by variables, or by files, from a Secret",
            if show.secrets {
                "the ConfigMap shows them to all who may read it"
            } else {
                "the ConfigMap has asterisks in their place"
            }
        );
    }
    let text = match arguments.format {
        Format::Yaml => documents(&shown)?,
        Format::Json | Format::Dict => json(&shown)?,
        Format::Text => texts(&shown),
        Format::Configmap => configmap::of_servos(&servos, &shown)?,
    };
    match &arguments.output {
        None => print(text.trim_end()),
        Some(file) if show.secrets && holds_secrets => {
            not_readable_by_others(file)?;
            replace(file, &text, Readers::Owner)
        }
        Some(file) => {
            if holds_secrets {
                not_their_only_place(context, file)?;
            }
            replace(file, &text, Readers::Usual)
        }
    }
}

/// All keys that are asked for must be keys that one of the documents may have.
fn known(keys: &[String], servos: &[ServoConfig]) -> Result<(), Failure> {
    let connectors = || {
        let all = servos.iter().flat_map(|servo| &servo.connectors);
        all.map(|(name, _)| &**name)
    };
    for key in keys {
        if !TOP_LEVEL.into_iter().chain(connectors()).any(|k| k == key) {
            let near = nearest(key, TOP_LEVEL.into_iter().chain(connectors()))
                .map(|near| format!(" (did you mean \"{near}\"?)"))
                .unwrap_or_default();
            return Err(Failure::Usage(format!(
                "no key '{key}' in the configuration{near}"
            )));
        }
    }
    Ok(())
}

/// Asterisks in place of the secrets of the file that was read would be the end of these.
fn not_their_only_place(context: &Context, file: &std::path::Path) -> Result<(), Failure> {
    let read = context.source().path.map(std::fs::canonicalize);
    match (read, std::fs::canonicalize(file)) {
        (Some(Ok(read)), Ok(written)) if read == written => Err(Failure::Usage(format!(
            "'{}' is the configuration that was read, and its secrets would be lost: name another file, or give --show-secrets",
            file.display()
        ))),
        _ => Ok(()),
    }
}

/// A file that others could read until it is replaced was meant for them.
fn not_readable_by_others(file: &std::path::Path) -> Result<(), Failure> {
    use std::os::unix::fs::MetadataExt;
    match std::fs::metadata(file) {
        Ok(existing) if existing.is_file() && existing.mode() & 0o077 != 0 => {
            Err(Failure::Failed(format!(
                "'{}' is to hold secrets, but others can read it: remove it, or `chmod 600` it",
                file.display()
            )))
        }
        _ => Ok(()),
    }
}

fn documents(shown: &[Effective]) -> Result<String, Failure> {
    let documents: Vec<String> = shown
        .iter()
        .map(|shown| yaml(&shown.document))
        .collect::<Result<_, _>>()?;
    Ok(documents.join("---\n"))
}

fn yaml(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_yaml::to_string(value)
        .map_err(|e| Failure::Failed(format!("the configuration cannot be written as YAML: {e}")))
}

fn json(shown: &[Effective]) -> Result<String, Failure> {
    let documents: Vec<&Mapping> = shown.iter().map(|shown| &shown.document).collect();
    let text = match documents.as_slice() {
        [one] => serde_json::to_string_pretty(one),
        all => serde_json::to_string_pretty(all),
    };
    text.map(|text| text + "\n")
        .map_err(|e| Failure::Failed(format!("the configuration cannot be written as JSON: {e}")))
}

fn texts(shown: &[Effective]) -> String {
    let documents: Vec<String> = shown
        .iter()
        .map(|shown| {
            lines::of(&shown.document)
                .into_iter()
                .map(|line| format!("{} = {}\n", lines::joined(&line.path), line.text()))
                .collect()
        })
        .collect();
    documents.join("---\n")
}

#[derive(serde::Serialize)]
struct Row {
    servo: String,
    key: String,
    value: Value,
    origin: String,
}

/// Each value with where it comes from.
fn origins(
    context: &Context,
    format: Format,
    servos: &[ServoConfig],
    shown: &[Effective],
) -> Result<(), Failure> {
    let file = context.source().name;
    let mut rows = Vec::new();
    for (servo, shown) in servos.iter().zip(shown) {
        for line in lines::of(&shown.document) {
            let origin = servo
                .given
                .as_deref()
                .and_then(|given| crate::config::origin(given, &line.path));
            rows.push((
                Row {
                    servo: servo.name.to_string(),
                    key: lines::joined(&line.path),
                    value: line.value.clone(),
                    origin: match origin {
                        None => "computed".to_owned(),
                        Some(origin) => lines::origin(&origin, &file),
                    },
                },
                line.text(),
            ));
        }
    }
    let output = match format {
        Format::Json | Format::Dict => Output::Json,
        Format::Yaml | Format::Text => Output::Table,
        Format::Configmap => {
            return Err(Failure::Usage(
                "--origin cannot be shown in a ConfigMap".to_owned(),
            ));
        }
    };
    if output == Output::Json {
        return print_json(&rows.into_iter().map(|(row, _)| row).collect::<Vec<_>>());
    }
    let several = servos.len() > 1;
    for servo in servos {
        let rows = rows
            .iter()
            .filter(|(row, _)| row.servo == *servo.name)
            .map(|(row, text)| [row.key.clone(), text.clone(), row.origin.clone()])
            .collect();
        let table = table::render(["KEY", "VALUE", "ORIGIN"], rows);
        if several {
            print(&format!("{}\n{table}\n", servo.name))?;
        } else {
            print(&table)?;
        }
    }
    Ok(())
}
