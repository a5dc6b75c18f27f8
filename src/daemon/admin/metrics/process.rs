//! What the operating system says of this process.

use std::{fs, sync::OnceLock};

/// The figures of this process; each is missing where the system does not tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in super::super) struct Process {
    /// Time on processors, in user and system mode.
    pub(in super::super) cpu_seconds: Option<f64>,
    /// Memory that is in RAM.
    pub(in super::super) resident_bytes: Option<u64>,
    /// Address space.
    pub(in super::super) virtual_bytes: Option<u64>,
    /// Open files and sockets.
    pub(in super::super) open_fds: Option<u64>,
    /// How many there may be.
    pub(in super::super) max_fds: Option<u64>,
    /// Threads.
    pub(in super::super) threads: Option<u64>,
    /// When it started, in seconds since 1970.
    pub(in super::super) start_seconds: Option<f64>,
}

impl Process {
    /// As it stands now. Reads files of `/proc`, which takes some microseconds.
    pub(in super::super) fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let stat = Stat::parse(&stat);
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let page = rustix::param::page_size() as u64;
        Self {
            cpu_seconds: stat.map(|s| s.ticks as f64 / ticks),
            resident_bytes: stat.map(|s| s.resident_pages * page),
            virtual_bytes: stat.map(|s| s.virtual_bytes),
            open_fds: open_fds(),
            max_fds: fs::read_to_string("/proc/self/limits")
                .ok()
                .and_then(|limits| max_open_files(&limits)),
            threads: stat.map(|s| s.threads),
            start_seconds: stat
                .and_then(|s| Some(boot_seconds()? as f64 + s.start_ticks as f64 / ticks)),
        }
    }
}

fn open_fds() -> Option<u64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    // One is for the look itself.
    Some(entries.saturating_sub(1))
}

/// What `/proc/self/stat` says, as `man 5 proc` numbers it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stat {
    /// 14 and 15.
    ticks: u64,
    /// 20.
    threads: u64,
    /// 22.
    start_ticks: u64,
    /// 23.
    virtual_bytes: u64,
    /// 24.
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name of the program, 2, is in parentheses and may hold anything.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            ticks: field(14)?.checked_add(field(15)?)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn boot_seconds() -> Option<u64> {
    static BOOT: OnceLock<Option<u64>> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let line = stat.lines().find_map(|l| l.strip_prefix("btime "))?;
        line.trim().parse().ok()
    })
}

fn max_open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find(|l| l.starts_with("Max open files"))?;
    line.split_ascii_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_that_looks_like_fields() {
        let text =
            "7 (a) 1 (b) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 9 0 4242 1000000 300 184 1";
        let stat = Stat::parse(text).unwrap();
        assert_eq!(stat.ticks, 200);
        assert_eq!(stat.threads, 9);
        assert_eq!(stat.start_ticks, 4242);
        assert_eq!(stat.virtual_bytes, 1_000_000);
        assert_eq!(stat.resident_pages, 300);
        assert_eq!(Stat::parse("7 (a) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process() {
        let process = Process::read();
        assert!(process.resident_bytes.unwrap() > 100_000);
        assert!(process.open_fds.unwrap() >= 3);
        assert!(process.max_fds.unwrap() >= process.open_fds.unwrap());
        let now = jiff::Timestamp::now().as_second() as f64;
        let age = now - process.start_seconds.unwrap();
        assert!((-5.0..3600.0).contains(&age), "{age}");
    }
}
