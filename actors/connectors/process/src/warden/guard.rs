//! Stage 0: outlives the warden, and ends what it leaves behind.

use std::io;
use std::process::ExitCode;

use rustix::process::{Signal, WaitOptions, kill_process, wait};
use tokio::time::Instant;

use super::{KILL_LIMIT, SWEEP, Signals, again, living_below, release_output};

pub(super) fn main() -> ExitCode {
    match super::alone(run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("warden: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> io::Result<()> {
    // Polite signals are for the warden, which gets them too.
    let mut signals = Signals::new()?;
    let mut warden = tokio::process::Command::from(again("keep")?).spawn()?;
    // Only the warden's copies shall keep the socket and the pipes open.
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    release_output();
    loop {
        tokio::select! {
            _ = warden.wait() => break,
            () = signals.any() => {}
        }
    }
    // Usually nothing. After the death of the warden: all of its descendants, which are this process's now.
    let give_up_at = Instant::now() + KILL_LIMIT;
    loop {
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        let living = living_below(rustix::process::getpid());
        if living.is_empty() || Instant::now() >= give_up_at {
            return Ok(());
        }
        for (pid, _) in living {
            let _ = kill_process(pid, Signal::KILL);
        }
        tokio::time::sleep(SWEEP).await;
    }
}
