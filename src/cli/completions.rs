//! `servo completions` and `servo man-pages`: what shells and `man` know of the command line.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use clap_complete::aot;
use servo_dispatch::Registry;

use super::{Failure, command_line, print};

/// Print the completion script of a shell
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Write a manual page for each command
#[derive(Debug, clap::Args)]
pub(super) struct ManPages {
    /// Where to; it is made when it is missing
    directory: PathBuf,
}

/// A shell that commands can be completed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
    #[value(name = "powershell", alias = "pwsh")]
    Power,
    Elvish,
}

/// A completion script in the place where its shell looks for it.
struct Place {
    file: PathBuf,
    /// What the user has yet to do.
    remark: String,
}

pub(super) fn execute(registry: &Registry, arguments: &Arguments) -> Result<(), Failure> {
    show(registry, Some(arguments.shell))
}

/// Prints the script for `shell`, or else for the shell of the user.
pub(super) fn show(registry: &Registry, shell: Option<Shell>) -> Result<(), Failure> {
    print(script(registry, shell.map_or_else(Shell::of_user, Ok)?)?.trim_end())
}

/// Writes the script for the user's shell to where that looks for it.
pub(super) fn install(registry: &Registry) -> Result<(), Failure> {
    let shell = Shell::of_user()?;
    let place = shell.place()?;
    let script = script(registry, shell)?;
    let written = place
        .file
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(&place.file, script));
    written.map_err(|e| failed("write", &place.file, &e))?;
    print(&format!(
        "{} completion installed in {}\n{}",
        shell.name(),
        place.file.display(),
        place.remark
    ))
}

/// Writes the manual.
pub(super) fn man_pages(registry: &Registry, arguments: &ManPages) -> Result<(), Failure> {
    let directory = &arguments.directory;
    fs::create_dir_all(directory).map_err(|e| failed("make", directory, &e))?;
    clap_mangen::generate_to(command_line::documented(registry), directory)
        .map_err(|e| failed("write a manual page to", directory, &e))
}

fn failed(tried: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("cannot {tried} {}: {error}", path.display()))
}

fn script(registry: &Registry, shell: Shell) -> Result<String, Failure> {
    let mut script = Vec::new();
    let mut command = command_line::documented(registry);
    aot::generate(shell.generator(), &mut command, "servo", &mut script);
    String::from_utf8(script).map_err(|e| Failure::Failed(format!("the script is no text: {e}")))
}

// === impl Shell ===

impl Shell {
    /// The shell that `SHELL` names.
    fn of_user() -> Result<Self, Failure> {
        let path = std::env::var_os("SHELL").unwrap_or_default();
        let path = PathBuf::from(path);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Self::from_str(&name, true).map_err(|_| {
            let known: Vec<&str> = Self::value_variants().iter().map(|s| s.name()).collect();
            Failure::Usage(format!(
                "the variable SHELL ('{}') names no shell that commands can be completed in: use `servo completions` with one of {}",
                path.display(),
                known.join(", ")
            ))
        })
    }

    fn name(self) -> &'static str {
        match self {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
            Shell::Power => "powershell",
            Shell::Elvish => "elvish",
        }
    }

    fn generator(self) -> aot::Shell {
        match self {
            Shell::Bash => aot::Shell::Bash,
            Shell::Zsh => aot::Shell::Zsh,
            Shell::Fish => aot::Shell::Fish,
            Shell::Power => aot::Shell::PowerShell,
            Shell::Elvish => aot::Shell::Elvish,
        }
    }

    /// Where the shell looks for a user's own scripts.
    fn place(self) -> Result<Place, Failure> {
        // The directories of https://specifications.freedesktop.org/basedir-spec.
        let below = |variable: &str, default: &str| {
            let set = std::env::var_os(variable).filter(|value| !value.is_empty());
            let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
            set.map(PathBuf::from)
                .or_else(|| Some(home?.join(default)))
                .ok_or_else(|| Failure::Usage(format!("neither HOME nor {variable} is set")))
        };
        let opened = "open a new terminal to use it";
        match self {
            Shell::Bash => Ok(Place {
                file: below("XDG_DATA_HOME", ".local/share")?
                    .join("bash-completion/completions/servo"),
                remark: opened.to_owned(),
            }),
            Shell::Zsh => {
                let directory = below("XDG_DATA_HOME", ".local/share")?.join("zsh/site-functions");
                Ok(Place {
                    file: directory.join("_servo"),
                    remark: format!(
                        "have `fpath=({} $fpath)` before `compinit` in .zshrc, then {opened}",
                        directory.display()
                    ),
                })
            }
            Shell::Fish => Ok(Place {
                file: below("XDG_CONFIG_HOME", ".config")?.join("fish/completions/servo.fish"),
                remark: opened.to_owned(),
            }),
            Shell::Power => Err(self.by_hand("servo completions powershell >> $PROFILE")),
            Shell::Elvish => {
                Err(self.by_hand("servo completions elvish >> ~/.config/elvish/rc.elv"))
            }
        }
    }

    fn by_hand(self, line: &str) -> Failure {
        Failure::Usage(format!(
            "{} has no place for completion scripts: use `{line}`",
            self.name()
        ))
    }
}
