//! The file system of a node: a private, writable layer over the machine's own.
//!
//! The cluster's mount namespace turns inside out first ([`take_over`]): its root becomes a tmpfs of our own, and the
//! machine's tree hangs below it at [`MACHINE`]. Everything the cluster writes is in that tmpfs, so nothing is left where
//! the namespace was.
//!
//! A node's disk ([`lay`]) is a directory there. Each directory of the machine's root becomes an overlay whose lower layer
//! is the machine's and whose upper layer is the disk. The kernel refuses an overlay over a directory that hides mounts
//! (in a user namespace it must not show what is below them), so such a directory is made anew and its entries are treated
//! one by one. What must be fresh at each boot (`/dev`, `/proc`, `/run`, `/tmp`) is mounted by the node's own init
//! ([`boot`]).

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{AccessFlags, access, chdir, pivot_root};

use super::control::{During, Refusal};
use super::{links, sys};

/// Where the machine's own tree hangs in the cluster's mount namespace.
const MACHINE: &str = "/machine";
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
/// The devices a node has, where the machine has them.
const DEVICES: [&str; 8] = ["null", "zero", "full", "random", "urandom", "tty", "fuse", "net/tun"];
/// Parts of `/proc` through which root of the machine reaches the machine itself.
const PROC_READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Where a node's root is in the cluster's mount namespace.
fn root_of(node: usize) -> PathBuf {
    Path::new(NODES).join(format!("n{}", node + 1)).join("root")
}

/// `/a/b` below `base`.
fn below(base: &Path, absolute: &Path) -> PathBuf {
    base.join(absolute.strip_prefix("/").unwrap_or(absolute))
}

fn bind(from: &Path, to: &Path, flags: MsFlags) -> io::Result<()> {
    Ok(mount(Some(from), to, None::<&str>, MsFlags::MS_BIND | flags, None::<&str>)?)
}

/// Binds `from` with everything mounted below it to `to`, read-only.
fn bind_read_only(from: &Path, to: &Path) -> io::Result<()> {
    bind(from, to, MsFlags::MS_REC)?;
    sys::set_read_only(open_path(to)?, true)
}

fn open_path(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)
}

fn tmpfs(target: &Path, flags: MsFlags, mode: &str) -> io::Result<()> {
    let options = format!("mode={mode}");
    Ok(mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(options.as_str()))?)
}

fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new().mode(mode).create(path)
}

fn make_directories(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
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

/// Mounts what a node makes anew at each boot, shows it the paths in `expose`, and makes its root the calling process's. The
/// process must be the first of the node's process namespace and in mount, UTS and network namespaces of the node's own.
///
/// # Errors
/// The kernel refuses, or a path to expose does not exist.
pub(super) fn boot(node: usize, expose: &[PathBuf]) -> Result<(), Refusal> {
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

/// What is mounted where on the machine.
#[derive(Debug, PartialEq, Eq)]
struct Mounts(Vec<Mount>);

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    at: PathBuf,
    automount: bool,
}

impl Mounts {
    /// Reads the format of `/proc/self/mountinfo`.
    fn parse(table: &str) -> Self {
        let mounts = table.lines().filter_map(|line| {
            let at = unescape(line.split(' ').nth(4)?);
            let kind = line.split_once(" - ")?.1.split(' ').next()?;
            Some(Mount { at, automount: kind == "autofs" })
        });
        Self(mounts.collect())
    }

    fn any_below(&self, directory: &Path) -> bool {
        self.0.iter().any(|mount| mount.at != directory && mount.at.starts_with(directory))
    }

    fn is_automount(&self, directory: &Path) -> bool {
        // The last one mounted there is the one that is seen.
        self.0.iter().rev().find(|mount| mount.at == directory).is_some_and(|mount| mount.automount)
    }
}

/// Undoes the octal escapes of the table of mounts.
fn unescape(field: &str) -> PathBuf {
    let bytes = field.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        let value = octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(value) = value {
            out.push(value);
            at += 4;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    PathBuf::from(std::ffi::OsStr::from_bytes(&out))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
27 1 254:0 / / rw - ext4 /dev/vda rw
28 27 0:25 / /mnt/with\\040space/x ro,nosuid - tmpfs none ro
29 27 0:26 / /net rw - autofs auto rw
30 27 0:27 / /data rw - autofs auto rw
31 30 0:28 / /data rw - nfs4 server:/data rw
";

    #[test]
    fn mounts_are_found_below_directories_but_not_beside_them() {
        let mounts = Mounts::parse(TABLE);
        assert!(mounts.any_below(Path::new("/mnt")));
        assert!(mounts.any_below(Path::new("/mnt/with space")));
        assert!(!mounts.any_below(Path::new("/mnt/with space/x")), "the mount itself hides nothing");
        assert!(!mounts.any_below(Path::new("/mn")));
        assert!(!mounts.any_below(Path::new("/usr")));
    }

    #[test]
    fn an_automount_point_counts_only_while_nothing_is_mounted_on_it() {
        let mounts = Mounts::parse(TABLE);
        assert!(mounts.is_automount(Path::new("/net")));
        assert!(!mounts.is_automount(Path::new("/data")));
    }

    #[test]
    fn escapes_that_are_none_are_kept() {
        assert_eq!(unescape("/a\\134b"), Path::new("/a\\b"));
        assert_eq!(unescape("/a\\9"), Path::new("/a\\9"));
        assert_eq!(unescape("/a\\"), Path::new("/a\\"));
    }
}
