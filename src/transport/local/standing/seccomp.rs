//! A filter of system calls for programs that insist on `setgroups` where the kernel allows none.

use std::io;

/// How the kernel's filters know this architecture (`linux/audit.h`); none where nobody has tried.
const ARCHITECTURE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xC000_003E)
} else if cfg!(target_arch = "aarch64") {
    Some(0xC000_00B7)
} else {
    None
};

/// Offsets in `struct seccomp_data`.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Goes on where the accumulator is `k`, else skips this many statements.
fn unless_equal_skip(k: u32, skip: u8) -> libc::sock_filter {
    let code = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    libc::sock_filter { code, jt: 0, jf: skip, k }
}

/// Makes `setgroups` do nothing and succeed in the calling process and in everything it starts.
///
/// In a user namespace that maps a single user nobody may change supplementary groups, because leaving a group could
/// open what is closed to its members. A program that gives up rights it never had needs no more than to be told that all is
/// well; `sshd` does so before it reads the first byte of a stranger.
///
/// # Errors
/// The kernel has no filters, or the architecture is none of those this was made for.
pub(super) fn ignore_setgroups() -> io::Result<()> {
    let architecture = ARCHITECTURE.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::Unsupported,
            "an ordinary user's nodes run sshd on x86-64 and ARM64 only; run as root",
        )
    })?;
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let give = libc::BPF_RET | libc::BPF_K;
    let mut filter = [
        statement(load, ARCHITECTURE_AT),
        // Another architecture's numbers (a 32-bit program's) mean other calls.
        unless_equal_skip(architecture, 3),
        statement(load, NUMBER_AT),
        unless_equal_skip(libc::SYS_setgroups as u32, 1),
        // An "error" of 0 is success.
        statement(give, libc::SECCOMP_RET_ERRNO),
        statement(give, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its statements are live for the call, and the length is theirs; the kernel copies and checks them.
    let result = unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, std::ptr::from_ref(&program), 0, 0)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
