//! Which file a command executes, by the rules of the system.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use servo_dispatch::CheckFailure;

use super::executable;
use crate::child::Launch;

/// How much of the first line of a script the kernel reads.
const LONGEST_FIRST_LINE: u64 = 256;

/// Looks for the program as the start would; blocks on files. Says where it is.
pub(super) fn found(launch: &Launch) -> Result<String, CheckFailure> {
    let program = &launch.program;
    let file = if program.contains('/') {
        named(launch)
    } else {
        searched(launch)
    }?;
    if let Some(interpreter) = interpreter(&file) {
        executable(&interpreter).map_err(|problem| {
            CheckFailure::new(format!(
                "{} wants to be run by {:?}, but: {problem}",
                file.display(),
                interpreter.display().to_string()
            ))
            .hint(
                "install that interpreter, or correct the first line of the script (which may end with nothing but a \
                 line feed)",
            )
        })?;
    }
    let file = std::path::absolute(&file).unwrap_or(file);
    Ok(file.display().to_string())
}

/// A path; a relative one begins in the working directory of the component.
fn named(launch: &Launch) -> Result<PathBuf, CheckFailure> {
    let file = based(launch, Path::new(&launch.program));
    executable(&file).map_err(|problem| {
        let hint = if file.is_file() {
            format!("make it executable: chmod +x {}", file.display())
        } else {
            "correct the program in `command`; a relative one is looked for in `cwd`".to_owned()
        };
        CheckFailure::new(format!("cannot execute {}: {problem}", file.display())).hint(hint)
    })?;
    Ok(file)
}

/// A bare name is looked for in the PATH of the component, else of Servo.
fn searched(launch: &Launch) -> Result<PathBuf, CheckFailure> {
    let program = &launch.program;
    let own = launch.environment.iter().rev();
    let path: Option<OsString> = own
        .clone()
        .find(|(name, _)| name == "PATH")
        .map(|(_, path)| path.into())
        .or_else(|| std::env::var_os("PATH"));
    let Some(path) = path else {
        return Err(
            CheckFailure::new(format!("command `{program}` not found: PATH is not set"))
                .hint("give the whole path in `command`"),
        );
    };
    let mut refused = None;
    for directory in std::env::split_paths(&path) {
        let file = based(launch, &directory).join(program);
        match executable(&file) {
            Ok(()) => return Ok(file),
            Err(problem) if file.is_file() => {
                refused.get_or_insert((file, problem));
            }
            Err(_) => {}
        }
    }
    Err(match refused {
        Some((file, problem)) => {
            CheckFailure::new(format!("cannot execute {}: {problem}", file.display()))
                .hint(format!("make it executable: chmod +x {}", file.display()))
        }
        None => CheckFailure::new(format!(
            "command `{program}` not found: it is in no directory of PATH ({})",
            path.display()
        ))
        .hint("install it, give its whole path in `command`, or set PATH under `env`"),
    })
}

/// `path` as the component sees it.
fn based(launch: &Launch, path: &Path) -> PathBuf {
    match &launch.directory {
        // An absolute path stays what it is.
        Some(directory) => directory.join(path),
        None => path.to_owned(),
    }
}

/// Who runs a script, by its first line.
fn interpreter(file: &Path) -> Option<PathBuf> {
    let mut line = Vec::new();
    File::open(file)
        .ok()?
        .take(LONGEST_FIRST_LINE)
        .read_to_end(&mut line)
        .ok()?;
    let line = line.strip_prefix(b"#!")?;
    let line = line.split(|byte| *byte == b'\n').next()?;
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let name = line.split(blank).find(|word| !word.is_empty())?;
    Some(PathBuf::from(OsString::from_vec(name.to_vec())))
}
