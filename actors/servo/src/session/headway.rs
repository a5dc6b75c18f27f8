//! Whether the conversation gets on (`spec/optimizer-protocol.md` §11, §12).
//!
//! Commands come as fast as they are completed, which is the optimizer's pace. One that does not take what comes of
//! them, or that hands out what it has already taken, would be asked without end.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use servo_protocol::{Backoff, CommandUid};

use super::{LONGEST_PAUSE, pause_of};

/// What came of the last commands.
#[derive(Default)]
pub(super) struct Headway {
    /// The last command led nowhere. On the heap, for that is rare.
    stuck: Option<Box<Backoff>>,
    /// Hash of the last one whose outcome was taken; 0 if there is none that has a name.
    done: u64,
}

impl Headway {
    /// The optimizer took the outcome of `command`; how long to keep off it, if that has led nowhere.
    pub(super) fn taken(
        &mut self,
        command: Option<&CommandUid>,
        longest: Duration,
    ) -> Option<Duration> {
        let done = command.map_or(0, |uid| {
            let mut hasher = DefaultHasher::new();
            uid.hash(&mut hasher);
            hasher.finish()
        });
        if std::mem::replace(&mut self.done, done) == done && done != 0 {
            return self.refused(Duration::ZERO, longest);
        }
        self.stuck = None;
        None
    }

    /// It did not, or it wants none; how long to keep off it. Not at all the first time, unless it `asked` for that: it
    /// may go on with another command.
    pub(super) fn refused(&mut self, asked: Duration, longest: Duration) -> Option<Duration> {
        let first = Backoff::new(Duration::from_secs(1), LONGEST_PAUSE);
        match &mut self.stuck {
            Some(pause) => Some(pause_of(pause, asked, longest)),
            None => {
                let pause = self.stuck.insert(Box::new(first));
                (!asked.is_zero()).then(|| pause_of(pause, asked, longest))
            }
        }
    }
}
