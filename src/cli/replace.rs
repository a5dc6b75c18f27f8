//! Files that are written as a whole or not at all.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::Failure;

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// As the system has it; an existing file keeps its mode.
    Usual,
    /// Its owner alone, whatever held before.
    Owner,
}

/// Puts `text` in place of the file at `path`: at every moment there is the old one or the new one.
/// What is no regular file, such as `/dev/stdout`, is written to.
///
/// # Errors
/// With the file's name and the cause; nothing has changed then.
pub(super) fn replace(path: &Path, text: &str, readers: Readers) -> Result<(), Failure> {
    attempt(path, text.as_bytes(), readers).map_err(|error| {
        Failure::Failed(format!(
            "Could not open file '{}': {}",
            path.display(),
            reason(&error)
        ))
    })
}

/// The cause without the number that the system gives it.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}

fn attempt(path: &Path, text: &[u8], readers: Readers) -> io::Result<()> {
    // A link stays one: what it leads to is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let existing = fs::metadata(&target).ok();
    if let Some(existing) = &existing
        && !existing.is_file()
    {
        return OpenOptions::new()
            .write(true)
            .open(&target)?
            .write_all(text);
    }
    let temporary = Temporary::beside(&target)?;
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::Usual => 0o666,
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary.0)?;
    if let (Some(existing), Readers::Usual) = (&existing, readers) {
        file.set_permissions(fs::Permissions::from_mode(existing.mode() & 0o7777))?;
    }
    if let Some(existing) = &existing {
        // Who may not give it away keeps it.
        let _ = std::os::unix::fs::fchown(&file, Some(existing.uid()), Some(existing.gid()));
    }
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&temporary.0, &target)
}

/// A file that is gone when this is dropped, unless it got its proper name.
struct Temporary(PathBuf);

impl Temporary {
    fn beside(target: &Path) -> io::Result<Self> {
        let name = target
            .file_name()
            .ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{:08x}", rand::random::<u32>()));
        Ok(Self(target.with_file_name(hidden)))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn modes_and_links_are_kept_and_nothing_is_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a");
        let link = directory.path().join("b");
        replace(&file, "1", Readers::Usual).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("a", &link).unwrap();
        replace(&link, "2", Readers::Usual).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "2");
        assert_eq!(mode(&file), 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        replace(&file, "3", Readers::Owner).unwrap();
        assert_eq!(mode(&file), 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let error = replace(Path::new("/no/such/file"), "", Readers::Usual).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Could not open file '/no/such/file': No such file or directory"
        );
        replace(Path::new("/dev/null"), "text", Readers::Usual).unwrap();
    }
}
