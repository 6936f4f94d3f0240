//! Process file descriptors: the one way to signal or await a process that cannot hit another one which got its number.
//!
//! Unsafe because not every C library wraps these system calls; each call passes integers (or a null pointer that the
//! kernel defines) and touches no memory of ours.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use tokio::io::unix::AsyncFd;

/// Refers to one process, whatever becomes of its number. Becomes readable when the process ends.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// A descriptor of the process that has this number now.
    ///
    /// # Errors
    /// `ESRCH`: there is none. `ENOSYS` before Linux 5.3, `EPERM` in old container sandboxes.
    pub fn open(pid: i32) -> io::Result<Self> {
        // SAFETY: takes two integers and touches no memory of ours.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(pid), 0_u64) };
        let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor (close-on-exec), nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends `signal` (0 only asks).
    ///
    /// # Errors
    /// `ESRCH`: it ended. `EPERM`: it is not ours to signal.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        // SAFETY: a null `siginfo` is allowed and means what `kill` would send; no other pointer is passed.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                libc::c_long::from(self.0.as_raw_fd()),
                libc::c_long::from(signal),
                std::ptr::null::<libc::siginfo_t>(),
                0_u64,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until the process ends, on a Tokio runtime.
    ///
    /// # Errors
    /// The descriptor cannot be awaited.
    pub async fn ended(self) -> io::Result<()> {
        // SAFETY: the descriptor is the same one, open, as long as `self` lives, and `AsyncFd` owns `self`.
        let fd = unsafe { AsyncFd::register(self) }.map_err(io::Error::other)?;
        // Readable is what it is from the end on, and not before.
        fd.readable().await.map(|_| ())
    }
}

impl AsRawFd for PidFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
