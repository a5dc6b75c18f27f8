//! Whose turn it is when more servos want to speak to a server than may at once.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{Event, Report, gate::Lane};

/// How long a servo whose commands take no time may go on asking for more before it lets the others go first.
///
/// Its memory is in the processor's caches then, so that going on costs less than another's beginning does
/// (benches/fleet). 10,000 servos at 100 places are through with such turns in 5 s.
const LENGTH: Duration = Duration::from_millis(50);

/// What turns are timed from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The turn of one servo.
#[derive(Default)]
pub(crate) struct Turn {
    /// When it began, in milliseconds since the [start](START).
    began: AtomicU64,
    /// It has just answered a command, and its optimizer may have another.
    has_answered: AtomicBool,
}

impl Turn {
    /// In which lane `event` waits. Requests of one servo come one after the other.
    pub(crate) fn lane(&self, event: &Event) -> Lane {
        match event {
            Event::Report(_, Report::Progress(_)) | Event::Goodbye(_) => Lane::GoesOn,
            Event::Report(_, Report::Completion(_)) => {
                self.has_answered.store(true, Relaxed);
                Lane::GoesOn
            }
            Event::WhatsNext | Event::Hello(_) => {
                let now = START.elapsed();
                let began = Duration::from_millis(self.began.load(Relaxed));
                let has_answered = self.has_answered.swap(false, Relaxed);
                if has_answered && now.saturating_sub(began) < LENGTH {
                    return Lane::GoesOn;
                }
                let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
                self.began.store(now, Relaxed);
                Lane::Begins
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Completion, Explanation, Goodbye, Hello, Operation, Outcome};

    fn answer() -> Event {
        let completion = Completion {
            cmd_uid: None,
            outcome: Outcome::Failed(Explanation {
                message: "it broke".to_owned(),
                reason: None,
                other_messages: Vec::new(),
            }),
        };
        Event::Report(Operation::Measure, Report::Completion(completion))
    }

    #[tokio::test(start_paused = true)]
    async fn a_servo_goes_on_for_a_while_and_then_begins_anew() {
        let turn = Turn::default();
        let command = LENGTH / 5;
        assert_eq!(turn.lane(&Event::Hello(Hello::default())), Lane::Begins);
        for n in 0..20 {
            let asks = turn.lane(&Event::WhatsNext);
            let expected = match n % 5 {
                0 => Lane::Begins,
                _ => Lane::GoesOn,
            };
            assert_eq!(asks, expected, "{n}");
            tokio::time::advance(command).await;
            assert_eq!(turn.lane(&answer()), Lane::GoesOn);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_without_having_answered_begins() {
        let turn = Turn::default();
        for _ in 0..5 {
            assert_eq!(turn.lane(&Event::WhatsNext), Lane::Begins);
        }
        for _ in 0..5 {
            assert_eq!(turn.lane(&answer()), Lane::GoesOn);
        }
        assert_eq!(turn.lane(&Event::WhatsNext), Lane::GoesOn);
        assert_eq!(turn.lane(&Event::WhatsNext), Lane::Begins);
        let goodbye = Event::Goodbye(Goodbye::default());
        assert_eq!(turn.lane(&goodbye), Lane::GoesOn);
    }
}
