//! Telling each result once, when it is new (`spec/events-and-checks.md` §6.14).

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    check::{Check, CheckId},
    report::{CheckOf, CheckReport, ConnectorChecks, Reporter},
};

/// Of one connector: the checks of different ones may have the same id.
type PerConnector<T> = HashMap<Arc<str>, T>;

/// Turns the results of one pass after the other into reports.
pub(crate) struct Narrator {
    pub(crate) reporter: Reporter,
    /// The checks that succeeded when they were last told of.
    successes: PerConnector<HashSet<CheckId>>,
    /// Those that this pass has been told of.
    told: PerConnector<HashSet<CheckId>>,
    /// How many passed in this pass.
    passed: usize,
}

impl Narrator {
    pub(crate) fn new(reporter: Reporter) -> Self {
        Self {
            reporter,
            successes: HashMap::new(),
            told: HashMap::new(),
            passed: 0,
        }
    }

    pub(crate) fn report(&self, report: CheckReport<'_>) {
        (self.reporter)(&report);
    }

    pub(crate) fn begin_pass(&mut self) {
        self.told.clear();
        self.passed = 0;
    }

    /// Tells of one result. A failure is told in each pass; a success only if it is news.
    pub(crate) fn tell(&mut self, connector: &Arc<str>, check: &Check) {
        let told = self.told.entry(connector.clone()).or_default();
        told.insert(check.id.clone());
        let successes = self.successes.entry(connector.clone()).or_default();
        let of = CheckOf { connector, check };
        if check.passed() {
            self.passed += 1;
        }
        if check.success() == Some(true) {
            if successes.insert(check.id.clone()) {
                self.report(CheckReport::Passed(of));
            }
            return;
        }
        successes.remove(&check.id);
        if check.failed() {
            let passed = self.passed;
            self.report(CheckReport::Failed { of, passed });
        } else if check.warned() {
            self.report(CheckReport::Warned(of));
        }
    }

    /// Tells of what has not been told yet.
    pub(crate) fn tell_rest(&mut self, results: &[ConnectorChecks]) {
        for ConnectorChecks { connector, checks } in results {
            for check in checks {
                let told = self.told.get(connector);
                if !told.is_some_and(|told| told.contains(&check.id)) {
                    self.tell(connector, check);
                }
            }
        }
    }

    /// Tells up to the first failure.
    pub(crate) fn tell_until_failure(&mut self, results: &[ConnectorChecks]) {
        for ConnectorChecks { connector, checks } in results {
            for check in checks {
                self.tell(connector, check);
                if check.failed() {
                    return;
                }
            }
        }
    }
}
