//! The ways of mounting that the cluster's file systems are made with.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use super::sys;

/// `/a/b` below `base`.
pub(super) fn below(base: &Path, absolute: &Path) -> PathBuf {
    base.join(absolute.strip_prefix("/").unwrap_or(absolute))
}

/// Makes `from` appear at `to` as well.
pub(super) fn bind(from: &Path, to: &Path, flags: MsFlags) -> io::Result<()> {
    Ok(mount(Some(from), to, None::<&str>, MsFlags::MS_BIND | flags, None::<&str>)?)
}

/// Binds `from` with everything mounted below it to `to`, read-only.
pub(super) fn bind_read_only(from: &Path, to: &Path) -> io::Result<()> {
    bind(from, to, MsFlags::MS_REC)?;
    sys::set_read_only(open_path(to)?, true)
}

/// A descriptor that stands for a path, of whatever kind it is.
pub(super) fn open_path(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)
}

/// Mounts an empty file system in memory.
pub(super) fn tmpfs(target: &Path, flags: MsFlags, mode: &str) -> io::Result<()> {
    let options = format!("mode={mode}");
    Ok(mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(options.as_str()))?)
}

/// Makes one directory.
pub(super) fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new().mode(mode).create(path)
}

/// Makes a directory and those it is in.
pub(super) fn make_directories(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
}
