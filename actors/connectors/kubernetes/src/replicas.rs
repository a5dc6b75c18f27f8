//! The number of pods, as what an optimizer may set (`spec/kubernetes.md` §2.3).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use servo_dispatch::ConfigProblem;
use servo_messages::{Number, RangeSetting};

use crate::resource::RangeKind;

/// How many pods of a workload there may be. All numbers are whole and written as numbers: neither `1.0` nor `"1"` will
/// do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replicas {
    /// The name that the optimizer knows it by. It cannot be changed.
    #[serde(default)]
    pub name: ReplicasName,
    /// The kind of setting. It cannot be changed.
    #[serde(default, rename = "type")]
    pub kind: RangeKind,
    /// The optimizer must leave it as it is.
    #[serde(default)]
    pub pinned: bool,
    /// The fewest pods that the optimizer may set.
    #[schemars(extend("x-strict" = true))]
    pub min: u32,
    /// The most pods that the optimizer may set.
    #[schemars(extend("x-strict" = true))]
    pub max: u32,
    /// The distance between two numbers that the optimizer may set, from `min` on.
    #[serde(default = "one")]
    #[schemars(extend("x-strict" = true))]
    pub step: i64,
    /// The present number. Default: what the cluster says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-strict" = true))]
    pub value: Option<u32>,
}

/// The name that an optimizer knows replicas by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReplicasName {
    /// The only one.
    #[default]
    Replicas,
}

fn one() -> i64 {
    1
}

// === impl Replicas ===

impl Replicas {
    /// Between `min` and `max`, in steps of one.
    pub fn between(min: u32, max: u32) -> Self {
        Self {
            name: ReplicasName::Replicas,
            kind: RangeKind::Range,
            pinned: false,
            min,
            max,
            step: one(),
            value: None,
        }
    }

    /// As the optimizer sees it.
    pub fn setting(&self) -> RangeSetting {
        RangeSetting {
            pinned: self.pinned,
            step: Number::Int(self.step),
            value: self.value.map(Number::from),
            ..RangeSetting::replicas(self.min.into(), self.max.into())
        }
    }

    /// What is odd, with `path` as the key.
    pub fn problems(&self, path: &str) -> Vec<ConfigProblem> {
        self.setting()
            .warnings()
            .into_iter()
            .map(|warning| ConfigProblem::warning(path, warning.to_string()))
            .collect()
    }
}
