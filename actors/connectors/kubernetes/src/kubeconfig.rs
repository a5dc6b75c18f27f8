//! Where the client finds the cluster and its own identity (`spec/kubernetes.md` §3.1, §3.6).

use std::{
    env, fmt,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Path of a kubeconfig file as it is written; a leading `~` is the home directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("format" = "file-path", "examples" = ["~/.kube/config"]))]
pub struct KubeconfigPath(String);

// === impl KubeconfigPath ===

impl KubeconfigPath {
    /// The path to open.
    pub fn expanded(&self) -> PathBuf {
        let home = || env::var_os("HOME").filter(|home| !home.is_empty());
        match self.0.strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => match home() {
                Some(home) => Path::new(&home).join(rest.trim_start_matches('/')),
                None => PathBuf::from(&self.0),
            },
            _ => PathBuf::from(&self.0),
        }
    }
}

impl From<String> for KubeconfigPath {
    fn from(path: String) -> Self {
        Self(path)
    }
}

/// As it is written.
impl fmt::Display for KubeconfigPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
