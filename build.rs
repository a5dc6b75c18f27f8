//! Tells the program from which commit it is built, and when, as far as that can be known
//! (`servo version --verbose`).
//!
//! `SERVO_BUILD_COMMIT` names the commit where the repository is not at hand, as in an image that is
//! built from an archive. Else a release asks git's own files. Other builds do not, so that a
//! commit does not make everything be built again. `SOURCE_DATE_EPOCH` is the time of the build
//! where builds have to be reproducible.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for variable in ["SERVO_BUILD_COMMIT", "SOURCE_DATE_EPOCH"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let said = |variable: &str| env::var(variable).ok().filter(|value| !value.is_empty());
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit =
        said("SERVO_BUILD_COMMIT").or_else(|| is_release.then(commit_of_repository).flatten());
    if let Some(commit) = commit.filter(|commit| !commit.contains(char::is_whitespace)) {
        println!("cargo:rustc-env=SERVO_COMMIT={commit}");
    }
    let now = || {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    };
    let built = said("SOURCE_DATE_EPOCH")
        .and_then(|seconds| seconds.parse::<u64>().ok())
        .unwrap_or_else(now);
    println!("cargo:rustc-env=SERVO_BUILT={built}");
    if let Ok(target) = env::var("TARGET") {
        println!("cargo:rustc-env=SERVO_TARGET={target}");
    }
}

/// The commit that is checked out, if there is a repository around the sources.
fn commit_of_repository() -> Option<String> {
    let sources = PathBuf::from(env::var("CARGO_MANIFEST_DIR").ok()?);
    let git = directory_of(&sources.join(".git"))?;
    let head = read(&git.join("HEAD"))?;
    // Changes with each commit, wherever the branch is kept.
    read(&git.join("logs").join("HEAD"));
    let Some(name) = head.strip_prefix("ref: ") else {
        return Some(head);
    };
    // A linked work tree has a HEAD of its own, and shares the branches.
    let common = match read(&git.join("commondir")) {
        Some(common) => git.join(common),
        None => git,
    };
    read(&common.join(name)).or_else(|| {
        let packed = read(&common.join("packed-refs"))?;
        let line = packed.lines().find(|line| line.ends_with(name))?;
        let (commit, found) = line.split_once(' ')?;
        (found == name).then(|| commit.to_owned())
    })
}

/// A `.git` that is a file names the directory.
fn directory_of(git: &Path) -> Option<PathBuf> {
    if git.is_dir() {
        return Some(git.to_owned());
    }
    let directory = read(git)?;
    Some(git.parent()?.join(directory.strip_prefix("gitdir: ")?))
}

/// The text of a file that exists; when it changes, the answer does.
fn read(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    println!("cargo:rerun-if-changed={}", file.display());
    Some(text.trim().to_owned())
}
