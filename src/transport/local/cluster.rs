//! The cluster from inside: its nodes, and what the controller can ask of them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, pipe2, setsid};

use super::control::{Answered, Asked, Channel, During, FDS_MAX, Program, Refusal, Request};
use super::program::{Invocation, enter_and_execute};
use super::{links, node_init, node_root, sys};

/// The nodes of a running cluster.
pub(super) struct Cluster {
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
    /// Makes the network, the file systems and the nodes. The calling process becomes the cluster's init: the first process
    /// of the cluster's process namespace, and in mount and network namespaces of the cluster's own.
    pub(super) fn bring_up(nodes: usize, expose: Vec<PathBuf>, executable: OwnedFd) -> Result<Self, Refusal> {
        const PREPARE: &str = "prepare the cluster's init";
        prctl::set_pdeathsig(Signal::SIGKILL).during(PREPARE)?;
        prctl::set_name(c"schism-cluster").during(PREPARE)?;
        setsid().during(PREPARE)?;
        umask(Mode::empty());
        let mut children = SigSet::empty();
        children.add(Signal::SIGCHLD);
        children.thread_block().during(PREPARE)?;
        let children = SignalFd::with_flags(&children, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .during(PREPARE)?;
        let own_processes = File::open("/proc/thread-self/ns/pid").during(PREPARE)?.into();

        let networks = links::build(nodes)?;
        let machine = node_root::take_over()?;
        let mut cluster = Self { executable, own_processes, children, expose, nodes: Vec::new() };
        let mut booting = Vec::new();
        for (index, network) in networks.into_iter().enumerate() {
            machine.lay(index, nodes)?;
            let boot = cluster.boot(index, &network)?;
            booting.push(boot.ready);
            cluster.nodes.push(Node { network, init: boot.init });
        }
        booting.into_iter().try_for_each(wait_until_ready)?;
        Ok(cluster)
    }

    /// Forks a child into the process namespace that `enter` chooses for children, and chooses the cluster's again.
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
                || node_init::run(index, network, &self.expose, report),
            )
            .during(step())?;
        let handle = sys::pidfd_open(pid.as_raw()).during(step())?;
        Ok(Booting { init: Init { pid, handle }, ready })
    }

    /// Answers the controller until it, or the outer process, is gone.
    pub(super) fn serve(&mut self, channel: &Channel, outer_alive: &OwnedFd) {
        loop {
            let fds = [channel.as_fd(), outer_alive.as_fd(), self.children.as_fd()];
            let [asked, outer_gone, child_ended] = match sys::wait_for_any(fds) {
                Ok(ready) => ready,
                Err(error) => {
                    eprintln!("cannot wait for the controller: {error}");
                    return;
                }
            };
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
        if !sys::is_readable(node.init.handle.as_fd()).during(format!("look at n{}", index + 1))? {
            return Ok(());
        }
        let booting = self.boot(index, &node.network)?;
        self.nodes[index].init = booting.init;
        wait_until_ready(booting.ready)
    }

    /// Collects the children that have ended.
    fn collect(&self) {
        while let Ok(Some(_)) = self.children.read_signal() {}
        sys::reap();
    }

    /// Kills everything that runs on a node and waits until it is gone.
    fn power_off(&self, index: usize) -> Result<(), Refusal> {
        let step = || format!("power off n{}", index + 1);
        let init = &self.node(index)?.init;
        if sys::is_readable(init.handle.as_fd()).during(step())? {
            return Ok(());
        }
        // Only this process collects its children, so the number still is this child's.
        kill(init.pid, Signal::SIGKILL).during(step())?;
        // The kernel ends a first process only after every other process of the namespace is collected. The node's programs
        // are this process's children, so it has to collect them meanwhile.
        while !sys::is_readable(init.handle.as_fd()).during(step())? {
            sys::wait_for_any([init.handle.as_fd(), self.children.as_fd()]).during(step())?;
            self.collect();
        }
        Ok(())
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
