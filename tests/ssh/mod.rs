//! Hosts over SSH, against a real OpenSSH server.

mod bad_luck;
mod doctor;
mod measure;
mod proxy;
pub mod server;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::time::Duration;

use schism::agent::Handle;
use schism::spec::{HostKeys, Reach};
use schism::transport::ssh::{self, SshNodes};
use schism::transport::{Transport, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::server::{Server, Wanted, is_ours, secret};

const PATIENCE: Duration = Duration::from_secs(30);

/// The error of something that must not succeed.
#[track_caller]
fn refused(result: Result<SshNodes, TransportError>, parts: &[&str]) -> String {
    let Err(error) = result else { panic!("it succeeded") };
    let error = error.to_string();
    crate::support::says(&error, parts);
    error
}

/// Runs a command through an agent on the first node, and takes the agent down.
async fn works(nodes: &SshNodes) {
    let (handle, _events) = Handle::connect(nodes.agent(0).await.unwrap(), "n1", "test").await.unwrap();
    let echo = schism::agent::protocol::Command {
        argv: ["echo", "it works"].map(str::to_owned).to_vec(),
        ..Default::default()
    };
    let output = handle.run(&echo, None, PATIENCE, 100).await.unwrap();
    assert_eq!(output.stdout, "it works\n");
    handle.bye().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_reached_and_has_an_agent() {
    let server = Server::start();
    let nodes = ssh::up(server.options()).await.unwrap();
    assert_eq!(
        (nodes.nodes()[0].name.as_ref(), nodes.nodes()[0].address),
        ("n1", Ipv4Addr::LOCALHOST.into())
    );
    works(&nodes).await;
    let uploaded: Vec<_> = fs::read_dir(server.at("base/bin")).unwrap().flatten().collect();
    assert_eq!(uploaded.len(), 1, "the executable and nothing else: {uploaded:?}");
    let made = || uploaded[0].metadata().unwrap().modified().unwrap();
    let before = made();
    assert!(is_ours(&uploaded[0].path()));
    // Who comes again finds it there.
    nodes.close().await.unwrap();
    let nodes = ssh::up(server.options()).await.unwrap();
    works(&nodes).await;
    assert_eq!(made(), before, "it is brought once");
    // One that was damaged is brought anew.
    nodes.close().await.unwrap();
    // In its place, since the agent may still be on its way out.
    fs::remove_file(uploaded[0].path()).unwrap();
    fs::write(uploaded[0].path(), "damaged").unwrap();
    let nodes = ssh::up(server.options()).await.unwrap();
    works(&nodes).await;
    assert!(uploaded[0].path().metadata().unwrap().len() > 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_say_how_they_ended() {
    let server = Server::start();
    let nodes = server.up().await.unwrap();
    let ran = nodes.run(0, &["sh", "-c", "echo out; echo err >&2; exit 3"], PATIENCE).await.unwrap();
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(3), "out\n", "err\n"));
    let killed = nodes.run(0, &["sh", "-c", "kill -9 $$"], PATIENCE).await.unwrap();
    assert_eq!(killed.code, None);
    let odd = ["it's", "a  b", "$HOME", "`id`", "\\n", "*", "ä!"];
    let argv = [&["printf", "[%s]"], odd.as_slice()].concat();
    let ran = nodes.run(0, &argv, PATIENCE).await.unwrap();
    assert_eq!(ran.stdout, odd.map(|word| format!("[{word}]")).concat());
    let late = nodes.run(0, &["sleep", "60"], Duration::from_millis(200)).await.unwrap_err().to_string();
    assert!(late.contains("does not end"), "{late}");
    // Nobody knows what became of it, so the connection was given up; another is made.
    let ran = nodes.run(0, &["echo", "again"], PATIENCE).await.unwrap();
    assert_eq!(ran.stdout, "again\n");
    // More at once than a server lets sessions be open.
    let nodes = std::sync::Arc::new(nodes);
    let many = (0..40).map(|number: u32| {
        let nodes = std::sync::Arc::clone(&nodes);
        tokio::spawn(
            async move { nodes.run(0, &["echo", &number.to_string()], PATIENCE).await.unwrap().stdout },
        )
    });
    for (number, ran) in many.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(ran.await.unwrap(), format!("{number}\n"));
    }
}

/// Sends a line to whatever listens on the node's port and reads the answer.
async fn asked(nodes: &SshNodes, port: u16) -> io::Result<String> {
    let mut stream = nodes.dialer().dial("n1", port).await?;
    stream.write_all(b"ping\n").await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Answers every connection with what came, until dropped.
async fn echo() -> (u16, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    (port, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_reached_directly_or_through_ssh() {
    let server = Server::start();
    let (port, _echo) = echo().await;
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    server.place_agent();
    for (reach, through) in [(Reach::Auto, false), (Reach::Direct, false), (Reach::Ssh, true)] {
        let mut options = server.options();
        options.cluster.reach = reach;
        let nodes = ssh::up(options).await.unwrap();
        assert_eq!(nodes.is_reached_through_ssh(0), through);
        assert_eq!(asked(&nodes, port).await.unwrap(), "ping\n");
        let error = asked(&nodes, closed).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
        let unknown = nodes.dialer().dial("n9", port).await.unwrap_err();
        assert_eq!(unknown.kind(), io::ErrorKind::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_leads_through_hosts_and_commands() {
    let server = Server::start();
    let (port, _echo) = echo().await;
    server.place_agent();
    // Two hosts on the way, the second known by a pattern; all are this one server.
    let jumps = "Host far\n  HostName 127.0.0.1\n  Port @\n  ProxyJump hop1,hop2\nHost hop*\n  HostName 127.0.0.1\n  Port @\n";
    let own = format!(
        "Host far\n  HostName 127.0.0.1\n  Port @\n  ProxyCommand ssh -F {} -W %h:%p n1\n",
        server.at("ssh_config").display()
    );
    for more in [jumps, own.as_str()] {
        server.write_config("n1", &more.replace('@', &server.port.to_string()));
        let mut options = server.options();
        let schism::spec::SshHosts::List(hosts) = &mut options.cluster.hosts else { unreachable!() };
        (hosts[0].host, hosts[0].name) = ("far".to_owned(), Some("n1".to_owned()));
        let nodes = ssh::up(options).await.unwrap();
        assert!(nodes.is_reached_through_ssh(0), "its ports are not near either");
        works(&nodes).await;
        assert_eq!(asked(&nodes, port).await.unwrap(), "ping\n");
        nodes.close().await.unwrap();
    }
    let broken = "Host far\n  ProxyCommand sh -c 'echo no way >&2; exit 1'\n";
    server.write_config("n1", broken);
    let mut options = server.options();
    let schism::spec::SshHosts::List(hosts) = &mut options.cluster.hosts else { unreachable!() };
    hosts[0].host = "far".to_owned();
    refused(ssh::up(options).await, &["far: connect", "ProxyCommand", "no way"]);
    let circle = "Host far\n  ProxyJump near\nHost near\n  ProxyJump far\n";
    server.write_config("n1", circle);
    let mut options = server.options();
    let schism::spec::SshHosts::List(hosts) = &mut options.cluster.hosts else { unreachable!() };
    hosts[0].host = "far".to_owned();
    refused(ssh::up(options).await, &["far: resolve", "circle", "ProxyJump"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_kind_let_us_in() {
    let server = Server::start();
    server.place_agent();
    let key = server.at("other");
    for (kind, passphrase) in
        [("ed25519", ""), ("ecdsa", ""), ("rsa", ""), ("ed25519", "open sesame"), ("rsa", "open sesame")]
    {
        let _ = fs::remove_file(&key);
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", kind, "-C", "", "-N", passphrase, "-f"])
            .arg(&key)
            .stdin(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        fs::copy(server.at("other.pub"), server.at("authorized_keys")).unwrap();
        let mut options = server.options();
        options.cluster.key = Some(key.display().to_string());
        options.secrets.passphrase = secret("open sesame");
        let nodes = ssh::up(options).await.unwrap_or_else(|error| panic!("{kind} {passphrase:?}: {error}"));
        assert_eq!(nodes.run(0, &["echo", "in"], PATIENCE).await.unwrap().stdout, "in\n");
        nodes.close().await.unwrap();
    }
    // The last one is encrypted.
    let mut options = server.options();
    options.cluster.key = Some(key.display().to_string());
    refused(ssh::up(options).await, &["n1: authentication", "encrypted", "SCHISM_SSH_PASSPHRASE"]);
    let mut options = server.options();
    options.cluster.key = Some(key.display().to_string());
    options.secrets.passphrase = secret("a wrong guess");
    let error = refused(ssh::up(options).await, &["n1: authentication", "the passphrase is wrong"]);
    assert!(!error.contains("guess"), "{error}");
}

/// An SSH agent of the test's own.
struct SshAgent {
    socket: std::path::PathBuf,
    child: std::process::Child,
}

impl SshAgent {
    fn start(directory: &std::path::Path) -> Self {
        let socket = directory.join("agent.sock");
        let child =
            Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        crate::support::eventually("the SSH agent listens", PATIENCE, || socket.exists());
        Self { socket, child }
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_ssh_agent_let_us_in() {
    let server = Server::start();
    server.place_agent();
    let agent = SshAgent::start(server.dir.path());
    for kind in ["ed25519", "rsa"] {
        let key = server.at(kind);
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", kind, "-C", kind, "-N", "", "-f"])
            .arg(&key)
            .status();
        assert!(made.unwrap().success());
        let added = Command::new("ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", &agent.socket).status();
        assert!(added.unwrap().success());
        fs::copy(server.at(&format!("{kind}.pub")), server.at("authorized_keys")).unwrap();
        // The agent has it, and nobody else.
        fs::remove_file(&key).unwrap();
        server.write_config("n1", &format!("Host n1\n  IdentityAgent {}\n", agent.socket.display()));
        let nodes = ssh::up(server.options()).await.unwrap_or_else(|error| panic!("{kind}: {error}"));
        works(&nodes).await;
        nodes.close().await.unwrap();
    }
    let only = format!("Host n1\n  IdentityAgent {}\n  IdentitiesOnly yes\n", agent.socket.display());
    server.write_config("n1", &only);
    let error = refused(ssh::up(server.options()).await, &["n1: authentication"]);
    assert!(!error.contains("of the SSH agent"), "only the keys that are named: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_talks_is_understood() {
    let banner = "Welcome!\\n\\0\\001\\n* 3 updates are available\\nno newline at the end";
    let server = Server::with(Wanted { banner: Some(banner), ..Wanted::default() });
    let nodes = server.up().await.unwrap();
    works(&nodes).await;
    assert_eq!(nodes.run(0, &["echo", "quiet"], PATIENCE).await.unwrap().stdout, "quiet\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_host_keys_are_written_down_if_we_say_so() {
    let server = Server::start();
    server.place_agent();
    fs::remove_file(server.at("known_hosts")).unwrap();
    let mut options = server.options();
    options.cluster.host_keys = Some(HostKeys::AcceptNew);
    let nodes = ssh::up(options).await.unwrap();
    nodes.close().await.unwrap();
    let known = fs::read_to_string(server.at("known_hosts")).unwrap();
    assert_eq!(known, format!("[127.0.0.1]:{} {}\n", server.port, server.host_key()));
    // From now on it is known, to OpenSSH as well, and also if nobody can read the name.
    let hashed =
        Command::new("ssh-keygen").arg("-H").arg("-f").arg(server.at("known_hosts")).output().unwrap();
    assert!(hashed.status.success());
    assert!(fs::read_to_string(server.at("known_hosts")).unwrap().starts_with("|1|"));
    let nodes = ssh::up(server.options()).await.unwrap();
    nodes.close().await.unwrap();
}
