//! The system calls that need `unsafe`, each behind a safe function, and waiting.
//!
//! Everything here that forks is called by the cluster's init only, which never has more than one thread: no lock can be
//! held by a thread that does not exist in the child.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::socket::ControlMessageOwned;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::control::Channel;

/// Runs `child` in a forked process, which exits with the number it returns (101 where it panics).
///
/// # Errors
/// The process has several threads, or the kernel made no process.
pub(super) fn fork(child: impl FnOnce() -> i32) -> io::Result<Pid> {
    // SAFETY: the process has one thread (checked at the start of the cluster's init, which starts none), so that the
    // child may do everything the parent may. It never returns into the parent's frames: a panic ends in `_exit`.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let code = catch_unwind(AssertUnwindSafe(child)).unwrap_or(101);
            // SAFETY: ends the process; the parent's exit handlers and buffers are not the child's to run.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Takes ownership of the descriptors that came with a message.
pub(super) fn adopt(message: ControlMessageOwned) -> Vec<OwnedFd> {
    match message {
        ControlMessageOwned::ScmRights(fds) => {
            // SAFETY: the kernel has just made these descriptors for this message, and the message is consumed: nobody else
            // owns them.
            fds.into_iter().map(|fd: RawFd| unsafe { OwnedFd::from_raw_fd(fd) }).collect()
        }
        _ => Vec::new(),
    }
}

/// A descriptor that becomes readable when the process ends.
///
/// # Errors
/// No such process, or a kernel older than 5.3.
pub(super) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes two numbers; the result is checked before it is owned. The descriptor is close-on-exec.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just opened and is owned by nobody else; a descriptor fits its type.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Closes every descriptor above the standard three but `keep`.
///
/// # Errors
/// The kernel's (older than 5.9).
pub(super) fn close_all_but(keep: BorrowedFd<'_>) -> io::Result<()> {
    let keep = keep.as_raw_fd();
    let ranges = [(3, keep as u32 - 1), (keep as u32 + 1, u32::MAX)];
    for (first, last) in ranges.into_iter().filter(|(first, last)| first <= last) {
        // SAFETY: called by a child that goes on to its own loop and has leaked every owner of the descriptors that are
        // closed here: nothing of the parent's is dropped in it.
        if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Marks every descriptor above the standard three to be closed by `exec`.
///
/// # Errors
/// The kernel's (older than 5.11).
pub(super) fn close_all_on_exec() -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: sets a flag on descriptors and closes none.
    if unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, CLOSE_RANGE_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Gives the program about to be executed the signals it would have on a fresh machine: nothing blocked, nothing ignored,
/// whatever Rust's runtime, the cluster's init or whoever started the controller ignores.
///
/// # Errors
/// The kernel's.
pub(super) fn default_signals() -> io::Result<()> {
    for any in Signal::iterator().filter(|any| !matches!(any, Signal::SIGKILL | Signal::SIGSTOP)) {
        // SAFETY: a default disposition runs no code of ours.
        unsafe { signal(any, SigHandler::SigDfl) }?;
    }
    Ok(SigSet::all().thread_unblock()?)
}

/// Ignores what a terminal or a service manager sends to everything it can reach: the controller decides when a cluster ends.
///
/// # Errors
/// The kernel's.
pub(super) fn ignore_terminal_signals() -> io::Result<()> {
    for ignored in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGTERM] {
        // SAFETY: an ignored signal runs no code of ours.
        unsafe { signal(ignored, SigHandler::SigIgn) }?;
    }
    Ok(())
}

/// Collects every child that has ended.
pub(super) fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}

/// Waits until one of the descriptors is readable or has ended, and says of each whether it is.
///
/// # Errors
/// The kernel's.
pub(super) fn wait_for_any<const N: usize>(fds: [BorrowedFd<'_>; N]) -> io::Result<[bool; N]> {
    let mut fds = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    loop {
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            result => {
                result?;
                return Ok(fds.map(|fd| fd.any().unwrap_or(true)));
            }
        }
    }
}

/// Whether a descriptor is readable now; for one that stands for a process, whether that has ended.
///
/// # Errors
/// The kernel's.
pub(super) fn is_readable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO)? > 0)
}

/// `struct mount_attr` of `mount_setattr(2)`.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

const MOUNT_ATTR_RDONLY: u64 = 1;
const AT_RECURSIVE: libc::c_int = 0x8000;

fn mount_setattr(target: BorrowedFd<'_>, attributes: &MountAttributes) -> io::Result<()> {
    // SAFETY: the path is an empty C string (the descriptor is the target) and the attributes are live for the length given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            target.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | AT_RECURSIVE,
            std::ptr::from_ref(attributes),
            size_of::<MountAttributes>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes the mount that `target` is the root of read-only or writable, with all mounts below it.
///
/// # Errors
/// The kernel's (older than 5.12, or `target` is not the root of a mount).
pub(super) fn set_read_only(target: impl AsFd, read_only: bool) -> io::Result<()> {
    let (set, clear) = if read_only { (MOUNT_ATTR_RDONLY, 0) } else { (0, MOUNT_ATTR_RDONLY) };
    mount_setattr(target.as_fd(), &MountAttributes { set, clear, propagation: 0, userns_fd: 0 })
}

/// Owns one descriptor, which stays the same as long as it lives.
pub(super) trait Owner: AsRawFd {}
impl Owner for OwnedFd {}
impl Owner for Channel {}

/// Has the runtime watch a descriptor. Must be called within one.
///
/// # Errors
/// The kernel cannot watch it.
pub(super) fn watched<T: Owner>(owner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: an owner's descriptor is valid and the same until it is dropped, which `AsyncFd` does after it has stopped
    // watching.
    Ok(unsafe { AsyncFd::register_with_interest(owner, interest) }?)
}
