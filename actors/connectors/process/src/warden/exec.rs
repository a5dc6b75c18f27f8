//! Stage 2: ties its life to the warden's, then becomes the command.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use super::{Refusal, Run, Step, WITHHELD, line};

/// The largest order that is read; Linux itself allows no more arguments and environment than this.
const ORDER_LIMIT: u64 = 8 << 20;

pub(super) fn main(parent: &OsStr) -> ExitCode {
    #[cfg(target_os = "linux")]
    {
        let wanted = parent.to_str().and_then(|text| text.parse().ok());
        let tied =
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        // The warden may have ended before the line above: then nobody is left to signal.
        let actual = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
        if tied.is_err() || wanted.is_none() || wanted != actual {
            return ExitCode::FAILURE;
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = parent;

    // The duplicate closes itself on exec: the end of file is the sign of success.
    let Ok(mut socket) = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map(UnixStream::from)
    else {
        return ExitCode::FAILURE;
    };
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
    Refusal::new(Step::Execute, &command.exec())
}
