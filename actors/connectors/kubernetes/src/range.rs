//! What is wrong or odd about a range of amounts (`spec/kubernetes.md` §2.3, `spec/config-and-cli.md` §6.4).

use std::fmt::Display;

use servo_dispatch::ConfigProblem;
use servo_messages::{Cores, Memory};

/// Something that a container has an amount of, counted in whole parts.
pub(crate) trait Amount: Copy + Ord + Display {
    /// How a text about the range begins.
    const LABEL: &'static str;

    /// An amount below which a bound was probably meant in another unit, and how to say it.
    const SUSPICIOUS: Option<(Self, &'static str)> = None;

    /// The number of parts.
    fn parts(self) -> u64;

    /// An amount of that many parts.
    fn of_parts(parts: u64) -> Self;

    /// For people.
    fn human(self) -> String {
        self.to_string()
    }

    /// As configuration is shown: for people, where that loses nothing.
    fn configured(self) -> String {
        self.to_string()
    }
}

/// Bounds, distance and present value.
pub(crate) struct Range<A> {
    pub(crate) min: A,
    pub(crate) max: A,
    pub(crate) step: A,
    pub(crate) value: Option<A>,
}

/// Errors under the key that is wrong, warnings under `path`.
pub(crate) fn problems<A: Amount>(path: &str, range: &Range<A>) -> Vec<ConfigProblem> {
    let bounds = [("min", range.min), ("max", range.max)];
    let errors: Vec<ConfigProblem> = bounds
        .iter()
        .filter(|(_, bound)| bound.parts() == 0)
        .map(|(key, bound)| {
            ConfigProblem::error(
                format!("{path}.{key}"),
                format!("{key} must be greater than zero (found {bound})"),
            )
        })
        .collect();
    if !errors.is_empty() {
        return errors;
    }
    let suspicious = A::SUSPICIOUS.into_iter().flat_map(|(least, hint)| {
        bounds
            .into_iter()
            .filter(move |(_, bound)| *bound < least)
            .map(move |(key, bound)| {
                ConfigProblem::warning(
                    format!("{path}.{key}"),
                    format!("{} is less than {least}: {hint}", bound.human()),
                )
            })
    });
    let odd = oddities(range)
        .into_iter()
        .map(|message| ConfigProblem::warning(path, message));
    suspicious.chain(odd).collect()
}

/// In the order of the specification, in its words.
fn oddities<A: Amount>(range: &Range<A>) -> Vec<String> {
    let &Range {
        min,
        max,
        step,
        value,
    } = range;
    let mut odd = Vec::new();
    if min > max {
        odd.push(format!("min cannot be greater than max ({min} > {max})"));
    }
    if let Some(value) = value.filter(|value| *value < min || *value > max) {
        odd.push(format!(
            "invalid value: {value} is outside of the range {min}-{max}"
        ));
    }
    if min == max && step.parts() > 0 {
        odd.push(format!(
            "step must be zero when min equals max: step {step} cannot step from {min} to {max} (consider using the \
             pinned attribute of settings if you have a value you don't want changed)"
        ));
    } else if min != max && step.parts() == 0 {
        odd.push("step cannot be zero".to_owned());
    }
    odd.extend(misalignment(range));
    odd
}

fn misalignment<A: Amount>(range: &Range<A>) -> Option<String> {
    let &Range { min, max, step, .. } = range;
    let (low, high, unit) = (min.parts(), max.parts(), step.parts());
    let difference = high.checked_sub(low).filter(|difference| *difference > 0)?;
    let rest = difference.checked_rem(unit)?;
    if rest == 0 {
        return None;
    }
    let lower = (difference - rest).max(unit);
    let spans = [Some(lower), lower.checked_add(unit)];
    let texts = |candidates: [Option<u64>; 2]| {
        candidates
            .into_iter()
            .flatten()
            .map(|parts| A::of_parts(parts).to_string())
            .collect::<Vec<_>>()
            .join(" or ")
    };
    // No amount is nothing, nor finer than the step that leads to it.
    let enough = |parts: &u64| *parts >= unit;
    let better_min =
        texts(spans.map(|span| span.and_then(|span| high.checked_sub(span)).filter(enough)));
    let better_max = texts(spans.map(|span| span.and_then(|span| low.checked_add(span))));
    let better_min = if better_min.is_empty() {
        better_min
    } else {
        format!("min {better_min}, ")
    };
    Some(format!(
        "{}{}-{}, {}) min/max difference is not step aligned: {} is not a multiple of {step} (consider \
         {better_min}max {better_max}).",
        A::LABEL,
        min.human(),
        max.human(),
        step.human(),
        A::of_parts(difference),
    ))
}

impl Amount for Cores {
    const LABEL: &'static str = "CPU('cpu' ";

    fn parts(self) -> u64 {
        self.nanos()
    }

    fn of_parts(parts: u64) -> Self {
        Self::from_nanos(parts)
    }
}

impl Amount for Memory {
    const LABEL: &'static str = "Memory('mem' ";

    const SUSPICIOUS: Option<(Self, &'static str)> = Some((
        Memory::from_mib(1),
        "a whole number without a unit is bytes; for GiB write for example 4Gi or 4.0",
    ));

    fn parts(self) -> u64 {
        self.bytes()
    }

    fn of_parts(parts: u64) -> Self {
        Self::from_bytes(parts)
    }

    fn human(self) -> String {
        Memory::human(self)
    }

    fn configured(self) -> String {
        let human = Memory::human(self);
        if human.parse() == Ok(self) {
            human
        } else {
            self.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn odd<A: Amount + std::str::FromStr>(
        min: &str,
        max: &str,
        step: &str,
        value: Option<&str>,
    ) -> Vec<String> {
        let read = |text: &str| text.parse::<A>().unwrap_or_else(|_| panic!("{text}"));
        let range = Range {
            min: read(min),
            max: read(max),
            step: read(step),
            value: value.map(read),
        };
        problems("cpu", &range)
            .into_iter()
            .map(|problem| format!("{} {}", if problem.warning { "W" } else { "E" }, problem))
            .collect()
    }

    #[test]
    fn the_sentences_of_the_specification() {
        let none: [&str; 0] = [];
        assert_eq!(odd::<Cores>("250m", "4", "125m", Some("1")), none);
        assert_eq!(odd::<Cores>("1", "1", "0", None), none);
        assert_eq!(
            odd::<Cores>("2", "1", "125m", None),
            ["W cpu: min cannot be greater than max (2 > 1)"]
        );
        assert_eq!(
            odd::<Cores>("250m", "4", "125m", Some("5")),
            ["W cpu: invalid value: 5 is outside of the range 250m-4"]
        );
        assert_eq!(
            odd::<Cores>("1", "2", "0", None),
            ["W cpu: step cannot be zero"]
        );
        assert_eq!(
            odd::<Cores>("1", "1", "125m", None),
            [
                "W cpu: step must be zero when min equals max: step 125m cannot step from 1 to 1 (consider using the pinned \
              attribute of settings if you have a value you don't want changed)"
            ]
        );
        assert_eq!(
            odd::<Cores>("250m", "4.1", "125m", None),
            [
                "W cpu: CPU('cpu' 250m-4.1, 125m) min/max difference is not step aligned: 3.85 is not a multiple of 125m \
              (consider min 350m or 225m, max 4 or 4.125)."
            ]
        );
        assert_eq!(
            odd::<Memory>("256Mi", "4.0625Gi", "128Mi", None),
            [
                "W cpu: Memory('mem' 256.0Mi-4.1Gi, 128.0Mi) min/max difference is not step aligned: 3.8125Gi is not a \
              multiple of 128Mi (consider min 320Mi or 192Mi, max 4Gi or 4.125Gi)."
            ]
        );
    }

    #[test]
    fn what_is_suggested_is_an_amount() {
        assert_eq!(
            odd::<Cores>("125m", "1", "500m", None),
            [
                "W cpu: CPU('cpu' 125m-1, 500m) min/max difference is not step aligned: 875m is not a multiple of 500m \
              (consider min 500m, max 625m or 1.125)."
            ]
        );
        assert_eq!(
            odd::<Cores>("1", "2", "3", None),
            [
                "W cpu: CPU('cpu' 1-2, 3) min/max difference is not step aligned: 1 is not a multiple of 3 (consider max 4 \
              or 7)."
            ]
        );
        let most = u64::MAX.to_string();
        assert_eq!(odd::<Memory>("1Mi", &most, "128Mi", None).len(), 1);
    }

    #[test]
    fn nothing_is_no_bound_and_few_bytes_are_probably_not_meant() {
        assert_eq!(
            odd::<Cores>("0", "0", "0", None),
            [
                "E cpu.min: min must be greater than zero (found 0)",
                "E cpu.max: max must be greater than zero (found 0)"
            ]
        );
        let found = odd::<Memory>("2", "4Gi", "0", None);
        assert!(
            found[0].starts_with(
                "W cpu.min: 2.0B is less than 1Mi: a whole number without a unit is bytes"
            ),
            "{found:?}"
        );
    }

    #[test]
    fn memory_is_shown_for_people_where_nothing_is_lost() {
        for (given, shown) in [
            ("256Mi", "256.0Mi"),
            ("4Gi", "4.0Gi"),
            ("512", "512.0B"),
            ("1.0625Gi", "1.0625Gi"),
        ] {
            assert_eq!(given.parse::<Memory>().unwrap().configured(), shown);
        }
    }
}
