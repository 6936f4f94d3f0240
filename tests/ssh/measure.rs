//! How fast it is, beside OpenSSH's own client with a connection that it keeps (ControlMaster). Prints figures; run it alone:
//!
//!     cargo test --release --test all ssh::measure -- --ignored --nocapture

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use schism::agent::Handle;
use schism::spec::SshHosts;
use schism::transport::Transport;
use schism::transport::ssh;

use super::server::Server;

const COMMANDS: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(30);

fn report(what: &str, mut took: Vec<Duration>) {
    let total: Duration = took.iter().sum();
    took.sort_unstable();
    let millis = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    println!(
        "{what:<44} {:7.0}/s  median {:6.2} ms  99 % {:6.2} ms",
        took.len() as f64 / total.as_secs_f64(),
        millis(0.5),
        millis(0.99)
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn a_thousand_commands_on_one_connection() {
    let server = Server::start();
    let nodes = server.up().await.unwrap();
    let config = server.at("ssh_config").display().to_string();
    let socket = format!("ControlPath={}", server.at("control").display());
    let ssh = |more: &[&str]| {
        let mut command = Command::new("ssh");
        command.args(["-F", &config, "-o", &socket]).args(more).stdin(Stdio::null()).stdout(Stdio::null());
        assert!(command.status().unwrap().success());
    };
    ssh(&["-M", "-N", "-f", "-o", "ControlPersist=60", "n1"]);
    let (handle, _events) = Handle::connect(nodes.agent(0).await.unwrap(), "n1", "test").await.unwrap();
    let mut took = [const { Vec::new() }; 3];
    let echo = schism::agent::protocol::Command { argv: vec!["true".to_owned()], ..Default::default() };
    // In turns, so that what else the machine does is the same for all.
    for _ in 0..COMMANDS {
        let begun = Instant::now();
        nodes.run(0, &["true"], PATIENCE).await.unwrap();
        took[0].push(begun.elapsed());
        let begun = Instant::now();
        ssh(&["n1", "true"]);
        took[1].push(begun.elapsed());
        let begun = Instant::now();
        handle.run(&echo, None, PATIENCE, 100).await.unwrap();
        took[2].push(begun.elapsed());
    }
    ssh(&["-O", "exit", "n1"]);
    let [own, theirs, agent] = took;
    report("a command over SSH", own);
    report("a command of OpenSSH with ControlMaster", theirs);
    report("a command through the agent", agent);
    handle.bye().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn five_nodes_with_agents() {
    let server = Server::start();
    server.place_agent();
    let mut options = server.options();
    let SshHosts::List(hosts) = &mut options.cluster.hosts else { unreachable!() };
    // Hosts of one machine, so one agent at a time would hold the state: the first is started on its node, the others reach theirs.
    for number in 2..=5u8 {
        let mut host = hosts[0].clone();
        host.name = Some(format!("n{number}"));
        host.address = Some(std::net::Ipv4Addr::new(127, 0, 0, number).into());
        hosts.push(host);
    }
    for round in 1..=5 {
        let begun = Instant::now();
        let nodes = ssh::up(options.clone()).await.unwrap();
        let reached = begun.elapsed();
        let (handle, _events) = Handle::connect(nodes.agent(0).await.unwrap(), "n1", "test").await.unwrap();
        println!(
            "round {round}: five nodes reached in {reached:.2?}, an agent runs after {:.2?}",
            begun.elapsed()
        );
        handle.bye().await.unwrap();
        nodes.close().await.unwrap();
    }
}
