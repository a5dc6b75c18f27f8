//! Points in time that may lie as far ahead as a duration can say.

use std::time::Duration;

use tokio::time::Instant;

/// `wait` from now, or a century from now if no clock reaches that far.
pub(crate) fn after(wait: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    Instant::now() + wait.min(CENTURY)
}
