//! The text of a length of time: units, exact decimals, and the printed form.

use crate::duration::{Duration, DurationError};

pub(super) const SECOND: u128 = 1_000_000_000;
const MINUTE: u128 = 60 * SECOND;
const HOUR: u128 = 60 * MINUTE;
const DAY: u128 = 24 * HOUR;
const WEEK: u128 = 7 * DAY;
const MONTH: u128 = 30 * DAY;
const YEAR: u128 = 365 * DAY;

pub(super) fn print(nanos: u128) -> String {
    if nanos == 0 {
        return "0".to_owned();
    }
    let mut text = String::new();
    let mut rest = nanos;
    let (units, last): (&[(u128, &str)], u128) = if nanos < SECOND {
        (&[(1_000_000, "ms"), (1_000, "us"), (1, "ns")], 1)
    } else {
        (
            &[
                (YEAR, "y"),
                (MONTH, "mm"),
                (DAY, "d"),
                (HOUR, "h"),
                (MINUTE, "m"),
            ],
            SECOND,
        )
    };
    for (unit, name) in units {
        if rest >= *unit {
            text.push_str(&format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    if last == SECOND && rest > 0 {
        let fraction = format!("{:09}", rest % SECOND);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        text.push_str(&format!("{}{point}{fraction}s", rest / SECOND));
    }
    text
}

/// The sign (true below zero) and the length.
pub(super) fn parse(text: &str) -> Result<(bool, Duration), DurationError> {
    let invalid = || DurationError::Invalid {
        text: text.to_owned(),
    };
    let too_long = || DurationError::TooLong {
        text: text.to_owned(),
    };
    let trimmed = text.trim();
    let (negative, unsigned) = match trimmed.strip_prefix(['-', '+']) {
        Some(rest) => (trimmed.starts_with('-'), rest),
        None => (false, trimmed),
    };
    if unsigned == "0" {
        return Ok((false, Duration::ZERO));
    }
    if unsigned.is_empty() || unsigned.starts_with(char::is_whitespace) {
        return Err(invalid());
    }
    let mut nanos: u128 = 0;
    let mut rest = unsigned;
    while !rest.is_empty() {
        let (value, after_value) = leading(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after_unit) = leading(after_value, |c| {
            c.is_ascii_lowercase() || matches!(c, 'µ' | 'μ')
        });
        if value.is_empty() || unit.is_empty() {
            return Err(invalid());
        }
        let unit_nanos = unit_nanos(unit).ok_or_else(|| DurationError::UnknownUnit {
            unit: unit.to_owned(),
            text: text.to_owned(),
        })?;
        let part = decimal_nanos(value, unit_nanos).map_err(|problem| match problem {
            NoNumber::Malformed => DurationError::InvalidValue {
                value: value.to_owned(),
                text: text.to_owned(),
            },
            NoNumber::TooLarge => too_long(),
        })?;
        nanos = nanos.checked_add(part).ok_or_else(too_long)?;
        rest = after_unit.trim_start();
    }
    let magnitude = Duration::from_total_nanos(nanos).ok_or_else(too_long)?;
    Ok((negative, magnitude))
}

fn leading(text: &str, matches: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !matches(c)).unwrap_or(text.len());
    text.split_at(end)
}

fn unit_nanos(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        "d" => DAY,
        "w" => WEEK,
        "mm" => MONTH,
        "y" => YEAR,
        _ => return None,
    })
}

enum NoNumber {
    Malformed,
    TooLarge,
}

/// Digits after the point that still matter: the 21st of a year is far below a nanosecond, and 20 of them times the
/// longest unit still fit.
const FRACTION_DIGITS: usize = 20;

fn decimal_nanos(value: &str, unit: u128) -> Result<u128, NoNumber> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(NoNumber::Malformed);
    }
    let mut nanos: u128 = 0;
    if !whole.is_empty() {
        let whole = whole.trim_start_matches('0');
        let whole: u128 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| NoNumber::TooLarge)?
        };
        nanos = whole.checked_mul(unit).ok_or(NoNumber::TooLarge)?;
    }
    let mut numerator: u128 = 0;
    let mut denominator: u128 = 1;
    for digit in fraction.bytes().take(FRACTION_DIGITS) {
        numerator = numerator * 10 + u128::from(digit - b'0');
        denominator *= 10;
    }
    let part = (numerator * unit + denominator / 2) / denominator;
    nanos.checked_add(part).ok_or(NoNumber::TooLarge)
}
