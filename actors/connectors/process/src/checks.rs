//! What can be known to be wrong before a component is started: its program, its directory, its environment, its
//! address. Nothing is started to find out.

mod program;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};
use servo_dispatch::{CheckEvent, CheckFailure, Checks};
use servo_messages::Severity;
use tokio::net::lookup_host;

use crate::child::Launch;
use crate::keeper::Keeper;
use crate::readiness;
use crate::warden::WardenProgram;

/// Looking at files and connecting to this machine takes no time, unless a file system or a resolver hangs.
const LIMIT: Duration = Duration::from_secs(10);

/// The checks of these components, in their order.
pub(crate) fn checks<'a>(
    keepers: impl Iterator<Item = &'a Keeper>,
    warden: &'a WardenProgram,
    event: &CheckEvent,
) -> Checks<'a> {
    let limit = LIMIT.min(event.timeout);
    let members: Vec<Member<'a>> = keepers.map(Member::new).collect();
    let named =
        |what: &'static str| move |member: &Member<'a>| format!("{what} of \"{}\"", member.name());
    let mut checks = Checks::new();
    checks
        .require("Warden", async || {
            let path = warden.program.clone();
            off_thread(move || {
                executable(&path).map_err(|problem| {
                    CheckFailure::new(format!("cannot start {}: {problem}", path.display())).hint(
                        "every component is started by this program: install Servo anew, or correct SERVO_WARDEN",
                    )
                })
            })
            .await
        })
        .id("check_warden")
        .describe("The program that starts components and ends them with Servo is there")
        .within(limit);
    checks
        .for_each(
            "Working directories",
            members.clone(),
            named("Working directory"),
            async |member| {
                let directory = member.launch.directory.clone();
                off_thread(move || entered(directory)).await
            },
        )
        .id("check_directories")
        .describe("`cwd` is a directory that can be entered")
        .within(limit);
    checks
        .for_each(
            "Programs",
            members.clone(),
            named("Program"),
            async |member| off_thread(move || program::found(&member.launch)).await,
        )
        .id("check_programs")
        .describe("The program of `command` is found and can be executed")
        .within(limit);
    checks
        .for_each(
            "Environments",
            members.clone(),
            named("Arguments and environment"),
            async |member| passable(&member.launch),
        )
        .id("check_environments")
        .describe("The system can hand all arguments and variables to the program")
        .within(limit);
    checks
        .for_each(
            "Variable names",
            members.clone(),
            named("Variable names"),
            async |member| readable(&member.launch),
        )
        .id("check_variable_names")
        .severity(Severity::Warning)
        .describe("A shell can read all variables")
        .within(limit);
    let addresses = addresses(&members);
    let with_address: Vec<(Member<'a>, String)> = members
        .iter()
        .filter_map(|member| Some((member.clone(), member.address()?)))
        .collect();
    checks
        .for_each(
            "Addresses",
            with_address,
            |(member, _)| format!("Address of \"{}\"", member.name()),
            async move |(member, address)| {
                let users = addresses.get(&address).map_or(&[][..], Vec::as_slice);
                free_or_own(&member, &address, users).await
            },
        )
        .id("check_addresses")
        .describe("The address that `ready` asks is free, or the component's own")
        .within(limit);
    checks
}

/// A component, and how it would be started now.
#[derive(Clone)]
struct Member<'a> {
    keeper: &'a Keeper,
    launch: Launch,
}

impl<'a> Member<'a> {
    fn new(keeper: &'a Keeper) -> Self {
        Self {
            launch: keeper.component().launch(&keeper.standing().values),
            keeper,
        }
    }

    fn name(&self) -> &str {
        self.keeper.component().name()
    }

    fn address(&self) -> Option<String> {
        readiness::address(self.keeper.component().ready.as_ref()?)
    }
}

/// The components that are asked at each address.
fn addresses(members: &[Member<'_>]) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for member in members {
        if let Some(address) = member.address() {
            found
                .entry(address)
                .or_default()
                .push(member.name().to_owned());
        }
    }
    found
}

/// Runs what looks at files where it may block.
async fn off_thread<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, CheckFailure> + Send + 'static,
) -> Result<T, CheckFailure> {
    tokio::task::spawn_blocking(look).await?
}

/// Why a file cannot be executed, in words.
fn executable(path: &Path) -> Result<(), String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is no file".to_owned());
    }
    access(path, Access::EXEC_OK).map_err(|error| match error {
        rustix::io::Errno::ACCESS => "it may not be executed".to_owned(),
        error => error.to_string(),
    })
}

fn entered(directory: Option<PathBuf>) -> Result<String, CheckFailure> {
    let Some(directory) = directory else {
        let own = std::env::current_dir().map_err(|error| {
            CheckFailure::new(format!("Servo's own working directory is gone: {error}"))
                .hint("restart Servo in a directory that exists, or give `cwd`")
        })?;
        return Ok(format!("{}, that of Servo", own.display()));
    };
    let failed = |problem: &dyn std::fmt::Display, hint: String| {
        CheckFailure::new(format!(
            "cannot enter the working directory {}: {problem}",
            directory.display()
        ))
        .hint(hint)
    };
    let shown = directory.display();
    match std::fs::metadata(&directory) {
        Err(error) => Err(failed(
            &error,
            format!("create it (mkdir -p {shown}), or correct `cwd`"),
        )),
        Ok(metadata) if !metadata.is_dir() => {
            Err(failed(&"it is no directory", "correct `cwd`".to_owned()))
        }
        Ok(_) => match access(&directory, Access::EXEC_OK) {
            Err(error) => Err(failed(
                &error,
                format!(
                    "let the user that runs Servo enter it (chmod +x {shown}), or correct `cwd`"
                ),
            )),
            Ok(()) => Ok(shown.to_string()),
        },
    }
}

/// A null byte would end a text early, so the system refuses the whole start.
fn passable(launch: &Launch) -> Result<(), CheckFailure> {
    let holds_null = |text: &str| text.contains('\0');
    let mut wrong: Vec<String> = Vec::new();
    if holds_null(&launch.program) {
        wrong.push("the program".to_owned());
    }
    let arguments = launch.arguments.iter().enumerate();
    wrong.extend(
        arguments
            .filter(|(_, argument)| holds_null(argument))
            .map(|(at, _)| format!("argument {}", at + 1)),
    );
    let variables = launch.environment.iter();
    wrong.extend(
        variables
            .filter(|(_, value)| holds_null(value))
            .map(|(name, _)| format!("the variable `{name}`")),
    );
    if wrong.is_empty() {
        return Ok(());
    }
    Err(
        CheckFailure::new(format!("a null byte is in {}", wrong.join(", ")))
            .hint("take `\\0` out of `command`, `env` and the values of settings"),
    )
}

fn readable(launch: &Launch) -> Result<(), CheckFailure> {
    let plain = |name: &str| {
        !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let strange: Vec<String> = launch
        .environment
        .iter()
        .filter(|(name, _)| !plain(name))
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    if strange.is_empty() {
        return Ok(());
    }
    Err(
        CheckFailure::new(format!("no shell can read {}", strange.join(", "))).hint(
            "name variables by letters, digits and underscores, the first no digit, unless the program itself reads \
             such names",
        ),
    )
}

async fn free_or_own(
    member: &Member<'_>,
    address: &str,
    users: &[String],
) -> Result<String, CheckFailure> {
    if users.len() > 1 {
        return Err(CheckFailure::new(format!(
            "{address} is the address of several components: {}",
            users.join(", ")
        ))
        .hint("give each component a port of its own"));
    }
    // It was free when the process was started.
    if let Some(pulse) = member.keeper.standing().pulse {
        return Ok(format!(
            "{address} is the component's own (process {})",
            pulse.pid
        ));
    }
    let _ = lookup_host(address).await.map_err(|error| {
        CheckFailure::new(format!("{address} leads nowhere: {error}"))
            .hint("correct the host in `ready`; for a process of this machine it is 127.0.0.1")
    })?;
    if readiness::is_answered(address).await {
        let port = address.rsplit_once(':').map_or("", |(_, port)| port);
        return Err(CheckFailure::new(format!(
            "{address} is already answered by a process that Servo did not start"
        ))
        .hint(format!(
            "stop that process (ss -ltnp 'sport = :{port}' shows it), or give component `{}` another port, else the \
             wrong process would be tuned",
            member.name()
        )));
    }
    Ok(format!("{address} is free"))
}
