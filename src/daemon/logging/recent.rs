//! What was logged last, kept in memory for those who look at the running program: the admin API, its
//! support archive, and diagnostics.
//!
//! Two rings, so that a flood of ordinary records cannot push out what went wrong: one of all records,
//! one of warnings and worse. Each is bounded in records and in bytes. What is below the configured
//! level never gets here. Records hold text that is redacted by type already.

use std::{
    collections::VecDeque,
    fmt::Write,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use jiff::Timestamp;

use super::{
    record::Record,
    severity::{MARK, Severity},
};

/// Bytes of one record's text that are kept.
const LONGEST: usize = 2 * 1024;

/// What a record costs beside its text.
const OVERHEAD: usize = 128;

/// Fields that stand in a member of their own.
const OWN: [&str; 4] = ["servo", "connector", "logger", MARK];

/// How much is kept.
#[derive(Clone, Copy, Debug)]
struct Limits {
    records: usize,
    bytes: usize,
}

const ALL: Limits = Limits {
    records: 2_000,
    bytes: 1024 * 1024,
};

const TROUBLE: Limits = Limits {
    records: 2_000,
    bytes: 512 * 1024,
};

/// One record as it was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentRecord {
    /// When.
    pub time: Timestamp,
    /// How serious.
    pub level: Severity,
    /// The servo that it is about.
    pub servo: Option<Arc<str>>,
    /// The connector that speaks, or else the part of the program.
    pub component: String,
    /// The message with its other fields, at most 2 KiB.
    pub text: String,
}

/// The last records of the log. Clones are the same; cheap to clone.
#[derive(Clone, Default)]
pub struct Recent(Arc<Mutex<Rings>>);

#[derive(Default)]
struct Rings {
    all: Ring,
    trouble: Ring,
}

#[derive(Default)]
struct Ring {
    records: VecDeque<Arc<RecentRecord>>,
    bytes: usize,
}

/// The last records of this program's log.
pub fn recent() -> &'static Recent {
    static RECENT: OnceLock<Recent> = OnceLock::new();
    RECENT.get_or_init(Recent::default)
}

impl Recent {
    /// All that is kept, oldest first.
    pub fn all(&self) -> Vec<Arc<RecentRecord>> {
        self.with(|rings| rings.all.records.iter().cloned().collect())
    }

    /// Warnings and worse, oldest first.
    pub fn trouble(&self) -> Vec<Arc<RecentRecord>> {
        self.with(|rings| rings.trouble.records.iter().cloned().collect())
    }

    /// The last `limit` warnings and worse about `servo`, newest first.
    pub fn trouble_of(&self, servo: &str, limit: usize) -> Vec<Arc<RecentRecord>> {
        self.with(|rings| {
            let records = rings.trouble.records.iter().rev();
            records
                .filter(|record| record.servo.as_deref() == Some(servo))
                .take(limit)
                .cloned()
                .collect()
        })
    }

    /// Keeps `record`.
    pub(super) fn push(&self, record: &Record) {
        self.keep(RecentRecord::of(record));
    }

    fn keep(&self, record: RecentRecord) {
        let trouble = record.level >= Severity::Warning;
        let record = Arc::new(record);
        // What falls out is freed after the lock is.
        let _dropped = self.with(|rings| {
            let mut dropped = rings.all.push(record.clone(), ALL);
            if trouble {
                dropped.extend(rings.trouble.push(record, TROUBLE));
            }
            dropped
        });
    }

    fn with<T>(&self, look: impl FnOnce(&mut Rings) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Recent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let records = self.with(|rings| rings.all.records.len());
        f.debug_struct("Recent").field("records", &records).finish()
    }
}

impl Ring {
    fn push(&mut self, record: Arc<RecentRecord>, limits: Limits) -> Vec<Arc<RecentRecord>> {
        self.bytes += record.cost();
        self.records.push_back(record);
        let mut dropped = Vec::new();
        while self.records.len() > limits.records || self.bytes > limits.bytes {
            let Some(oldest) = self.records.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(oldest.cost());
            dropped.push(oldest);
        }
        dropped
    }
}

impl RecentRecord {
    fn of(record: &Record) -> Self {
        let fields = &record.fields;
        let mut text = record.message.clone();
        for (name, value) in fields.iter().filter(|(name, _)| !OWN.contains(name)) {
            if text.len() > LONGEST {
                break;
            }
            let separator = if text.is_empty() { "" } else { " " };
            let _ = match value.as_str() {
                Some(value) => write!(text, "{separator}{name}={value}"),
                None => write!(text, "{separator}{name}={value}"),
            };
        }
        if text.len() > LONGEST {
            let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at));
            text.truncate(end.unwrap_or(0));
            text.push_str("...");
        }
        text.shrink_to_fit();
        let component = fields.text("connector").or_else(|| fields.text("logger"));
        Self {
            time: record.time,
            level: record.severity,
            servo: fields.text("servo").map(Arc::from),
            component: component.unwrap_or(&record.target).to_owned(),
            text,
        }
    }

    fn cost(&self) -> usize {
        let servo = self.servo.as_deref().map_or(0, str::len);
        OVERHEAD + servo + self.component.len() + self.text.len()
    }
}

impl std::fmt::Display for RecentRecord {
    /// One line, for people.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:<8} ", self.time, self.level.name())?;
        if let Some(servo) = &self.servo {
            write!(f, "[{servo}] ")?;
        }
        let text = super::one_line(&self.text);
        write!(f, "{}: {text}", self.component)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record(servo: &'static str, severity: Severity, message: &str) -> Record {
        let mut record = Record::own(severity, message.to_owned());
        record.fields.set("servo", servo.into());
        record
    }

    #[test]
    fn what_went_wrong_outlives_a_flood_of_the_ordinary() {
        let recent = Recent::default();
        let mut failure = record("a/b", Severity::Error, "it\nbroke");
        failure.fields.set("connector", "web".into());
        failure.fields.set("code", 7.into());
        recent.push(&failure);
        for n in 0..3 * ALL.records {
            recent.push(&record("a/c", Severity::Info, &format!("poll {n}")));
        }
        assert_eq!(recent.all().len(), ALL.records);
        assert_eq!(recent.all()[0].text, format!("poll {}", 2 * ALL.records));
        let trouble = recent.trouble_of("a/b", 10);
        assert_eq!(trouble.len(), 1);
        assert_eq!(trouble[0].text, "it\nbroke code=7");
        assert_eq!(trouble[0].component, "web");
        assert!(recent.trouble_of("a/c", 10).is_empty());
        let line = trouble[0].to_string();
        assert!(!line.contains('\n'), "{line}");
        assert!(
            line.contains("ERROR") && line.contains("[a/b] web: it"),
            "{line}"
        );
    }

    #[test]
    fn the_newest_come_first_and_no_more_than_wanted() {
        let recent = Recent::default();
        for n in 0..9 {
            recent.push(&record("s", Severity::Warning, &n.to_string()));
        }
        let texts: Vec<_> = recent
            .trouble_of("s", 3)
            .iter()
            .map(|r| r.text.clone())
            .collect();
        assert_eq!(texts, ["8", "7", "6"]);
    }

    #[test]
    fn bytes_are_bounded_whatever_is_logged() {
        let recent = Recent::default();
        let long = "ä".repeat(50_000);
        for _ in 0..3_000 {
            recent.push(&record("s", Severity::Critical, &long));
        }
        for (records, limits) in [(recent.all(), ALL), (recent.trouble(), TROUBLE)] {
            let bytes: usize = records.iter().map(|r| r.cost()).sum();
            assert!(bytes <= limits.bytes && !records.is_empty(), "{bytes}");
            assert!(records.iter().all(|r| r.text.len() <= LONGEST + 3));
        }
    }
}
