//! A node that is cut off from everyone, the controller included: still reached, and healed by name without its journal.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use schism::agent::Handle;
use schism::transport::local::{self, LocalCluster, LocalOptions};
use schism::transport::{AgentPipe, Transport};
use schism_nemesis::node::{NodeFault, Peer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

/// What this test binary does on a node instead of testing.
const ROLE: &str = "SCHISM_RESCUE_ROLE";
const AS_ROLE: [&str; 4] = ["--exact", "rescue::role", "--ignored", "--nocapture"];
/// Not the usual one, so that the agent has to find out.
const SSH: u16 = 2222;
const DATA: u16 = 7000;
const LEASE: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(500);
const SCHISM: &str = env!("CARGO_BIN_EXE_schism");

#[test]
#[ignore = "started by the other tests, with a role"]
fn role() {
    match std::env::var(ROLE).as_deref() {
        Ok("sshd") => sshd(),
        Ok("residue") => println!("residue {:?}", schism_nemesis::linux::residue().unwrap()),
        _ => {}
    }
}

/// Does what an SSH server would as far as an agent can tell: its pipe is a TCP connection, and a variable says which.
fn sshd() {
    let listen = |port| TcpListener::bind(("0.0.0.0", port)).unwrap();
    let (control, data) = (listen(SSH), listen(DATA));
    println!("listening");
    std::thread::spawn(move || data.incoming().for_each(|stream| drop(stream.unwrap().write_all(b"data"))));
    for stream in control.incoming() {
        let stream: TcpStream = stream.unwrap();
        let (from, to) = (stream.peer_addr().unwrap(), stream.local_addr().unwrap());
        let connection = format!("{} {} {} {}", from.ip(), from.port(), to.ip(), to.port());
        // `sudo` keeps the variable from the agent; the shell before it has it.
        let mut agent = Command::new("sh")
            .args(["-c", &format!("env -u SSH_CONNECTION {SCHISM} agent; true")])
            .env("SSH_CONNECTION", connection)
            .stdin(OwnedFd::from(stream.try_clone().unwrap()))
            .stdout(Stdio::from(OwnedFd::from(stream)))
            .spawn()
            .unwrap();
        std::thread::spawn(move || agent.wait());
    }
}

async fn start(cluster: &LocalCluster, argv: &[&str]) -> AgentPipe {
    cluster.start_program(0, argv).await.unwrap()
}

/// This test binary on the first node.
async fn play(cluster: &LocalCluster, role: &str) -> AgentPipe {
    let own = std::env::current_exe().unwrap();
    start(cluster, &[&["env", &format!("{ROLE}={role}"), own.to_str().unwrap()], &AS_ROLE[..]].concat()).await
}

async fn all_of(mut pipe: AgentPipe) -> String {
    let mut said = String::new();
    pipe.stdout.read_to_string(&mut said).await.unwrap();
    said
}

/// Whether the node's data port answers the controller.
async fn answers(cluster: &LocalCluster, patience: Duration) -> bool {
    let dialer = cluster.dialer();
    let answer = async {
        let mut said = [0; 4];
        dialer.dial("n1", DATA).await?.read_exact(&mut said).await?;
        Ok::<_, std::io::Error>(said)
    };
    matches!(tokio::time::timeout(patience, answer).await, Ok(Ok(said)) if said == *b"data")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_from_everyone_is_reached_and_healed() {
    let expose = vec![std::env::current_exe().unwrap(), SCHISM.into()];
    let cluster =
        local::up(LocalOptions { exe: SCHISM.into(), expose, ..LocalOptions::new(3) }).await.unwrap();
    let server = play(&cluster, "sshd").await;
    let mut lines = BufReader::new(server.stdout).lines();
    while !lines.next_line().await.unwrap().unwrap().contains("listening") {}

    let connect = async || {
        let (stdout, stdin) = cluster.dialer().dial("n1", SSH).await.unwrap().into_split();
        let pipe = AgentPipe { stdin: Box::new(stdin), stdout: Box::new(stdout) };
        Handle::connect(pipe, "n1", "test").await.unwrap()
    };
    let (handle, _events) = connect().await;
    let mut peers: Vec<Peer> = cluster
        .nodes()
        .iter()
        .map(|node| Peer { node: node.name.to_string(), address: node.address })
        .collect();
    peers.push(Peer { node: "controller".to_owned(), address: local::CONTROLLER.into() });
    assert!(answers(&cluster, LEASE).await);
    let cut = NodeFault::DropFrom { peers, exempt_ports: Vec::new() };
    handle.inject("cut", &cut, LEASE).await.unwrap();
    assert!(!answers(&cluster, SHORT).await, "the cut does not bite");
    // Over the connection there was, and over another one.
    let evidence = handle.verify("cut", Duration::ZERO).await.unwrap();
    assert!(
        evidence.seen.contains("from controller"),
        "the controller's own packets were counted: {evidence:?}"
    );
    let dialer = cluster.dialer();
    tokio::time::timeout(LEASE, dialer.dial("n1", SSH)).await.unwrap().unwrap();
    handle.heal("cut").await.unwrap();
    assert!(handle.verify_healed("cut", LEASE).await.unwrap().holds);
    assert!(answers(&cluster, LEASE).await);

    // Now nobody heals, and the journal is lost.
    handle.inject("cut", &cut, LEASE).await.unwrap();
    let lose = "for p in $(grep -lz -e '^watchdog$' -e '^agent$' /proc/[0-9]*/cmdline | cut -d/ -f3); do \
                kill -STOP $p; done; \
                for p in $(grep -lz -e '^watchdog$' -e '^agent$' /proc/[0-9]*/cmdline | cut -d/ -f3); do \
                kill -9 $p; done; rm -r /var/lib/schism/journal; echo lost";
    assert!(all_of(start(&cluster, &["sh", "-c", lose]).await).await.contains("lost"));
    assert!(!all_of(play(&cluster, "residue").await).await.contains("residue []"));
    assert!(!answers(&cluster, SHORT).await);
    for found in ["nftables rule", "clean: nothing of any fault was there"] {
        let said = all_of(start(&cluster, &[SCHISM, "heal"]).await).await;
        assert!(said.contains(found) && said.contains("clean: "), "{said}");
        assert!(all_of(play(&cluster, "residue").await).await.contains("residue []"));
    }
    assert!(answers(&cluster, LEASE).await);
    drop(lines);
    cluster.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_is_made_on_a_host_that_nobody_has_marked() {
    let cluster = local::up(LocalOptions { exe: SCHISM.into(), ..LocalOptions::new(1) }).await.unwrap();
    let unmark = "rm /etc/schism-disposable; echo done";
    assert!(all_of(start(&cluster, &["sh", "-c", unmark]).await).await.contains("done"));
    let cut = NodeFault::DropFrom {
        peers: vec![Peer { node: "controller".to_owned(), address: local::CONTROLLER.into() }],
        exempt_ports: Vec::new(),
    };
    let (handle, _events) = Handle::connect(cluster.agent(0).await.unwrap(), "n1", "test").await.unwrap();
    let refused = handle.inject("cut", &cut, LEASE).await.unwrap_err().to_string();
    assert!(refused.contains("schism nodes allow") && refused.contains("disposable: true"), "{refused}");
    assert_eq!(handle.residue().await.unwrap(), [""; 0]);
    handle.bye().await.unwrap();

    // Told so, the agent looks for no marker; and one that comes later counts from then on.
    let pipe = cluster.agent(0).await.unwrap();
    let (told, _events) = Handle::connect_with(pipe, "n1", "test", true).await.unwrap();
    told.inject("cut", &cut, LEASE).await.unwrap();
    told.bye().await.unwrap();
    let (handle, _events) = Handle::connect(cluster.agent(0).await.unwrap(), "n1", "test").await.unwrap();
    handle.inject("cut", &cut, LEASE).await.unwrap_err();
    handle.write_file("/etc/schism-disposable", 0o644, b"").await.unwrap();
    handle.inject("cut", &cut, LEASE).await.unwrap();
    handle.bye().await.unwrap();
    cluster.close().await.unwrap();
}
