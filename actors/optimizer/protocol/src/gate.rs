//! A gate with so many places behind it, and the order in which they are given.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, ThreadId},
    time::Duration,
};

use tokio::sync::oneshot;

/// After so many of those that go on, one that begins is let in: nobody is shut out.
const IN_A_ROW: u32 = 64;

/// Among so many of the oldest one of the same thread is preferred, for a thread is not woken for nothing.
const NEAR: usize = 16;

/// So often the oldest is passed over at most.
const PASSED_OVER: u32 = 16;

/// How long a server may need to see that a request was given up. Its connection is closed by whichever thread made it,
/// as soon as that has the time.
const GIVEN_UP: Duration = Duration::from_millis(250);

/// Where somebody waits for a place.
///
/// Who is in the middle of something goes before who begins: what was measured is worth more than asking for more work,
/// and a servo that is through with its command is not held up by thousands that have nothing to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// To say how a command goes or ended, what else somebody waits for, and the next question in a servo's turn.
    GoesOn,
    /// To say HELLO, and to ask for a command.
    Begins,
}

/// Lets no more in than it has places for. Those that wait in one lane go nearly in the order in which they came.
pub(crate) struct Gate {
    places: NonZeroUsize,
    lanes: Mutex<Lanes>,
    /// How many wait, to look at without the lock.
    waiting: AtomicUsize,
}

/// A place behind the gate, which the next one gets when this is dropped.
pub(crate) struct Place {
    gate: Arc<Gate>,
}

/// A place of a request that is on the way. Unless that is known to be over, the server may still be at it when this is
/// dropped, and the next one gets the place [a little later](GIVEN_UP).
pub(crate) struct OnTheWay(Option<Place>);

struct Lanes {
    free: usize,
    tickets: u64,
    going_on: Queue,
    beginning: Queue,
    went_on: u32,
}

/// Those that wait in one lane, by their tickets.
#[derive(Default)]
struct Queue {
    waiting: BTreeMap<u64, Waiter>,
    passed_over: u32,
}

struct Waiter {
    thread: ThreadId,
    call: oneshot::Sender<Place>,
}

/// Somebody who waits, for as long as this is not dropped.
struct Waiting<'a> {
    gate: &'a Gate,
    lane: Lane,
    ticket: u64,
}

/// There was no place in time.
#[derive(Debug)]
pub(crate) struct NoPlace;

// === impl Gate ===

impl Gate {
    pub(crate) fn new(places: NonZeroUsize) -> Arc<Self> {
        Arc::new(Self {
            places,
            waiting: AtomicUsize::new(0),
            lanes: Mutex::new(Lanes {
                free: places.get(),
                tickets: 0,
                going_on: Queue::default(),
                beginning: Queue::default(),
                went_on: 0,
            }),
        })
    }

    /// Waits for a place.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        lane: Lane,
        patience: Duration,
    ) -> Result<Place, NoPlace> {
        let (waiting, turn) = {
            let mut lanes = self.lanes();
            // Nobody waits while a place is free.
            if lanes.free > 0 {
                lanes.free -= 1;
                drop(lanes);
                return Ok(self.place());
            }
            let (call, turn) = oneshot::channel();
            let ticket = lanes.tickets;
            lanes.tickets += 1;
            let thread = thread::current().id();
            let waiter = Waiter { thread, call };
            lanes.of(lane).waiting.insert(ticket, waiter);
            self.waiting.fetch_add(1, Relaxed);
            let gate = &**self;
            (Waiting { gate, lane, ticket }, turn)
        };
        let place = tokio::time::timeout(patience, turn).await;
        drop(waiting);
        match place {
            Ok(Ok(place)) => Ok(place),
            // The other end goes only with the gate.
            Ok(Err(_)) | Err(_) => Err(NoPlace),
        }
    }

    /// How many places are taken.
    pub(crate) fn taken(&self) -> usize {
        self.places.get() - self.lanes().free
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    fn place(self: &Arc<Self>) -> Place {
        Place { gate: self.clone() }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Lanes ===

impl Lanes {
    fn of(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::GoesOn => &mut self.going_on,
            Lane::Begins => &mut self.beginning,
        }
    }

    /// Whoever is next; the place is free if there is nobody.
    fn next(&mut self) -> Option<oneshot::Sender<Place>> {
        let may_go_on = self.went_on < IN_A_ROW || self.beginning.waiting.is_empty();
        if may_go_on && let Some(next) = self.going_on.next() {
            self.went_on = self.went_on.saturating_add(1);
            return Some(next);
        }
        self.went_on = 0;
        let next = self.beginning.next();
        if next.is_none() {
            self.free += 1;
        }
        next
    }
}

// === impl Queue ===

impl Queue {
    fn next(&mut self) -> Option<oneshot::Sender<Place>> {
        let (oldest, _) = self.waiting.first_key_value()?;
        let oldest = *oldest;
        let here = thread::current().id();
        let mut near = self.waiting.iter().take(NEAR);
        let next = if self.passed_over < PASSED_OVER
            && let Some((ticket, _)) = near.find(|(_, waiter)| waiter.thread == here)
        {
            *ticket
        } else {
            oldest
        };
        self.passed_over = match next == oldest {
            true => 0,
            false => self.passed_over + 1,
        };
        self.waiting.remove(&next).map(|waiter| waiter.call)
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        let next = self.gate.lanes().next();
        if next.is_some() {
            self.gate.waiting.fetch_sub(1, Relaxed);
        }
        if let Some(next) = next
            // Who went away after being picked gives the place back, which is what dropping it does.
            && let Err(place) = next.send(self.gate.place())
        {
            drop(place);
        }
    }
}

impl Place {
    pub(crate) fn is_of(&self, gate: &Arc<Gate>) -> bool {
        Arc::ptr_eq(&self.gate, gate)
    }

    /// Whether somebody waits for it.
    pub(crate) fn is_wanted(&self) -> bool {
        self.gate.waiting() > 0
    }

    pub(crate) fn on_the_way(self) -> OnTheWay {
        OnTheWay(Some(self))
    }
}

// === impl OnTheWay ===

impl OnTheWay {
    /// The server is done with the request: the place can be used again, or left.
    pub(crate) fn over(mut self) -> Option<Place> {
        self.0.take()
    }
}

impl Drop for OnTheWay {
    fn drop(&mut self) {
        if let Some(place) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                tokio::time::sleep(GIVEN_UP).await;
                drop(place);
            });
        }
    }
}

// === impl Waiting ===

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut lanes = self.gate.lanes();
        if lanes.of(self.lane).waiting.remove(&self.ticket).is_some() {
            self.gate.waiting.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::{cell::RefCell, rc::Rc};

    use proptest::prelude::*;
    use tokio::task::LocalSet;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn gate(places: usize) -> Arc<Gate> {
        Gate::new(NonZeroUsize::new(places).unwrap())
    }

    /// Who came in, in order, when one place was taken while all of them came, and each is through at once.
    async fn order(came: &str) -> String {
        let gate = gate(1);
        let first = gate.enter(Lane::GoesOn, SECOND).await.unwrap();
        let order = Rc::new(RefCell::new(String::new()));
        let all = LocalSet::new();
        for who in came.chars() {
            let (gate, order) = (gate.clone(), order.clone());
            let lane = if who.is_uppercase() {
                Lane::GoesOn
            } else {
                Lane::Begins
            };
            all.spawn_local(async move {
                let _place = gate.enter(lane, SECOND).await.unwrap();
                order.borrow_mut().push(who);
            });
        }
        while gate.waiting() < came.len() {
            all.run_until(tokio::task::yield_now()).await;
        }
        drop(first);
        all.await;
        assert_eq!((gate.taken(), gate.waiting()), (0, 0));
        order.take()
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_on_goes_first_and_shuts_nobody_out() {
        assert_eq!(order("abc").await, "abc");
        assert_eq!(order("aBcD").await, "BDac");
        assert_eq!(order("ABCDEF").await, "ABCDEF");
    }

    #[tokio::test(start_paused = true)]
    async fn who_begins_is_let_in_however_many_go_on() {
        let going_on: String = "A".repeat(2 * IN_A_ROW as usize + 9);
        let order = order(&format!("ab{going_on}")).await;
        let at = |who| order.find(who).unwrap();
        assert_eq!(
            (at('a'), at('b')),
            (IN_A_ROW as usize, 2 * IN_A_ROW as usize + 1)
        );
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
    }

    #[test]
    fn the_same_thread_is_preferred_and_the_others_come_to_their_turn() {
        let gate = gate(1);
        let enter = || {
            let place = gate.enter(Lane::Begins, 60 * SECOND);
            runtime().block_on(place).unwrap()
        };
        let first = enter();
        thread::scope(|threads| {
            let other = threads.spawn(enter);
            while gate.waiting() < 1 {
                thread::yield_now();
            }
            let mut gone_first = 0;
            runtime().block_on(async {
                let mut waits: Vec<_> = (0..2 * PASSED_OVER)
                    .map(|_| Box::pin(gate.enter(Lane::Begins, 60 * SECOND)))
                    .collect();
                for wait in &mut waits {
                    assert!(futures_util::poll!(wait).is_pending());
                }
                drop(first);
                for mut wait in waits {
                    // Until the other thread is let in, the places come one after the other.
                    let std::task::Poll::Ready(place) = futures_util::poll!(&mut wait) else {
                        break;
                    };
                    gone_first += 1;
                    drop(place);
                }
            });
            assert_eq!(gone_first, PASSED_OVER);
            drop(other.join().unwrap());
        });
        assert_eq!((gate.taken(), gate.waiting()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_of_a_request_that_was_given_up_is_free_a_little_later() {
        let gate = gate(1);
        let place = gate.enter(Lane::Begins, SECOND).await.unwrap();
        place.on_the_way().over();
        assert_eq!(gate.taken(), 0);
        let place = gate.enter(Lane::Begins, SECOND).await.unwrap();
        let given_up = tokio::time::Instant::now();
        drop(place.on_the_way());
        assert_eq!(gate.taken(), 1);
        let _place = gate.enter(Lane::Begins, SECOND).await.unwrap();
        assert!(given_up.elapsed() >= GIVEN_UP);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_or_goes_away_is_counted_no_more_and_keeps_no_place() {
        let gate = gate(2);
        let first = gate.enter(Lane::Begins, SECOND).await.unwrap();
        let _second = gate.enter(Lane::Begins, SECOND).await.unwrap();
        assert!(gate.enter(Lane::Begins, SECOND).await.is_err());
        let mut gone = Box::pin(gate.enter(Lane::GoesOn, SECOND));
        let mut picked = Box::pin(gate.enter(Lane::GoesOn, SECOND));
        let mut patient = Box::pin(gate.enter(Lane::Begins, SECOND));
        for wait in [&mut gone, &mut picked, &mut patient] {
            assert!(futures_util::poll!(wait).is_pending());
        }
        assert_eq!((gate.taken(), gate.waiting()), (2, 3));
        drop(gone);
        // `picked` is given the place, and goes away with it.
        drop(first);
        drop(picked);
        assert_eq!((gate.taken(), gate.waiting()), (2, 0));
        let place = patient.await.unwrap();
        assert_eq!((gate.taken(), gate.waiting()), (2, 0));
        drop(place);
        assert_eq!((gate.taken(), gate.waiting()), (1, 0));
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Come(Lane),
        Leave(usize),
        GiveUp(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            Just(Step::Come(Lane::GoesOn)),
            Just(Step::Come(Lane::Begins)),
            any::<usize>().prop_map(Step::Leave),
            any::<usize>().prop_map(Step::GiveUp),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// Never more inside than there are places, and nobody outside while one is free.
        #[test]
        fn places_are_neither_lost_nor_given_twice(places in 1_usize..5, steps in steps()) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            runtime.block_on(async {
                let gate = gate(places);
                let mut inside = Vec::new();
                let mut outside = Vec::new();
                for step in steps {
                    match step {
                        Step::Come(lane) => {
                            let gate = gate.clone();
                            outside.push(Box::pin(async move {
                                gate.enter(lane, SECOND * 60).await.unwrap()
                            }));
                        }
                        Step::Leave(who) if !inside.is_empty() => {
                            inside.swap_remove(who % inside.len());
                        }
                        Step::GiveUp(who) if !outside.is_empty() => {
                            drop(outside.swap_remove(who % outside.len()));
                        }
                        Step::Leave(_) | Step::GiveUp(_) => {}
                    }
                    let mut still_outside = Vec::new();
                    for mut wait in outside {
                        match futures_util::poll!(&mut wait) {
                            std::task::Poll::Ready(place) => inside.push(place),
                            std::task::Poll::Pending => still_outside.push(wait),
                        }
                    }
                    outside = still_outside;
                    assert_eq!(gate.taken(), inside.len());
                    assert_eq!(gate.waiting(), outside.len());
                    assert!(inside.len() <= places);
                    assert!(outside.is_empty() || inside.len() == places);
                }
                drop(outside);
                drop(inside);
                assert_eq!((gate.taken(), gate.waiting()), (0, 0));
            });
        }
    }
}
