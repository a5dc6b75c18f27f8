//! How many files and connections the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the process needs beside connections to optimizers: logs, trial files, the admin server's clients,
/// processes that connectors start.
const BESIDE: u64 = 400;

/// Raises the limit on open files to what the process needs, as far as the system allows, and says so
/// where that will not do: what fails then looks like an optimizer that cannot be reached. No higher:
/// processes that connectors start inherit the limit.
pub(super) fn allow(max_concurrent_requests: usize) {
    let needed = u64::try_from(max_concurrent_requests)
        .unwrap_or(u64::MAX)
        .saturating_add(BESIDE);
    let limit = getrlimit(Resource::Nofile);
    // None is no limit.
    if limit.current.is_none_or(|current| current >= needed) {
        return;
    }
    let most = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    let raised = Rlimit {
        current: Some(most),
        ..limit
    };
    let refused = setrlimit(Resource::Nofile, raised).err();
    if refused.is_some() || most < needed {
        let current = getrlimit(Resource::Nofile).current.unwrap_or(most);
        tracing::warn!(
            "this process may have {current} files and connections open, and may need {needed}: raise the limit (ulimit -n, LimitNOFILE=), or lower optimizer.max_concurrent_requests"
        );
    }
}
