//! What the connector must be allowed to do (`spec/kubernetes.md` §13).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Things that must be allowed on resources of one API group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Permission {
    /// The API group; the empty text is the core group, that of pods.
    #[schemars(extend("examples" = ["apps", ""]))]
    pub group: String,
    /// The resources, a subresource after a slash.
    #[schemars(extend("examples" = [["pods", "pods/log"]]))]
    pub resources: Vec<String>,
    /// What must be allowed on each of them.
    #[schemars(extend("examples" = [["get", "list", "watch"]]))]
    pub verbs: Vec<String>,
}
