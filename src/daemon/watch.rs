//! Notices that files of the configuration have changed.
//!
//! They are looked at every other second. Notices of the kernel would not come for files on NFS, nor
//! follow the links that Kubernetes exchanges when a ConfigMap changes; a look costs next to nothing.

use std::{
    collections::HashMap,
    convert::Infallible,
    fs,
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
#[derive(Clone, Debug, Default)]
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
    let mut known: Option<Sights> = None;
    loop {
        if let Some(now) = look(fleet, known.clone().unwrap_or_default()).await {
            match &known {
                Some(before) if now.differ_from(before) => {
                    let read = until_still(fleet, now).await;
                    // It tells how it goes.
                    let _ = fleet.reload(Trigger::File).await;
                    // Servos may name other files now, which is no change; what has changed meanwhile is one.
                    let after = look(fleet, read.clone()).await;
                    known = Some(after.unwrap_or_default().but_as_in(read));
                }
                _ => known = Some(now),
            }
        }
        sleep(EVERY).await;
    }
}

/// Waits until the files stay as they are.
async fn until_still(fleet: &Fleet, mut seen: Sights) -> Sights {
    let began = Instant::now();
    loop {
        sleep(STILL).await;
        match look(fleet, seen.clone()).await {
            Some(now) if now.differ_from(&seen) && began.elapsed() < NO_LONGER => seen = now,
            Some(now) => return now,
            None => return seen,
        }
    }
}

/// What all files of the configuration look like; none where that cannot be told.
async fn look(fleet: &Fleet, before: Sights) -> Option<Sights> {
    let (source, referred) = fleet.watched()?;
    let looking = tokio::task::spawn_blocking(move || {
        let mut files = source.files();
        files.extend(referred);
        before.again(files)
    });
    timeout(LOOK, looking).await.ok()?.ok()
}

impl Sights {
    /// What `files` look like now. What cannot have changed is not read again.
    fn again(&self, files: Vec<PathBuf>) -> Self {
        let sight = |file: PathBuf| {
            let look = Look::at(&file);
            let sight = match self.0.get(&file) {
                Some(sight) if sight.look == look && look.is_none_or(|look| look.is_settled()) => {
                    *sight
                }
                _ => Sight {
                    look,
                    content: FileContents::default().of(&file),
                },
            };
            (file, sight)
        };
        Self(files.into_iter().map(sight).collect())
    }

    /// Whether they are other files, or something else stands in one.
    fn differ_from(&self, before: &Self) -> bool {
        self.0.len() != before.0.len()
            || self.0.iter().any(|(file, sight)| {
                before
                    .0
                    .get(file)
                    .is_none_or(|before| before.content != sight.content)
            })
    }

    /// The same, but files that were known before as they were then.
    fn but_as_in(mut self, before: Self) -> Self {
        if self.0.is_empty() {
            return before;
        }
        for (file, sight) in before.0 {
            self.0.entry(file).and_modify(|known| *known = sight);
        }
        self
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
        let mut sights = Sights::default().again(vec![file.clone()]);
        let mut changed = || {
            let before = std::mem::take(&mut sights);
            sights = before.again(vec![file.clone()]);
            sights.differ_from(&before)
        };
        assert!(!changed());
        fs::write(&file, "name: a").unwrap();
        assert!(changed());
        assert!(!changed());
        // Of the same length, within one tick of a coarse clock.
        fs::write(&file, "name: b").unwrap();
        assert!(changed());
        // Replaced by one with the same content.
        let new = folder.path().join("new");
        fs::write(&new, "name: b").unwrap();
        fs::rename(&new, &file).unwrap();
        assert!(!changed());
        fs::remove_file(&file).unwrap();
        assert!(changed());
    }

    #[test]
    fn other_files_are_no_change_after_a_reload_but_other_contents_are() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        fs::write(&a, "one").unwrap();
        fs::write(&b, "one").unwrap();
        let read = Sights::default().again(vec![a.clone()]);
        let both = || vec![a.clone(), b.clone()];
        let known = Sights::default().again(both()).but_as_in(read.clone());
        assert!(!known.again(both()).differ_from(&known));
        fs::write(&a, "two").unwrap();
        let known = Sights::default().again(both()).but_as_in(read);
        assert!(known.again(both()).differ_from(&known));
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
        let files = || vec![at("servo.yaml")];
        let one = Sights::default().again(files());
        symlink("..2", at("..new")).unwrap();
        fs::rename(at("..new"), at("..data")).unwrap();
        assert!(one.again(files()).differ_from(&one));
    }
}
