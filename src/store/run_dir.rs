//! One run's directory.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A directory or file of the run that could not be made or read.
#[derive(Debug, thiserror::Error)]
#[error("{action} {}: {source}{}", path.display(), hint(source))]
pub struct StoreError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl StoreError {
    /// `action` is a verb in the infinitive: `cannot write`.
    pub fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_owned(), source }
    }

    /// Whether the disk under the run directory is full.
    pub fn is_full(&self) -> bool {
        self.source.kind() == io::ErrorKind::StorageFull
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => "; free some space, or choose another place with --runs DIR",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; choose another place with --runs DIR"
        }
        _ => "",
    }
}

/// The directory of one run.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes `runs/<name>/<time>` (UTC, with a suffix where two runs start in one second) and points `runs/latest` at it.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn create(runs: &Path, name: &str) -> Result<Self, StoreError> {
        let parent = runs.join(slug(name));
        fs::create_dir_all(&parent).map_err(|source| StoreError::new("cannot make", &parent, source))?;
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        for attempt in 0_u32.. {
            let leaf = if attempt == 0 { time.clone() } else { format!("{time}-{attempt}") };
            let path = parent.join(leaf);
            match fs::create_dir(&path) {
                Ok(()) => {
                    let made = Self { path };
                    made.point_latest(runs)?;
                    return Ok(made);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 10_000 => {}
                Err(source) => return Err(StoreError::new("cannot make", &path, source)),
            }
        }
        unreachable!("the loop returns")
    }

    /// An existing run: its directory, or a link to it such as `runs/latest`.
    ///
    /// # Errors
    /// There is no such directory, or it holds no history.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let real = fs::canonicalize(path).map_err(|source| StoreError::new("cannot open", path, source))?;
        Ok(Self { path: real })
    }

    /// Replaces the link in one step, so that a reader never finds it missing.
    fn point_latest(&self, runs: &Path) -> Result<(), StoreError> {
        let link = runs.join("latest");
        let target = self.path.strip_prefix(runs).unwrap_or(&self.path);
        let fresh = runs.join(format!(".latest-{}", std::process::id()));
        let replaced = fs::remove_file(&fresh).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        });
        replaced
            .and_then(|()| symlink(target, &fresh))
            .and_then(|()| fs::rename(&fresh, &link))
            .map_err(|source| StoreError::new("cannot link", &link, source))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `history.jsonl`.
    pub fn history(&self) -> PathBuf {
        self.path.join("history.jsonl")
    }

    /// `plan.json`.
    pub fn plan(&self) -> PathBuf {
        self.path.join("plan.json")
    }

    /// `results.json`.
    pub fn results(&self) -> PathBuf {
        self.path.join("results.json")
    }

    /// `report.html`.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// `junit.xml`.
    pub fn junit(&self) -> PathBuf {
        self.path.join("junit.xml")
    }

    /// `test.yaml`.
    pub fn test(&self) -> PathBuf {
        self.path.join("test.yaml")
    }

    /// `schism.log`.
    pub fn log(&self) -> PathBuf {
        self.path.join("schism.log")
    }

    /// `nodes/<node>/`, made where it is missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn node(&self, node: &str) -> Result<PathBuf, StoreError> {
        let path = self.path.join("nodes").join(node);
        fs::create_dir_all(&path).map_err(|source| StoreError::new("cannot make", &path, source))?;
        Ok(path)
    }

    /// Writes a whole file so that a reader sees the old content or the new, never half of it.
    ///
    /// # Errors
    /// It cannot be written; a full disk is told apart by [`StoreError::is_full`].
    pub fn write(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let done = fs::write(&partial, content).and_then(|()| fs::rename(&partial, path));
        done.map_err(|source| {
            // The half-written file is of no use to anybody, least of all on a full disk.
            let _ = fs::remove_file(&partial);
            StoreError::new("cannot write", path, source)
        })
    }
}

/// A file name out of a test's name: lower case, words joined by single hyphens.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for character in name.chars() {
        if character.is_ascii_alphanumeric() {
            slug.push(character.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug: String = slug.trim_end_matches('-').chars().take(80).collect();
    if slug.is_empty() || slug == "latest" {
        format!("test-{slug}").trim_end_matches('-').to_owned()
    } else {
        slug
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_in_one_second_do_not_meet_and_latest_is_the_newest() {
        let runs = tempfile::tempdir().unwrap();
        let first = RunDir::create(runs.path(), "etcd survives: partitions!").unwrap();
        let second = RunDir::create(runs.path(), "etcd survives: partitions!").unwrap();
        assert_ne!(first.path(), second.path());
        assert!(first.path().starts_with(runs.path().join("etcd-survives-partitions")));
        let latest = RunDir::open(&runs.path().join("latest")).unwrap();
        assert_eq!(latest.path(), fs::canonicalize(second.path()).unwrap());
    }

    #[test]
    fn a_name_cannot_leave_the_runs_directory() {
        for (name, expected) in [("../../etc", "etc"), ("latest", "test-latest"), ("", "test"), ("é", "test")]
        {
            assert_eq!(slug(name), expected, "{name}");
        }
    }

    #[test]
    fn a_full_disk_is_told_apart() {
        let error =
            StoreError::new("cannot write", Path::new("x"), io::Error::from_raw_os_error(libc::ENOSPC));
        assert!(error.is_full());
        assert!(error.to_string().contains("--runs DIR"), "{error}");
    }
}
