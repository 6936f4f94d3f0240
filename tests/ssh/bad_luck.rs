//! What goes wrong between us and a host. Each time the error names the step and the node, and says what to do.

use std::fs;
use std::time::{Duration, Instant};

use schism::agent::Handle;
use schism::agent::protocol::{Command, ProcessStatus};
use schism::spec::{HostKeys, SshHosts};
use schism::transport::Transport;
use schism::transport::ssh::{self, SshOptions};

use super::proxy::Proxy;
use super::server::{Server, Wanted, is_root, secret, user};
use super::{refused, works};
use crate::support::{eventually, says};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key() {
    let server = Server::start();
    fs::write(server.at("authorized_keys"), "").unwrap();
    let parts = [
        "n1: authentication",
        "tried ssh-ed25519",
        "(refused)",
        "the server takes publickey",
        "authorized_keys",
        "`ssh n1`",
    ];
    refused(server.up().await, &parts);
    let mut options = server.options();
    options.cluster.key = Some(server.at("missing").display().to_string());
    refused(ssh::up(options).await, &["n1: authentication", "missing cannot be read", "Correct `key`"]);
    fs::remove_file(server.at("key")).unwrap();
    fs::remove_file(server.at("key.pub")).unwrap();
    refused(server.up().await, &["n1: authentication", "there is no key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_user() {
    let server = Server::start();
    let mut options = server.options();
    options.cluster.user = Some("nobody-of-that-name".to_owned());
    refused(ssh::up(options).await, &["n1: authentication", "nobody-of-that-name", "`user`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_key_that_is_not_known() {
    let server = Server::start();
    fs::remove_file(server.at("known_hosts")).unwrap();
    refused(server.up().await, &["n1: host key", "is not known", "SHA256:", "accept-new"]);
    assert!(!server.at("known_hosts").exists(), "nothing is written down by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_key_that_changed() {
    let server = Server::start();
    // As if the host had been set up anew: the key of somebody else stands there.
    server.knows(fs::read_to_string(server.at("key.pub")).unwrap().trim());
    for policy in [HostKeys::Strict, HostKeys::AcceptNew] {
        let mut options = server.options();
        options.cluster.host_keys = Some(policy);
        refused(ssh::up(options).await, &["n1: host key", "known_hosts:1 knows another", "ssh-keygen -R"]);
    }
    server.knows(&server.host_key());
    let revoked = format!("@revoked * {}\n", server.host_key());
    fs::write(server.at("known_hosts"), revoked).unwrap();
    refused(server.up().await, &["n1: host key", "revoked"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_down_are_all_named() {
    let mut server = Server::start();
    let mut options = server.options();
    let SshHosts::List(hosts) = &mut options.cluster.hosts else { unreachable!() };
    let mut other = hosts[0].clone();
    other.name = Some("second".to_owned());
    hosts.push(other);
    server.kill();
    refused(ssh::up(options).await, &["n1: connect", "second: connect", "refused", "Is the host up"]);
    let mut options = server.options();
    let SshHosts::List(hosts) = &mut options.cluster.hosts else { unreachable!() };
    hosts[0].host = "no-such-host.invalid".to_owned();
    refused(ssh::up(options).await, &["no-such-host.invalid: resolve", "no host that is known here"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_names_for_one_host() {
    let server = Server::start();
    server.place_agent();
    let mut options = server.options();
    let SshHosts::List(hosts) = &mut options.cluster.hosts else { unreachable!() };
    let mut other = hosts[0].clone();
    other.name = Some("second".to_owned());
    hosts.push(other);
    refused(ssh::up(options).await, &["second", "127.0.0.1 of n1"]);
}

/// Asks for a password as sudo does, on standard error and from standard input.
const SUDO: &str = r#"
[ "$1" = -S ] && [ "$2" = -p ] && [ "$4" = -- ] || { echo "usage" >&2; exit 1; }
prompt=$3; shift 4
for try in 1 2 3; do
  printf '%s' "$prompt" >&2
  read -r password || exit 1
  [ "$password" = "open sesame" ] && exec "$@"
  echo 'Sorry, try again.' >&2
done
exit 1"#;

fn with_sudo(sudo: &str) -> Server {
    // Whoever runs the test, on the node it is no root.
    let id = r#"[ "$1" = -u ] && echo 1000 || exec /usr/bin/id "$@""#;
    let server = Server::with(Wanted {
        programs: vec![("sudo", sudo.to_owned()), ("id", id.to_owned())],
        ..Wanted::default()
    });
    server.place_agent();
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn sudo_that_asks_for_a_password() {
    let server = with_sudo(SUDO);
    refused(
        ssh::up(server.options()).await,
        &["n1: sudo", "asks for the password", &user(), "SCHISM_SUDO_PASSWORD", "NOPASSWD"],
    );
    let mut options = server.options();
    options.secrets.sudo = secret("a wrong guess");
    let error = refused(ssh::up(options).await, &["n1: sudo", "does not take the password"]);
    assert!(!error.contains("guess"), "{error}");
    let mut options = server.options();
    options.secrets.sudo = secret("open sesame");
    let nodes = ssh::up(options).await.unwrap();
    works(&nodes).await;
    assert!(!fs::read_to_string(server.at("logs/n1/agent.log")).unwrap_or_default().contains("sesame"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sudo_that_asks_nothing_or_refuses() {
    let server = with_sudo(r#"shift 4; exec "$@""#);
    let nodes = ssh::up(server.options()).await.unwrap();
    works(&nodes).await;
    let server = with_sudo("echo \"$USER is not in the sudoers file.\" >&2; exit 1");
    refused(
        ssh::up(server.options()).await,
        &["n1: sudo", "may not become root", "not in the sudoers file", "log in as root"],
    );
    let server = with_sudo("echo sudo: not found >&2; exit 127");
    refused(ssh::up(server.options()).await, &["n1: sudo", "there is no sudo", "Install sudo"]);
    // Who says that it is not wanted is not asked.
    let mut options = server.options();
    options.cluster.sudo = Some(false);
    works(&ssh::up(options).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_read_only() {
    let server = Server::start();
    // A file where a directory should be: not even root can make one there.
    fs::write(server.at("base"), "").unwrap();
    refused(ssh::up(server.options()).await, &["n1: upload", "no place for the agent", "base/bin"]);
    let mut options = server.options();
    options.elsewhere = vec![server.at("elsewhere").display().to_string()];
    let nodes = ssh::up(options).await.unwrap();
    assert_eq!(fs::read_dir(server.at("elsewhere")).unwrap().count(), 1, "it is there instead");
    nodes.close().await.unwrap();
}

/// A server for which `base/bin` is a file system of its own, mounted with these options. Only root can do that.
fn with_file_system(options: &str, programs: Vec<(&'static str, String)>) -> Option<Server> {
    if !is_root() {
        println!("skipped: only root can mount a file system for sshd");
        return None;
    }
    let around = format!(
        "mkdir -p \"$DIR/base/bin\" && exec unshare -m /bin/sh -c 'mount -t tmpfs -o {options} tmpfs \"$DIR/base/bin\" && exec \"$@\"' sh \"$@\""
    );
    Some(Server::with(Wanted { around: Some(around), programs, ..Wanted::default() }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_noexec() {
    let Some(server) = with_file_system("noexec", Vec::new()) else { return };
    refused(ssh::up(server.options()).await, &["n1: upload", "noexec", "Permission denied"]);
    let mut options = server.options();
    options.elsewhere = vec![server.at("elsewhere").display().to_string()];
    works(&ssh::up(options).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full() {
    // Told before: nothing is sent in vain.
    let df = "echo Filesystem 1024-blocks Used Available Capacity Mounted on; echo disk 1000 1000 7 100% /";
    let server = Server::with(Wanted { programs: vec![("df", df.to_owned())], ..Wanted::default() });
    refused(
        ssh::up(server.options()).await,
        &["n1: upload", "the disk is full: 7 KiB are free", "Make room"],
    );
    // Not told, and found out on the way.
    let df = df.replace(" 7 ", " 999999999 ");
    let Some(server) = with_file_system("size=1M", vec![("df", df)]) else { return };
    refused(ssh::up(server.options()).await, &["n1: upload", "No space left on device"]);
    let mut options = server.options();
    options.elsewhere = vec![server.at("elsewhere").display().to_string()];
    works(&ssh::up(options).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_kind() {
    let uname =
        |answer: &str| vec![("uname", format!("case $1 in -s) echo Linux ;; -m) echo {answer} ;; esac"))];
    let server = Server::with(Wanted { programs: uname("riscv64"), ..Wanted::default() });
    let parts = [
        "n1: upload",
        "the node is riscv64",
        "rustup target add riscv64gc-unknown-linux-musl",
        "SCHISM_AGENTS",
    ];
    refused(server.up().await, &parts);
    // What the loader says when its library is too old shows only when the program is started.
    let server = Server::start();
    let mut options = server.options();
    options.agents = vec!["/bin/false".into()];
    refused(ssh::up(options).await, &["n1: agent start", "does not run there", "cargo build"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_are_minutes_apart() {
    let date = r#"[ "$1" = +%s.%N ] && echo "$(($(/bin/date +%s) + 300)).5""#;
    let server = Server::with(Wanted { programs: vec![("date", date.to_owned())], ..Wanted::default() });
    let nodes = server.up().await.unwrap();
    let ahead = nodes.clocks_ahead()[0].unwrap();
    assert!((290.0..310.0).contains(&ahead), "{ahead}");
    works(&nodes).await;
}

fn through(server: &Server, proxy: &Proxy) -> SshOptions {
    server.place_agent();
    let mut options = server.options();
    // The host is known under its own port only.
    let known = format!("[127.0.0.1]:{} {}\n", proxy.port, server.host_key());
    fs::write(server.at("known_hosts"), known).unwrap();
    options.cluster.port = Some(proxy.port);
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_link() {
    let server = Server::start();
    let proxy = Proxy::start(server.port, Duration::from_millis(100)).await;
    let begun = Instant::now();
    let nodes = ssh::up(through(&server, &proxy)).await.unwrap();
    assert!(begun.elapsed() > Duration::from_secs(1), "it is slow");
    works(&nodes).await;
}

fn sleeper() -> Command {
    Command { argv: ["sleep", "1000"].map(str::to_owned).to_vec(), ..Command::default() }
}

/// The agent dies with its connection; the next finds what the first had started.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks() {
    let server = Server::start();
    let nodes = server.up().await.unwrap();
    let (first, mut events) = Handle::connect(nodes.agent(0).await.unwrap(), "n1", "test").await.unwrap();
    let log = server.at("sleeper.log").display().to_string();
    let pid = first.start("sleeper", &sleeper(), &log).await.unwrap();
    assert!(!server.connections().is_empty());
    server.cut();
    while let Some(event) = events.recv().await {
        if matches!(event, schism::agent::AgentEvent::Gone { .. }) {
            break;
        }
    }
    let (second, _events) = Handle::connect(nodes.agent(0).await.unwrap(), "n1", "test").await.unwrap();
    assert_ne!(second.pid(), first.pid());
    let status = second.status("sleeper").await.unwrap();
    assert!(matches!(status, ProcessStatus::Running { pid: found, .. } if found == pid), "{status:?}");
    second.bye().await.unwrap();
    eventually("bye ends what the first agent had started", PATIENCE, || {
        fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z"))
    });
}

/// Nothing passes any more, and nobody says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_goes_silent() {
    let server = Server::start();
    let proxy = Proxy::start(server.port, Duration::ZERO).await;
    let nodes = ssh::up(through(&server, &proxy)).await.unwrap();
    proxy.silence(true);
    let hangs = nodes.run(0, &["echo", "hello"], Duration::from_secs(60)).await;
    let error = match hangs {
        Ok(output) => {
            assert_eq!(output.code, None, "an outcome nobody knows: {output:?}");
            String::new()
        }
        Err(error) => error.to_string(),
    };
    says(&format!("{error} n1"), &["n1"]);
    proxy.silence(false);
    let again = nodes.run(0, &["echo", "back"], PATIENCE).await.unwrap();
    assert_eq!(again.stdout, "back\n", "a connection of its own is made");
}
