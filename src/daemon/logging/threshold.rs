//! What is logged: one threshold for all sinks, or one for each part of the program.

use tracing::{Level, Metadata, level_filters::LevelFilter};

use super::{InitError, severity::Severity};

/// What parts get that no directive names, when directives name only others.
const UNNAMED: Severity = Severity::Warning;

/// The level below which records are dropped, by target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Thresholds {
    /// Longest target first, so that the nearest directive comes first. The last one holds for all.
    directives: Vec<Directive>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Directive {
    /// Targets that begin like this.
    target: String,
    /// `None`: nothing.
    least: Option<Severity>,
}

impl Thresholds {
    /// Reads a level, or directives such as `info,servo_protocol=debug,hyper=off`.
    pub(super) fn parse(text: &str) -> Result<Self, InitError> {
        let invalid = || InitError::LogLevel {
            level: text.to_owned(),
        };
        let mut directives = vec![Directive {
            target: String::new(),
            least: Some(UNNAMED),
        }];
        for part in text.split(',').map(str::trim) {
            let (target, level) = part.rsplit_once('=').unwrap_or(("", part));
            let (target, level) = (target.trim(), level.trim());
            let is_target =
                |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-' | '.' | '/');
            if !target.chars().all(is_target) || (target.is_empty() && part.contains('=')) {
                return Err(invalid());
            }
            let least = match Severity::parse(level) {
                None if level.eq_ignore_ascii_case("off") => None,
                None => return Err(invalid()),
                some => some,
            };
            directives.retain(|d| d.target != target);
            directives.push(Directive {
                target: target.to_owned(),
                least,
            });
        }
        directives.sort_by_key(|d| std::cmp::Reverse(d.target.len()));
        Ok(Self { directives })
    }

    fn least(&self, target: &str) -> Option<Severity> {
        self.directives
            .iter()
            .find(|d| target.starts_with(&d.target))
            .and_then(|d| d.least)
    }

    /// Whether a record of `severity` from `target` is logged.
    pub(super) fn admits(&self, target: &str, severity: Severity) -> bool {
        self.least(target).is_some_and(|least| severity >= least)
    }

    /// Whether records or spans like this can matter. Spans do at every threshold: they say which
    /// servo, connector and event a warning belongs to.
    pub(super) fn may_admit(&self, metadata: &Metadata<'_>) -> bool {
        let level = *metadata.level();
        (metadata.is_span() && level <= Level::INFO)
            || self.admits(metadata.target(), Severity::highest(level))
    }

    /// The most verbose level that can matter.
    pub(super) fn most_verbose(&self) -> LevelFilter {
        let levels = self.directives.iter().filter_map(|d| d.least);
        LevelFilter::from_level(
            levels
                .map(Severity::level)
                .chain([Level::INFO])
                .max()
                .unwrap_or(Level::INFO),
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn levels_in_any_case_and_directives() {
        for good in [
            "info",
            "WARNING",
            "Warn",
            "Success",
            "critical",
            "off",
            "info,servo_protocol=debug",
            "info, servo_protocol = success",
            "servo::daemon=trace",
        ] {
            assert!(Thresholds::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "loud",
            "",
            "info,",
            "info,servo=loud",
            "inof,servo=debug",
            "=debug",
            "a b=debug",
        ] {
            let error = Thresholds::parse(bad).unwrap_err().to_string();
            assert!(error.contains(&format!("'{bad}'")), "{error}");
        }
    }

    #[test]
    fn the_nearest_directive_holds() {
        let thresholds = Thresholds::parse("servo=error,servo_protocol=success,hyper=off").unwrap();
        let admits = |target, severity| thresholds.admits(target, severity);
        assert!(admits("servo_protocol::link", Severity::Success));
        assert!(!admits("servo_protocol::link", Severity::Info));
        assert!(!admits("servo::daemon", Severity::Warning));
        assert!(!admits("hyper", Severity::Critical));
        assert!(admits("reqwest", Severity::Warning) && !admits("reqwest", Severity::Info));
        assert_eq!(thresholds.most_verbose(), LevelFilter::INFO);
        let later = Thresholds::parse("info,debug").unwrap();
        assert!(later.admits("x", Severity::Debug));
    }

    #[test]
    fn a_level_is_a_threshold() {
        for (level, admitted) in [
            ("trace", 7),
            ("debug", 6),
            ("info", 5),
            ("success", 4),
            ("warning", 3),
            ("error", 2),
            ("critical", 1),
            ("off", 0),
        ] {
            let thresholds = Thresholds::parse(level).unwrap();
            let all = [
                Severity::Trace,
                Severity::Debug,
                Severity::Info,
                Severity::Success,
                Severity::Warning,
                Severity::Error,
                Severity::Critical,
            ];
            let count = all.iter().filter(|s| thresholds.admits("x", **s)).count();
            assert_eq!(count, admitted, "{level}");
        }
    }
}
