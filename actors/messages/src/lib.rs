//! The vocabulary that Servo's actors exchange: pure data.
//!
//! # What this crate knows
//!
//! The words of the field and their exact texts: durations, units, CPU and memory quantities, metrics and
//! measurements, settings, components, descriptions, adjustments, the control block of a command, progress, the kinds
//! of error an event can end with and the statuses an optimizer reads; the service levels that a measurement must keep,
//! and the verdict on readings ([`Slo`], [`SloObserver`]); and the stanzas of the configuration that several
//! parts share: `settings` ([`CommonConfig`]), `checks` ([`ChecksConfig`]), `fast_fail` ([`FastFailConfig`]), and text
//! that is never printed ([`Secret`]). It also knows each word's *wire form* (the JSON
//! that travels between a servo and an optimizer), in both directions, so that the servo and the embedded optimizer
//! share one reading of it.
//!
//! # What this crate must not know
//!
//! No I/O, no clock, no actor, no async runtime, no logging, no connector and no HTTP. Where "now" matters it is an
//! argument; the one question to the file system is whether the file that `ssl_verify` names exists
//! ([`CommonConfig::problems`]). Where something deserves a warning, the warning is returned as a value for the caller to log.
//!
//! # Rules that hold everywhere
//!
//! * Nothing that comes from outside panics: parsers return an error that names the text, the key or the JSON path.
//! * Numbers keep their JSON type (`2` stays an integer, `2.0` a float) and compare numerically (`2 == 2.0`).
//! * Printing and parsing are inverse: what a type prints, it reads back as the same value.

mod adjustment;
mod check_policy;
mod component;
mod control;
mod decimal;
mod duration;
mod english;
mod error;
mod fast_fail;
mod key_path;
mod measurement;
mod measurement_report;
mod metric;
mod network;
mod number;
mod progress;
mod quantity;
mod secret;
mod setting;
mod severity;
mod slo;
mod tree_hash;
mod truth;
mod unit;
mod wire;

pub use adjustment::{
    Adjustment, AdjustmentParseError, adjustments_from_state, adjustments_to_state,
};
pub use check_policy::{CheckDelay, ChecksConfig, HaltOn, NotHaltOn};
pub use component::{Component, Description, MergeWarning, Selector, SelectorError};
pub use control::Control;
pub use duration::{Duration, DurationError, SignedDuration};
pub use english::{english_series, english_series_with};
pub use error::{ErrorKind, EventError, Status, UnknownStatus, most_severe};
pub use fast_fail::FastFailConfig;
pub use key_path::value_at;
pub use measurement::{Measurement, MeasurementWire, Reading, WireWarning};
pub use measurement_report::{MeasurementReport, MetricReport, SeriesReport};
pub use metric::{DataPoint, Metric, NonFiniteValue, TimeSeries};
pub use network::{
    BackoffConfig, BackoffLimits, CommonConfig, Proxies, ProxyError, ProxyPattern, ProxyUrl,
    SslVerify, Timeouts,
};
pub use number::{Number, SettingValue};
pub use progress::{AlreadyStarted, DurationProgress, EventProgress, ProgressReport, ProgressText};
pub use quantity::{Cores, Memory, QuantityError};
pub use secret::Secret;
pub use setting::{
    EnumSetting, EnvironmentEnumSetting, EnvironmentRangeSetting, EnvironmentSetting, RangeSetting,
    Setting, SettingError, SettingWarning, ValueType,
};
pub use severity::{Severity, UnknownSeverity};
pub use slo::{
    Keep, NeverTriggers, Slo, SloCondition, SloLimit, SloObserver, SloOutcome, SloStatus, Trigger,
    Verdict,
};
pub use tree_hash::tree_hash;
pub use unit::{Unit, UnknownUnit};
pub use wire::WireError;
