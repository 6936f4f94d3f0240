//! Starting processes, and reaping those that come back to us as orphans.
//!
//! Every child gets a session of its own, so that neither a terminal's Ctrl-C nor the agent's end reaches it, and so that
//! it can be found with what it started.
//!
//! Unsafe because only the child itself can enter a new session, between fork and exec; see the note at the call.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::proc::{Identity, MARK, Table};
use crate::agent::protocol;

/// Children that somebody here awaits. Held while one is started, so that the reaper cannot come first. A process has one
/// set of children, hence a static.
static AWAITED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn awaited() -> MutexGuard<'static, BTreeSet<i32>> {
    AWAITED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What happens to a child when the agent dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It dies, too. Such a child must be started from a thread that lives as long as the agent: the kernel means the
    /// thread.
    Shared,
    /// It lives on.
    Own,
}

/// A child, and who it is.
pub struct Started {
    /// To await it.
    pub child: Child,
    /// To signal it.
    pub identity: Identity,
    /// To be kept until it was awaited.
    pub claim: Claim,
}

/// Keeps the reaper away from a child.
pub struct Claim(i32);

impl Drop for Claim {
    fn drop(&mut self) {
        awaited().remove(&self.0);
    }
}

/// Prepares a command: a session of its own, the mark, the working directory. Standard streams are the caller's.
///
/// # Errors
/// There is no program name, or no such directory: a sentence.
pub fn prepare(command: &protocol::Command, mark: &str, fate: Fate) -> Result<Command, String> {
    let (program, arguments) = command.argv.split_first().ok_or("the command is empty")?;
    let directory = command.directory.as_deref().unwrap_or("/");
    if !std::path::Path::new(directory).is_dir() {
        return Err(format!("cannot start `{program}`: its working directory {directory} is no directory"));
    }
    let mut prepared = Command::new(program);
    prepared.args(arguments).envs(&command.env).env(MARK, mark).current_dir(directory);
    let agent = Pid::this();
    // SAFETY: between fork and exec only async-signal-safe calls are allowed: setsid, prctl, getppid and _exit are; nothing
    // allocates.
    unsafe {
        prepared.pre_exec(move || {
            nix::unistd::setsid()?;
            if fate == Fate::Shared {
                nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
                // It may have died before the line above.
                if nix::unistd::getppid() != agent {
                    libc::_exit(1);
                }
            }
            Ok(())
        });
    }
    Ok(prepared)
}

/// Starts a prepared command. The caller awaits the child.
///
/// # Errors
/// Why it could not be started: a sentence.
pub fn start(mut command: Command) -> Result<Started, String> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let mut awaited = awaited();
    let child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("cannot start `{program}`: there is no such program on this node (neither by that path nor in PATH)")
        }
        io::ErrorKind::PermissionDenied => {
            format!("cannot start `{program}`: {error}; is the file executable, and may the agent search all of PATH?")
        }
        _ => format!("cannot start `{program}`: {error}"),
    })?;
    // Nobody has awaited it yet, so the number is its own even if it has already ended.
    let identity = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Identity::of)
        .ok_or_else(|| format!("started `{program}`, but it is not in /proc; is /proc mounted?"))?;
    awaited.insert(identity.pid);
    Ok(Started { child, identity, claim: Claim(identity.pid) })
}

/// Reaps dead processes that became our children because their own parents died. Children that somebody here awaits, and
/// children in our own session (which somebody else in this program started), are left alone.
///
/// # Errors
/// `/proc` cannot be read.
pub fn reap_orphans() -> io::Result<()> {
    let me = Pid::this();
    let session = nix::unistd::getsid(None).map_err(io::Error::from)?;
    let awaited = awaited();
    for stat in Table::read()?.iter() {
        let orphan = stat.is_dead()
            && stat.parent == me.as_raw()
            && stat.session != session.as_raw()
            && !awaited.contains(&stat.identity.pid);
        if orphan {
            match waitpid(Pid::from_raw(stat.identity.pid), Some(WaitPidFlag::WNOHANG)) {
                Ok(_) | Err(Errno::ECHILD) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
