//! What `/proc` says about a process and everything that descends from it.
//!
//! Only Linux has `/proc`; elsewhere the scan finds nothing and the metrics are absent.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// One line of `/proc/<pid>/stat`, reduced to what is used here (`man 5 proc_pid_stat`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// Ended, but its parent has not collected it yet.
    pub(crate) zombie: bool,
    /// CPU ticks of the process itself.
    own_ticks: u64,
    /// CPU ticks of its children that ended and were collected.
    reaped_ticks: u64,
    rss_pages: u64,
}

/// What a tree of processes has used so far and holds now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// CPU seconds (user and system) since the start, descendants included.
    pub cpu_seconds: f64,
    /// Resident memory in bytes, summed over the processes; memory shared between them counts for each.
    pub rss_bytes: u64,
    /// Number of living processes.
    pub processes: usize,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The command name stands in parentheses and may itself hold blanks and parentheses.
        let (head, tail) = text.rsplit_once(')')?;
        let pid = head.split_once(' ')?.0.parse().ok()?;
        let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok());
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            zombie: matches!(*fields.first()?, "Z" | "X"),
            own_ticks: number(11)?.saturating_add(number(12)?),
            reaped_ticks: number(13)?.saturating_add(number(14)?),
            rss_pages: number(21)?,
        })
    }

    fn read(pid: i32) -> Option<Self> {
        Self::parse(&String::from_utf8_lossy(
            &fs::read(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?,
        ))
    }
}

/// The living and dead-but-uncollected processes below `root`, `root` itself not among them.
pub(crate) fn descendants(root: i32) -> Vec<Stat> {
    let mut by_parent: HashMap<i32, Vec<Stat>> = HashMap::new();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    for entry in entries.flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let Some(stat) = pid.and_then(Stat::read) {
            by_parent.entry(stat.parent).or_default().push(stat);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(parent) = open.pop() {
        for stat in by_parent.remove(&parent).unwrap_or_default() {
            open.push(stat.pid);
            found.push(stat);
        }
    }
    found
}

/// Usage of everything below `warden`. The warden collects the orphans of the tree, so what they had
/// used stands in its own "children" counters; its own work is not counted.
pub(crate) fn usage_below(warden: i32) -> Option<Usage> {
    let warden_ticks = Stat::read(warden)?.reaped_ticks;
    let tree = descendants(warden);
    let ticks = tree.iter().fold(warden_ticks, |sum, stat| {
        sum.saturating_add(stat.own_ticks)
            .saturating_add(stat.reaped_ticks)
    });
    let pages: u64 = tree.iter().map(|stat| stat.rss_pages).sum();
    Some(Usage {
        cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second().max(1) as f64,
        rss_bytes: pages.saturating_mul(rustix::param::page_size() as u64),
        processes: tree.iter().filter(|stat| !stat.zombie).count(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_command_name_with_parentheses_and_blanks_is_no_obstacle() {
        let line = "42 (a) b (c) R 7 40 40 0 -1 4194304 1 2 3 4 100 20 30 4 20 0 1 0 99 8192 55 18446744073709551615";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(
            (stat.pid, stat.parent, stat.group, stat.zombie),
            (42, 7, 40, false)
        );
        assert_eq!(
            (stat.own_ticks, stat.reaped_ticks, stat.rss_pages),
            (120, 34, 55)
        );
        assert!(
            Stat::parse("42 (x) Z 1 1 1 0 -1 0 0 0 0 0 1 1 1 1 0 0 1 0 1 1 1")
                .unwrap()
                .zombie
        );
        assert!(Stat::parse("").is_none());
        assert!(Stat::parse("42 (cut").is_none());
        assert!(Stat::parse("42 (cut) R 1").is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_line_is_a_surprise(line in "[0-9a-zA-Z() -]{0,120}") {
            let _ = Stat::parse(&line);
        }
    }
}
