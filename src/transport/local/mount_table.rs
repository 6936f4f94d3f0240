//! What is mounted where on the machine.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is mounted where on the machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mounts(Vec<Mount>);

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    at: PathBuf,
    automount: bool,
}

impl Mounts {
    /// Reads the format of `/proc/self/mountinfo`.
    pub(super) fn parse(table: &str) -> Self {
        let mounts = table.lines().filter_map(|line| {
            let at = unescape(line.split(' ').nth(4)?);
            let kind = line.split_once(" - ")?.1.split(' ').next()?;
            Some(Mount { at, automount: kind == "autofs" })
        });
        Self(mounts.collect())
    }

    /// Whether something is mounted below a directory (the directory itself does not count).
    pub(super) fn any_below(&self, directory: &Path) -> bool {
        self.0.iter().any(|mount| mount.at != directory && mount.at.starts_with(directory))
    }

    /// Whether looking into a directory would mount something.
    pub(super) fn is_automount(&self, directory: &Path) -> bool {
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
    PathBuf::from(OsStr::from_bytes(&out))
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
