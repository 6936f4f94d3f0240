//! The user namespace of the cluster and who is who in it.
//!
//! A process with root's capabilities maps every user it has, so that files keep their owners on the nodes. Anybody else
//! may map one user only: himself, to root of the cluster.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Gid, Uid, getegid, geteuid, getpid, pipe2};

use super::control::{During, Refusal};
use super::sys;

/// The step that fails where user namespaces are not allowed.
pub(super) const CREATE: &str = "create a user namespace";
/// The step that fails where the namespace may not be given users.
pub(super) const MAP: &str = "map users into the user namespace";

/// Puts the calling process into a new user namespace in which it is root.
///
/// # Errors
/// The kernel refuses.
pub(super) fn enter() -> Result<(), Refusal> {
    let (user, group) = (geteuid(), getegid());
    // Only a process outside can map more than one user, so it has to be there before.
    let mapper = if user.is_root() { Some(Mapper::start().during(MAP)?) } else { None };
    unshare(CloneFlags::CLONE_NEWUSER).during(CREATE)?;
    if let Some(mapper) = mapper
        && mapper.map().during(MAP)?
    {
        return Ok(());
    }
    map_self(user, group).during(MAP)
}

/// Maps the one user that an ordinary process may map.
fn map_self(user: Uid, group: Gid) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}

/// The map that gives every id of a namespace, as its own map lists them, the same number in a child namespace.
fn identity(own_map: &str) -> String {
    let mut map = String::new();
    for line in own_map.lines() {
        let mut columns = line.split_whitespace();
        if let (Some(first), Some(_), Some(length)) = (columns.next(), columns.next(), columns.next()) {
            map.push_str(&format!("{first} {first} {length}\n"));
        }
    }
    map
}

/// A forked process in the parent namespace that writes the maps when told to. It ends by itself when the process that
/// started it does.
struct Mapper {
    pid: nix::unistd::Pid,
    go: OwnedFd,
}

impl Mapper {
    fn start() -> io::Result<Self> {
        let target = getpid();
        let maps = [
            ("uid_map", identity(&fs::read_to_string("/proc/self/uid_map")?)),
            ("gid_map", identity(&fs::read_to_string("/proc/self/gid_map")?)),
        ];
        let (told, go) = pipe2(OFlag::O_CLOEXEC)?;
        let pid = sys::fork(|| {
            // With every other descriptor closed, the end of this pipe means that the other process is gone.
            if sys::close_all_but(told.as_fd()).is_err() {
                return 1;
            }
            let mut byte = [0];
            if !matches!(fs::File::from(told).read(&mut byte), Ok(1)) {
                return 1;
            }
            let written =
                maps.iter().all(|(file, map)| fs::write(format!("/proc/{target}/{file}"), map).is_ok());
            i32::from(!written)
        })?;
        Ok(Self { pid, go })
    }

    /// Lets the mapper write; false where it may not, and then nothing is mapped.
    fn map(self) -> io::Result<bool> {
        match fs::File::from(self.go).write_all(&[1]) {
            // It is gone already; how it ended says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            result => result?,
        }
        match waitpid(self.pid, None)? {
            WaitStatus::Exited(_, code) => Ok(code == 0),
            // Not a refusal: going on with one user would be another cluster than the one that was asked for.
            status => Err(io::Error::other(format!("the process that maps them was killed: {status:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_of_the_namespace_keeps_its_number() {
        assert_eq!(identity("         0          0 4294967295\n"), "0 0 4294967295\n");
        assert_eq!(
            identity("         0       1000          1\n         1     100000      65536\n"),
            "0 0 1\n1 1 65536\n"
        );
    }
}
