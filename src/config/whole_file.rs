//! Files that are read whole: within a limit of their length and, what is no regular file, of time.
//!
//! A pipe, as of `<(...)` in a shell, is as good as a file once its other end is closed. One that
//! nobody ever writes to or closes must not hold up the program: opening and reading never wait for
//! longer than they are told to.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
    io::Errno,
};

/// How long the other end of a pipe may take to send everything and close it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that are read from a pipe at a time.
const PIECE: usize = 64 * 1024;

/// What stands in `file`, of which no more than `largest` bytes may be.
///
/// # Errors
/// When it cannot be read, is larger, or is a pipe that is not closed within 10 s.
pub(crate) fn read(file: &Path, largest: u64) -> io::Result<Vec<u8>> {
    within(file, largest, PATIENCE)
}

/// As [`read`], of text.
///
/// # Errors
/// As [`read`]; when it is not UTF-8, with the line where it ends to be.
pub(crate) fn read_text(file: &Path, largest: u64) -> io::Result<String> {
    text(read(file, largest)?)
}

/// The text that `bytes` are.
///
/// # Errors
/// When they are not UTF-8, with the line where they end to be.
pub(super) fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to());
        let breaks = before.unwrap_or_default().iter().filter(|b| **b == b'\n');
        let line = breaks.count() + 1;
        io::Error::other(format!("it is not UTF-8 text (line {line})"))
    })
}

/// That something has more than `largest` bytes.
pub(super) fn too_large(largest: u64) -> io::Error {
    let size = match (largest / 1024, largest / 1024 / 1024) {
        (kib, 0) => format!("{kib} KiB"),
        (_, mib) => format!("{mib} MiB"),
    };
    io::Error::other(format!("it is larger than {size}"))
}

fn within(file: &Path, largest: u64, patience: Duration) -> io::Result<Vec<u8>> {
    // Without this flag opening a pipe waits for its other end; regular files do not care.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(file)?;
    let kind = opened.metadata()?.file_type();
    if kind.is_dir() {
        return Err(Errno::ISDIR.into());
    }
    let bytes = if kind.is_file() {
        let mut bytes = Vec::new();
        opened.take(largest + 1).read_to_end(&mut bytes)?;
        bytes
    } else {
        drain(opened, largest + 1, patience)?
    };
    if bytes.len() as u64 > largest {
        return Err(too_large(largest));
    }
    Ok(bytes)
}

/// At most `most` bytes of what is no regular file.
fn drain(mut pipe: File, most: u64, patience: Duration) -> io::Result<Vec<u8>> {
    let until = Instant::now() + patience;
    let mut bytes = Vec::new();
    let mut piece = vec![0; PIECE];
    while (bytes.len() as u64) < most {
        if !wait(&pipe, until)? {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!(
                    "it is no regular file, and whoever writes to it has not come to an end within {patience:?}"
                ),
            ));
        }
        match pipe.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(piece.get(..n).unwrap_or_default()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// Waits until there is something to read, or until nothing more will come; false when it is too late.
fn wait(pipe: &File, until: Instant) -> io::Result<bool> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, io::Write, thread};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn pipe(folder: &Path) -> std::path::PathBuf {
        let file = folder.join("pipe");
        mknodat(CWD, &file, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        file
    }

    #[test]
    fn files_and_their_ends() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "12345").unwrap();
        assert_eq!(read(&file, 5).unwrap(), b"12345");
        let error = read(&file, 4).unwrap_err().to_string();
        assert!(error.contains("larger than"), "{error}");
        let error = read_text(&folder.path().join("none"), 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(read(folder.path(), 4).is_err());
        fs::write(&file, b"a\n\xff").unwrap();
        let error = read_text(&file, 5).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_pipe_is_read_to_its_end_however_many_pieces_it_comes_in() {
        let folder = tempfile::tempdir().unwrap();
        let file = pipe(folder.path());
        let writer = {
            let file = file.clone();
            thread::spawn(move || {
                let mut pipe = OpenOptions::new().write(true).open(file).unwrap();
                for _ in 0..3 {
                    pipe.write_all(&vec![b'x'; 100_000]).unwrap();
                }
            })
        };
        assert_eq!(read(&file, 1_000_000).unwrap().len(), 300_000);
        writer.join().unwrap();
    }

    #[test]
    fn a_pipe_that_nobody_closes_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = pipe(folder.path());
        let soon = Duration::from_millis(50);
        let refused = || within(&file, 100, soon).unwrap_err().to_string();
        assert!(refused().contains("no regular file"), "nobody writes");
        // Opened for both, it has a writer that writes something and stays.
        let mut both = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&file)
            .unwrap();
        both.write_all(b"name: a").unwrap();
        assert!(refused().contains("no regular file"), "nobody closes");
        let endless = within(Path::new("/dev/zero"), 100, soon).unwrap_err();
        assert!(endless.to_string().contains("larger than"), "{endless}");
    }
}
