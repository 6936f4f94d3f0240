//! A real OpenSSH server of the test's own: on a free port of 127.0.0.1, with its own host key, for whoever runs the test, and
//! gone with the test.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use schism::spec::{HostKeys, SshCluster, SshHost, SshHosts};
use schism::transport::TransportError;
use schism::transport::ssh::{self, Secret, Secrets, SshNodes, SshOptions};

use crate::support::{eventually, marked_processes};

const SSHD: &str = "/usr/sbin/sshd";
const PATIENCE: Duration = Duration::from_secs(30);

/// What a server is to be like.
#[derive(Default)]
pub struct Wanted {
    /// More lines for its configuration.
    pub config: String,
    /// Programs that come before those of the machine: name and script.
    pub programs: Vec<(&'static str, String)>,
    /// A script of which the server becomes the last part: `exec` it as `"$@"`.
    pub around: Option<String>,
    /// What the login shell prints before it does anything.
    pub banner: Option<&'static str>,
}

/// A running server.
pub struct Server {
    pub dir: tempfile::TempDir,
    pub port: u16,
    child: Child,
    mark: String,
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn script(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// The user that the test runs as, by whose name alone a server without privileges lets anybody in.
pub fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The executable without what only debuggers read, so that it travels faster. Made once.
pub fn agent() -> PathBuf {
    static AGENT: OnceLock<PathBuf> = OnceLock::new();
    AGENT
        .get_or_init(|| {
            let built = PathBuf::from(crate::support::SCHISM);
            let stripped = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schism-stripped");
            let made = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
            if made(&stripped) >= made(&built) {
                return stripped;
            }
            // Tests of other processes may do the same.
            let part = stripped.with_extension(std::process::id().to_string());
            let stripping = Command::new("strip").arg("-o").arg(&part).arg(&built).output();
            if !stripping.is_ok_and(|output| output.status.success()) {
                return built;
            }
            fs::rename(&part, &stripped).unwrap();
            stripped
        })
        .clone()
}

/// Waits until the server listens, or has ended.
fn listens(child: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

impl Server {
    pub fn start() -> Self {
        Self::with(Wanted::default())
    }

    pub fn with(wanted: Wanted) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        assert!(Path::new(SSHD).exists(), "{SSHD} is missing: apt-get install openssh-server");
        // Where a server of root's keeps its privileges apart; Debian makes it when its own server starts.
        if is_root() {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let mark = format!(
            "SCHISM_TEST_MARK={}-{}-sshd",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &at("host")]);
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &at("key")]);
        fs::copy(at("key.pub"), at("authorized_keys")).unwrap();
        let programs = dir.path().join("programs");
        fs::create_dir(&programs).unwrap();
        for (name, text) in &wanted.programs {
            script(&programs.join(name), text);
        }
        let mut config = format!(
            "ListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 100\nPerSourceMaxStartups none\nUseDNS no\n",
            at("host"),
            at("authorized_keys")
        );
        // A shell that sshd starts reads start files unless it is told that it is not the first.
        config += &format!("SetEnv SHLVL=5 {mark}\n");
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        let banner = wanted
            .banner
            .map_or_else(String::new, |banner| format!("printf '{banner}'; printf '{banner}' >&2"));
        script(
            &dir.path().join("login"),
            &format!("PATH='{path}'; export PATH\n{banner}\nexec /bin/sh -c \"exec $SSH_ORIGINAL_COMMAND\""),
        );
        config += &format!("ForceCommand {}\n", at("login"));
        config += &wanted.config;
        let around = wanted.around.as_deref().unwrap_or("exec \"$@\"");
        script(&dir.path().join("around"), around);
        // Another may take the port before the server does; then it says so, and the next is tried.
        loop {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
            fs::write(at("sshd_config"), format!("Port {port}\n{config}")).unwrap();
            let (name, value) = mark.split_once('=').unwrap();
            let log = fs::File::create(at("sshd.log")).unwrap();
            let mut child = Command::new(at("around"))
                .args([SSHD, "-D", "-e", "-f", &at("sshd_config")])
                .env(name, value)
                .env("DIR", dir.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap();
            if listens(&mut child, port) {
                let server = Self { dir, port, child, mark };
                server.write_config("n1", "");
                server.knows(&server.host_key());
                return server;
            }
            let _ = child.kill();
            let _ = child.wait();
            let log = fs::read_to_string(at("sshd.log")).unwrap();
            assert!(log.contains("already in use"), "sshd does not start: {log}");
        }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The line of the host's key without a name.
    pub fn host_key(&self) -> String {
        fs::read_to_string(self.at("host.pub")).unwrap().trim().to_owned()
    }

    /// Makes this the one key that is known of the server.
    pub fn knows(&self, key: &str) {
        fs::write(self.at("known_hosts"), format!("[127.0.0.1]:{} {key}\n", self.port)).unwrap();
    }

    /// Writes an SSH configuration with a host of this name for the server.
    pub fn write_config(&self, name: &str, more: &str) {
        let (key, known) = (self.at("key"), self.at("known_hosts"));
        let text = format!(
            "{more}\nHost {name}\n  HostName 127.0.0.1\n  Port {}\nHost *\n  User {}\n  IdentityFile {}\n  IdentityAgent none\n  \
             UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n",
            self.port,
            user(),
            key.display(),
            known.display()
        );
        fs::write(self.at("ssh_config"), text).unwrap();
    }

    /// The cluster of one node on this server.
    pub fn options(&self) -> SshOptions {
        let mut host = SshHost::parse("n1").unwrap();
        host.address = Some(Ipv4Addr::LOCALHOST.into());
        SshOptions {
            cluster: SshCluster {
                hosts: SshHosts::List(vec![host]),
                user: None,
                port: None,
                key: None,
                sudo: None,
                config: Some(self.at("ssh_config").display().to_string()),
                host_keys: Some(HostKeys::Strict),
                reach: Default::default(),
                disposable: false,
            },
            agents: vec![agent()],
            secrets: Secrets::default(),
            base: self.at("base").display().to_string(),
            elsewhere: Vec::new(),
            agent_log_dir: Some(self.at("logs")),
        }
    }

    /// Puts the executable where an earlier run would have left it.
    pub fn place_agent(&self) {
        let path = agent();
        let output = Command::new("sha256sum").arg(&path).output().unwrap().stdout;
        let bin = self.at("base/bin");
        fs::create_dir_all(&bin).unwrap();
        let there = bin.join(format!("schism-{}", std::str::from_utf8(&output[..16]).unwrap()));
        // Copying a file onto another name of itself would empty it.
        if !there.exists() && fs::hard_link(&path, &there).is_err() {
            fs::copy(&path, &there).unwrap();
        }
    }

    pub async fn up(&self) -> Result<SshNodes, TransportError> {
        self.place_agent();
        ssh::up(self.options()).await
    }

    /// The server's processes for its connections. What the sessions run is not among them. (By their parents, since sshd
    /// writes its titles over its environment.)
    pub fn connections(&self) -> Vec<i32> {
        let mut found = vec![self.child.id().cast_signed()];
        let mut next = 0;
        while let Some(parent) = found.get(next).copied() {
            next += 1;
            for entry in fs::read_dir("/proc").unwrap().flatten() {
                let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
                let Some((before, after)) = stat.rsplit_once(") ") else { continue };
                let pid = entry.file_name().to_str().unwrap().parse().unwrap_or_default();
                let of_parent = after.split(' ').nth(1) == Some(parent.to_string().as_str());
                if of_parent && before.contains("(sshd") && !found.contains(&pid) {
                    found.push(pid);
                }
            }
        }
        found.split_off(1)
    }

    /// Breaks every connection, as a reset on the way would; the server stays.
    pub fn cut(&self) {
        for pid in self.connections() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Ends the server and everything that runs on it, as a power failure would.
    pub fn kill(&mut self) {
        self.cut();
        let _ = self.child.kill();
        let _ = self.child.wait();
        eventually("no process of the server is left", PATIENCE, || {
            let left = marked_processes(&self.mark);
            for pid in &left {
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            left.is_empty()
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.cut();
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in marked_processes(&self.mark) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

pub fn secret(text: &str) -> Option<Secret> {
    Some(Secret::new(text.to_owned()))
}

/// Whether a file is of whoever runs the test.
pub fn is_ours(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.uid() == Uid::effective().as_raw())
}
