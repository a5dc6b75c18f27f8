//! A person at the terminal who decides when servos talk to their optimizers
//! (`spec/optimizer-protocol.md` §10).

use std::{
    io::{self, BufRead, Read, Write},
    thread,
};

use futures_util::future::BoxFuture;
use servo_assembly::{Operator, Question};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Longer lines are no answers.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// Asks whoever sits at stdin, one question after the other.
#[derive(Clone, Debug)]
pub(super) struct Person {
    questions: mpsc::Sender<Asked>,
    gone: CancellationToken,
}

#[derive(Debug)]
struct Asked {
    text: String,
    answer: oneshot::Sender<bool>,
}

impl Person {
    /// Takes stdin.
    ///
    /// # Errors
    /// When there can be no thread that reads it.
    pub(super) fn at_stdin() -> io::Result<Self> {
        // A servo asks one question at a time, and waits where there are too many of them.
        let (questions, asked) = mpsc::channel(16);
        let gone = CancellationToken::new();
        let end = gone.clone();
        // The end of the program does not wait for somebody who does not answer.
        thread::Builder::new()
            .name("operator".to_owned())
            .spawn(move || {
                ask_all(asked);
                end.cancel();
            })?;
        Ok(Self { questions, gone })
    }

    /// Completes when nobody is there to answer any more.
    pub(super) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    async fn ask(&self, text: String) -> bool {
        let (answer, answered) = oneshot::channel();
        if self.questions.send(Asked { text, answer }).await.is_err() {
            return false;
        }
        answered.await.unwrap_or(false)
    }
}

impl Operator for Person {
    fn allows<'a>(&'a self, servo: &'a str, step: Question) -> BoxFuture<'a, bool> {
        let question = match step {
            Question::Connect => "Connect to the optimizer?",
            Question::Poll => "Poll for next command?",
        };
        Box::pin(self.ask(format!("{servo}: {question} [y/N]: ")))
    }
}

/// Until nobody asks or nobody answers.
fn ask_all(mut asked: mpsc::Receiver<Asked>) {
    while let Some(Asked { text, answer }) = asked.blocking_recv() {
        if answer.is_closed() {
            continue;
        }
        let mut stderr = io::stderr().lock();
        let shown = stderr
            .write_all(text.as_bytes())
            .and_then(|()| stderr.flush());
        drop(stderr);
        let mut line = Vec::new();
        let read = io::stdin()
            .lock()
            .take(LONGEST_ANSWER)
            .read_until(b'\n', &mut line);
        if shown.is_err() || !matches!(read, Ok(1..)) {
            return;
        }
        let line = String::from_utf8_lossy(&line).trim().to_ascii_lowercase();
        // The servo may have been stopped meanwhile.
        let _ = answer.send(matches!(line.as_str(), "y" | "yes"));
    }
}
