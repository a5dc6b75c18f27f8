//! Questions to Prometheus, and how they are written (`spec/metrics-and-load.md` §1.2).

use jiff::Timestamp;
use servo_messages::Duration;
use url::form_urlencoded;

use crate::{promql_duration::PromqlDuration, window::Window};

/// A question to Prometheus.
#[derive(Clone, Copy, Debug)]
pub enum Query<'a> {
    /// The value at one moment.
    Instant {
        /// PromQL.
        query: &'a str,
        /// When; the server's now if none.
        time: Option<Timestamp>,
    },
    /// The values over a window.
    Range {
        /// PromQL.
        query: &'a str,
        /// From when until when.
        window: Window,
        /// Distance between the values.
        step: Duration,
    },
}

impl Query<'_> {
    /// Which endpoint of the API answers it.
    pub(crate) const fn endpoint(&self) -> &'static str {
        match self {
            Self::Instant { .. } => "query",
            Self::Range { .. } => "query_range",
        }
    }

    /// The parameters as a query string or form body. Those without a value are left out.
    pub(crate) fn encode(&self, timeout: Option<Duration>) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let mut add = |key: &str, value: String| {
            if !value.is_empty() {
                form.append_pair(key, &value);
            }
        };
        match *self {
            Self::Instant { query, time } => {
                add("query", query.to_owned());
                add("time", time.map(epoch_seconds).unwrap_or_default());
            }
            Self::Range {
                query,
                window,
                step,
            } => {
                add("query", query.to_owned());
                add("start", epoch_seconds(window.start()));
                add("end", epoch_seconds(window.end()));
                add("step", PromqlDuration(step).to_string());
            }
        }
        if let Some(timeout) = timeout {
            add("timeout", PromqlDuration(timeout).to_string());
        }
        form.finish()
    }
}

/// Seconds since 1970 with at least one and at most six digits after the point.
fn epoch_seconds(time: Timestamp) -> String {
    let micros = time.as_microsecond();
    let sign = if micros < 0 { "-" } else { "" };
    let magnitude = micros.unsigned_abs();
    let fraction = format!("{:06}", magnitude % 1_000_000);
    let fraction = match fraction.trim_end_matches('0') {
        "" => "0",
        digits => digits,
    };
    format!("{sign}{}.{fraction}", magnitude / 1_000_000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_range_query_of_the_specification_is_written_as_there() {
        let start: Timestamp = "2020-01-01T00:00:00Z".parse().unwrap();
        let query = Query::Range {
            query: "go_memstats_heap_inuse_bytes",
            window: Window::starting(start, "1d12h".parse().unwrap()).unwrap(),
            step: Duration::from_secs(60),
        };
        assert_eq!(
            query.encode(None),
            "query=go_memstats_heap_inuse_bytes&start=1577836800.0&end=1577966400.0&step=1m"
        );
    }

    #[test]
    fn braces_and_spaces_are_form_encoded() {
        let query = Query::Instant {
            query: "absent(a{b=\"c\"} or on() vector(0))",
            time: None,
        };
        assert_eq!(
            query.encode(Some(Duration::from_millis(1500))),
            "query=absent%28a%7Bb%3D%22c%22%7D+or+on%28%29+vector%280%29%29&timeout=1s500ms"
        );
    }

    #[test]
    fn times_have_one_to_six_digits_after_the_point() {
        for (micros, expected) in [
            (1_577_836_800_000_000, "1577836800.0"),
            (1_795_295_871_555_792, "1795295871.555792"),
            (1_500_000, "1.5"),
            (0, "0.0"),
            (-250_000, "-0.25"),
        ] {
            let time = Timestamp::from_microsecond(micros).unwrap();
            assert_eq!(epoch_seconds(time), expected);
        }
    }
}
