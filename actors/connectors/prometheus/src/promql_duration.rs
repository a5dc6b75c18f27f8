//! Lengths of time as Prometheus reads them (`spec/metrics-and-load.md` §1.4).

use std::fmt;

use servo_messages::Duration;

const MILLISECOND: u128 = 1_000_000;
const UNITS: [(u128, &str); 5] = [
    (86_400_000, "d"),
    (3_600_000, "h"),
    (60_000, "m"),
    (1_000, "s"),
    (1, "ms"),
];

/// A length of time, printed in the form that Prometheus accepts as `step` and `timeout`: `1m30s`,
/// `1s500ms`, `30d`; what is finer than milliseconds as decimal seconds, `0.0005`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PromqlDuration(pub Duration);

impl fmt::Display for PromqlDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.0.as_std();
        let nanos = length.as_nanos();
        if !nanos.is_multiple_of(MILLISECOND) {
            let decimal = format!("{}.{:09}", length.as_secs(), length.subsec_nanos());
            return f.write_str(decimal.trim_end_matches('0'));
        }
        if nanos == 0 {
            return f.write_str("0s");
        }
        let mut rest = nanos / MILLISECOND;
        for (unit, name) in UNITS {
            if rest >= unit {
                write!(f, "{}{name}", rest / unit)?;
                rest %= unit;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_length_has_the_form_that_prometheus_accepts() {
        for (given, expected) in [
            ("1m", "1m"),
            ("90s", "1m30s"),
            ("5s", "5s"),
            ("1.5s", "1s500ms"),
            ("250ms", "250ms"),
            ("1d12h", "1d12h"),
            ("30d", "30d"),
            ("1mm", "30d"),
            ("1w", "7d"),
            ("1y", "365d"),
            ("400d", "400d"),
            ("500us", "0.0005"),
            ("1.0005s", "1.0005"),
            ("1ns", "0.000000001"),
            ("0", "0s"),
        ] {
            let length: Duration = given.parse().unwrap();
            assert_eq!(PromqlDuration(length).to_string(), expected, "{given}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Servo's own reader knows the same units (d, h, m, s, ms) with the same meaning.
        #[test]
        fn what_is_printed_means_the_same_length(nanos in 1u64..=u64::MAX / 4) {
            let length = Duration::from_nanos(nanos);
            let text = PromqlDuration(length).to_string();
            let text = if text.ends_with(|c: char| c.is_ascii_digit()) { text + "s" } else { text };
            prop_assert_eq!(text.parse::<Duration>().unwrap(), length);
        }
    }
}
