//! What the service manager is told: systemd's protocol for services of the types `notify` and
//! `notify-reload`.
//!
//! It is a datagram of lines to the socket that the variable NOTIFY_SOCKET names. Without the variable
//! nothing is told to anybody.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

/// The service manager that has started the program, if one has.
#[derive(Debug, Default)]
pub(super) struct Service {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Service {
    /// As the variables of the process say. A socket that cannot be used is a warning.
    pub(super) fn of_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        match connect(&name) {
            Ok(socket) => Self {
                socket: Some(socket),
                watchdog: watchdog(
                    variable("WATCHDOG_USEC").as_deref(),
                    variable("WATCHDOG_PID").as_deref(),
                    std::process::id(),
                ),
            },
            Err(error) => {
                tracing::warn!(
                    "cannot reach the service manager at {} (NOTIFY_SOCKET): {error}",
                    name.display()
                );
                Self::default()
            }
        }
    }

    /// How often it wants to hear that the program is alive: half of the time after which it takes it for
    /// dead.
    pub(super) fn heartbeat(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// The program is up, or a reload is over.
    pub(super) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// A reload has begun.
    pub(super) fn reloading(&self) {
        // The manager has sent a signal of its own, and wants to know that this came after it.
        let now = clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let microseconds = u64::try_from(now.tv_nsec / 1000).unwrap_or_default();
        let usec = seconds.saturating_mul(1_000_000) + microseconds;
        self.tell(&format!(
            "RELOADING=1\nMONOTONIC_USEC={usec}\nSTATUS=reading the configuration again"
        ));
    }

    /// The program is ending.
    pub(super) fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\nSTATUS={}", one_line(status)));
    }

    /// What the program is doing.
    pub(super) fn status(&self, status: &str) {
        self.tell(&format!("STATUS={}", one_line(status)));
    }

    /// The program is alive.
    pub(super) fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, text: &str) {
        let Some(socket) = &self.socket else {
            return;
        };
        if let Err(error) = socket.send(text.as_bytes()) {
            tracing::debug!("the service manager was not told `{text}`: {error}");
        }
    }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let bytes = name.as_bytes();
    let address = match bytes {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "neither an absolute path nor an abstract name",
            ));
        }
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not hold up the program.
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// The time after which the manager takes the process `own` for dead, if it watches that one.
fn watchdog(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return None;
    }
    let limit = Duration::from_micros(usec?.parse().ok()?);
    (!limit.is_zero()).then_some(limit)
}

/// A line break would begin another message.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_watchdog_is_for_the_process_it_names() {
        let limit = |usec, pid| watchdog(usec, pid, 7);
        assert_eq!(limit(Some("30000000"), None), Some(Duration::from_secs(30)));
        assert_eq!(limit(Some("2"), Some("7")), Some(Duration::from_micros(2)));
        for (usec, pid) in [
            (None, None),
            (Some("0"), None),
            (Some("x"), None),
            (Some("2"), Some("8")),
            (Some("2"), Some("")),
        ] {
            assert_eq!(limit(usec, pid), None, "{usec:?} {pid:?}");
        }
    }

    #[test]
    fn sockets_with_paths_and_with_abstract_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("servo-notify-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        for (listener, told) in [
            (
                UnixDatagram::bind(&path).unwrap(),
                path.clone().into_os_string(),
            ),
            (
                UnixDatagram::bind_addr(&abstract_address).unwrap(),
                format!("@{name}").into(),
            ),
        ] {
            let service = Service {
                socket: Some(connect(&told).unwrap()),
                watchdog: None,
            };
            service.ready("two\nlines");
            let mut buffer = [0; 100];
            let n = listener.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..n], b"READY=1\nSTATUS=two lines");
        }
        assert!(connect(OsStr::new("relative")).is_err());
    }

    #[test]
    fn nobody_is_told_where_nobody_listens() {
        Service::default().ready("x");
    }
}
