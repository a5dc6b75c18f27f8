//! Stage 2: ties its life to the warden's, then becomes the command.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use super::{Refusal, Run, Step, WITHHELD, line};

/// The largest order that is read; Linux itself allows no more arguments and environment than this.
const ORDER_LIMIT: u64 = 8 << 20;

pub(super) fn main(parent: &OsStr) -> ExitCode {
    // The duplicate closes itself on exec: the end of file is the sign of success.
    let Ok(mut socket) = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map(UnixStream::from)
    else {
        return ExitCode::FAILURE;
    };
    if let Err(refusal) = tie_to(parent) {
        let _ = socket.write_all(&line(&refusal));
        return ExitCode::FAILURE;
    }
    let mut text = Vec::new();
    let read = BufReader::new((&socket).take(ORDER_LIMIT)).read_until(b'\n', &mut text);
    let refusal = match read.and_then(|_| Ok(serde_json::from_slice::<Run>(&text)?)) {
        Ok(run) => become_command(&run),
        Err(error) => Refusal::new(Step::Spawn, &error),
    };
    // Without a reader there is nobody to tell.
    let _ = socket.write_all(&line(&refusal));
    ExitCode::from(127)
}

/// From here on the kernel kills this process, and the command that it becomes, when the warden ends.
#[cfg(target_os = "linux")]
fn tie_to(parent: &OsStr) -> Result<(), Refusal> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Refusal::new(Step::Tie, &error.into()))?;
    // The warden may have ended before the line above: then nobody is left to signal.
    let wanted: Option<i32> = parent.to_str().and_then(|text| text.parse().ok());
    let actual = getppid().map(|pid| pid.as_raw_nonzero().get());
    if wanted.is_none() || wanted != actual {
        return Err(Refusal::new(
            Step::Tie,
            &std::io::Error::other("the warden has ended"),
        ));
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn tie_to(_: &OsStr) -> Result<(), Refusal> {
    Ok(())
}

/// Returns only when it has failed.
fn become_command(run: &Run) -> Refusal {
    if let Some(directory) = &run.directory
        && let Err(error) = std::env::set_current_dir(directory)
    {
        return Refusal::new(Step::Directory, &error);
    }
    let mut command = Command::new(&run.program);
    command.args(&run.arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| WITHHELD.iter().any(|prefix| name.starts_with(prefix)))
        {
            command.env_remove(name);
        }
    }
    command.envs(run.environment.iter().map(|(name, value)| (name, value)));
    let path = run
        .environment
        .iter()
        .rev()
        .find(|(name, _)| name == "PATH")
        .map(|(_, path)| path.clone())
        .or_else(|| std::env::var("PATH").ok());
    not_executed(&run.program, path.as_deref(), &command.exec())
}

/// "No such file or directory" may mean three things, and names no file.
fn not_executed(program: &str, path: Option<&str>, error: &std::io::Error) -> Refusal {
    let refusal = Refusal::new(Step::Execute, error);
    if error.raw_os_error() != Some(rustix::io::Errno::NOENT.raw_os_error()) {
        return refusal;
    }
    let file = Path::new(program);
    if !program.contains('/') {
        let message = match path {
            Some(path) => format!("it is in no directory of PATH ({path}): check `command`"),
            None => "PATH is not set: give the whole path in `command`".to_owned(),
        };
        return Refusal {
            step: Step::Find,
            message,
        };
    }
    if file.exists() {
        let message = "the file is there, but not the interpreter that its first line names or the loader that it needs".to_owned();
        return Refusal { message, ..refusal };
    }
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let message = format!(
        "there is no file {}: check `command` and `cwd`",
        file.display()
    );
    Refusal {
        step: Step::Find,
        message,
    }
}
