//! Which servos run, with which configuration.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::config::{FileContents, Fingerprint, ReferredFiles, ServoConfig, optimizer_identity};

/// The servos that run, by their names.
#[derive(Debug, Default)]
pub(super) struct Members(Mutex<BTreeMap<Arc<str>, Member>>);

/// A servo that runs, or is to run.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) config: Arc<ServoConfig>,
    pub(super) fingerprint: Fingerprint,
    /// The files that its configuration names.
    pub(super) files: Arc<ReferredFiles>,
    pub(super) from: From,
}

/// Where the configuration of a servo is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// The configuration's files.
    Files,
    /// Somebody has added it while the program runs.
    Api,
}

/// Makes members of configurations, reading what these name. Blocks.
pub(super) struct Examiner<'a> {
    pub(super) directory: PathBuf,
    /// Of an unchanged document the files need not be looked for.
    pub(super) known: &'a BTreeMap<Arc<str>, Member>,
    pub(super) contents: FileContents,
    /// Most servos name none.
    pub(super) none: Arc<ReferredFiles>,
}

impl Examiner<'_> {
    fn files(&self, config: &ServoConfig) -> Arc<ReferredFiles> {
        let files = ReferredFiles::of(config, &self.directory);
        if files == *self.none {
            self.none.clone()
        } else {
            Arc::new(files)
        }
    }

    pub(super) fn member(&mut self, config: ServoConfig, from: From) -> Member {
        let known = self.known.get(&config.name);
        let same = known.filter(|known| known.fingerprint.is_of_same_document(&config));
        let files = match same {
            Some(known) => known.files.clone(),
            None => self.files(&config),
        };
        let fingerprint = Fingerprint::of(&config, &files, &mut self.contents);
        let config = match same {
            Some(known) if known.fingerprint == fingerprint => known.config.clone(),
            _ => Arc::new(config),
        };
        Member {
            config,
            fingerprint,
            files,
            from,
        }
    }
}

impl Members {
    pub(super) fn snapshot(&self) -> BTreeMap<Arc<str>, Member> {
        self.lock().clone()
    }

    pub(super) fn get(&self, name: &str) -> Option<Member> {
        self.lock().get(name).cloned()
    }

    pub(super) fn insert(&self, member: Member) {
        self.lock().insert(member.config.name.clone(), member);
    }

    pub(super) fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn configurations(&self) -> Vec<Arc<ServoConfig>> {
        self.lock().values().map(|m| m.config.clone()).collect()
    }

    /// The files that the configurations name, each once.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let members = self.lock();
        let files: BTreeSet<&Path> = members.values().flat_map(|m| m.files.iter()).collect();
        files.into_iter().map(Path::to_owned).collect()
    }

    /// Tells one configuration of all from another.
    pub(super) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (name, member) in &*self.lock() {
            (name, member.fingerprint).hash(&mut hasher);
        }
        hasher.finish()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Member>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why one of `new` cannot run beside those of `others` that it does not replace: each servo needs an
/// optimizer of its own.
pub(super) fn shared_optimizer<'a>(
    others: impl IntoIterator<Item = &'a Member>,
    new: impl IntoIterator<Item = &'a Member>,
) -> Option<String> {
    let mut owners: HashMap<String, &Arc<str>> = HashMap::new();
    for member in others.into_iter().chain(new) {
        let Some(identity) = optimizer_identity(&member.config) else {
            continue;
        };
        let name = &member.config.name;
        if let Some(owner) = owners.insert(identity.clone(), name) {
            return Some(format!(
                "servo \"{name}\" has the optimizer {identity}, and servo \"{owner}\" has it too: each servo needs its own"
            ));
        }
    }
    None
}
