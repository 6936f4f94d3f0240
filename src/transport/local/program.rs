//! Programs that are started on a node from outside: what they get, and how they get in.

use std::convert::Infallible;
use std::ffi::{CString, NulError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, execve, fexecve, setsid};

use super::control::Program;
use super::sys;

/// Variables whose names start with these are handed on to what runs on the nodes; nothing else of the controller's
/// environment is: a proxy or a locale of the person's own must not change what a system under test does.
const HANDED_ON: [&str; 2] = ["SCHISM_", "RUST_"];
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What `exec` needs, made before the fork.
pub(super) struct Invocation {
    /// The executable of the cluster's init itself, whatever its name is.
    own: bool,
    /// Else, where the program may be.
    candidates: Vec<CString>,
    argv: Vec<CString>,
    environment: Vec<CString>,
}

impl Invocation {
    pub(super) fn new(program: &Program) -> Result<Self, io::Error> {
        let (own, argv) = match program {
            Program::Own { arguments } => {
                (true, std::iter::once("schism").chain(arguments.iter().map(String::as_str)).collect())
            }
            Program::OfNode { argv } => (false, argv.iter().map(String::as_str).collect::<Vec<_>>()),
        };
        let Some(program) = argv.first() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no program"));
        };
        let candidates = if program.contains('/') {
            vec![CString::new(*program)?]
        } else {
            PATH.split(':')
                .map(|directory| CString::new(format!("{directory}/{program}")))
                .collect::<Result<_, NulError>>()?
        };
        let mut environment: Vec<CString> =
            ["HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/sh", "LANG=C.UTF-8"]
                .into_iter()
                .map(CString::new)
                .collect::<Result<_, NulError>>()?;
        environment.push(CString::new(format!("PATH={PATH}"))?);
        for (name, value) in std::env::vars_os() {
            if HANDED_ON.iter().any(|prefix| name.as_bytes().starts_with(prefix.as_bytes())) {
                environment.push(CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())?);
            }
        }
        let argv = argv.into_iter().map(CString::new).collect::<Result<_, NulError>>()?;
        Ok(Self { own, candidates, argv, environment })
    }
}

impl Program {
    /// What to call it in a message.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Own { arguments } => arguments.first().map_or("schism", String::as_str),
            Self::OfNode { argv } => argv.first().map_or("nothing", String::as_str),
        }
    }
}

/// Becomes the program; returns only when it could not.
pub(super) fn enter_and_execute(
    inside: &OwnedFd,
    executable: &OwnedFd,
    invocation: &Invocation,
    [stdin, stdout, stderr]: &[OwnedFd; 3],
) -> io::Error {
    let execute = || -> io::Result<Infallible> {
        setns(
            inside,
            CloneFlags::CLONE_NEWNS
                | CloneFlags::CLONE_NEWNET
                | CloneFlags::CLONE_NEWUTS
                | CloneFlags::CLONE_NEWIPC,
        )?;
        setsid()?;
        umask(Mode::from_bits_truncate(0o022));
        dup2_stdin(stdin)?;
        dup2_stdout(stdout)?;
        dup2_stderr(stderr)?;
        sys::close_all_on_exec()?;
        sys::default_signals()?;
        if invocation.own {
            return Ok(fexecve(executable, &invocation.argv, &invocation.environment)?);
        }
        let mut error = Errno::ENOENT;
        for path in &invocation.candidates {
            match execve(path, &invocation.argv, &invocation.environment) {
                Ok(never) => match never {},
                // Keep looking, and remember what was wrong with the last one that was there.
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(found) => error = found,
            }
        }
        Err(error.into())
    };
    match execute() {
        Ok(never) => match never {},
        Err(error) => error,
    }
}
