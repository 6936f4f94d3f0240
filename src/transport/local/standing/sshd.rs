//! `sshd` on a node: a process in the node that puts what `sshd` needs in place and becomes it.
//!
//! As root the nodes have every user, and `sshd` finds what its package has made. An ordinary user's nodes have root only.
//! `sshd` still wants a user of its own to hand its first steps to, groups it may set and a group for terminals, and logs nobody
//! in whose password is locked. So the node's own `/etc` says that these are root, and `setgroups` does nothing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use serde::{Deserialize, Serialize};

use super::seccomp;

/// The hidden subcommand that runs [`node_sshd_main`].
pub const SSHD_COMMAND: &str = "node-sshd";
/// Where Debian and everybody else has it. It starts itself again for each connection, and so wants its whole path.
pub(super) const SSHD: &str = "/usr/sbin/sshd";
/// Where `sshd` of Debian locks up the part of itself that talks to strangers.
const EMPTY: &str = "/run/sshd";
/// Where the node's `sshd` has its configuration and keys; made at each boot.
const HOME: &str = "/run/schism-sshd";

/// What a node's `sshd` is given, on the standard input of `schism node-sshd`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// The node's private key.
    pub host_key: String,
    /// Who may log in, as in `authorized_keys`.
    pub authorized_keys: String,
}

/// `schism node-sshd`: becomes the `sshd` of the node it runs on.
pub fn node_sshd_main() -> ExitCode {
    let error = match prepare() {
        Ok(()) => Command::new(SSHD)
            .args(["-D", "-e", "-f"])
            .arg(format!("{HOME}/sshd_config"))
            .stdin(Stdio::null())
            .exec(),
        Err(error) => error,
    };
    eprintln!("cannot run {SSHD} on this node: {error}");
    ExitCode::FAILURE
}

fn prepare() -> io::Result<()> {
    let order: Order = serde_json::from_reader(io::stdin())?;
    for directory in [EMPTY, HOME] {
        match fs::DirBuilder::new().mode(0o755).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    let config = format!(
        "# This is a node of a local cluster; `schism nodes down` removes it.\n\
         Port 22\n\
         AddressFamily inet\n\
         HostKey {HOME}/host_key\n\
         AuthorizedKeysFile {HOME}/authorized_keys\n\
         PermitRootLogin prohibit-password\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n\
         UsePAM no\n\
         UseDNS no\n\
         PrintMotd no\n\
         PidFile none\n\
         Subsystem sftp internal-sftp\n"
    );
    for (name, text) in
        [("sshd_config", &config), ("host_key", &order.host_key), ("authorized_keys", &order.authorized_keys)]
    {
        write(&Path::new(HOME).join(name), 0o600, text)?;
    }
    let [users, groups] = ["uid_map", "gid_map"].map(|map| fs::read_to_string(format!("/proc/self/{map}")));
    let (users, groups) = (Ids::parse(&users?), Ids::parse(&groups?));
    edit("/etc/passwd", 0o644, |text| passwd(text, &users, &groups))?;
    edit("/etc/group", 0o644, |text| group(text, &groups))?;
    edit("/etc/shadow", 0o600, shadow)?;
    if fs::read_to_string("/proc/self/setgroups")?.trim() == "deny" {
        seccomp::ignore_setgroups()?;
    }
    Ok(())
}

/// Puts a file with this content in the place of whatever is there.
fn write(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::options().write(true).create_new(true).mode(mode).open(path)?.write_all(text.as_bytes())
}

/// Changes a file of the node's. One that cannot be read counts as empty: it is another user's.
fn edit(path: &str, mode: u32, change: impl FnOnce(&str) -> String) -> io::Result<()> {
    let before = fs::read_to_string(path).unwrap_or_default();
    let after = change(&before);
    if after == before { Ok(()) } else { write(Path::new(path), mode, &after) }
}

/// The ids that a user namespace has.
struct Ids(Vec<(u64, u64)>);

impl Ids {
    fn parse(map: &str) -> Self {
        let range = |line: &str| {
            let mut columns = line.split_whitespace().map(|column| column.parse().ok());
            let (first, _, length) = (columns.next()??, columns.next()??, columns.next()??);
            Some((first, length))
        };
        Self(map.lines().filter_map(range).collect())
    }

    fn contain(&self, id: &str) -> bool {
        id.parse().is_ok_and(|id: u64| {
            self.0.iter().any(|(first, length)| id.checked_sub(*first).is_some_and(|at| at < *length))
        })
    }
}

/// The lines of a table, each as its fields.
fn rows(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split(':').collect()).collect()
}

fn table(rows: &[Vec<&str>]) -> String {
    rows.iter().map(|row| row.join(":") + "\n").collect()
}

/// `/etc/passwd` with root, and with an `sshd` that the namespace has.
fn passwd(text: &str, users: &Ids, groups: &Ids) -> String {
    let mut rows = rows(text);
    let names: BTreeSet<&str> = rows.iter().filter_map(|row| row.first().copied()).collect();
    let (no_root, no_sshd) = (!names.contains("root"), !names.contains("sshd"));
    if no_root {
        rows.insert(0, "root:x:0:0:root:/root:/bin/sh".split(':').collect());
    }
    if no_sshd {
        rows.push("sshd:x:0:0::/run/sshd:/usr/sbin/nologin".split(':').collect());
    }
    for row in rows.iter_mut().filter(|row| row.len() >= 4 && row[0] == "sshd") {
        if !users.contain(row[2]) || !groups.contain(row[3]) {
            (row[2], row[3]) = ("0", "0");
        }
    }
    table(&rows)
}

/// `/etc/group` with a group of terminals that the namespace has.
fn group(text: &str, groups: &Ids) -> String {
    let mut rows = rows(text);
    for row in rows.iter_mut().filter(|row| row.len() >= 3 && row[0] == "tty") {
        if !groups.contain(row[2]) {
            row[2] = "0";
        }
    }
    table(&rows)
}

/// `/etc/shadow` with a root that has no password, and is not locked: a locked user may not log in with a key either.
fn shadow(text: &str) -> String {
    let mut rows = rows(text);
    match rows.iter_mut().find(|row| row.first() == Some(&"root")) {
        // Fields that let an account expire are left empty.
        Some(row) => *row = "root:*:::::::".split(':').collect(),
        None => rows.push("root:*:::::::".split(':').collect()),
    }
    table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nsshd:x:105:65534::/run/sshd:/usr/sbin/nologin\n";

    #[test]
    fn a_node_with_every_user_keeps_its_tables() {
        let all = Ids::parse("         0          0 4294967295\n");
        assert_eq!(passwd(PASSWD, &all, &all), PASSWD);
        assert_eq!(group("tty:x:5:\n", &all), "tty:x:5:\n");
    }

    #[test]
    fn a_node_with_root_only_makes_everybody_root() {
        let one = Ids::parse("0 1000 1\n");
        assert!(one.contain("0") && !one.contain("1") && !one.contain("x"));
        let made = passwd(PASSWD, &one, &one);
        assert!(made.contains("\nsshd:x:0:0:"), "{made}");
        assert_eq!(group("root:x:0:\ntty:x:5:\n", &one), "root:x:0:\ntty:x:0:\n");
        assert_eq!(passwd(&passwd("", &one, &one), &one, &one), passwd("", &one, &one));
    }

    #[test]
    fn root_is_not_locked() {
        for before in ["root:!:19000:0:99999:7:::\na:b\n", "a:b\n", ""] {
            let after = shadow(before);
            assert!(after.lines().any(|line| line.starts_with("root:*:")), "{after}");
            assert_eq!(shadow(&after), after);
        }
    }
}
