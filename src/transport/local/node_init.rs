//! The first process of a node: makes what is fresh at each boot, then only collects dead processes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{chdir, pivot_root, sethostname, setsid};

use super::control::{During, Refusal};
use super::mounting::{below, bind, bind_read_only, make_directories, make_directory, open_path, tmpfs};
use super::node_root::{MACHINE, root_of};
use super::sys;

/// The devices a node has, where the machine has them.
const DEVICES: [&str; 8] = ["null", "zero", "full", "random", "urandom", "tty", "fuse", "net/tun"];
/// Parts of `/proc` through which root of the machine reaches the machine itself.
const PROC_READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// The first process of a node. Says `ready`, or why not, and closes `report`; after that it collects dead processes until it
/// is killed.
pub(super) fn run(index: usize, network: &OwnedFd, expose: &[PathBuf], report: OwnedFd) -> i32 {
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
        sys::reap();
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
    mount_fresh(index, expose)
}

/// Mounts what a node makes anew at each boot, shows it the paths in `expose`, and makes its root the calling process's. The
/// process must be the first of the node's process namespace and in mount, UTS and network namespaces of the node's own.
///
/// # Errors
/// The kernel refuses, or a path to expose does not exist.
fn mount_fresh(node: usize, expose: &[PathBuf]) -> Result<(), Refusal> {
    let root = root_of(node);
    let step = |what: &str| format!("mount {what} of n{}", node + 1);
    let nodev = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    devices(&root.join("dev")).during(step("/dev"))?;
    let proc = root.join("proc");
    mount(Some("proc"), &proc, Some("proc"), nodev | MsFlags::MS_NOEXEC, None::<&str>).during(step(PROC))?;
    protect_proc(&proc).during(step("the read-only parts of /proc"))?;
    // Read-only: what it shows is the machine's, and root of the machine could change it.
    let flags = nodev | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    mount(Some("sysfs"), &root.join("sys"), Some("sysfs"), flags, None::<&str>).during(step("/sys"))?;
    tmpfs(&root.join("tmp"), nodev, "1777").during(step("/tmp"))?;
    tmpfs(&root.join("run"), nodev, "755").during(step("/run"))?;
    make_directory(&root.join("run/lock"), 0o755).during(step("/run"))?;
    fs::set_permissions(root.join("run/lock"), fs::Permissions::from_mode(0o1777)).during(step("/run"))?;
    for path in expose {
        show_exposed(&root, path).during(format!("show {} on n{}", path.display(), node + 1))?;
    }
    let step = || format!("enter the file system of n{}", node + 1);
    chdir(&root).during(step())?;
    // Stacks the old root on the new one, whence it is taken away: no directory is needed for it.
    pivot_root(".", ".").during(step())?;
    umount2(".", MntFlags::MNT_DETACH).during(step())?;
    chdir("/").during(step())
}

/// The part of a step's name by which a refused `/proc` is known.
pub(super) const PROC: &str = "/proc";

fn devices(dev: &Path) -> io::Result<()> {
    tmpfs(dev, MsFlags::MS_NOSUID, "755")?;
    for name in DEVICES {
        let from = Path::new(MACHINE).join("dev").join(name);
        let to = dev.join(name);
        if from.exists() {
            if let Some(parent) = to.parent() {
                make_directories(parent)?;
            }
            File::create(&to)?;
            bind(&from, &to, MsFlags::empty())?;
        }
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, dev.join(name))?;
    }
    let pts = dev.join("pts");
    make_directory(&pts, 0o755)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(Some("devpts"), &pts, Some("devpts"), flags, Some("newinstance,ptmxmode=0666,mode=0620"))?;
    let shm = dev.join("shm");
    make_directory(&shm, 0o755)?;
    tmpfs(&shm, MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "1777")
}

/// Makes read-only what would reach the machine: with root's real user in the namespace, its files in `/proc` are ours to
/// write, and one of them reboots the machine. What belongs to the node's own network stays writable.
fn protect_proc(proc: &Path) -> io::Result<()> {
    for name in PROC_READ_ONLY {
        let path = proc.join(name);
        if path.exists() {
            bind_read_only(&path, &path)?;
        }
    }
    let net = proc.join("sys/net");
    if net.exists() {
        bind(&net, &net, MsFlags::empty())?;
        sys::set_read_only(open_path(&net)?, false)?;
    }
    Ok(())
}

/// Binds a path of the machine to the same path on the node, read-only.
fn show_exposed(root: &Path, path: &Path) -> io::Result<()> {
    if !path.is_absolute() || path.components().any(|component| component == Component::ParentDir) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not an absolute, plain path"));
    }
    let from = below(Path::new(MACHINE), path);
    let to = below(root, path);
    let directory = fs::metadata(&from)?.is_dir();
    if directory {
        make_directories(&to)?;
    } else if !to.exists() {
        if let Some(parent) = to.parent() {
            make_directories(parent)?;
        }
        File::create(&to)?;
    }
    bind_read_only(&from, &to)
}
