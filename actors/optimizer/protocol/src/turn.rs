//! Whose turn it is when more servos want to speak to a server than may at once.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    Event, Report, Response,
    gate::{Lane, Place},
};

/// How long a servo whose commands take no time may go on asking for more before it lets the others go first.
///
/// Its memory is in the processor's caches then, so that going on costs less than another's beginning does
/// (benches/fleet). 10,000 servos at 100 places are through with such turns in 10 s.
const LENGTH: Duration = Duration::from_millis(100);

/// How long a servo may take between two requests and still find its place kept; at most twice that.
const KEPT: Duration = Duration::from_millis(5);

/// The turn of one servo.
#[derive(Default)]
pub(crate) struct Turn(Mutex<State>);

#[derive(Default)]
struct State {
    began: Option<Instant>,
    /// It has just answered a command, and its optimizer may have another.
    has_answered: bool,
    /// Where its place is kept between requests. There is none unless others ever waited for a place.
    kept: Option<Arc<Mutex<Kept>>>,
}

/// The place of the last request, for the next one or, when that does not come, for somebody else.
#[derive(Default)]
struct Kept {
    place: Option<(Place, Instant)>,
    /// Somebody looks after it.
    is_watched: bool,
}

// === impl Turn ===

impl Turn {
    /// Others have waited until now, perhaps for long: from here on it is this servo's turn.
    pub(crate) fn begin(&self) {
        self.state().began = Some(Instant::now());
    }

    /// Keeps `place` for the next request, for a moment and while the turn lasts, if somebody else wants it.
    pub(crate) fn keep(&self, place: Place) {
        let now = Instant::now();
        if !place.is_wanted() || self.state().is_over(now) {
            return;
        }
        let kept = self.state().kept.get_or_insert_default().clone();
        let mut slot = lock(&kept);
        slot.place = Some((place, now));
        if !slot.is_watched {
            slot.is_watched = true;
            drop(slot);
            tokio::spawn(Kept::watch(kept));
        }
    }

    /// The place that was kept.
    pub(crate) fn take(&self) -> Option<Place> {
        let kept = self.state().kept.clone()?;
        let (place, _) = lock(&kept).place.take()?;
        Some(place)
    }

    /// In which lane `event` waits. Requests of one servo come one after the other.
    pub(crate) fn lane(&self, event: &Event) -> Lane {
        match event {
            Event::Report(_, Report::Progress(_)) | Event::Goodbye(_) => Lane::GoesOn,
            Event::Report(_, Report::Completion(_)) => {
                self.state().has_answered = true;
                Lane::GoesOn
            }
            Event::WhatsNext | Event::Hello(_) => {
                let mut state = self.state();
                if std::mem::take(&mut state.has_answered) && !state.is_over(Instant::now()) {
                    return Lane::GoesOn;
                }
                Lane::Begins
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

// === impl State ===

impl State {
    fn is_over(&self, now: Instant) -> bool {
        self.began
            .is_none_or(|began| now.saturating_duration_since(began) >= LENGTH)
    }
}

// === impl Kept ===

impl Kept {
    /// Gives the place to others when it was not used for a while. Ends when there is none.
    async fn watch(kept: Arc<Mutex<Self>>) {
        loop {
            tokio::time::sleep(KEPT).await;
            let mut slot = lock(&kept);
            match &slot.place {
                Some((_, since)) if since.elapsed() < KEPT => {}
                Some(_) | None => {
                    slot.is_watched = false;
                    let place = slot.place.take();
                    drop(slot);
                    drop(place);
                    return;
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Event {
    /// Whether the servo has something to say again at once.
    pub(crate) fn leads_to_another(&self, response: &Response) -> bool {
        match (self, response) {
            (Self::WhatsNext, Response::Command(command)) => command.operation().is_some(),
            (Self::Report(_, Report::Completion(_)), Response::Status(_)) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::num::NonZeroUsize;

    use super::*;
    use crate::gate::Gate;
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
        turn.begin();
        for n in 0..20 {
            let asks = turn.lane(&Event::WhatsNext);
            let expected = match n % 5 {
                0 => Lane::Begins,
                _ => Lane::GoesOn,
            };
            assert_eq!(asks, expected, "{n}");
            if asks == Lane::Begins {
                // However long that took.
                tokio::time::advance(LENGTH * 9).await;
                turn.begin();
            }
            tokio::time::advance(command).await;
            assert_eq!(turn.lane(&answer()), Lane::GoesOn);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_without_having_answered_begins() {
        let turn = Turn::default();
        for _ in 0..5 {
            assert_eq!(turn.lane(&Event::WhatsNext), Lane::Begins);
            turn.begin();
        }
        for _ in 0..5 {
            assert_eq!(turn.lane(&answer()), Lane::GoesOn);
        }
        assert_eq!(turn.lane(&Event::WhatsNext), Lane::GoesOn);
        assert_eq!(turn.lane(&Event::WhatsNext), Lane::Begins);
        let goodbye = Event::Goodbye(Goodbye::default());
        assert_eq!(turn.lane(&goodbye), Lane::GoesOn);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_kept_for_a_moment_if_others_want_it_and_the_turn_lasts() {
        let gate = Gate::new(NonZeroUsize::MIN);
        let enter = || gate.enter(Lane::Begins, 10 * LENGTH);
        let turn = Turn::default();
        turn.begin();
        // Nobody else wants it.
        turn.keep(enter().await.unwrap());
        assert_eq!(gate.taken(), 0);
        assert!(turn.take().is_none());
        // Somebody does, and gets it when it is not used again.
        let place = enter().await.unwrap();
        let mut other = Box::pin(enter());
        assert!(futures_util::poll!(&mut other).is_pending());
        turn.keep(place);
        let place = turn.take().unwrap();
        tokio::time::sleep(2 * KEPT).await;
        assert!(futures_util::poll!(&mut other).is_pending());
        turn.keep(place);
        let place = other.await.unwrap();
        assert!(turn.take().is_none());
        // The turn is over.
        tokio::time::advance(LENGTH).await;
        let mut other = Box::pin(enter());
        assert!(futures_util::poll!(&mut other).is_pending());
        turn.keep(place);
        assert!(futures_util::poll!(&mut other).is_ready());
    }
}
