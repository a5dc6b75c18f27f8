//! Notices that files of the configuration have changed.
//!
//! They are looked at every other second. Notices of the kernel would not come for files on NFS, nor
//! follow the links that Kubernetes exchanges when a ConfigMap changes; a look costs next to nothing.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    convert::Infallible,
    fs,
    hash::{Hash, Hasher},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep, timeout};

use super::fleet::{Fleet, Trigger};
use crate::config::FileContents;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// How long the files have to stay as they are before they are read: editors and `kubectl` write several.
const STILL: Duration = Duration::from_millis(300);

/// Who is still writing after so long is not waited for any more.
const NO_LONGER: Duration = Duration::from_secs(30);

/// How long a look may take; a file system that is gone answers never.
const LOOK: Duration = Duration::from_secs(30);

/// A file that changed within so long may change again without its time showing it.
const COARSE: Duration = Duration::from_secs(3);

/// What files look like, and what stands in them.
#[derive(Debug, Default)]
struct Sights(HashMap<PathBuf, Sight>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sight {
    /// Tells one file from another, and one state of it from the next; none where there is no file.
    look: Option<Look>,
    content: u64,
}

/// What can be seen without reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Reloads the configuration whenever its files have changed, while that is wanted. Each content is tried
/// once: a file that is wrong is refused once, not again and again.
pub(super) async fn watch(fleet: &Fleet) -> Infallible {
    loop {
        fleet.until_watching(true).await;
        tokio::select! {
            never = follow(fleet) => match never {},
            () = fleet.until_watching(false) => {}
        }
    }
}

async fn follow(fleet: &Fleet) -> Infallible {
    let mut sights = Sights::default();
    let mut known = None;
    loop {
        let seen;
        (sights, seen) = look(fleet, sights).await;
        match (known, seen) {
            (Some(before), Some(now)) if before != now => {
                (sights, known) = until_still(fleet, sights, now).await;
                tracing::info!("files of the configuration have changed: reloading");
                // It has told how it went.
                let _ = fleet.reload(Trigger::File).await;
                // Servos may name other files now, which is no change.
                let seen;
                (sights, seen) = look_at_the_same(fleet, sights, known).await;
                known = seen;
            }
            (None, Some(now)) => known = Some(now),
            _ => {}
        }
        sleep(EVERY).await;
    }
}

/// Waits until the files stay as they are.
async fn until_still(fleet: &Fleet, mut sights: Sights, mut seen: u64) -> (Sights, Option<u64>) {
    let began = Instant::now();
    loop {
        sleep(STILL).await;
        let now;
        (sights, now) = look(fleet, sights).await;
        match now {
            Some(now) if now != seen && began.elapsed() < NO_LONGER => seen = now,
            Some(now) => return (sights, Some(now)),
            None => return (sights, Some(seen)),
        }
    }
}

/// What the files look like after a reload, of which those that were there before looked like `before`.
async fn look_at_the_same(
    fleet: &Fleet,
    sights: Sights,
    before: Option<u64>,
) -> (Sights, Option<u64>) {
    let old: Vec<PathBuf> = sights.0.keys().cloned().collect();
    let (mut sights, then) = look_at(old, sights).await;
    if then != before {
        // Changed again meanwhile: the next look has to find a change.
        return (sights, before);
    }
    let now;
    (sights, now) = look(fleet, sights).await;
    (sights, now.or(before))
}

async fn look(fleet: &Fleet, sights: Sights) -> (Sights, Option<u64>) {
    let Some((source, referred)) = fleet.watched() else {
        return (sights, None);
    };
    let mut files = source.files();
    files.extend(referred);
    look_at(files, sights).await
}

/// A number that differs where what stands in `files` does; none where that cannot be told.
async fn look_at(files: Vec<PathBuf>, sights: Sights) -> (Sights, Option<u64>) {
    let looking = tokio::task::spawn_blocking(move || {
        let mut sights = sights;
        let seen = sights.take(files);
        (sights, seen)
    });
    match timeout(LOOK, looking).await {
        Ok(Ok((sights, seen))) => (sights, Some(seen)),
        _ => (Sights::default(), None),
    }
}

impl Sights {
    fn take(&mut self, mut files: Vec<PathBuf>) -> u64 {
        files.sort_unstable();
        files.dedup();
        let mut before = std::mem::take(&mut self.0);
        let mut hasher = DefaultHasher::new();
        for file in files {
            let look = Look::at(&file);
            let content = match before.remove(&file) {
                Some(sight) if sight.look == look && look.is_none_or(|look| look.is_settled()) => {
                    sight.content
                }
                _ => FileContents::default().of(&file),
            };
            (&file, content).hash(&mut hasher);
            self.0.insert(file, Sight { look, content });
        }
        hasher.finish()
    }
}

impl Look {
    /// Through links.
    fn at(file: &Path) -> Option<Self> {
        let metadata = fs::metadata(file).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Whether another change would show.
    fn is_settled(&self) -> bool {
        let (seconds, _) = self.modified.max(self.changed);
        let Ok(seconds) = u64::try_from(seconds) else {
            return true;
        };
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        changed.elapsed().is_ok_and(|since| since > COARSE)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_stands_in_a_file_counts_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("servo.yaml");
        let mut sights = Sights::default();
        let mut look = || sights.take(vec![file.clone()]);
        let none = look();
        fs::write(&file, "name: a").unwrap();
        let one = look();
        assert_ne!(none, one);
        assert_eq!(one, look());
        // Of the same length, within one tick of a coarse clock.
        fs::write(&file, "name: b").unwrap();
        let other = look();
        assert_ne!(one, other);
        // Replaced by one with the same content.
        let new = folder.path().join("new");
        fs::write(&new, "name: b").unwrap();
        fs::rename(&new, &file).unwrap();
        assert_eq!(other, look());
        fs::remove_file(&file).unwrap();
        assert_eq!(none, look());
    }

    #[test]
    fn links_are_followed_as_a_config_map_exchanges_them() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (version, text) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("servo.yaml"), text).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/servo.yaml", at("servo.yaml")).unwrap();
        let mut sights = Sights::default();
        let mut look = || sights.take(vec![at("servo.yaml")]);
        let one = look();
        symlink("..2", at("..new")).unwrap();
        fs::rename(at("..new"), at("..data")).unwrap();
        assert_ne!(one, look());
    }
}
