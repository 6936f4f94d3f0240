//! The file system of a node: a private, writable layer over the machine's own.
//!
//! The cluster's mount namespace turns inside out first ([`take_over`]): its root becomes a tmpfs of our own, and the
//! machine's tree hangs below it at [`MACHINE`]. Everything the cluster writes is in that tmpfs, so nothing is left where
//! the namespace was.
//!
//! A node's disk ([`Machine::lay`]) is a directory there. Each directory of the machine's root becomes an overlay whose lower layer
//! is the machine's and whose upper layer is the disk. The kernel refuses an overlay over a directory that hides mounts
//! (in a user namespace it must not show what is below them), so such a directory is made anew and its entries are treated
//! one by one. What must be fresh at each boot (`/dev`, `/proc`, `/run`, `/tmp`) is mounted by the node's own init
//! (`node_init`).

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::unistd::{AccessFlags, access, chdir, pivot_root};

use super::super::DISPOSABLE;
use super::control::{During, Refusal};
use super::links;
use super::mount_table::Mounts;
use super::mounting::{below, bind, bind_read_only, make_directories, make_directory, tmpfs};

/// Where the machine's own tree hangs in the cluster's mount namespace.
pub(super) const MACHINE: &str = "/machine";
/// Where the nodes' disks and roots are in the cluster's mount namespace.
const NODES: &str = "/nodes";
/// Directories of the machine's root that a node makes itself.
const FRESH: [&str; 5] = ["proc", "sys", "dev", "run", "tmp"];
/// The machine's file system check keeps things here; a node has nothing to check.
const LOST: &str = "lost+found";
/// Where nodes write although an ordinary user may not write there on the machine: these belong to the node's root.
const OWNED: [&str; 16] = [
    "etc",
    "etc/default",
    "home",
    "opt",
    "root",
    "srv",
    "usr/local",
    "usr/local/bin",
    "usr/local/etc",
    "var",
    "var/cache",
    "var/lib",
    "var/log",
    "var/opt",
    "var/spool",
    "var/backups",
];
/// A directory with mounts below and more entries than this is shown read-only as a whole.
const ENTRIES_MAX: usize = 512;
/// A file in a directory that has mounts below is copied if it is no longer than this, else shown read-only.
const COPY_LEN_MAX: u64 = 64 << 10;
/// Where a node's root is in the cluster's mount namespace.
pub(super) fn root_of(node: usize) -> PathBuf {
    Path::new(NODES).join(format!("n{}", node + 1)).join("root")
}

/// The machine as the nodes' lower layer.
#[derive(Debug)]
pub(super) struct Machine {
    mounts: Mounts,
}

/// Makes a tmpfs the root of the calling process's mount namespace and hangs the machine's tree below it.
///
/// # Errors
/// The kernel refuses.
pub(super) fn take_over() -> Result<Machine, Refusal> {
    const STEP: &str = "make the cluster's file system";
    let table = fs::read_to_string("/proc/self/mountinfo").during("read the table of mounts")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .during("keep mounts private")?;
    // Any directory will do: pivoting takes the new mount away from it again, and what it covers is seen below MACHINE.
    let stage = Path::new("/tmp");
    tmpfs(stage, MsFlags::MS_NOSUID, "755").during(STEP)?;
    make_directory(&stage.join("machine"), 0o755).during(STEP)?;
    make_directory(&stage.join("nodes"), 0o755).during(STEP)?;
    pivot_root(stage, &stage.join("machine")).during(STEP)?;
    chdir("/").during(STEP)?;
    Ok(Machine { mounts: Mounts::parse(&table) })
}

impl Machine {
    /// Makes the disk of a node and the part of its file system that survives a power cycle.
    ///
    /// # Errors
    /// The kernel refuses. A single directory that cannot be written privately is shown read-only instead.
    pub(super) fn lay(&self, node: usize, nodes: usize) -> Result<(), Refusal> {
        let step = || format!("make the file system of n{}", node + 1);
        let base = Path::new(NODES).join(format!("n{}", node + 1));
        make_directory(&base, 0o755).during(step())?;
        tmpfs(&base, MsFlags::empty(), "755").during(step())?;
        let mut disk = Disk { machine: self, root: base.join("root"), layers: base.join("layers"), count: 0 };
        for directory in [&disk.root, &disk.layers] {
            make_directory(directory, 0o755).during(step())?;
        }
        // A mount of its own, so that the node can pivot into it.
        bind(&disk.root, &disk.root, MsFlags::empty()).during(step())?;
        for entry in entries(Path::new(MACHINE)).during("read the machine's root directory")? {
            if entry != LOST && !FRESH.iter().any(|fresh| entry == *fresh) {
                disk.show(&Path::new("/").join(entry)).during(step())?;
            }
        }
        for fresh in FRESH {
            make_directory(&disk.root.join(fresh), 0o755).during(step())?;
        }
        for owned in OWNED {
            if !disk.root.join(owned).exists() {
                // Refused only below a directory that is shown read-only.
                let _ = make_directories(&disk.root.join(owned));
            }
        }
        disk.private_var_tmp().during(step())?;
        disk.identify(node, nodes).during(format!("write the identity of n{}", node + 1))
    }
}

/// The names in a directory, sorted.
fn entries(directory: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names =
        fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// A node's disk under construction.
struct Disk<'a> {
    machine: &'a Machine,
    /// The node's root.
    root: PathBuf,
    /// The upper layers, numbered, with the directory the kernel works in beside each.
    layers: PathBuf,
    count: usize,
}

impl Disk<'_> {
    /// Makes one entry of the machine's tree appear on the node.
    fn show(&mut self, path: &Path) -> io::Result<()> {
        let from = below(Path::new(MACHINE), path);
        let to = below(&self.root, path);
        let Ok(metadata) = fs::symlink_metadata(&from) else {
            // Gone meanwhile, or not ours to see: the node lives without.
            return Ok(());
        };
        let kind = metadata.file_type();
        if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)
        } else if kind.is_dir() {
            self.show_directory(path, &from, &to, &metadata)
        } else if kind.is_file() {
            show_file(&from, &to, &metadata)
        } else {
            // A socket or a pipe has its other end on the machine, and a device belongs to it.
            Ok(())
        }
    }

    fn show_directory(&mut self, path: &Path, from: &Path, to: &Path, metadata: &Metadata) -> io::Result<()> {
        if self.machine.mounts.is_automount(path) {
            // Looking into it would mount something on the machine.
            return make_directory(to, 0o755);
        }
        copy_directory(to, metadata)?;
        if access(from, AccessFlags::R_OK | AccessFlags::X_OK).is_err() {
            // An overlay over what cannot be read cannot be read either: an empty private directory serves better.
            return Ok(());
        }
        if !self.machine.mounts.any_below(path) {
            return self.overlay(path, from, to, metadata).or_else(|_| bind_read_only(from, to));
        }
        let names = entries(from)?;
        if names.len() > ENTRIES_MAX {
            return bind_read_only(from, to);
        }
        names.into_iter().try_for_each(|name| self.show(&path.join(name)))
    }

    fn overlay(&mut self, path: &Path, from: &Path, to: &Path, metadata: &Metadata) -> io::Result<()> {
        let upper = self.layers.join(format!("{}", self.count));
        let work = self.layers.join(format!("{}-work", self.count));
        self.count += 1;
        if from.as_os_str().as_bytes().iter().any(|byte| b",:\\".contains(byte)) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the name has a meaning in mount options",
            ));
        }
        copy_directory(&upper, metadata)?;
        make_directory(&work, 0o755)?;
        for owned in OWNED.iter().map(|owned| Path::new("/").join(owned)) {
            if let Ok(inner) = owned.strip_prefix(path)
                && !inner.as_os_str().is_empty()
            {
                own(from, &upper, inner)?;
            }
        }
        let options =
            format!("lowerdir={},upperdir={},workdir={}", from.display(), upper.display(), work.display());
        // `userxattr` is how an overlay keeps its marks in a user namespace.
        let options = format!("{options},userxattr");
        Ok(mount(Some("overlay"), to, Some("overlay"), MsFlags::empty(), Some(options.as_str()))?)
    }

    /// `/var/tmp` is as private as `/tmp`, and like a disk's it survives a power cycle.
    fn private_var_tmp(&self) -> io::Result<()> {
        let target = self.root.join("var/tmp");
        let source = self.layers.join("var-tmp");
        make_directory(&source, 0o755)?;
        fs::set_permissions(&source, fs::Permissions::from_mode(0o1777))?;
        match fs::symlink_metadata(&target) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Ok(()),
            Err(_) => make_directories(&target)?,
        }
        bind(&source, &target, MsFlags::empty())
    }

    /// Who the node is and who the others are.
    fn identify(&self, node: usize, nodes: usize) -> io::Result<()> {
        let name = format!("n{}", node + 1);
        let mut hosts = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
        for other in 0..nodes {
            hosts.push_str(&format!("{} n{}\n", links::address(other), other + 1));
        }
        hosts.push_str(&format!("{} controller\n", links::CONTROLLER));
        let etc = self.root.join("etc");
        replace(&etc.join("hosts"), &hosts)?;
        replace(&etc.join("hostname"), &format!("{name}\n"))?;
        replace(&etc.join("resolv.conf"), "# No name server: the nodes' names are in /etc/hosts.\n")?;
        // Whatever happens here, nobody loses anything.
        replace(&below(&self.root, Path::new(DISPOSABLE)), "A node of a local cluster of Schism's.\n")?;
        // Some systems take their identity from here; nodes must not be one and the same.
        replace(&etc.join("machine-id"), &format!("5c4153a0{:024x}\n", node + 1))
    }
}

/// Writes a file that may be a symbolic link to elsewhere, or be owned by somebody we cannot write as.
fn replace(path: &Path, content: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::write(path, content)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

/// Makes a directory like another: same mode, and same owner where that is one of ours.
fn copy_directory(to: &Path, like: &Metadata) -> io::Result<()> {
    make_directory(to, 0o755)?;
    // An owner who has no number in this namespace shows as "nobody", which means nothing here.
    if like.uid() != OVERFLOW_ID && like.gid() != OVERFLOW_ID {
        // Refused where only one user is mapped; then everything is ours.
        let _ = chown(to, Some(like.uid()), Some(like.gid()));
    }
    fs::set_permissions(to, fs::Permissions::from_mode(like.mode() & 0o7777))
}

/// What the kernel shows for an owner that the namespace does not map.
const OVERFLOW_ID: u32 = 65534;

/// Makes the directory `inner`, which may be several levels deep, in the upper layer, so that it belongs to the node.
fn own(lower: &Path, upper: &Path, inner: &Path) -> io::Result<()> {
    let (mut lower, mut upper) = (lower.to_owned(), upper.to_owned());
    for component in inner.components() {
        lower.push(component);
        upper.push(component);
        match fs::symlink_metadata(&lower) {
            Ok(metadata)
                if metadata.is_dir() && access(&lower, AccessFlags::R_OK | AccessFlags::X_OK).is_ok() =>
            {
                if !upper.exists() {
                    copy_directory(&upper, &metadata)?;
                }
            }
            // A link or a file keeps its meaning, what cannot be read stays closed, what is missing is made later.
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// Shows a single file: a private copy of a short one, the machine's own (read-only) otherwise.
fn show_file(from: &Path, to: &Path, metadata: &Metadata) -> io::Result<()> {
    if metadata.len() <= COPY_LEN_MAX {
        let copied = fs::copy(from, to);
        if copied.is_ok() && metadata.uid() != OVERFLOW_ID && metadata.gid() != OVERFLOW_ID {
            // Refused where only one user is mapped; then everything is ours. Changing the owner clears mode bits.
            if chown(to, Some(metadata.uid()), Some(metadata.gid())).is_ok() {
                fs::set_permissions(to, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
            }
        }
        // What may not be read is not shown.
        return Ok(());
    }
    File::create(to)?;
    bind_read_only(from, to)
}
