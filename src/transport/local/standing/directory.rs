//! The directory of a standing cluster.
//!
//! The supervisor holds a lock on the file that says who it is, as long as it lives. So a directory whose lock is free
//! belongs to a cluster that is gone, whatever else is in it: the supervisor was killed, or the machine restarted.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::super::{TransportError, failed};

/// Who holds the directory; locked as long as he does.
pub(super) const HOLDER: &str = "supervisor.json";
/// What the supervisor has to say.
pub(super) const LOG: &str = "supervisor.log";
/// Where commands reach the supervisor.
pub(super) const SOCKET: &str = "control";
/// The configuration for `ssh -F`.
pub(super) const SSH_CONFIG: &str = "ssh_config";
/// The nodes' public keys.
pub(super) const KNOWN_HOSTS: &str = "known_hosts";
/// The key by which a person gets onto the nodes; the public one has `.pub`.
pub(super) const CLIENT_KEY: &str = "id_ed25519";
/// Everything that a cluster may have in its directory. Directories of ours are removed with what is in them.
const OURS: [&str; 9] =
    [SOCKET, SSH_CONFIG, KNOWN_HOSTS, CLIENT_KEY, "id_ed25519.pub", HOST_KEYS, LOGS, LOG, HOLDER];
/// The nodes' keys.
pub(super) const HOST_KEYS: &str = "host-keys";
/// What the cluster's init and the nodes' `sshd` have to say.
pub(super) const LOGS: &str = "logs";

/// Who holds a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holder {
    /// The supervisor.
    pub pid: i32,
    /// The machine's boot that it belongs to.
    pub boot: String,
    /// In the environment of the supervisor, of the cluster's init and of every node's.
    pub mark: String,
    /// Whether the directory was made for this cluster, and goes with it.
    pub made: bool,
}

/// Its lock.
pub(super) type Held = Flock<File>;

/// The directory.
#[derive(Clone, Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    /// The directory at `path`, made if it is not there; the second value says whether it was made.
    pub(super) fn make(path: &Path) -> Result<(Self, bool), TransportError> {
        let step = || format!("make the directory {}", path.display());
        let made = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).map_err(failed(step()))?;
                }
                match DirBuilder::new().mode(0o700).create(path) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
                    result => result.map(|()| true).map_err(failed(step()))?,
                }
            }
            _ => false,
        };
        let directory = Self::open(path)?;
        let refuse = |reason: String| Err(TransportError { step: step(), reason });
        let metadata = fs::metadata(directory.path()).map_err(failed(step()))?;
        if metadata.uid() != nix::unistd::geteuid().as_raw() {
            return refuse("it belongs to another user; choose another with --dir".to_owned());
        }
        for entry in fs::read_dir(directory.path()).map_err(failed(step()))? {
            let name = entry.map_err(failed(step()))?.file_name();
            if !OURS.iter().any(|ours| name == *ours) {
                return refuse(format!(
                    "there is {name:?} in it, which is not of a cluster; choose an empty one with --dir"
                ));
            }
        }
        // The key of the nodes' root is in it.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).map_err(failed(step()))?;
        Ok((directory, made))
    }

    /// A directory that is there.
    pub(super) fn open(path: &Path) -> Result<Self, TransportError> {
        let step = || format!("open {}", path.display());
        match fs::canonicalize(path) {
            Ok(path) if path.is_dir() => Ok(Self(path)),
            Ok(_) => Err(TransportError { step: step(), reason: "it is not a directory".to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(TransportError {
                step: step(),
                reason: "there is no such directory: no local nodes are up there (`schism nodes up --ssh 5` brings some up, \
                         --dir says where)"
                    .to_owned(),
            }),
            Err(error) => Err(failed(step())(error)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Takes the lock; `None` where a living supervisor, or a command that cleans up, has it.
    pub(super) fn hold(&self) -> io::Result<Option<Held>> {
        loop {
            let path = self.file(HOLDER);
            let file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
            let held = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(held) => held,
                Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Ok(None),
                Err((_, error)) => return Err(error.into()),
            };
            // Whoever held it before may have removed the file: then this lock keeps nobody away.
            match fs::metadata(&path) {
                Ok(now) if now.ino() == held.metadata()?.ino() => return Ok(Some(held)),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }

    /// Who holds the directory, or held it last; `None` where nobody ever did.
    pub(super) fn holder(&self) -> io::Result<Option<Holder>> {
        match fs::read(self.file(HOLDER)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes everything of a cluster but the lock and the log. Whoever calls it holds the lock.
    pub(super) fn clear(&self) -> io::Result<()> {
        for name in OURS.into_iter().filter(|name| *name != HOLDER && *name != LOG) {
            remove(&self.file(name))?;
        }
        Ok(())
    }

    /// Removes everything of a cluster, and the directory where it was made for it. Whoever calls it holds the lock, and
    /// gives it up.
    pub(super) fn remove(&self, held: Held, made: bool) -> io::Result<()> {
        self.clear()?;
        remove(&self.file(LOG))?;
        remove(&self.file(HOLDER))?;
        drop(held);
        self.unmake(made);
        Ok(())
    }

    /// Removes the directory if it was made for a cluster and nothing is in it.
    pub(super) fn unmake(&self, made: bool) {
        if made {
            // Something else in it is a person's, or another cluster's that is just coming up.
            let _ = fs::remove_dir(&self.0);
        }
    }

    /// Names of a cluster's files that are there.
    pub(super) fn rest(&self) -> Vec<&'static str> {
        OURS.into_iter().filter(|name| self.file(name).symlink_metadata().is_ok()).collect()
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

impl Holder {
    /// What the holder's file says, read through the lock.
    pub(super) fn read(held: &Held) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        let mut file: &File = held;
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok(serde_json::from_slice(&bytes).ok())
    }

    /// Writes who holds the directory.
    pub(super) fn write(&self, held: &Held) -> io::Result<()> {
        let mut file: &File = held;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(&serde_json::to_vec(self)?)
    }

    /// What to say of a cluster whose lock is free.
    pub(super) fn gone(&self) -> &'static str {
        if boot().is_ok_and(|boot| boot == self.boot) {
            "its supervisor was killed, and the cluster ended with it"
        } else {
            "the machine was restarted since, and the cluster ended with it"
        }
    }
}

/// The machine's boot.
pub(super) fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder() -> Holder {
        Holder { pid: 1, boot: boot().unwrap(), mark: "x".into(), made: true }
    }

    #[test]
    fn one_at_a_time_holds_it_and_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/b");
        let (directory, made) = Directory::make(&path).unwrap();
        assert!(made);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        let held = directory.hold().unwrap().unwrap();
        holder().write(&held).unwrap();
        assert!(directory.hold().unwrap().is_none());
        assert_eq!(directory.holder().unwrap(), Some(holder()));
        for name in [LOG, SOCKET] {
            fs::write(directory.file(name), "x").unwrap();
        }
        fs::create_dir_all(directory.file(LOGS).join("n1")).unwrap();
        directory.remove(held, made).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn what_is_not_ours_is_refused_and_kept() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("thesis.tex"), "x").unwrap();
        let error = Directory::make(place.path()).unwrap_err();
        assert!(error.reason.contains("\"thesis.tex\""), "{error}");
        fs::remove_file(place.path().join("thesis.tex")).unwrap();
        let (directory, made) = Directory::make(place.path()).unwrap();
        assert!(!made);
        directory.remove(directory.hold().unwrap().unwrap(), made).unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_of_an_earlier_boot_says_so() {
        assert!(holder().gone().contains("was killed"));
        let earlier = Holder { boot: "another".into(), ..holder() };
        assert!(earlier.gone().contains("machine was restarted"));
    }
}
