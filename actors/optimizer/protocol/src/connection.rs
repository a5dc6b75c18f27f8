//! Connection files of AppDynamics optimizers: read, awaited, and followed (`spec/optimizer-protocol.md` §2.2).

use std::{
    collections::HashMap,
    fmt, fs, io,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use serde_yaml::Value;
use tokio::sync::watch;

use crate::{AppdynamicsConnection, Credential, endpoint::parse_url};

/// A connection file holds three lines; more than this is some other file.
const MAX_BYTES: u64 = 64 * 1024;

/// The connection files of a process. Each is followed once, however many servos use it, until its last user is
/// gone. Clones are the same files.
#[derive(Clone, Default)]
pub struct ConnectionFiles {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    followed: Mutex<Followed>,
    /// Tells the follower of a file that is new to it.
    added: Condvar,
}

#[derive(Default)]
struct Followed {
    files: HashMap<PathBuf, Weak<ConnectionFile>>,
    /// Whether there is a thread.
    running: bool,
}

/// One connection file, and what it said last.
pub(crate) struct ConnectionFile {
    path: PathBuf,
    opened: tokio::time::Instant,
    content: watch::Sender<Content>,
    look: Mutex<Look>,
}

/// What a file said last.
#[derive(Clone, Default)]
pub(crate) struct Content {
    /// Counts what it has said so far.
    pub(crate) generation: u64,
    /// Nothing yet, if none.
    pub(crate) connection: Option<Arc<AppdynamicsConnection>>,
    /// What is wrong with it now.
    pub(crate) problem: Option<Arc<str>>,
}

/// When a file is looked at, and what was seen.
struct Look {
    due: Instant,
    delay: Duration,
    seen: Option<Stamp>,
    /// Seen once; believed when it is seen again.
    settling: Option<Option<Stamp>>,
}

/// Changes whenever a file is written, replaced, or a link on the way to it is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

// === impl ConnectionFiles ===

impl ConnectionFiles {
    /// The file at `path`, which need not exist yet.
    ///
    /// # Errors
    /// When there can be no thread to follow it.
    pub(crate) fn open(&self, path: &Path) -> io::Result<Arc<ConnectionFile>> {
        let mut followed = self.shared.lock();
        if let Some(file) = followed.files.get(path).and_then(Weak::upgrade) {
            return Ok(file);
        }
        let file = Arc::new(ConnectionFile {
            path: path.to_owned(),
            opened: tokio::time::Instant::now(),
            content: watch::Sender::default(),
            look: Mutex::new(Look {
                due: Instant::now(),
                delay: ConnectionFile::FIRST,
                seen: None,
                settling: None,
            }),
        });
        if !followed.running {
            let shared = self.shared.clone();
            thread::Builder::new()
                .name("connections".to_owned())
                .spawn(move || shared.follow())?;
            followed.running = true;
        }
        followed
            .files
            .insert(path.to_owned(), Arc::downgrade(&file));
        drop(followed);
        self.shared.added.notify_one();
        Ok(file)
    }
}

impl fmt::Debug for ConnectionFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let followed = self.shared.lock();
        f.debug_set().entries(followed.files.keys()).finish()
    }
}

impl Shared {
    /// Looks at each file when it is time, until there is none. Files may be on a slow disk, so this has a thread of
    /// its own; looking every second sees what watching a directory sees, on every file system.
    fn follow(&self) {
        let mut followed = self.lock();
        loop {
            followed.files.retain(|_, file| file.strong_count() > 0);
            if followed.files.is_empty() {
                followed.running = false;
                return;
            }
            let files: Vec<_> = followed.files.values().filter_map(Weak::upgrade).collect();
            drop(followed);
            let now = Instant::now();
            let next = files.iter().map(|file| file.tend(now)).min();
            drop(files);
            followed = self.lock();
            let wait = next.map_or(ConnectionFile::PERIOD, |next| {
                next.saturating_duration_since(Instant::now())
            });
            followed = self
                .added
                .wait_timeout(followed, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl ConnectionFile ===

impl ConnectionFile {
    /// How long a file may be missing, or of no use, before that is a fault of the configuration.
    pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
    /// How often a file is looked at.
    const PERIOD: Duration = Duration::from_secs(1);
    /// How soon for the second time, when there is none.
    const FIRST: Duration = Duration::from_millis(100);
    /// A change is believed once it has lasted so long: files are written in pieces.
    const SETTLE: Duration = Duration::from_millis(250);

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Counts what it has said so far.
    pub(crate) fn generation(&self) -> u64 {
        self.content.borrow().generation
    }

    /// What it said last.
    pub(crate) fn content(&self) -> Content {
        self.content.borrow().clone()
    }

    /// What it says, waiting until it says something for as long as it may take when a process starts.
    pub(crate) async fn awaited(&self) -> Content {
        let mut content = self.content.subscribe();
        let says = content.wait_for(|content| content.connection.is_some());
        match tokio::time::timeout_at(self.opened + Self::PATIENCE, says).await {
            Ok(Ok(content)) => content.clone(),
            Ok(Err(_)) | Err(_) => self.content(),
        }
    }

    /// Looks at the file if it is time. When to look again.
    fn tend(&self, now: Instant) -> Instant {
        let mut look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        if look.due > now {
            return look.due;
        }
        let stamp = fs::metadata(&self.path).ok().map(|file| Stamp::of(&file));
        let is_first = self.content.borrow().connection.is_none();
        let is_well = self.content.borrow().problem.is_none();
        let delay = if is_first {
            // Nothing can be kept, so nothing is risked by believing what is there.
            self.read(&mut look, stamp);
            let delay = look.delay;
            look.delay = (delay * 2).min(Self::PERIOD);
            delay
        } else if stamp == look.seen && (is_well || stamp.is_none()) {
            look.settling = None;
            Self::PERIOD
        } else if look.settling == Some(stamp) {
            self.read(&mut look, stamp);
            Self::PERIOD
        } else {
            look.settling = Some(stamp);
            Self::SETTLE
        };
        look.due = now + delay;
        look.due
    }

    /// Reads the file now, as when the optimizer refuses what it said. Blocks on the file system.
    pub(crate) fn read_now(&self) {
        let mut look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = fs::metadata(&self.path).ok().map(|file| Stamp::of(&file));
        if stamp == look.seen {
            return;
        }
        // What cannot be used is the follower's to tell, after it has settled.
        if let Ok(connection) = read(&self.path) {
            look.settling = None;
            look.seen = stamp;
            self.says(connection);
        }
    }

    fn read(&self, look: &mut Look, stamp: Option<Stamp>) {
        look.settling = None;
        look.seen = stamp;
        match read(&self.path) {
            Ok(connection) => self.says(connection),
            Err(problem) => self.fails(problem.into()),
        }
    }

    fn says(&self, connection: AppdynamicsConnection) {
        let (mut is_new, mut recovered) = (true, false);
        self.content.send_if_modified(|content| {
            recovered = content.problem.take().is_some();
            is_new = content
                .connection
                .as_ref()
                .is_none_or(|known| !known.same_as(&connection));
            if is_new {
                content.generation += 1;
                content.connection = Some(Arc::new(connection));
            }
            is_new || recovered
        });
        let path = self.path.display();
        let generation = self.content.borrow().generation;
        match (is_new, generation) {
            (true, 1) => tracing::info!(%path, "read the connection file"),
            (true, _) => {
                tracing::info!(%path, "the connection file has changed; using the new connection");
            }
            (false, _) if recovered => {
                tracing::info!(%path, "the connection file can be used again");
            }
            (false, _) => {}
        }
    }

    /// One warning, however long it lasts.
    fn fails(&self, problem: Arc<str>) {
        let (mut is_news, mut is_used) = (false, false);
        self.content.send_if_modified(|content| {
            is_news = content.problem.is_none();
            is_used = content.connection.is_some();
            content.problem = Some(problem.clone());
            true
        });
        let path = self.path.display();
        match (is_news, is_used) {
            (true, true) => tracing::warn!(
                %path, "the connection file cannot be used: {problem}; keeping the last connection"
            ),
            (true, false) => tracing::warn!(
                %path, "the connection file cannot be used yet: {problem}; waiting for it for {}s", Self::PATIENCE.as_secs()
            ),
            (false, _) => {}
        }
    }
}

impl fmt::Debug for ConnectionFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

impl Stamp {
    #[cfg(unix)]
    fn of(file: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

/// Reads a connection file. No problem quotes anything of its content.
fn read(path: &Path) -> Result<AppdynamicsConnection, String> {
    let told = |error: io::Error| error.to_string();
    // Opening what is no file may wait for ever.
    if !fs::metadata(path).map_err(told)?.is_file() {
        return Err("it is no file".to_owned());
    }
    let mut text = String::new();
    let file = fs::File::open(path).map_err(told)?;
    file.take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(told)?;
    if text.len() as u64 > MAX_BYTES {
        return Err("it is too large for a connection file".to_owned());
    }
    parse(&text)
}

fn parse(text: &str) -> Result<AppdynamicsConnection, String> {
    let value: Value = serde_yaml::from_str(text).map_err(|error| match error.location() {
        Some(place) => format!("it is no YAML at line {}", place.line()),
        None => "it is no YAML".to_owned(),
    })?;
    if value.is_null() {
        return Err("it is empty".to_owned());
    }
    let Value::Mapping(keys) = value else {
        return Err("it is no mapping".to_owned());
    };
    let text_of = |key: &str| match keys.get(key) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Some(Value::String(_) | Value::Null) => Err(format!("its key {key} has no value")),
        Some(_) => Err(format!("its key {key} is no text; put it in quotes")),
        None => Err(format!("its key {key} is missing")),
    };
    let connection = AppdynamicsConnection {
        authorization: text_of("Authorization")?.into(),
        endpoint: text_of("Endpoint")?,
        tenant_id: text_of("TenantId")?,
    };
    Credential::from_token(&connection.authorization)
        .map_err(|error| format!("its key Authorization: {error}"))?;
    parse_url("Endpoint", &connection.endpoint)
        .map_err(|error| format!("its key Endpoint: {error}"))?;
    if matches!(&*connection.tenant_id, "." | "..") {
        return Err("its key TenantId is no id".to_owned());
    }
    Ok(connection)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use secrecy::ExposeSecret as _;

    use super::*;

    const GOOD: &str = "Authorization: Bearer hush\nEndpoint: https://a.example/\nTenantId: t-1\n";

    #[test]
    fn three_keys_are_read_and_others_are_ignored() {
        let connection = parse(&format!("{GOOD}Other: [1]\n")).unwrap();
        assert_eq!(connection.authorization.expose_secret(), "Bearer hush");
        assert_eq!(connection.endpoint, "https://a.example/");
        assert_eq!(connection.tenant_id, "t-1");
    }

    #[test]
    fn what_is_wrong_is_told_without_quoting() {
        let without = |key: &str| {
            let lines = GOOD.lines().filter(|line| !line.starts_with(key));
            lines.collect::<Vec<_>>().join("\n")
        };
        for (text, problem) in [
            ("", "empty"),
            ("hush", "no mapping"),
            ("Authorization: \"Bearer hush", "no YAML"),
            ("Authorization: Bearer hush\nEnd", "no YAML at line"),
            (&without("Authorization"), "Authorization is missing"),
            (&without("Endpoint"), "Endpoint is missing"),
            (&without("TenantId"), "TenantId is missing"),
            (&GOOD.replace("t-1", "123"), "TenantId is no text"),
            (&GOOD.replace("t-1", ".."), "TenantId is no id"),
            (&GOOD.replace("t-1", ""), "TenantId has no value"),
            (&GOOD.replace("https:", "ftp:"), "Endpoint"),
            (&GOOD.replace("//a", "//u:hush@a"), "user name or password"),
            (&GOOD.replace("hush", "\u{fc}hush"), "non-ASCII"),
            (
                &GOOD.replace("Bearer hush", "!x [hush]"),
                "Authorization is no text",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(problem), "{text:?}: {error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]
        #[test]
        fn no_text_is_quoted_or_fatal(text in "\\PC{0,60}(hush)?[:\n \\PC]{0,40}") {
            let _ = parse(&text);
        }
    }
}
