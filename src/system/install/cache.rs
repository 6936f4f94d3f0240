//! The cache of unpacked packages.
//!
//! `packages/<name>_<version>_<architecture>` (several packages: joined by `__`) holds the files of a package and is only
//! ever made by renaming a finished directory, so it is complete or not there. Work in progress is in `packages/.work-*`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::version;

/// The cache.
pub(super) struct Cache {
    directory: PathBuf,
}

/// A directory for work in progress, gone when dropped.
pub(super) struct Work {
    directory: PathBuf,
}

/// One of the packages in a cached directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) package: String,
    pub(super) version: String,
    pub(super) architecture: String,
}

/// Work this old belongs to nobody any more.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Identity {
    /// As in the names of package files. A colon, which separates an epoch, would separate paths in `PATH`.
    fn file_name(&self) -> String {
        format!("{}_{}_{}", self.package, self.version.replace(':', "%3a"), self.architecture)
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('_');
        let (package, version, architecture) = (parts.next()?, parts.next()?, parts.next()?);
        let none_left = parts.next().is_none();
        none_left.then(|| Self {
            package: package.to_owned(),
            version: version.replace("%3a", ":"),
            architecture: architecture.to_owned(),
        })
    }
}

impl Cache {
    /// Opens the cache, making it where needed.
    pub(super) fn open(cache: &Path) -> std::io::Result<Self> {
        let directory = cache.join("packages");
        std::fs::create_dir_all(&directory)?;
        // Nodes see what is exposed to them at its real path.
        let cache = Self { directory: directory.canonicalize()? };
        cache.sweep();
        Ok(cache)
    }

    /// Removes work that was abandoned long ago: by a process that was killed. Failing to is no harm.
    fn sweep(&self) {
        for entry in std::fs::read_dir(&self.directory).into_iter().flatten().filter_map(Result::ok) {
            let is_work = entry.file_name().to_string_lossy().starts_with(".work-");
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
            if is_work && age.is_some_and(|age| age > ABANDONED_AFTER) {
                _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    fn path(&self, packages: &[Identity]) -> PathBuf {
        self.directory.join(packages.iter().map(Identity::file_name).collect::<Vec<_>>().join("__"))
    }

    /// Just these packages, if they are there.
    pub(super) fn exactly(&self, packages: &[Identity]) -> Option<PathBuf> {
        Some(self.path(packages)).filter(|path| path.is_dir())
    }

    /// Packages of these names, with the version wanted of the first one; the newest there is.
    pub(super) fn any(&self, packages: &[String], wanted: Option<&str>) -> Option<(PathBuf, String)> {
        let entries = std::fs::read_dir(&self.directory).ok()?.filter_map(Result::ok);
        let mut fitting: Vec<(String, PathBuf)> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let identities: Vec<Identity> =
                    name.split("__").map(Identity::parse).collect::<Option<_>>()?;
                let same = identities.iter().map(|identity| &identity.package).eq(packages);
                let version = identities.into_iter().next()?.version;
                let fits = wanted.is_none_or(|wanted| version::matches(&version, wanted));
                (same && fits && entry.path().is_dir()).then(|| (version, entry.path()))
            })
            .collect();
        fitting.sort_by(|(one, at), (other, other_at)| {
            version::compare(one, other).then_with(|| at.cmp(other_at))
        });
        fitting.pop().map(|(version, path)| (path, version))
    }

    /// A fresh directory for work in progress.
    pub(super) fn work(&self) -> std::io::Result<Work> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = self.directory.join(format!(".work-{}-{number}", std::process::id()));
        // Left by a process of the same number, long ago.
        if directory.exists() {
            std::fs::remove_dir_all(&directory)?;
        }
        std::fs::create_dir(&directory)?;
        Ok(Work { directory })
    }

    /// Puts a finished directory into its place. Where another process was faster, its work is as good.
    pub(super) fn keep(&self, finished: &Path, packages: &[Identity]) -> std::io::Result<PathBuf> {
        let path = self.path(packages);
        match std::fs::rename(finished, &path) {
            Err(_) if path.is_dir() => Ok(path),
            Err(error) => Err(error),
            Ok(()) => Ok(path),
        }
    }
}

impl Work {
    pub(super) fn path(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn etcd(version: &str) -> Identity {
        Identity {
            package: "etcd-server".to_owned(),
            version: version.to_owned(),
            architecture: "amd64".to_owned(),
        }
    }

    #[test]
    fn keeps_whole_directories_and_finds_the_newest() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let names = ["etcd-server".to_owned()];
        assert_eq!(cache.any(&names, None), None);
        for version in ["3.4.9-1", "1:3.4.23-4", "3.5.1-1"] {
            let work = cache.work().unwrap();
            let finished = work.path().join("root");
            std::fs::create_dir(&finished).unwrap();
            std::fs::write(finished.join("file"), version).unwrap();
            let kept = cache.keep(&finished, &[etcd(version)]).unwrap();
            assert_eq!(cache.exactly(&[etcd(version)]), Some(kept));
        }
        assert_eq!(cache.any(&names, None).unwrap().1, "3.5.1-1");
        let (path, version) = cache.any(&names, Some("3.4")).unwrap();
        assert_eq!(version, "1:3.4.23-4");
        assert!(!path.to_string_lossy().contains(':'), "{path:?}");
        assert_eq!(cache.any(&names, Some("3.6")), None);
        assert_eq!(cache.any(&["etcd".to_owned()], None), None);
        let left: Vec<_> = std::fs::read_dir(directory.path().join("packages")).unwrap().collect();
        assert_eq!(left.len(), 3, "no work is left: {left:?}");
    }

    #[test]
    fn whoever_comes_second_takes_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        for content in ["first", "second"] {
            let work = cache.work().unwrap();
            let finished = work.path().join("root");
            std::fs::create_dir(&finished).unwrap();
            std::fs::write(finished.join("file"), content).unwrap();
            let kept = cache.keep(&finished, &[etcd("1.0")]).unwrap();
            assert_eq!(std::fs::read_to_string(kept.join("file")).unwrap(), "first");
        }
    }
}
