//! `servo init`

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretString};
use servo_protocol::OptimizerId;

use super::{
    Context, Failure,
    generate::{Target, descriptors, document, reasons},
    print,
    prompt::{Prompter, words},
    replace::{Readers, replace},
    say,
};
use crate::config::{Generate, assignment, whole_file};

/// Larger files are no tokens.
const LARGEST_TOKEN: u64 = 64 * 1024;

/// Set a servo up: ask for its optimizer, write .env and servo.yaml
///
/// What options say is not asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Write optimizer and token to .env (the default)
    #[arg(long, overrides_with = "no_dotenv")]
    dotenv: bool,

    /// Leave .env alone
    #[arg(long, overrides_with = "dotenv")]
    no_dotenv: bool,

    /// The optimizer, as organization/name
    #[arg(long, value_name = "OPTIMIZER")]
    optimizer: Option<String>,

    /// A file with its token, which .env gets a copy of
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// The connectors, with commas between them: types such as vegeta, or names with their types,
    /// such as load:vegeta
    #[arg(long, value_name = "CONNECTORS", value_delimiter = ',')]
    connectors: Vec<String>,

    /// Ask nothing: overwrite files, and take OPSANI_OPTIMIZER and OPSANI_TOKEN for what no option
    /// says
    #[arg(short, long)]
    yes: bool,
}

/// What is written to `.env`.
struct Credentials {
    optimizer: OptimizerId,
    token: SecretString,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let mut session = Session {
        context,
        arguments,
        prompter: if arguments.yes {
            None
        } else {
            Some(Prompter::new()?)
        },
    };
    let target = Target::new(context, None)?;
    let given = session.given_optimizer()?;
    // Everything is asked before anything is written: an interruption leaves all as it was.
    let dotenv = context.directory.join(".env");
    let credentials = if session.writes_dotenv(&dotenv)? {
        Some(session.credentials(given.clone())?)
    } else {
        None
    };
    let words = session.connectors(&target)?;
    let overwrite = match &mut session.prompter {
        Some(prompter) if target.exists() => target.may_be_overwritten(prompter)?,
        _ => true,
    };
    let known = || context.environment.get("OPSANI_OPTIMIZER")?.parse().ok();
    let optimizer = match &credentials {
        Some(credentials) => Some(credentials.optimizer.clone()),
        None => given.or_else(known),
    };
    let descriptors = descriptors(context, &words)?;
    let document = document(
        context,
        &Generate {
            optimizer: optimizer.as_ref(),
            connectors: descriptors.as_ref(),
            ..Generate::default()
        },
    )?;
    if let Some(credentials) = credentials {
        replace(&dotenv, &credentials.text(), Readers::Owner)?;
        print(".env file initialized")?;
    }
    if !overwrite {
        return Err(Failure::Aborted);
    }
    replace(&target.path, &document, Readers::Usual)?;
    target.tell(&document)
}

/// One run of the command.
struct Session<'a> {
    context: &'a Context,
    arguments: &'a Arguments,
    /// None when nothing is to be asked.
    prompter: Option<Prompter>,
}

impl Session<'_> {
    /// The optimizer that an option names, of this command or of the program.
    fn given_optimizer(&self) -> Result<Option<OptimizerId>, Failure> {
        let given = self.arguments.optimizer.as_ref();
        let Some(text) = given.or(self.context.flags.optimizer.as_ref()) else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|error| invalid("--optimizer", &error))
    }

    fn writes_dotenv(&mut self, file: &Path) -> Result<bool, Failure> {
        if self.arguments.no_dotenv {
            return Ok(false);
        }
        match &mut self.prompter {
            Some(prompter) if file.exists() => {
                prompter.confirm("File '.env' already exists. Overwrite it?")
            }
            _ => Ok(true),
        }
    }

    fn credentials(&mut self, given: Option<OptimizerId>) -> Result<Credentials, Failure> {
        let optimizer = match given {
            Some(optimizer) => optimizer,
            None => self.ask_optimizer()?,
        };
        let token = match self.given_token()? {
            Some(token) => token,
            None => self.ask_token()?,
        };
        Ok(Credentials { optimizer, token })
    }

    /// The token that an option gives.
    fn given_token(&self) -> Result<Option<SecretString>, Failure> {
        let flags = &self.context.flags;
        let file = self.arguments.token_file.as_ref();
        let Some(file) = file.or(flags.token_file.as_ref()) else {
            return match &flags.token {
                Some(token) => usable(token.expose_secret())
                    .map(Some)
                    .map_err(|error| invalid("--token", &error)),
                None => Ok(None),
            };
        };
        let text = whole_file::read_text(&self.context.directory.join(file), LARGEST_TOKEN)
            .map_err(|error| {
                let name = file.display();
                match error.kind() {
                    std::io::ErrorKind::NotFound => {
                        invalid("--token-file", &format!("File '{name}' does not exist."))
                    }
                    _ => invalid(
                        "--token-file",
                        &format!("File '{name}' cannot be read: {error}"),
                    ),
                }
            })?;
        usable(&text)
            .map(Some)
            .map_err(|error| invalid("--token-file", &error))
    }

    fn ask_optimizer(&mut self) -> Result<OptimizerId, Failure> {
        let default = self.context.environment.get("OPSANI_OPTIMIZER");
        let Some(prompter) = &mut self.prompter else {
            return default
                .ok_or_else(|| missing("--optimizer", "OPSANI_OPTIMIZER"))?
                .parse()
                .map_err(|error| invalid("OPSANI_OPTIMIZER", &error));
        };
        let shown = default.map(|d| format!(" [{d}]")).unwrap_or_default();
        let question = format!("Opsani optimizer? (format: dev.opsani.com/app-name){shown}: ");
        loop {
            let answer = prompter.line(&question)?;
            let answer = match default {
                Some(default) if answer.is_empty() => default,
                _ => &answer,
            };
            if answer.is_empty() {
                continue;
            }
            match answer.parse() {
                Ok(optimizer) => return Ok(optimizer),
                Err(error) => say(&format!("Error: {error}")),
            }
        }
    }

    fn ask_token(&mut self) -> Result<SecretString, Failure> {
        let default = self.context.environment.get("OPSANI_TOKEN");
        let Some(prompter) = &mut self.prompter else {
            let token = default.ok_or_else(|| missing("--token-file", "OPSANI_TOKEN"))?;
            return usable(token).map_err(|error| invalid("OPSANI_TOKEN", &error));
        };
        let shown = default.map_or("", |_| " [that of OPSANI_TOKEN]");
        loop {
            let answer = prompter.hidden(&format!("API token?{shown}: "))?;
            let answer = match default {
                Some(default) if answer.expose_secret().is_empty() => default,
                _ => answer.expose_secret(),
            };
            match usable(answer) {
                Ok(token) => return Ok(token),
                Err(error) => say(&format!("Error: {error}")),
            }
        }
    }

    /// Words that name the connectors; none for all types.
    fn connectors(&mut self, target: &Target) -> Result<Vec<String>, Failure> {
        let context = self.context;
        let Some(prompter) = self
            .prompter
            .as_mut()
            .filter(|_| self.arguments.connectors.is_empty())
        else {
            return Ok(words(&self.arguments.connectors.join(",")));
        };
        if !prompter.confirm(&format!(
            "Generating {}. Do you want to select the connectors?",
            target.name
        ))? {
            return Ok(Vec::new());
        }
        let types = context.registry.types();
        let names: Vec<String> = types
            .iter()
            .map(|kind| kind.metadata().type_name.to_owned())
            .collect();
        loop {
            let chosen = prompter.several(
                "Which connectors do you want to activate? [space to (de)select]",
                &names,
            )?;
            // The file says types by their default names.
            let chosen: Vec<String> = chosen
                .into_iter()
                .map(|word| {
                    let kind = types.iter().find(|kind| kind.metadata().type_name == word);
                    kind.map_or(word, |kind| kind.metadata().default_name.to_owned())
                })
                .collect();
            match acceptable(context, &chosen) {
                Ok(()) => return Ok(chosen),
                Err(error) => say(&format!("Error: {error}")),
            }
        }
    }
}

impl Credentials {
    /// The file `.env`.
    fn text(&self) -> String {
        [
            assignment("OPSANI_OPTIMIZER", &self.optimizer.to_string()),
            assignment("OPSANI_TOKEN", self.token.expose_secret()),
            assignment("SERVO_LOG_LEVEL", "DEBUG"),
        ]
        .concat()
    }
}

/// Whether connectors can be had under these words.
fn acceptable(context: &Context, words: &[String]) -> Result<(), Failure> {
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    if let Some(descriptors) = descriptors(context, words)? {
        descriptors.routes(&context.registry, &mut problems, &mut warnings);
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Failure::Usage(reasons(&problems)))
    }
}

/// A token without the blanks around it, if it can be one.
fn usable(token: &str) -> Result<SecretString, &'static str> {
    let token = token.trim();
    if token.is_empty() {
        Err("token cannot be blank")
    } else if token.contains(char::is_control) {
        Err("token cannot have control characters in it")
    } else {
        Ok(SecretString::from(token))
    }
}

fn invalid(option: &str, reason: &dyn Display) -> Failure {
    Failure::Usage(format!("Invalid value for '{option}': {reason}"))
}

fn missing(option: &str, variable: &str) -> Failure {
    Failure::Usage(format!(
        "Missing option '{option}': with --yes nothing is asked; give it, or set {variable}"
    ))
}
