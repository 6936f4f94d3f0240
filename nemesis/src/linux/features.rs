//! Which parts of the kernel this node has: tried where trying leaves no trace, else looked up.
//!
//! What concerns the network is tried on a thread of its own in a network namespace of its own, which goes with the thread. A part that is
//! a module is loaded by trying, as it would be by using it.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};

use super::TABLE;
use super::netlink::{CREATE, EXCL, Message, NETFILTER, ROUTE, Socket};
use super::nftables;

const NEW_QDISC: u16 = 36;
const QDISC_KIND: u16 = 1;
const QDISC_OPTIONS: u16 = 2;
const ROOT: u32 = u32::MAX;
/// The loopback device is the first interface of every network namespace.
const LOOPBACK: u32 = 1;
/// `NFQNL_MSG_CONFIG` of the subsystem of queues.
const QUEUE_CONFIG: u16 = (3 << 8) | 2;
const QUEUE_COMMAND: u16 = 1;
const QUEUE_BIND: u8 = 1;
/// What `struct tc_netem_qopt` takes: latency, limit, loss, gap, duplicate, jitter.
const NETEM_OPTIONS: [u32; 6] = [0, 1000, 0, 0, 0, 0];

/// Whether something is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// It is.
    Yes,
    /// It is not, and why.
    No(String),
}

impl Found {
    /// From what trying it came to.
    pub fn of(tried: io::Result<()>) -> Self {
        match tried {
            Ok(()) => Self::Yes,
            Err(error) => Self::No(error.to_string()),
        }
    }

    /// Whether it is there.
    pub fn is_there(&self) -> bool {
        *self == Self::Yes
    }
}

/// Parts of the kernel that faults are made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Features {
    /// Packet filters, by netlink.
    pub nftables: Found,
    /// The queueing discipline that delays and loses packets.
    pub netem: Found,
    /// Packets handed to a program.
    pub nfqueue: Found,
    /// File systems by a program.
    pub fuse: Found,
    /// Looking into processes: what Yama allows (0 to 3); absent without Yama, which allows what the kernel allows.
    pub yama_scope: Option<u8>,
    /// Versions of control groups that are mounted: 1, 2 or both.
    pub cgroups: Vec<u8>,
}

/// Looks at this node. Blocks for some milliseconds, longer where modules are loaded.
pub fn features() -> Features {
    let of_the_network = thread::Builder::new().spawn(|| match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => [Found::of(try_nftables()), Found::of(try_netem()), Found::of(try_queue())],
        Err(errno) => ["nf_tables", "sch_netem", "nfnetlink_queue"].map(|module| untried(module, errno)),
    });
    let of_the_network = of_the_network.map(|trial| trial.join());
    let [nftables, netem, nfqueue] = match of_the_network {
        Ok(Ok(found)) => found,
        Ok(Err(_)) => [(); 3].map(|()| Found::No("trying it failed inside".to_owned())),
        Err(error) => [(); 3].map(|()| Found::No(format!("no thread to try it: {error}"))),
    };
    Features {
        nftables,
        netem,
        nfqueue,
        fuse: Found::of(fs::File::options().read(true).write(true).open("/dev/fuse").map(drop)),
        yama_scope: fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope")
            .ok()
            .and_then(|scope| scope.trim().parse().ok()),
        cgroups: cgroups(Path::new("/sys/fs/cgroup")),
    }
}

fn try_nftables() -> io::Result<()> {
    let mut socket = Socket::open(NETFILTER)?;
    nftables::table_exists(&mut socket, TABLE)?;
    socket.rehearse(&[nftables::new_table(TABLE)]).map_err(|error| error.source)
}

fn try_netem() -> io::Result<()> {
    let mut header = vec![0; 4];
    for number in [LOOPBACK, 0, ROOT, 0] {
        header.extend_from_slice(&number.to_ne_bytes());
    }
    let options: Vec<u8> = NETEM_OPTIONS.into_iter().flat_map(u32::to_ne_bytes).collect();
    let message = Message::new(NEW_QDISC, CREATE | EXCL, &header)
        .string(QDISC_KIND, "netem")
        .bytes(QDISC_OPTIONS, &options);
    Socket::open(ROUTE)?.request(&message).map_err(|error| match error.kind() {
        // Said of a kind that nobody knows.
        io::ErrorKind::NotFound => io::Error::other("this kernel has no sch_netem, as a module or built in"),
        _ => error,
    })
}

fn try_queue() -> io::Result<()> {
    let message = Message::new(QUEUE_CONFIG, 0, &[0; 4]).bytes(QUEUE_COMMAND, &[QUEUE_BIND, 0, 0, 0]);
    Socket::open(NETFILTER)?.request(&message)
}

/// Of a module that could not be tried: whether it is there is all that can be known.
fn untried(module: &str, why: nix::errno::Errno) -> Found {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let modules = Path::new("/lib/modules").join(release.trim());
    let named = |text: String| text.lines().any(|line| names(line, module));
    let lists = [modules.join("modules.builtin"), modules.join("modules.dep"), "/proc/modules".into()];
    if lists.iter().any(|list| fs::read_to_string(list).is_ok_and(named)) {
        return Found::Yes;
    }
    Found::No(format!("cannot be tried ({}), and no module {module} is known", why.desc()))
}

/// Whether a line of one of the lists of modules is about this one.
fn names(line: &str, module: &str) -> bool {
    let first = line.split([':', ' ']).next().unwrap_or_default();
    let file = first.rsplit('/').next().unwrap_or_default();
    file.split('.').next().unwrap_or_default().replace('-', "_") == module
}

fn cgroups(root: &Path) -> Vec<u8> {
    let mut versions = Vec::new();
    let of_first = |entry: fs::DirEntry| {
        entry.path().join("cgroup.procs").exists() && !entry.path().join("cgroup.controllers").exists()
    };
    let unified = root.join("cgroup.controllers").exists();
    if !unified && fs::read_dir(root).is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(of_first)))
    {
        versions.push(1);
    }
    if unified || root.join("unified/cgroup.controllers").exists() {
        versions.push(2);
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_control_groups_are_told_apart() {
        let make = |files: &[&str]| {
            let root = tempfile::tempdir().unwrap();
            for file in files {
                let path = root.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            cgroups(root.path())
        };
        assert_eq!(make(&[]), [0_u8; 0]);
        assert_eq!(make(&["cgroup.controllers", "init/cgroup.controllers", "init/cgroup.procs"]), [2]);
        assert_eq!(make(&["memory/cgroup.procs"]), [1]);
        assert_eq!(make(&["memory/cgroup.procs", "unified/cgroup.controllers"]), [1, 2]);
    }

    #[test]
    fn modules_are_found_in_the_kernels_lists() {
        for line in [
            "kernel/net/sched/sch_netem.ko",
            "kernel/net/sched/sch_netem.ko.xz: kernel/lib/x.ko",
            "kernel/net/sched/sch-netem.ko.zst:",
            "sch_netem 20480 0 - Live 0x0000000000000000",
        ] {
            assert!(names(line, "sch_netem"), "{line}");
        }
        for line in ["", "sch_netem2 1 0", "kernel/a.ko: kernel/net/sched/sch_netem.ko"] {
            assert!(!names(line, "sch_netem"), "{line}");
        }
    }

    #[test]
    fn looking_changes_nothing_here() {
        let before = fs::read_link("/proc/thread-self/ns/net").unwrap();
        let found = features();
        assert_eq!(fs::read_link("/proc/thread-self/ns/net").unwrap(), before);
        assert!(found.yama_scope.is_none_or(|scope| scope <= 3), "{found:?}");
    }
}
