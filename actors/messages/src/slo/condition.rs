//! One condition, and how it is written.

use std::fmt;
use std::num::NonZeroU32;

use crate::number::Number;

/// A metric and the bounds that it must keep. Prints as `(throughput below 6000)`, or with its description as
/// `(throughput below 6000 -> what the contract says)`.
#[derive(Clone, Debug, PartialEq)]
pub struct SloCondition {
    /// A remark for people.
    pub description: Option<String>,
    /// Name of the metric in the readings.
    pub metric: String,
    /// On which side of the limit it must stay.
    pub keep: Keep,
    /// The limit, before multiplication.
    pub limit: SloLimit,
    /// What the limit is multiplied by. Default: 1.
    pub multiplier: Number,
    /// When failures end the measurement.
    pub trigger: Trigger,
}

/// The side of the limit on which a metric must stay; the limit itself belongs to both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Keep {
    /// At most the limit.
    #[default]
    Below,
    /// At least the limit.
    Above,
}

/// Where the limit comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum SloLimit {
    /// A number of the command.
    Fixed(Number),
    /// The value of another metric at the same time.
    Metric {
        /// Its name in the readings.
        name: String,
        /// From 0 up to this the condition's own metric says nothing, and the condition is skipped. Default: 0.25.
        metric_minimum: f64,
        /// From 0 up to this the limit says nothing, and the condition is skipped. Default: 0.25.
        threshold_minimum: f64,
    },
}

/// So many failures among the most recent outcomes end a measurement. Never more than there are places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Trigger {
    count: NonZeroU32,
    window: NonZeroU32,
}

/// More failures than places for outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("trigger_count cannot be greater than trigger_window ({count} > {window})")]
pub struct NeverTriggers {
    count: NonZeroU32,
    window: NonZeroU32,
}

// === impl Trigger ===

impl Trigger {
    /// `count` failures among the last `window` outcomes.
    ///
    /// # Errors
    /// There are fewer outcomes than failures.
    pub fn try_new(count: NonZeroU32, window: NonZeroU32) -> Result<Trigger, NeverTriggers> {
        if count <= window {
            Ok(Trigger { count, window })
        } else {
            Err(NeverTriggers { count, window })
        }
    }

    /// How many failures.
    pub const fn count(self) -> NonZeroU32 {
        self.count
    }

    /// Among how many outcomes.
    pub const fn window(self) -> NonZeroU32 {
        self.window
    }
}

impl Default for Trigger {
    fn default() -> Self {
        Trigger {
            count: NonZeroU32::MIN,
            window: NonZeroU32::MIN,
        }
    }
}

// === impl Keep ===

impl Keep {
    /// The word in the command.
    pub const fn as_str(self) -> &'static str {
        match self {
            Keep::Below => "below",
            Keep::Above => "above",
        }
    }

    /// Whether `value` is on the right side of `limit`.
    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Keep::Below => value <= limit,
            Keep::Above => value >= limit,
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl SloCondition ===

impl fmt::Display for SloCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} {} ", self.metric, self.keep)?;
        match &self.limit {
            SloLimit::Fixed(limit) => f.write_str(&shortest(limit.as_f64()))?,
            SloLimit::Metric { name, .. } => f.write_str(name)?,
        }
        match &self.description {
            Some(description) => write!(f, " -> {description})"),
            None => f.write_str(")"),
        }
    }
}

/// The shortest decimal text that reads back as this number: `6535.8`, `3`, `0.2`. Very large and very small ones have
/// an exponent.
pub(super) fn shortest(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if !value.is_finite() || (1e-6..1e21).contains(&size) {
        value.to_string()
    } else {
        format!("{value:e}")
    }
}
