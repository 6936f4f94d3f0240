//! The cluster's init: the process that holds the cluster's namespaces, and whose end is the cluster's end.
//!
//! It is one executable in three roles. The *outer* process stays among the machine's processes, makes the namespaces and
//! watches the controller. The *inner* process is the first of the cluster's process namespace: it makes the network and the
//! file systems, boots the nodes and serves the controller (`cluster`). A *node's init* is the first process of a node's
//! process namespace (`node_init`).
//!
//! When the controller is gone the channel to it ends, and the inner process ends: the kernel kills every process of the
//! cluster, and the namespaces vanish with what is in them. So nothing has to be cleaned up, however the controller died.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{SockType, getsockopt, sockopt};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, dup2_stdin, getpid, getppid};

use super::cluster::Cluster;
use super::control::{Answered, Asked, Channel, During, Refusal, Request};
use super::{id_map, sys};

/// The step that fails where a user namespace gives no rights (Ubuntu's AppArmor).
pub(super) const NAMESPACES: &str = "create the cluster's namespaces";
/// `schism cluster-init`: brings a cluster up for the controller at the other end of stdin, and holds it.
pub fn cluster_init_main() -> ExitCode {
    let channel = match take_stdin() {
        Ok(channel) => channel,
        Err(error) => {
            eprintln!("schism cluster-init is started by schism itself, not by hand: {error}");
            return ExitCode::from(2);
        }
    };
    match outer(channel) {
        Ok(()) => ExitCode::SUCCESS,
        Err(()) => ExitCode::from(5),
    }
}

/// The channel that is stdin; `/dev/null` takes its place.
fn take_stdin() -> io::Result<Channel> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("it needs a process with a single thread"));
    }
    let stdin = io::stdin().as_fd().try_clone_to_owned()?;
    let kind =
        getsockopt(&stdin, sockopt::SockType).map_err(|_| io::Error::other("stdin is not the controller"))?;
    if kind != SockType::SeqPacket {
        return Err(io::Error::other("stdin is not the controller"));
    }
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(Channel::from(stdin))
}

/// What the controller wants brought up.
struct Begin {
    /// The question that the answer "ready" belongs to.
    id: u64,
    nodes: usize,
    expose: Vec<PathBuf>,
    controller: i32,
}

/// The outer process. It has told the controller before it returns an error.
fn outer(channel: Channel) -> Result<(), ()> {
    let begin = match channel.receive::<Asked>() {
        Ok(Some((Asked { id, request: Request::Begin { nodes, expose, controller } }, _))) => {
            Begin { id, nodes, expose, controller }
        }
        // The controller died before it asked for anything.
        _ => return Err(()),
    };
    let id = begin.id;
    isolate(&channel, begin).map_err(|refusal| {
        // The controller may be gone: then nobody wants to know.
        let _ = channel.send(&Answered { id, result: Err(refusal) }, &[]);
    })
}

/// Makes the namespaces and the inner process, and waits for the end of that process or of the controller.
fn isolate(channel: &Channel, begin: Begin) -> Result<(), Refusal> {
    const WATCH: &str = "watch the controller";
    sys::ignore_terminal_signals().during("ignore signals")?;
    // Of the process, not of the thread that started this one as PR_SET_PDEATHSIG would: threads come and go.
    let controller = sys::pidfd_open(begin.controller).during(WATCH)?;
    if getppid().as_raw() != begin.controller {
        return Err(Refusal::new(WATCH, "it is gone"));
    }
    let executable = File::options()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open("/proc/self/exe")
        .during("open the executable")?
        .into();
    id_map::enter()?;
    unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC,
    )
    .during(NAMESPACES)?;
    // Its end tells the inner process of this one's, in case this one dies before the inner one can ask for a signal.
    let outer_alive = sys::pidfd_open(getpid().as_raw()).during(NAMESPACES)?;
    let inner = sys::fork(|| match inner(channel, begin, executable, &outer_alive) {
        Ok(()) => 0,
        Err((id, refusal)) => {
            let _ = channel.send(&Answered { id, result: Err(refusal) }, &[]);
            5
        }
    })
    .during(NAMESPACES)?;
    watch(&controller, inner).during(WATCH)
}

/// Waits until the inner process has ended, and sees to it that it ends when the controller does.
fn watch(controller: &OwnedFd, inner: Pid) -> io::Result<()> {
    let ended = sys::pidfd_open(inner.as_raw())?;
    sys::wait_for_any([ended.as_fd(), controller.as_fd()])?;
    if !sys::is_readable(ended.as_fd())? {
        // The channel has told the inner process too; this is for one that is too busy to listen.
        kill(inner, Signal::SIGKILL)?;
    }
    waitpid(inner, None)?;
    Ok(())
}

/// The inner process: makes the cluster and serves the controller until it is gone.
fn inner(
    channel: &Channel,
    begin: Begin,
    executable: OwnedFd,
    outer_alive: &OwnedFd,
) -> Result<(), (u64, Refusal)> {
    let id = begin.id;
    let mut cluster =
        Cluster::bring_up(begin.nodes, begin.expose, executable).map_err(|refusal| (id, refusal))?;
    // Nobody is listening any more once this fails: there is nothing to say and all is said.
    if channel.send(&Answered { id, result: Ok(()) }, &[]).is_ok() {
        cluster.serve(channel, outer_alive);
    }
    Ok(())
}
