//! Kinds of workload.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A kind of workload. In files its inner capitals are optional: `Deployment`, `deployment`, `statefulSet`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    #[default]
    Deployment,
    /// `apps/v1` StatefulSet.
    StatefulSet,
    /// `argoproj.io/v1alpha1` Rollout.
    Rollout,
}

/// The published values, proper ones first (`spec/kubernetes.md` §14.1, §16).
const SPELLINGS: [(&str, WorkloadKind); 8] = [
    ("Deployment", WorkloadKind::Deployment),
    ("StatefulSet", WorkloadKind::StatefulSet),
    ("Rollout", WorkloadKind::Rollout),
    ("deployment", WorkloadKind::Deployment),
    ("statefulSet", WorkloadKind::StatefulSet),
    ("Statefulset", WorkloadKind::StatefulSet),
    ("statefulset", WorkloadKind::StatefulSet),
    ("rollout", WorkloadKind::Rollout),
];

// === impl WorkloadKind ===

impl WorkloadKind {
    /// As the Kubernetes API writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::Rollout => "Rollout",
        }
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for WorkloadKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for WorkloadKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        SPELLINGS
            .iter()
            .find(|(spelling, _)| *spelling == text)
            .map(|(_, kind)| *kind)
            .ok_or_else(|| {
                de::Error::custom(format!(
                    "unknown kind of workload '{text}': expected Deployment, StatefulSet or Rollout"
                ))
            })
    }
}

impl JsonSchema for WorkloadKind {
    fn schema_name() -> Cow<'static, str> {
        "WorkloadKind".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let spellings = SPELLINGS.map(|(spelling, _)| spelling);
        json_schema!({ "type": "string", "enum": spellings })
    }
}
