//! `servo generate`

use std::path::{Path, PathBuf};

use super::{
    Context, Failure, print,
    prompt::Prompter,
    replace::{Readers, replace},
    say,
};
use crate::config::{
    self, Descriptors, Generate, Generated, LoadOptions, Need, OptimizerFlags, Problem, Shapes,
    Source,
};

/// Write a configuration with samples of the connectors' stanzas
///
/// Without words it has a stanza for each connector type. The optimizer in it is a placeholder: any
/// that --optimizer or OPSANI_OPTIMIZER names takes its place.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Connector types such as vegeta, or names of your own with their types, such as load:vegeta
    #[arg(value_name = "CONNECTORS")]
    pub(super) connectors: Vec<String>,

    /// The file to write; - for stdout alone [default: servo.yaml, or what --config-file names]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Write defaults, too
    #[arg(short, long)]
    defaults: bool,

    /// Name of the servo
    #[arg(short, long, value_name = "TEXT")]
    name: Option<String>,

    /// Leave the key `connectors` out
    #[arg(short, long)]
    standalone: bool,

    /// Do not print what is written
    #[arg(short, long)]
    quiet: bool,

    /// Overwrite the file without asking
    #[arg(long, conflicts_with = "append")]
    force: bool,

    /// Add a servo to the file, behind what it has
    #[arg(long)]
    append: bool,

    /// Write above each key what it means
    #[arg(long)]
    comments: bool,

    /// Name the schema of the file in its first line, for editors
    #[arg(long, value_name = "FILE_OR_URL", conflicts_with = "append")]
    schema_comment: Option<String>,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let target = Target::new(context, arguments.file.as_deref())?;
    if target.is_stdout() && arguments.append {
        return Err(Failure::Usage("--append needs a file".to_owned()));
    }
    for (option, text) in [
        ("--name", &arguments.name),
        ("--schema-comment", &arguments.schema_comment),
    ] {
        if let Some(text) = text
            && (text.trim().is_empty() || text.contains(char::is_control))
        {
            return Err(Failure::Usage(format!(
                "Invalid value for '{option}': it must be text of one line"
            )));
        }
    }
    let descriptors = descriptors(context, &arguments.connectors)?;
    let document = document(
        context,
        &Generate {
            name: arguments.name.as_deref(),
            optimizer: None,
            connectors: descriptors.as_ref(),
            standalone: arguments.standalone,
            defaults: arguments.defaults,
            comments: arguments.comments,
            schema: arguments.schema_comment.as_deref(),
        },
    )?;
    if target.is_stdout() {
        return print(document.trim_end());
    }
    if arguments.append && target.path.exists() {
        append(context, &target, &document)?;
    } else {
        if !arguments.force
            && target.exists()
            && !target.may_be_overwritten(&mut Prompter::new()?)?
        {
            return Err(Failure::Aborted);
        }
        replace(&target.path, &document, Readers::Usual)?;
    }
    if arguments.quiet {
        return Ok(());
    }
    target.tell(&document)
}

/// The file that a document is written to.
pub(super) struct Target {
    /// As it was named.
    pub(super) name: String,
    pub(super) path: PathBuf,
}

impl Target {
    /// `file`, else the assembly file.
    pub(super) fn new(context: &Context, file: Option<&Path>) -> Result<Self, Failure> {
        let named = file.or(context.config_file.as_deref());
        let named = named.unwrap_or(Path::new("servo.yaml"));
        let target = Self {
            name: named.display().to_string(),
            path: context.directory.join(named),
        };
        if target.path.is_dir() && !target.is_stdout() {
            return Err(Failure::Usage(format!(
                "Invalid value for '--file' / '-f': File '{}' is a directory.",
                target.name
            )));
        }
        Ok(target)
    }

    fn is_stdout(&self) -> bool {
        self.name == "-"
    }

    /// Whether something is there that writing would destroy.
    pub(super) fn exists(&self) -> bool {
        self.path.is_file()
    }

    pub(super) fn may_be_overwritten(&self, prompter: &mut Prompter) -> Result<bool, Failure> {
        prompter.confirm(&format!(
            "File '{}' already exists. Overwrite it?",
            self.name
        ))
    }

    /// Says what was written.
    pub(super) fn tell(&self, document: &str) -> Result<(), Failure> {
        print(document.trim_end())?;
        print(&format!("Generated {}", self.name))
    }
}

/// The connectors that words name, each of a known type.
pub(super) fn descriptors(
    context: &Context,
    words: &[String],
) -> Result<Option<Descriptors>, Failure> {
    let Some(descriptors) = Context::descriptors(words)? else {
        return Ok(None);
    };
    for word in words {
        let kind = word.rsplit(':').next().unwrap_or(word);
        if context.registry.find(kind).is_none() {
            let types = context.registry.types().iter();
            let names = types.map(|kind| kind.metadata().default_name);
            let near = servo_shape::nearest(kind, names)
                .map(|near| format!(" (did you mean \"{near}\"?)"))
                .unwrap_or_default();
            return Err(Failure::Usage(format!(
                "no connector found for identifier '{kind}'{near}"
            )));
        }
    }
    Ok(Some(descriptors.by_default_names(&context.registry)))
}

/// The text of a document; tells of what is odd about it.
pub(super) fn document(context: &Context, what: &Generate<'_>) -> Result<String, Failure> {
    let Generated { text, warnings } =
        config::generate(&context.registry, &Shapes::default(), what)
            .map_err(|problems| Failure::Usage(reasons(&problems)))?;
    for warning in warnings {
        say(&format!("warning: {}", warning.message));
    }
    Ok(text)
}

pub(super) fn reasons(problems: &[Problem]) -> String {
    let reasons: Vec<&str> = problems.iter().map(|p| p.message.as_str()).collect();
    reasons.join("; ")
}

/// Puts `document` behind those that the file has. What is there stays as it is, byte for byte.
fn append(context: &Context, target: &Target, document: &str) -> Result<(), Failure> {
    let source = Source {
        name: target.name.clone(),
        path: Some(target.path.clone()),
    };
    let mut text = source
        .read()
        .map_err(|error| Failure::Failed(error.to_string()))?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str("---\n");
    text.push_str(document);
    // Options that name the optimizer of the only servo are for none of several.
    let flags = OptimizerFlags::default();
    let check = |optimizer| {
        let options = LoadOptions {
            flags: &flags,
            ..context.load_options(optimizer)
        };
        config::load_text(&source, &text, &options)
    };
    // What this file would not hold together with, such as a second servo of the same name, is not
    // written; where an optimizer is missing only, somebody may still name it.
    check(Need::Optional).map_err(|error| {
        Failure::Failed(format!(
            "{error}\n{} is as it was: nothing was appended",
            target.name
        ))
    })?;
    if let Err(error) = check(Need::Required) {
        say(&format!("warning: {error}"));
    }
    replace(&target.path, &text, Readers::Usual)
}
