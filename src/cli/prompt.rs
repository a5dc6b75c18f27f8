//! Questions to the user: on a terminal, or answered line by line from a pipe
//! (`spec/config-and-cli.md` §7.3, §7.6).
//!
//! They stand on stderr, for stdout carries results alone. The end of the input and Ctrl-C end the
//! command.

use std::{
    io::{self, BufRead, IsTerminal, Read, Write},
    thread,
};

use dialoguer::console::Term;
use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use secrecy::SecretString;
use tokio::{runtime::Runtime, sync::oneshot};

use super::Failure;
use crate::daemon::{Signal, Signals};

/// Longer lines are no answers.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// Asks questions. Once there is one, signals end the program only while it asks.
pub(super) struct Prompter {
    runtime: Runtime,
    signals: Signals,
    /// Whether a person sits at both ends.
    is_terminal: bool,
}

impl Prompter {
    pub(super) fn new() -> Result<Self, Failure> {
        let failed = |e: io::Error| Failure::Failed(format!("cannot ask questions: {e}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(failed)?;
        let signals = {
            let _inside = runtime.enter();
            Signals::listen().map_err(failed)?
        };
        Ok(Self {
            runtime,
            signals,
            is_terminal: io::stdin().is_terminal() && io::stderr().is_terminal(),
        })
    }

    /// One line, without the blanks around it.
    pub(super) fn line(&mut self, prompt: &str) -> Result<String, Failure> {
        show(prompt)?;
        self.answer()
    }

    /// One line that a terminal does not show.
    pub(super) fn hidden(&mut self, prompt: &str) -> Result<SecretString, Failure> {
        show(prompt)?;
        let silence = self.is_terminal.then(|| Restored::afterwards().silently());
        let answer = self.answer();
        // The line break was not shown either; where there is no answer, `wait` has made one.
        if silence.is_some() && answer.is_ok() {
            show("\n")?;
        }
        answer.map(SecretString::from)
    }

    /// Yes or no; no if nothing is said.
    pub(super) fn confirm(&mut self, question: &str) -> Result<bool, Failure> {
        loop {
            let answer = self.line(&format!("{question} [y/N]: "))?;
            match answer.to_ascii_lowercase().as_str() {
                "y" | "yes" => return Ok(true),
                "" | "n" | "no" => return Ok(false),
                _ => show("Error: answer y or n\n")?,
            }
        }
    }

    /// Some of `items`: selected on a terminal, else the words of a line with commas between them.
    pub(super) fn several(
        &mut self,
        question: &str,
        items: &[String],
    ) -> Result<Vec<String>, Failure> {
        if !self.is_terminal {
            let answer = self.line(&format!("{question}: "))?;
            return Ok(words(&answer));
        }
        // The selection changes how the terminal reads; an interruption must not leave it so.
        let _restored = Restored::afterwards();
        let (question, names) = (question.to_owned(), items.to_vec());
        let chosen = self.wait(move || {
            dialoguer::MultiSelect::new()
                .with_prompt(question)
                .items(&names)
                .interact_on(&Term::stderr())
                .map(Some)
                .map_err(|dialoguer::Error::IO(e)| e)
        });
        let _ = Term::stderr().show_cursor();
        Ok(chosen?
            .into_iter()
            .filter_map(|index| items.get(index).cloned())
            .collect())
    }

    fn answer(&mut self) -> Result<String, Failure> {
        self.wait(read_line).map(|line| line.trim().to_owned())
    }

    /// Waits until `read` has read something, or a signal comes. It is left behind then: the
    /// program is about to end.
    fn wait<T: Send + 'static>(
        &mut self,
        read: impl FnOnce() -> io::Result<Option<T>> + Send + 'static,
    ) -> Result<T, Failure> {
        let (send, answered) = oneshot::channel();
        thread::Builder::new()
            .name("prompt".to_owned())
            .spawn(move || drop(send.send(read())))
            .map_err(unreadable)?;
        let signals = &mut self.signals;
        let answer = self.runtime.block_on(async {
            tokio::select! {
                signal = signals.next() => Err(signal),
                answer = answered => Ok(answer),
            }
        });
        match answer {
            Ok(Ok(Ok(Some(answer)))) => Ok(answer),
            Ok(Ok(Err(error))) if error.kind() != io::ErrorKind::Interrupted => {
                Err(unreadable(error))
            }
            Err(Signal::Terminate) => Err(Failure::Interrupted(Signal::Terminate)),
            // Behind the prompt, and what the terminal shows of Ctrl-C.
            _ => {
                show("\n")?;
                Err(Failure::Aborted)
            }
        }
    }
}

/// The words of a line with commas between them.
pub(super) fn words(line: &str) -> Vec<String> {
    line.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn unreadable(error: io::Error) -> Failure {
    Failure::Failed(format!("cannot read the answer: {error}"))
}

fn show(text: &str) -> Result<(), Failure> {
    let mut stderr = io::stderr().lock();
    stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush())
        .map_err(|e| Failure::Failed(format!("cannot ask questions: {e}")))
}

/// The next line; none at the end of the input.
fn read_line() -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(LONGEST_ANSWER)
        .read_until(b'\n', &mut bytes)?;
    if bytes.len() as u64 == LONGEST_ANSWER {
        return Err(io::Error::other("the line is longer than 64 KiB"));
    }
    if bytes.is_empty() {
        return Ok(None);
    }
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| io::Error::other("it is not UTF-8 text"))
}

/// Gives the terminal its modes back when it is dropped.
struct Restored(Option<Termios>);

impl Restored {
    fn afterwards() -> Self {
        Self(termios::tcgetattr(io::stdin()).ok())
    }

    /// From now on the terminal does not show what is typed.
    fn silently(self) -> Self {
        if let Some(mut silent) = self.0.clone() {
            silent.local_modes.remove(LocalModes::ECHO);
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &silent);
        }
        self
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        if let Some(modes) = &self.0 {
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, modes);
        }
    }
}
