//! The time over which metrics are measured.

use jiff::Timestamp;
use servo_messages::{Control, Duration};

use crate::{config::MetricConfig, promql_duration::PromqlDuration};

/// Most points that Prometheus gives for one series (`spec/metrics-and-load.md` §1.4).
const MOST_POINTS: u32 = 11_000;

/// The time over which metrics are measured; it never ends before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    start: Timestamp,
    length: Duration,
    end: Timestamp,
}

/// Why a window cannot be measured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Beyond the calendar.
    #[error("the measurement would end beyond the year 9999: warmup {warmup}, duration {duration}")]
    TooFar {
        /// Time before the window.
        warmup: Duration,
        /// Length of the window.
        duration: Duration,
    },
    /// Prometheus would refuse the query.
    #[error(
        "metric '{metric}': a window of {window} at a step of {step} has more than the 11,000 points that \
         Prometheus gives for one series: the smallest step that works is {smallest}"
    )]
    TooManyPoints {
        /// Its name.
        metric: String,
        /// Length of the window.
        window: Duration,
        /// The configured step.
        step: Duration,
        /// In whole milliseconds.
        smallest: PromqlDuration,
    },
}

impl Window {
    /// The most steps that a window can have: one point less than Prometheus gives.
    pub(crate) const MOST_STEPS: u32 = MOST_POINTS - 1;

    /// The window of a command that arrived at `now`: it begins after the warm-up. A delay comes after
    /// the window and does not change it.
    ///
    /// # Errors
    /// [`WindowError::TooFar`].
    pub fn of(now: Timestamp, control: &Control) -> Result<Self, WindowError> {
        let too_far = |_| WindowError::TooFar {
            warmup: control.warmup,
            duration: control.duration,
        };
        let start = now.checked_add(control.warmup.as_std()).map_err(too_far)?;
        Self::starting(start, control.duration).map_err(too_far)
    }

    /// The window of this length from `start` on.
    ///
    /// # Errors
    /// Its end is beyond the calendar.
    pub fn starting(start: Timestamp, length: Duration) -> Result<Self, jiff::Error> {
        Ok(Self {
            start,
            length,
            end: start.checked_add(length.as_std())?,
        })
    }

    /// Its first moment.
    pub const fn start(&self) -> Timestamp {
        self.start
    }

    /// Its last moment.
    pub const fn end(&self) -> Timestamp {
        self.end
    }

    /// From the first to the last moment.
    pub const fn length(&self) -> Duration {
        self.length
    }

    /// Whether Prometheus would answer a query for `metric` over this window.
    ///
    /// # Errors
    /// [`WindowError::TooManyPoints`].
    pub fn admits(&self, metric: &MetricConfig) -> Result<(), WindowError> {
        let window = self.length.as_std().as_nanos();
        // Validation refuses a step of zero; here it only must not divide by it.
        let step = metric.step.as_std().as_nanos().max(1);
        if window / step < MOST_POINTS.into() {
            return Ok(());
        }
        let milliseconds = window / u128::from(MOST_POINTS) / 1_000_000 + 1;
        Err(WindowError::TooManyPoints {
            metric: metric.name.clone(),
            window: self.length,
            step: metric.step,
            smallest: PromqlDuration(Duration::from_millis(
                u64::try_from(milliseconds).unwrap_or(u64::MAX),
            )),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn control(json: &str) -> Control {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn it_begins_after_the_warmup_and_ignores_the_delay() {
        let now: Timestamp = "2020-01-01T00:00:00Z".parse().unwrap();
        let control = control(r#"{"warmup": 1, "duration": "90s", "delay": 7}"#);
        let window = Window::of(now, &control).unwrap();
        assert_eq!(window.start().to_string(), "2020-01-01T00:00:01Z");
        assert_eq!(window.end().to_string(), "2020-01-01T00:01:31Z");
    }

    #[test]
    fn a_window_beyond_the_calendar_is_an_error() {
        let control = control(r#"{"warmup": "9000y"}"#);
        let error = Window::of(Timestamp::now(), &control).unwrap_err();
        assert!(error.to_string().contains("9999"), "{error}");
    }

    #[test]
    fn the_smallest_step_named_in_the_refusal_works() {
        for (duration, step, smallest) in [
            ("1d", "5s", Some("7s855ms")),
            ("11000s", "1s", Some("1s1ms")),
            ("10999s", "1s", None),
            ("1h", "1m", None),
            ("0", "1m", None),
        ] {
            let window =
                Window::starting(Timestamp::UNIX_EPOCH, duration.parse().unwrap()).unwrap();
            let mut metric: MetricConfig = serde_json::from_value(
                serde_json::json!({"name": "m", "query": "q", "step": step}),
            )
            .unwrap();
            let Some(expected) = smallest else {
                assert_eq!(window.admits(&metric), Ok(()), "{duration}/{step}");
                continue;
            };
            let error = window.admits(&metric).unwrap_err();
            assert!(error.to_string().contains("metric 'm'"), "{error}");
            let WindowError::TooManyPoints { smallest, .. } = error else {
                panic!("{error}");
            };
            assert_eq!(smallest.to_string(), expected);
            metric.step = smallest.0;
            assert_eq!(window.admits(&metric), Ok(()));
        }
    }
}
