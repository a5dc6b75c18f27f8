//! Waking up on time: a timer of some ten microseconds' resolution.
//!
//! The runtime's own timers tick once a millisecond. Waiting on them would add up to a millisecond to every latency, because
//! latency counts from the intended start.

use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;

#[cfg(target_os = "linux")]
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
#[cfg(target_os = "linux")]
use tokio::io::unix::AsyncFd;

/// A timer of one task.
pub(crate) struct Timer {
    /// Absent where the system has none; the runtime's timers then have to do.
    #[cfg(target_os = "linux")]
    descriptor: Option<AsyncFd<OwnedFd>>,
}

impl Timer {
    /// Must be called within the runtime.
    pub(crate) fn new() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            descriptor: descriptor().ok(),
        }
    }

    /// Sleeps until about `moment`; may return early.
    pub(crate) async fn until(&self, moment: Instant) {
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        #[cfg(target_os = "linux")]
        if let Some(descriptor) = &self.descriptor
            && arm(descriptor, left)
            && let Ok(mut guard) = descriptor.readable().await
        {
            // Arming anew resets the kernel's count, so the descriptor need not be read.
            guard.clear_ready();
            return;
        }
        tokio::time::sleep(left).await;
    }
}

#[cfg(target_os = "linux")]
#[expect(
    deprecated,
    reason = "its fault is with types that give away a descriptor they do not own, which OwnedFd is not; the replacement is an unsafe fn"
)]
fn descriptor() -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(timerfd_create(
        TimerfdClockId::Monotonic,
        TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
    )?)
}

#[cfg(target_os = "linux")]
fn arm(descriptor: &AsyncFd<OwnedFd>, left: Duration) -> bool {
    let Ok(tv_sec) = left.as_secs().try_into() else {
        return false;
    };
    let value = Itimerspec {
        it_interval: Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
        it_value: Timespec {
            tv_sec,
            tv_nsec: left.subsec_nanos().into(),
        },
    };
    timerfd_settime(descriptor, TimerfdTimerFlags::empty(), &value).is_ok()
}
