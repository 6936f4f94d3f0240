//! The cluster's init: the process that holds the cluster's namespaces, and whose end is the cluster's end.
//!
//! It is one executable in three roles. The *outer* process stays among the machine's processes, makes the namespaces and
//! watches the controller. The *inner* process is the first of the cluster's process namespace: it makes the network and the
//! file systems, boots the nodes and serves the controller. A *node's init* is the first process of a node's process
//! namespace; it makes what is fresh at each boot, then only collects dead processes.
//!
//! When the controller is gone the channel to it ends, and the inner process ends: the kernel kills every process of the
//! cluster, and the namespaces vanish with what is in them. So nothing has to be cleaned up, however the controller died.

use std::ffi::{CString, NulError};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{
    Pid, dup2_stderr, dup2_stdin, dup2_stdout, execve, fexecve, getpid, getppid, pipe2, sethostname, setsid,
};

use super::control::{Answered, Asked, Channel, During, FDS_MAX, Program, Refusal, Request};
use super::{id_map, links, node_root, sys};

/// The step that fails where a user namespace gives no rights (Ubuntu's AppArmor).
pub(super) const NAMESPACES: &str = "create the cluster's namespaces";
/// Variables whose names start with these are handed on to what runs on the nodes; nothing else of the controller's
/// environment is: a proxy or a locale of the person's own must not change what a system under test does.
const HANDED_ON: [&str; 2] = ["SCHISM_", "RUST_"];
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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
    let kind = nix::sys::socket::getsockopt(&stdin, nix::sys::socket::sockopt::SockType)
        .map_err(|_| io::Error::other("stdin is not the controller"))?;
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
    loop {
        let mut fds = [
            PollFd::new(ended.as_fd(), PollFlags::POLLIN),
            PollFd::new(controller.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            result => result?,
        };
        if fds[0].any().unwrap_or(true) {
            break;
        }
        // The channel has told the inner process too; this is for one that is too busy to listen.
        kill(inner, Signal::SIGKILL)?;
        break;
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
    let mut cluster = bring_up(begin, executable).map_err(|refusal| (id, refusal))?;
    // Nobody is listening any more once this fails: there is nothing to say and all is said.
    if channel.send(&Answered { id, result: Ok(()) }, &[]).is_ok() {
        cluster.serve(channel, outer_alive);
    }
    Ok(())
}

fn bring_up(begin: Begin, executable: OwnedFd) -> Result<Cluster, Refusal> {
    const PREPARE: &str = "prepare the cluster's init";
    prctl::set_pdeathsig(Signal::SIGKILL).during(PREPARE)?;
    prctl::set_name(c"schism-cluster").during(PREPARE)?;
    setsid().during(PREPARE)?;
    umask(Mode::empty());
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    children.thread_block().during(PREPARE)?;
    let children =
        SignalFd::with_flags(&children, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).during(PREPARE)?;
    let own_processes = File::open("/proc/thread-self/ns/pid").during(PREPARE)?.into();

    let networks = links::build(begin.nodes)?;
    let machine = node_root::take_over()?;
    let mut cluster =
        Cluster { executable, own_processes, children, expose: begin.expose, nodes: Vec::new() };
    let mut booting = Vec::new();
    for (index, network) in networks.into_iter().enumerate() {
        machine.lay(index, begin.nodes)?;
        let boot = cluster.boot(index, &network)?;
        booting.push(boot.ready);
        cluster.nodes.push(Node { network, init: boot.init });
    }
    booting.into_iter().try_for_each(wait_until_ready)?;
    Ok(cluster)
}

/// The nodes of a running cluster.
struct Cluster {
    executable: OwnedFd,
    /// The process namespace of the cluster's init.
    own_processes: OwnedFd,
    /// Readable when a child has ended.
    children: SignalFd,
    expose: Vec<PathBuf>,
    nodes: Vec<Node>,
}

struct Node {
    network: OwnedFd,
    init: Init,
}

/// A node's first process.
struct Init {
    pid: Pid,
    /// Also stands for the namespaces the process is in.
    handle: OwnedFd,
}

/// A node that is on its way up: `ready` gives nothing but its end when it is up, and a refusal when it cannot be.
struct Booting {
    init: Init,
    ready: OwnedFd,
}

fn wait_until_ready(ready: OwnedFd) -> Result<(), Refusal> {
    const STEP: &str = "boot a node";
    let mut said = Vec::new();
    File::from(ready).read_to_end(&mut said).during(STEP)?;
    match said.strip_prefix(b"ready") {
        Some(_) => Ok(()),
        None if said.is_empty() => Err(Refusal::new(STEP, "its init died")),
        None => Err(serde_json::from_slice(&said).map_err(io::Error::from).during(STEP)?),
    }
}

impl Cluster {
    /// Forks a child that is in the process namespace `processes`, and leaves the calling process's alone.
    fn fork_into(
        &self,
        enter: impl FnOnce() -> nix::Result<()>,
        child: impl FnOnce() -> i32,
    ) -> io::Result<Pid> {
        enter()?;
        let forked = sys::fork(child);
        setns(&self.own_processes, CloneFlags::CLONE_NEWPID)?;
        forked
    }

    /// Starts a node's init. It goes on by itself.
    fn boot(&self, index: usize, network: &OwnedFd) -> Result<Booting, Refusal> {
        let step = || format!("boot n{}", index + 1);
        let (ready, report) = pipe2(OFlag::O_CLOEXEC).during(step())?;
        let pid = self
            .fork_into(
                || unshare(CloneFlags::CLONE_NEWPID),
                || node_init(index, network, &self.expose, report),
            )
            .during(step())?;
        let handle = sys::pidfd_open(pid.as_raw()).during(step())?;
        Ok(Booting { init: Init { pid, handle }, ready })
    }

    /// Answers the controller until it, or the outer process, is gone.
    fn serve(&mut self, channel: &Channel, outer_alive: &OwnedFd) {
        loop {
            let mut fds = [
                PollFd::new(channel.as_fd(), PollFlags::POLLIN),
                PollFd::new(outer_alive.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                Err(error) => {
                    eprintln!("cannot wait for the controller: {error}");
                    return;
                }
                Ok(_) => {}
            }
            let [asked, outer_gone, child_ended] = fds.map(|fd| fd.any().unwrap_or(true));
            if outer_gone {
                return;
            }
            if child_ended {
                self.collect();
            }
            if asked && self.serve_one(channel).is_none() {
                return;
            }
        }
    }

    /// Answers one question; `None` when nobody is there to ask or to hear.
    fn serve_one(&mut self, channel: &Channel) -> Option<()> {
        let (Asked { id, request }, fds) = channel.receive().unwrap_or_else(|error| {
            eprintln!("cannot understand the controller: {error}");
            None
        })?;
        let (result, fds) = match self.answer(request, fds) {
            Ok(fds) => (Ok(()), fds),
            Err(refusal) => (Err(refusal), Vec::new()),
        };
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        channel.send(&Answered { id, result }, &fds).ok()
    }

    fn node(&self, node: usize) -> Result<&Node, Refusal> {
        self.nodes.get(node).ok_or_else(|| {
            Refusal::new(format!("find n{}", node + 1), format!("the cluster has {} nodes", self.nodes.len()))
        })
    }

    fn answer(&mut self, request: Request, fds: Vec<OwnedFd>) -> Result<Vec<OwnedFd>, Refusal> {
        match request {
            Request::Begin { .. } => Err(Refusal::new("begin", "the cluster is up already")),
            Request::Spawn { node, program } => {
                self.revive(node)?;
                let step = || format!("start {} on n{}", program.name(), node + 1);
                let [stdin, stdout, stderr] = fds
                    .try_into()
                    .map_err(|_| Refusal::new(step(), "its stdin, stdout and stderr are missing"))?;
                self.spawn(node, &program, [stdin, stdout, stderr], &step()).map(|()| Vec::new())
            }
            Request::Sockets { count } => (0..count.min(FDS_MAX))
                .map(|_| {
                    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
                    socket(AddressFamily::Inet, SockType::Stream, flags, None)
                        .during("make a socket in the cluster's network")
                })
                .collect(),
            Request::PowerCycle { node } => {
                self.power_off(node)?;
                self.revive(node).map(|()| Vec::new())
            }
        }
    }

    /// Boots a node again whose init has died.
    fn revive(&mut self, index: usize) -> Result<(), Refusal> {
        let node = self.node(index)?;
        if !has_ended(&node.init.handle, PollTimeout::ZERO).during(format!("look at n{}", index + 1))? {
            return Ok(());
        }
        let booting = self.boot(index, &node.network)?;
        self.nodes[index].init = booting.init;
        wait_until_ready(booting.ready)
    }

    /// Collects the children that have ended.
    fn collect(&self) {
        while let Ok(Some(_)) = self.children.read_signal() {}
        reap();
    }

    /// Kills everything that runs on a node and waits until it is gone.
    fn power_off(&self, index: usize) -> Result<(), Refusal> {
        let step = || format!("power off n{}", index + 1);
        let init = &self.node(index)?.init;
        if has_ended(&init.handle, PollTimeout::ZERO).during(step())? {
            return Ok(());
        }
        // Only this process collects its children, so the number still is this child's.
        kill(init.pid, Signal::SIGKILL).during(step())?;
        // The kernel ends a first process only after every other process of the namespace is collected. The node's programs
        // are this process's children, so it has to collect them meanwhile.
        loop {
            let mut fds = [
                PollFd::new(init.handle.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                result => result.during(step())?,
            };
            self.collect();
            if has_ended(&init.handle, PollTimeout::ZERO).during(step())? {
                return Ok(());
            }
        }
    }

    /// Starts a program on a node. It is in all of the node's namespaces, but its parent is the cluster's init.
    fn spawn(&self, index: usize, program: &Program, pipe: [OwnedFd; 3], step: &str) -> Result<(), Refusal> {
        let node = self.node(index)?;
        let invocation = Invocation::new(program).during(step)?;
        let (failed, report) = pipe2(OFlag::O_CLOEXEC).during(step)?;
        let inside = &node.init.handle;
        self.fork_into(
            || setns(inside, CloneFlags::CLONE_NEWPID),
            || {
                let error = enter_and_execute(inside, &self.executable, &invocation, &pipe);
                let number = error.raw_os_error().unwrap_or(Errno::EIO as i32);
                let _ = File::from(report).write_all(&number.to_ne_bytes());
                127
            },
        )
        .during(step)?;
        // Ends when the program has replaced the child, or with the error's number.
        let mut number = [0; 4];
        match File::from(failed).read(&mut number).during(step)? {
            0 => Ok(()),
            _ => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(number))).during(step),
        }
    }
}

/// Collects what has ended: programs of the nodes, and nodes' inits (of which [`Init::handle`] still tells).
fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}

/// Whether the process of a handle has ended, waiting at most `patience` for it.
fn has_ended(handle: &OwnedFd, patience: PollTimeout) -> io::Result<bool> {
    loop {
        match poll(&mut [PollFd::new(handle.as_fd(), PollFlags::POLLIN)], patience) {
            Err(Errno::EINTR) => {}
            result => return Ok(result? > 0),
        }
    }
}

/// What `exec` needs, made before the fork.
struct Invocation {
    /// The executable of the cluster's init itself, whatever its name is.
    own: bool,
    /// Else, where the program may be.
    candidates: Vec<CString>,
    argv: Vec<CString>,
    environment: Vec<CString>,
}

impl Invocation {
    fn new(program: &Program) -> Result<Self, io::Error> {
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
    fn name(&self) -> &str {
        match self {
            Self::Own { arguments } => arguments.first().map_or("schism", String::as_str),
            Self::OfNode { argv } => argv.first().map_or("nothing", String::as_str),
        }
    }
}

/// Becomes the program; returns only when it could not.
fn enter_and_execute(
    inside: &OwnedFd,
    executable: &OwnedFd,
    invocation: &Invocation,
    [stdin, stdout, stderr]: &[OwnedFd; 3],
) -> io::Error {
    let execute = || -> io::Result<std::convert::Infallible> {
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

/// The first process of a node. Says `ready`, or why not, and closes `report`; after that it collects dead processes until it
/// is killed.
fn node_init(index: usize, network: &OwnedFd, expose: &[PathBuf], report: OwnedFd) -> i32 {
    let prepared = prepare_node(index, network, expose).and_then(|()| {
        sys::close_all_but(report.as_fd()).during(format!("close what is not n{}'s", index + 1))
    });
    let mut report = File::from(report);
    match prepared {
        Ok(()) => {
            let said = report.write_all(b"ready");
            drop(report);
            if said.is_err() {
                return 1;
            }
        }
        Err(refusal) => {
            let _ = serde_json::to_writer(report, &refusal);
            return 1;
        }
    }
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    loop {
        // Blocked since before the fork, so none is missed between the look and the wait.
        reap();
        let _ = children.wait();
    }
}

fn prepare_node(index: usize, network: &OwnedFd, expose: &[PathBuf]) -> Result<(), Refusal> {
    let name = format!("n{}", index + 1);
    let step = || format!("create the namespaces of {name}");
    prctl::set_name(c"schism-node").during(step())?;
    setsid().during(step())?;
    setns(network, CloneFlags::CLONE_NEWNET).during(step())?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC).during(step())?;
    sethostname(&name).during(step())?;
    node_root::boot(index, expose)
}
