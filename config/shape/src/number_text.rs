//! The texts that stand for numbers within limits, as regular expressions: a published schema can say
//! nothing else about them, and checking with the same expressions keeps the two in step.

use serde_json::Number;

use crate::node::{Bound, Range};

/// Between which whole numbers those of a node must lie, beside its own limits: what the widest type
/// can hold.
const WIDEST: (i128, i128) = (i64::MIN as i128, u64::MAX as i128);

/// The limits of a type that `format` names.
pub(crate) fn limits(format: Option<&str>) -> (i128, i128) {
    match format {
        Some("uint8") => (0, u8::MAX.into()),
        Some("uint16") => (0, u16::MAX.into()),
        Some("uint32") => (0, u32::MAX.into()),
        Some("uint64" | "uint") => (0, u64::MAX.into()),
        Some("int8") => (i8::MIN.into(), i8::MAX.into()),
        Some("int16") => (i16::MIN.into(), i16::MAX.into()),
        Some("int32") => (i32::MIN.into(), i32::MAX.into()),
        Some("int64" | "int") => (i64::MIN.into(), i64::MAX.into()),
        _ => WIDEST,
    }
}

/// The limits of whole numbers: those of `range` and those of `format`, the narrower.
pub(crate) fn whole_limits(range: &Range, format: Option<&str>) -> (i128, i128) {
    let (mut low, mut high) = limits(format);
    if let Some(bound) = &range.lower {
        let (floor, exact) = floor(&bound.number);
        low = low.max(if exact && !bound.exclusive {
            floor
        } else {
            floor.saturating_add(1)
        });
    }
    if let Some(bound) = &range.upper {
        let (floor, exact) = floor(&bound.number);
        high = high.min(if exact && bound.exclusive {
            floor.saturating_sub(1)
        } else {
            floor
        });
    }
    (low, high)
}

/// The greatest whole number that is not greater, and whether it is the number itself.
fn floor(number: &Number) -> (i128, bool) {
    if let Some(whole) = whole(number) {
        return (whole, true);
    }
    let float = number.as_f64().unwrap_or(0.0);
    (float.floor() as i128, false)
}

/// The number, if it has no fraction.
pub(crate) fn whole(number: &Number) -> Option<i128> {
    number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from))
        .or_else(|| {
            number
                .as_f64()
                .filter(|float| float.fract() == 0.0 && float.abs() < 1e38)
                .map(|float| float as i128)
        })
}

const BLANK: &str = "[ \\t\\r\\n]*";

fn framed(alternatives: &[String]) -> String {
    format!("^{BLANK}(?:{}){BLANK}$", alternatives.join("|"))
}

/// The texts of whole numbers from `low` to `high`: all expressions must match.
pub(crate) fn whole_texts(low: i128, high: i128) -> Vec<String> {
    let digits = |number: i128| number.unsigned_abs().to_string();
    let lower = if low > 0 {
        vec![format!("\\+?0*(?:{})", at_least(&digits(low)))]
    } else if low == 0 {
        vec!["\\+?[0-9]+".into(), "-0+".into()]
    } else {
        vec![
            "\\+?[0-9]+".into(),
            format!("-0*(?:{})", at_most(&digits(low))),
        ]
    };
    let upper = if high < 0 {
        vec![format!("-0*(?:{})", at_least(&digits(high)))]
    } else {
        vec![
            "-[0-9]+".into(),
            format!("\\+?0*(?:{})", at_most(&digits(high))),
        ]
    };
    vec![framed(&lower), framed(&upper)]
}

/// `digits` or more, without leading zeros.
fn at_least(digits: &str) -> String {
    let n = digits.len();
    let mut alternatives = vec![format!("[1-9][0-9]{{{n},}}")];
    for (k, digit) in digits.bytes().enumerate() {
        if digit < b'9' {
            alternatives.push(format!(
                "{}{}{}",
                &digits[..k],
                class(digit + 1, b'9'),
                many(n - k - 1)
            ));
        }
    }
    alternatives.push(digits.to_owned());
    alternatives.join("|")
}

/// `digits` or less, without leading zeros (zero itself has one digit, or none).
fn at_most(digits: &str) -> String {
    let n = digits.len();
    let mut alternatives = Vec::new();
    if n > 1 {
        alternatives.push(format!("[0-9]{{1,{}}}", n - 1));
    }
    for (k, digit) in digits.bytes().enumerate() {
        if digit > b'0' {
            alternatives.push(format!(
                "{}{}{}",
                &digits[..k],
                class(b'0', digit - 1),
                many(n - k - 1)
            ));
        }
    }
    alternatives.push(digits.to_owned());
    alternatives.join("|")
}

fn class(from: u8, to: u8) -> String {
    if from == to {
        char::from(from).to_string()
    } else {
        format!("[{}-{}]", char::from(from), char::from(to))
    }
}

fn many(n: usize) -> String {
    match n {
        0 => String::new(),
        1 => "[0-9]".into(),
        n => format!("[0-9]{{{n}}}"),
    }
}

/// The texts of numbers within `range`: all expressions must match. Only numbers without limits may
/// be written with an exponent: which of those are within limits, no expression tells.
pub(crate) fn decimal_texts(range: &Range) -> Vec<String> {
    let mut patterns = Vec::new();
    if let Some(bound) = &range.lower {
        patterns.push(framed(&if is_negative(&bound.number) {
            let mut all = vec![format!("\\+?(?:{ANY})")];
            all.extend(below(bound).map(|below| format!("-(?:{below})")));
            all
        } else {
            let mut all = vec![format!("\\+?(?:{})", above(bound))];
            if is_zero(&bound.number) && !bound.exclusive {
                all.push(format!("-(?:{ZERO})"));
            }
            all
        }));
    }
    if let Some(bound) = &range.upper {
        patterns.push(framed(&if is_negative(&bound.number) {
            vec![format!("-(?:{})", above(bound))]
        } else {
            let mut all = vec![if is_zero(&bound.number) && bound.exclusive {
                format!("-(?:{})", above(bound))
            } else {
                format!("-(?:{ANY})")
            }];
            all.extend(below(bound).map(|below| format!("\\+?(?:{below})")));
            all
        }));
    }
    if patterns.is_empty() {
        patterns.push(framed(&[
            "[+-]?(?:[0-9]{1,100}(?:\\.[0-9]*)?|\\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?".into(),
        ]));
    }
    patterns
}

/// Any decimal without sign; 300 digits are below what overflows.
const ANY: &str = "[0-9]{1,300}(?:\\.[0-9]*)?|\\.[0-9]+";
const ZERO: &str = "0+(?:\\.0*)?|\\.0+";
const FRACTION: &str = "(?:\\.[0-9]*)?";

fn is_negative(number: &Number) -> bool {
    number.as_f64().is_some_and(|float| float < 0.0)
}

fn is_zero(number: &Number) -> bool {
    number.as_f64() == Some(0.0)
}

/// The digits before and after the point, without sign and without trailing zeros of the fraction.
fn parts(number: &Number) -> (u128, String) {
    if let Some(whole) = whole(number) {
        return (whole.unsigned_abs(), String::new());
    }
    let text = format!("{}", number.as_f64().unwrap_or(0.0).abs());
    let (before, after) = text.split_once('.').unwrap_or((&text, ""));
    (
        before.parse().unwrap_or(u128::MAX - 1),
        after.trim_end_matches('0').to_owned(),
    )
}

/// The unsigned decimals that are at least (more than) the size of `bound`.
fn above(bound: &Bound) -> String {
    let (before, after) = parts(&bound.number);
    let mut alternatives = vec![format!(
        "0*(?:{}){FRACTION}",
        at_least_within(&(before.saturating_add(1)).to_string())
    )];
    let (with, without) = lead(before);
    if after.is_empty() {
        if bound.exclusive {
            alternatives.push(format!("{with}\\.0*[1-9][0-9]*"));
        } else {
            alternatives.push(format!("{without}{FRACTION}"));
            if before == 0 {
                alternatives.push("\\.[0-9]+".into());
            }
        }
    } else {
        let mut fractions = Vec::new();
        for (k, digit) in after.bytes().enumerate() {
            if digit < b'9' {
                fractions.push(format!("{}{}[0-9]*", &after[..k], class(digit + 1, b'9')));
            }
        }
        fractions.push(if bound.exclusive {
            format!("{after}0*[1-9][0-9]*")
        } else {
            format!("{after}[0-9]*")
        });
        alternatives.push(format!("{with}\\.(?:{})", fractions.join("|")));
    }
    alternatives.join("|")
}

/// As [`at_least`], not so long that it would overflow.
fn at_least_within(digits: &str) -> String {
    let n = digits.len();
    at_least(digits).replace(&format!("{{{n},}}"), &format!("{{{n},300}}"))
}

/// The unsigned decimals that are at most (less than) the size of `bound`; none when there are none.
fn below(bound: &Bound) -> Option<String> {
    let (before, after) = parts(&bound.number);
    let mut alternatives = Vec::new();
    if before > 0 {
        alternatives.push(format!(
            "0*(?:{}){FRACTION}",
            at_most(&(before - 1).to_string())
        ));
        alternatives.push("\\.[0-9]+".into());
    }
    let (with, without) = lead(before);
    if after.is_empty() {
        if !bound.exclusive {
            alternatives.push(format!("{without}(?:\\.0*)?"));
            if before == 0 {
                alternatives.push("\\.0+".into());
            }
        }
    } else {
        alternatives.push(format!("{without}\\.?"));
        let mut fractions = Vec::new();
        for (k, digit) in after.bytes().enumerate() {
            if digit > b'0' {
                fractions.push(format!("{}{}[0-9]*", &after[..k], class(b'0', digit - 1)));
            }
            if k > 0 {
                fractions.push(after[..k].to_owned());
            }
        }
        if !bound.exclusive {
            fractions.push(format!("{after}0*"));
        }
        alternatives.push(format!("{with}\\.(?:{})", fractions.join("|")));
    }
    (!alternatives.is_empty()).then(|| alternatives.join("|"))
}

/// The digits before the point: where a fraction follows (zero may then be left out), and alone.
fn lead(before: u128) -> (String, String) {
    if before == 0 {
        ("0*".into(), "0+".into())
    } else {
        (format!("0*{before}"), format!("0*{before}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    fn matches(patterns: &[String], text: &str) -> bool {
        patterns
            .iter()
            .all(|pattern| Regex::new(pattern).unwrap().is_match(text))
    }

    fn whole_number() -> impl Strategy<Value = i128> {
        prop_oneof![
            -120..120_i128,
            -99_999..99_999_i128,
            any::<i64>().prop_map(i128::from)
        ]
    }

    /// Thousandths, so that decimals compare exactly.
    fn decimal(thousandths: i64) -> String {
        let size = thousandths.unsigned_abs();
        let sign = if thousandths < 0 { "-" } else { "" };
        format!("{sign}{}.{:03}", size / 1000, size % 1000)
    }

    fn bound(thousandths: i64, exclusive: bool) -> Bound {
        let number = if thousandths % 1000 == 0 {
            Number::from(thousandths / 1000)
        } else {
            Number::from_f64(decimal(thousandths).parse().unwrap()).unwrap()
        };
        Bound { number, exclusive }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn whole_texts_are_within_limits(
            low in whole_number(),
            high in whole_number(),
            number in whole_number(),
            near in -2..=2_i128,
            zeros in 0..3_usize,
        ) {
            let patterns = whole_texts(low, high);
            for number in [number, low + near, high + near] {
                let sign = if number < 0 { "-" } else { "" };
                let digits = number.unsigned_abs();
                let text = format!(" {sign}{}{digits}", "0".repeat(zeros));
                prop_assert_eq!(matches(&patterns, &text), low <= number && number <= high, "{}", text);
            }
        }

        #[test]
        fn decimal_texts_are_within_limits(
            low in prop::option::of(-3_000..3_000_i64),
            high in -3_000..3_000_i64,
            coarse in any::<bool>(),
            exclusive in any::<[bool; 2]>(),
            number in -4_000..4_000_i64,
            near in -2..=2_i64,
        ) {
            let round = |number: i64| if coarse { number / 500 * 500 } else { number };
            let (low, high) = (low.map(round), round(high));
            let patterns = decimal_texts(&Range {
                lower: low.map(|low| bound(low, exclusive[0])),
                upper: Some(bound(high, exclusive[1])),
            });
            for number in [number, low.unwrap_or(0) + near, high + near, round(number)] {
                let above = low.is_none_or(|low| number > low || (number == low && !exclusive[0]));
                let fits = above && (number < high || (number == high && !exclusive[1]));
                let text = decimal(number);
                let short = text.trim_end_matches('0');
                let bare = short.trim_end_matches('.');
                let pointed = text.replacen("0.", ".", 1);
                for text in [text.as_str(), short, bare, &format!("{text}00"), &pointed] {
                    prop_assert_eq!(matches(&patterns, text), fits, "{} {:?}", text, patterns);
                }
            }
        }
    }

    #[test]
    fn no_text_that_matches_overflows() {
        let free = decimal_texts(&Range::default());
        let largest = format!("{}e99", "9".repeat(100));
        assert!(matches(&free, &largest) && largest.parse::<f64>().unwrap().is_finite());
        assert!(!matches(&free, "1e400") && !matches(&free, &"9".repeat(400)));
        let positive = decimal_texts(&Range {
            lower: Some(bound(1_000, false)),
            upper: None,
        });
        assert!(matches(&positive, &"9".repeat(300)) && !matches(&positive, &"9".repeat(400)));
        for nothing in ["", ".", "-", "+", "e5", "nan", "inf", "1 2", "0x1"] {
            assert!(!matches(&free, nothing), "{nothing}");
        }
    }
}
