//! Warnings and errors that repeat themselves: one each window, with how many were left out.
//!
//! A line is a repetition when it comes from the same place in the source and is about the same
//! servo, with the same message and the same texts in its fields; numbers in fields may differ, as
//! counts of attempts do. The first one is written at once. When the module has said anything
//! ordinary about that servo in between (INFO, SUCCESS), the next one is news: the state has changed
//! and changed back. Critical errors are always written.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    record::{Fields, Record},
    severity::Severity,
};

/// Lines that are remembered at a time; what comes beyond them is written. Two for each of 10,000 servos.
const MOST: usize = 20_000;

/// Bytes of a message that are kept to say at last how often it was left out.
const LONGEST: usize = 256;

/// The field with the number of lines that were left out.
const SUPPRESSED: &str = "suppressed";

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is written; so many like it were not.
    Write {
        /// Since the last one that was.
        suppressed: u64,
    },
    /// It is counted.
    Suppress,
}

/// The lines of the last windows.
pub(super) struct Repetition {
    table: Mutex<Table>,
    /// How many there are, to look at without the lock.
    remembered: AtomicUsize,
}

struct Table {
    window: Duration,
    lines: HashMap<u64, Line>,
    /// The lines in the order in which they were written, and when; one that was written again since
    /// has a later entry.
    order: VecDeque<(u64, Instant)>,
    places: HashMap<u64, Place>,
}

/// A line that was written.
struct Line {
    at: Instant,
    place: u64,
    /// What the place had said when it was written.
    ordinary: u64,
    suppressed: u64,
    /// The line in short, once one was left out.
    told: Option<Box<Record>>,
}

/// A module, and the servo that it speaks of.
#[derive(Default)]
struct Place {
    lines: usize,
    /// Ordinary things that it said.
    ordinary: u64,
}

impl Repetition {
    /// Of one line in `window`; zero lets all through.
    pub(super) fn new(window: Duration) -> Self {
        Self {
            table: Mutex::new(Table {
                window,
                lines: HashMap::new(),
                order: VecDeque::new(),
                places: HashMap::new(),
            }),
            remembered: AtomicUsize::new(0),
        }
    }

    /// One line in `window` from now on; zero lets all through.
    pub(super) fn set_window(&self, window: Duration) {
        self.table().window = window;
    }

    /// What becomes of `record`, at `now`.
    pub(super) fn judge(&self, record: &Record, now: Instant) -> Verdict {
        let written = Verdict::Write { suppressed: 0 };
        if record.severity < Severity::Warning {
            if record.severity >= Severity::Info && self.remembered.load(Ordering::Relaxed) > 0 {
                let place = place_of(record);
                if let Some(place) = self.table().places.get_mut(&place) {
                    place.ordinary += 1;
                }
            }
            return written;
        }
        if record.severity >= Severity::Critical {
            return written;
        }
        let mut table = self.table();
        if table.window.is_zero() {
            return written;
        }
        let verdict = table.judge(record, now);
        self.remembered.store(table.lines.len(), Ordering::Relaxed);
        verdict
    }

    /// Lines that say how often others were left out that did not come again.
    pub(super) fn overdue(&self, now: Instant) -> Vec<Record> {
        if self.remembered.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let mut table = self.table();
        let overdue = table.forget(now);
        self.remembered.store(table.lines.len(), Ordering::Relaxed);
        overdue
    }

    /// The same of all, at the end.
    pub(super) fn rest(&self) -> Vec<Record> {
        let mut table = self.table();
        let mut rest = Vec::new();
        while let Some((key, _)) = table.order.pop_front() {
            rest.extend(table.remove(key));
        }
        self.remembered.store(0, Ordering::Relaxed);
        rest
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn judge(&mut self, record: &Record, now: Instant) -> Verdict {
        let (key, place) = (key_of(record), place_of(record));
        let ordinary = self.places.get(&place).map_or(0, |place| place.ordinary);
        let full = self.lines.len() >= MOST;
        let suppressed = match self.lines.get_mut(&key) {
            None if full => return Verdict::Write { suppressed: 0 },
            None => {
                self.places.entry(place).or_default().lines += 1;
                0
            }
            Some(line) => {
                let repeated = now.saturating_duration_since(line.at) < self.window;
                if repeated && line.ordinary == ordinary {
                    line.suppressed += 1;
                    line.told.get_or_insert_with(|| Box::new(short(record)));
                    return Verdict::Suppress;
                }
                line.suppressed
            }
        };
        self.lines.insert(
            key,
            Line {
                at: now,
                place,
                ordinary,
                suppressed: 0,
                told: None,
            },
        );
        if self.order.len() >= 2 * MOST {
            let lines = &self.lines;
            self.order
                .retain(|(key, at)| lines.get(key).is_some_and(|line| line.at == *at));
        }
        self.order.push_back((key, now));
        Verdict::Write { suppressed }
    }

    /// Forgets what could have come again for a whole window after its own, and has not.
    fn forget(&mut self, now: Instant) -> Vec<Record> {
        let mut overdue = Vec::new();
        while let Some((key, at)) = self.order.front().copied() {
            if now.saturating_duration_since(at) < self.window.saturating_mul(2) {
                break;
            }
            self.order.pop_front();
            if self.lines.get(&key).is_some_and(|line| line.at == at) {
                overdue.extend(self.remove(key));
            }
        }
        // What thousands of servos had to say during an outage takes no room after it.
        if self.lines.is_empty() {
            self.lines.shrink_to_fit();
            self.places.shrink_to_fit();
            self.order.shrink_to_fit();
        }
        overdue
    }

    /// Forgets a line, and says what was left out of it.
    fn remove(&mut self, key: u64) -> Option<Record> {
        let line = self.lines.remove(&key)?;
        if let Some(place) = self.places.get_mut(&line.place) {
            place.lines -= 1;
            if place.lines == 0 {
                self.places.remove(&line.place);
            }
        }
        let mut told = *line.told?;
        told.time = jiff::Timestamp::now();
        told.message.push_str(" (repeated; no more since)");
        told.fields.set(SUPPRESSED, line.suppressed.into());
        Some(told)
    }
}

/// `record` with the number of those like it that were left out.
pub(super) fn counted(mut record: Record, suppressed: u64) -> Record {
    if suppressed > 0 {
        record.fields.set(SUPPRESSED, suppressed.into());
    }
    record
}

fn place_of(record: &Record) -> u64 {
    let mut hasher = DefaultHasher::new();
    record.module.hash(&mut hasher);
    record.fields.text("servo").hash(&mut hasher);
    hasher.finish()
}

fn key_of(record: &Record) -> u64 {
    let mut hasher = DefaultHasher::new();
    record.module.hash(&mut hasher);
    record.line.hash(&mut hasher);
    record.severity.name().hash(&mut hasher);
    record.message.hash(&mut hasher);
    for (name, value) in record.fields.iter() {
        if let Some(text) = value.as_str() {
            (name, text).hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// Enough to recognise a line by.
fn short(record: &Record) -> Record {
    let end = (0..=LONGEST.min(record.message.len()))
        .rev()
        .find(|at| record.message.is_char_boundary(*at));
    let mut message = record
        .message
        .get(..end.unwrap_or(0))
        .unwrap_or_default()
        .to_owned();
    if message.len() < record.message.len() {
        message.push_str("...");
    }
    let mut fields = Fields::default();
    for (name, value) in record.fields.iter() {
        if matches!(name, "servo" | "connector" | "logger" | "event") {
            fields.set(name, value.clone());
        }
    }
    Record {
        time: record.time,
        severity: record.severity,
        target: record.target.clone(),
        module: record.module.clone(),
        line: record.line,
        message,
        fields,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);

    fn record(severity: Severity, servo: &'static str, message: &str) -> Record {
        let mut record = Record::own(severity, message.to_owned());
        record.fields.set("servo", servo.into());
        record
    }

    fn write(suppressed: u64) -> Verdict {
        Verdict::Write { suppressed }
    }

    #[test]
    fn one_line_each_window_with_the_count_of_the_others() {
        let repetition = Repetition::new(WINDOW);
        let began = Instant::now();
        let written: Vec<(u64, u64)> = (0..35)
            .filter_map(|second| {
                let mut line = record(Severity::Warning, "a", "busy");
                line.fields.set("attempt", second.into());
                match repetition.judge(&line, began + second as u32 * SECOND) {
                    Verdict::Write { suppressed } => Some((second, suppressed)),
                    Verdict::Suppress => None,
                }
            })
            .collect();
        assert_eq!(written, [(0, 0), (10, 9), (20, 9), (30, 9)]);
    }

    #[test]
    fn whatever_differs_is_written() {
        let repetition = Repetition::new(WINDOW);
        let now = Instant::now();
        let mut other_metric = record(Severity::Warning, "a", "x");
        other_metric.fields.set("metric", "m".into());
        let mut other_line = record(Severity::Warning, "a", "x");
        other_line.line = Some(7);
        for line in [
            record(Severity::Warning, "a", "x"),
            record(Severity::Warning, "b", "x"),
            record(Severity::Error, "a", "x"),
            record(Severity::Warning, "a", "y"),
            other_metric,
            other_line,
        ] {
            assert_eq!(repetition.judge(&line, now), write(0));
            assert_eq!(repetition.judge(&line, now), Verdict::Suppress);
        }
        for severity in [
            Severity::Info,
            Severity::Success,
            Severity::Critical,
            Severity::Debug,
        ] {
            for _ in 0..3 {
                assert_eq!(repetition.judge(&record(severity, "c", "x"), now), write(0));
            }
        }
    }

    #[test]
    fn a_state_that_changes_back_and_forth_is_told_each_time() {
        let repetition = Repetition::new(WINDOW);
        let now = Instant::now();
        let lost = record(Severity::Warning, "a", "lost");
        for _ in 0..3 {
            assert_eq!(repetition.judge(&lost, now), write(0));
            repetition.judge(&record(Severity::Info, "b", "somebody else is fine"), now);
            repetition.judge(&record(Severity::Debug, "a", "detail"), now);
            repetition.judge(&record(Severity::Info, "a", "back"), now);
        }
        assert_eq!(repetition.judge(&lost, now), write(0));
        assert_eq!(repetition.judge(&lost, now), Verdict::Suppress);
        repetition.judge(&record(Severity::Info, "a", "back"), now);
        assert_eq!(repetition.judge(&lost, now), write(1));
    }

    #[test]
    fn what_does_not_come_again_is_counted_all_the_same() {
        let repetition = Repetition::new(WINDOW);
        let began = Instant::now();
        let long = format!("{}é", "x".repeat(LONGEST - 1));
        for _ in 0..4 {
            repetition.judge(&record(Severity::Error, "a", &long), began);
        }
        repetition.judge(&record(Severity::Error, "a", "once"), began);
        assert!(repetition.overdue(began + WINDOW).is_empty());
        let overdue = repetition.overdue(began + 2 * WINDOW);
        assert_eq!(overdue.len(), 1, "{overdue:?}");
        let line = &overdue[0];
        assert!(line.message.starts_with("xxx") && line.message.contains("... (repeated"));
        assert_eq!(line.fields.text("servo"), Some("a"));
        let count = line.fields.iter().find(|(name, _)| *name == SUPPRESSED);
        assert_eq!(count.unwrap().1, 3);
        let table = repetition.table();
        assert!(table.lines.is_empty() && table.places.is_empty() && table.order.is_empty());
    }

    #[test]
    fn at_the_end_the_rest_is_told() {
        let repetition = Repetition::new(WINDOW);
        let now = Instant::now();
        for _ in 0..3 {
            repetition.judge(&record(Severity::Error, "a", "x"), now);
        }
        assert_eq!(repetition.rest().len(), 1);
        assert!(repetition.rest().is_empty());
    }

    #[test]
    fn a_window_of_zero_lets_all_through() {
        let repetition = Repetition::new(WINDOW);
        repetition.set_window(Duration::ZERO);
        for _ in 0..3 {
            let line = record(Severity::Error, "a", "x");
            assert_eq!(repetition.judge(&line, Instant::now()), write(0));
        }
    }

    #[test]
    fn memory_is_bounded_and_what_has_no_room_is_written() {
        let repetition = Repetition::new(WINDOW);
        let now = Instant::now();
        for n in 0..2 * MOST {
            let line = record(Severity::Error, "a", &n.to_string());
            assert_eq!(repetition.judge(&line, now), write(0));
        }
        let last = record(Severity::Error, "a", &(2 * MOST - 1).to_string());
        assert_eq!(repetition.judge(&last, now), write(0));
        let table = repetition.table();
        assert_eq!((table.lines.len(), table.order.len()), (MOST, MOST));
        drop(table);
        let known = record(Severity::Error, "a", "0");
        for n in 1..5 * MOST as u64 {
            repetition.judge(&known, now + Duration::from_nanos(n));
            repetition.judge(&record(Severity::Info, "a", "fine"), now);
        }
        assert!(repetition.table().order.len() <= 2 * MOST + 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// No line is lost: each is written, or counted in one that is.
        #[test]
        fn every_line_is_written_or_counted(
            lines in proptest::collection::vec((0_u32..30, 0_usize..3, any::<bool>()), 0..100)
        ) {
            let repetition = Repetition::new(WINDOW);
            let mut now = Instant::now();
            let (mut given, mut written, mut counted) = (0, 0, 0);
            let count = |record: &Record| {
                let field = record.fields.iter().find(|(name, _)| *name == SUPPRESSED);
                field.and_then(|(_, value)| value.as_u64()).unwrap_or(0)
            };
            for (seconds, text, ordinary) in lines {
                now += seconds * SECOND;
                counted += repetition.overdue(now).iter().map(count).sum::<u64>();
                if ordinary {
                    repetition.judge(&record(Severity::Info, "a", "fine"), now);
                }
                given += 1;
                if let Verdict::Write { suppressed } =
                    repetition.judge(&record(Severity::Warning, "a", &text.to_string()), now)
                {
                    written += 1;
                    counted += suppressed;
                }
            }
            counted += repetition.rest().iter().map(count).sum::<u64>();
            prop_assert_eq!(given, written + counted);
        }
    }
}
