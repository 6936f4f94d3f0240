//! Nodes that stay up, each with a real OpenSSH server, reached by the real OpenSSH client.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::local_cluster::leftovers::{Audit, Seen, describe, marked};
use crate::local_cluster::process::MARK;
use crate::support::{Finished, SCHISM, eventually, have};

/// Longer than anything here takes on a slow machine, shorter than a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whoever brings nodes up, and where.
pub struct Person {
    home: tempfile::TempDir,
    schism: PathBuf,
    user: Option<u32>,
    mark: String,
}

impl Person {
    /// Whoever runs the tests.
    pub fn me() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-nodes-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Self { home: tempfile::tempdir().unwrap(), schism: SCHISM.into(), user: None, mark }
    }

    /// Somebody who is not root: one of the users that every Debian has, because OpenSSH serves nobody who has no entry.
    fn ordinary() -> Self {
        let mut person = Self::me();
        let home = person.home.path();
        fs::set_permissions(home, fs::Permissions::from_mode(0o777)).unwrap();
        let schism = home.join("schism");
        // A link where the directory is on the same file system: nothing is copied.
        if fs::hard_link(SCHISM, &schism).is_err() {
            fs::copy(SCHISM, &schism).unwrap();
        }
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let number =
            users.lines().find_map(|line| line.strip_prefix("bin:")?.split(':').nth(1)?.parse().ok());
        person.user = Some(number.expect("there is no user bin"));
        person.schism = schism;
        person
    }

    /// Everybody who can be had on this machine.
    fn everybody() -> Vec<Self> {
        let mut all = vec![Self::me()];
        if nix::unistd::geteuid().is_root() {
            all.push(Self::ordinary());
        }
        all
    }

    /// Where everything of this person's is.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A directory with a name that needs quoting.
    pub fn dir(&self) -> PathBuf {
        self.home.path().join("my nodes")
    }

    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env(MARK, &self.mark).env("HOME", self.home.path()).current_dir("/").stdin(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    fn nodes(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&self.schism);
        command.arg("nodes").args(arguments).arg("--dir").arg(self.dir());
        command
    }

    pub fn schism(&self, arguments: &[&str]) -> Finished {
        Finished::of(self.nodes(arguments).output().unwrap())
    }

    pub fn up(&self, nodes: &str) -> Finished {
        self.schism(&["up", "--ssh", nodes]).expect(0)
    }

    fn ssh(&self, options: &[&str], node: &str, script: &str) -> Command {
        let mut command = self.command("ssh");
        command.arg("-F").arg(self.dir().join("ssh_config")).args(options).arg(node).arg(script);
        command
    }

    /// What a script says on a node.
    #[track_caller]
    pub fn on(&self, node: &str, script: &str) -> String {
        said(&self.ssh(&["-o", "BatchMode=yes"], node, script).output().unwrap())
    }

    fn supervisor(&self) -> Pid {
        let text = fs::read(self.dir().join("supervisor.json")).unwrap();
        let holder: serde_json::Value = serde_json::from_slice(&text).unwrap();
        Pid::from_raw(holder["pid"].as_i64().unwrap().try_into().unwrap())
    }

    /// Looks that nothing is left of nodes that were seen.
    #[track_caller]
    pub fn nothing_is_left(&self, seen: &Seen) {
        let left = || describe(&marked(&self.mark));
        assert!(marked(&self.mark).is_empty(), "processes: {}", left());
        assert!(!seen.is_empty(), "nothing was seen");
        assert!(seen.gone(), "a namespace is left");
        assert!(!self.dir().exists(), "{:?}", fs::read_dir(self.dir()).unwrap().collect::<Vec<_>>());
    }
}

impl Drop for Person {
    /// A test that fails leaves nothing either.
    fn drop(&mut self) {
        for pid in marked(&self.mark) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

#[track_caller]
fn said(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    out.trim_end().replace('\r', "")
}

/// Whether OpenSSH is here; where it is not, the tests say so and are skipped.
pub fn have_openssh() -> bool {
    have("ssh") && have("ssh-keygen") && have("sshd")
}

#[test]
fn nodes_are_reached_by_ssh_and_leave_nothing() {
    if !have_openssh() {
        return;
    }
    for person in Person::everybody() {
        let audit = Audit::begin();
        let printed = person.up("3").stdout;
        let config = person.dir().canonicalize().unwrap().join("ssh_config");
        let block: serde_json::Value = printed
            .lines()
            .find_map(|line| line.strip_prefix("    config: "))
            .map(|path| path.trim_matches('\'').into())
            .unwrap();
        assert_eq!(block, config.to_str().unwrap());
        assert!(printed.contains("cluster:\n  ssh:\n    hosts: [n1, n2, n3]\n"), "{printed}");
        let seen = Seen::of(&person.mark);

        for node in ["n1", "n2", "n3"] {
            assert_eq!(
                person.on(node, "hostname; id -u; cat /etc/schism-disposable > /dev/null && echo marked"),
                format!("{node}\n0\nmarked")
            );
        }
        // Nodes know each other, and a node is somebody else than its neighbour.
        assert_eq!(person.on("n1", "getent hosts n3"), "10.83.0.3       n3");
        // Much, both ways at once, and byte for byte.
        let mut child =
            person.ssh(&[], "n2", "cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let much: Vec<u8> =
            (0..3_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let (mut stdin, sent) = (child.stdin.take().unwrap(), much.clone());
        let writer = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
        let mut back = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut back).unwrap();
        writer.join().unwrap();
        assert!(child.wait().unwrap().success());
        assert!(back == much, "{} bytes came back", back.len());
        // A terminal, as a person has one.
        let terminal = said(&person.ssh(&["-tt"], "n1", "test -t 0 && tty").output().unwrap());
        assert!(terminal.starts_with("/dev/pts/"), "{terminal}");
        // The node's key is checked.
        let strict = ["-o", "BatchMode=yes", "-o", "UserKnownHostsFile=/dev/null"];
        let refused = person.ssh(&strict, "n1", "true").output().unwrap();
        assert!(String::from_utf8_lossy(&refused.stderr).contains("Host key verification failed"));
        // And so is the person's.
        let nobody = ["-o", "BatchMode=yes", "-o", "IdentityFile=none", "-o", "IdentityAgent=none"];
        let config = person.home.path().join("without a key");
        let text = fs::read_to_string(person.dir().join("ssh_config")).unwrap();
        let text: String = text
            .lines()
            .filter(|line| !line.contains("IdentityFile"))
            .map(|line| format!("{line}\n"))
            .collect();
        fs::write(&config, text).unwrap();
        let refused =
            person.command("ssh").arg("-F").arg(config).args(nobody).args(["n1", "true"]).output().unwrap();
        assert!(String::from_utf8_lossy(&refused.stderr).contains("Permission denied"), "{refused:?}");

        // A second cluster in the same directory is refused, and the first does not notice.
        let second = person.schism(&["up", "--ssh", "2"]).expect(5);
        assert!(
            second.stderr.contains("are up in") && second.stderr.contains("schism nodes down"),
            "{}",
            second.stderr
        );
        assert_eq!(person.on("n3", "hostname"), "n3");

        let down = person.schism(&["down"]).expect(0);
        assert!(down.stdout.contains("no process, network or file of them is left"), "{}", down.stdout);
        person.nothing_is_left(&seen);
        audit.clean();
        let again = person.schism(&["down"]).expect(0);
        assert!(again.stdout.starts_with("No nodes are up"), "{}", again.stdout);
        let gone = person.schism(&["connect", "n1", "22"]).expect(5);
        assert!(gone.stderr.contains("no local nodes are up there"), "{}", gone.stderr);
    }
}

#[test]
fn a_reboot_keeps_the_disk_and_nothing_else() {
    if !have_openssh() {
        return;
    }
    for person in Person::everybody() {
        person.up("2");
        let seen = Seen::of(&person.mark);
        let leave = "echo kept > /var/lib/x; echo kept > /etc/x; echo lost > /tmp/x; \
                     setsid sleep 1000 > /dev/null 2>&1 < /dev/null & echo $!";
        let sleeper = person.on("n1", leave);
        person.on("n2", "echo running > /run/x");
        let alive = format!("grep -c sleep /proc/{sleeper}/cmdline");
        assert_eq!(person.on("n1", &alive), "1");
        person.schism(&["reboot", "n1"]).expect(0);
        assert_eq!(person.on("n1", "cat /var/lib/x /etc/x; ls /tmp/x 2> /dev/null; true"), "kept\nkept");
        assert_eq!(
            person
                .on("n1", "cat /proc/*/cmdline 2> /dev/null | tr '\\0' ' ' | grep -c 'sleep 100[0]' || true"),
            "0"
        );
        assert_eq!(person.on("n2", "cat /run/x"), "running", "the other node did not reboot");
        let unknown = person.schism(&["reboot", "n3"]).expect(5);
        assert!(unknown.stderr.contains("no node \"n3\""), "{}", unknown.stderr);
        person.schism(&["down"]).expect(0);
        person.nothing_is_left(&seen);
    }
}

#[test]
fn an_ssh_server_that_was_killed_comes_again() {
    if !have_openssh() {
        return;
    }
    let person = Person::me();
    person.up("1");
    let server = "sed -n 's/^PPid:\\t//p' /proc/$PPID/status";
    let before = person.on("n1", server);
    // The connection it was asked over outlives the server.
    assert_eq!(person.on("n1", &format!("kill -9 $({server}); echo done")), "done");
    let look = || person.ssh(&["-o", "BatchMode=yes"], "n1", server).output().unwrap();
    eventually("a new server", PATIENCE, || {
        let output = look();
        output.status.success() && String::from_utf8_lossy(&output.stdout).trim() != before
    });
    person.schism(&["down"]).expect(0);
}

#[test]
fn a_supervisor_that_dies_takes_everything_with_it() {
    if !have_openssh() {
        return;
    }
    let person = Person::me();
    person.up("2");
    let seen = Seen::of(&person.mark);
    kill(person.supervisor(), Signal::SIGKILL).unwrap();
    eventually("every process is gone", PATIENCE, || marked(&person.mark).is_empty());
    let gone = person.schism(&["connect", "n1", "22"]).expect(5);
    assert!(gone.stderr.contains("no local nodes are up in"), "{}", gone.stderr);
    // Who comes next is told, and is not in the way of what was.
    let up = person.up("1").stdout;
    assert!(up.starts_with("# There had been nodes in this directory: its supervisor was killed"), "{up}");
    assert_eq!(person.on("n1", "hostname"), "n1");
    kill(person.supervisor(), Signal::SIGKILL).unwrap();
    eventually("every process is gone", PATIENCE, || marked(&person.mark).is_empty());
    let down = person.schism(&["down"]).expect(0);
    assert!(down.stdout.contains("its supervisor was killed"), "{}", down.stdout);
    person.nothing_is_left(&seen);
    // In good order where it is asked politely, as a machine that shuts down does.
    person.up("1");
    let seen = Seen::of(&person.mark);
    kill(person.supervisor(), Signal::SIGTERM).unwrap();
    eventually("every process is gone", PATIENCE, || marked(&person.mark).is_empty());
    person.nothing_is_left(&seen);
}

#[test]
fn what_an_earlier_boot_left_is_known() {
    let person = Person::me();
    fs::create_dir(person.dir()).unwrap();
    // A process of this number runs now, and is nobody's business.
    let holder = format!(
        r#"{{"pid":{},"boot":"of yesterday","mark":"{}","made":true}}"#,
        std::process::id(),
        person.mark
    );
    fs::write(person.dir().join("supervisor.json"), holder).unwrap();
    fs::write(person.dir().join("id_ed25519"), "an old key").unwrap();
    let down = person.schism(&["down"]).expect(0);
    assert!(down.stdout.contains("the machine was restarted since"), "{}", down.stdout);
    assert!(!person.dir().exists());
}

#[test]
fn two_clusters_stand_side_by_side() {
    if !have_openssh() {
        return;
    }
    let people = [Person::me(), Person::me()];
    std::thread::scope(|scope| {
        for person in &people {
            scope.spawn(move || person.up("2"));
        }
    });
    for (person, text) in people.iter().zip(["one", "other"]) {
        person.on("n1", &format!("echo {text} > /var/lib/x"));
    }
    assert_eq!(people[0].on("n1", "cat /var/lib/x"), "one");
    let seen = Seen::of(&people[0].mark);
    people[0].schism(&["down"]).expect(0);
    people[0].nothing_is_left(&seen);
    assert_eq!(people[1].on("n1", "cat /var/lib/x"), "other");
    people[1].schism(&["down"]).expect(0);
}

/// Whoever is interrupted while nodes come up wants none, and gets none; or they are up, and can be taken down.
#[test]
fn an_interrupted_up_leaves_nodes_or_nothing() {
    if !have_openssh() {
        return;
    }
    let mut random = schism_history::Random::new(20_260_421, "interrupted up");
    for _ in 0..8 {
        let person = Person::me();
        let mut child =
            person.nodes(&["up", "--ssh", "2"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Not in place of a condition: any moment will do.
        std::thread::sleep(Duration::from_millis(random.below(300)));
        let _ = child.kill();
        child.wait().unwrap();
        let connects = |person: &Person| {
            person.ssh(&["-o", "BatchMode=yes"], "n1", "true").output().unwrap().status.success()
        };
        eventually("nodes or nothing", PATIENCE, || marked(&person.mark).is_empty() || connects(&person));
        person.schism(&["down"]).expect(0);
        assert!(marked(&person.mark).is_empty());
        let left = fs::read_dir(person.dir()).map(Iterator::count).unwrap_or_default();
        assert_eq!(left, 0, "files are left");
    }
}

#[test]
fn what_cannot_be_said_why() {
    let person = Person::me();
    let many = person.schism(&["up", "--ssh", "33"]).expect(5);
    assert!(many.stderr.contains("1 to 32 nodes"), "{}", many.stderr);
    let bare = person.nodes(&["up", "--ssh", "1"]).env("PATH", "/nowhere").output().unwrap();
    let bare = Finished::of(bare).expect(5);
    assert!(bare.stderr.contains("apt-get install openssh-"), "{}", bare.stderr);
    assert!(!person.dir().exists());
    fs::create_dir(person.dir()).unwrap();
    fs::write(person.dir().join("thesis.tex"), "x").unwrap();
    let foreign = person.schism(&["up", "--ssh", "1"]).expect(5);
    assert!(foreign.stderr.contains("thesis.tex"), "{}", foreign.stderr);
    let nothing = person.schism(&["down"]).expect(0);
    assert!(nothing.stdout.starts_with("No nodes are up"), "{}", nothing.stdout);
    assert!(Path::new(&person.dir().join("thesis.tex")).exists());
}

#[test]
fn a_host_is_marked_as_disposable_and_not_any_more() {
    if !have_openssh() {
        return;
    }
    let person = Person::me();
    person.up("2");
    let config = person.dir().join("ssh_config");
    let allow = |arguments: &[&str]| {
        let mut command = person.command(&person.schism);
        command.args(["nodes", "allow", "-F"]).arg(&config).args(arguments);
        Finished::of(command.output().unwrap())
    };
    let marked = |node: &str| person.on(node, "test -e /etc/schism-disposable && echo marked || echo bare");
    // Nodes of a local cluster are disposable from the beginning.
    let revoked = allow(&["--revoke", "n1"]).expect(0);
    assert!(revoked.stderr.contains("n1 is not marked as disposable any more"), "{}", revoked.stderr);
    assert_eq!((marked("n1"), marked("n2")), ("bare".to_owned(), "marked".to_owned()));
    // One that cannot be reached does not keep the others from being marked.
    let partly = allow(&["nowhere.invalid", "n1"]).expect(5);
    assert!(partly.stderr.contains("nowhere.invalid is not marked: ssh ended"), "{}", partly.stderr);
    assert_eq!(marked("n1"), "marked");
    let option = allow(&["--", "-oProxyCommand=touch /tmp/x"]).expect(2);
    assert!(option.stderr.contains("is no host"), "{}", option.stderr);
    person.schism(&["down"]).expect(0);
}
