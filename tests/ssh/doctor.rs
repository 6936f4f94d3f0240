//! `schism doctor` on a host that SSH reaches, and on one that it does not.

use schism::agent::Handle;
use schism::agent::protocol::{Command, ProcessStatus};
use schism::doctor::{Check, NodeReport, Report, State, examine_hosts};
use schism::spec::{SshHost, SshHosts};
use schism::transport::Transport;

use super::server::{Server, is_root};

#[track_caller]
fn row<'a>(node: &'a NodeReport, name: &str) -> &'a Check {
    node.checks.iter().find(|check| check.check == name).unwrap_or_else(|| panic!("no row {name}"))
}

/// The rows that are in the way, with their sentences.
fn problems(node: &NodeReport) -> Vec<(&str, &str)> {
    let problems = node.checks.iter().filter(|check| check.state == State::Problem);
    problems.map(|check| (check.check, check.advice.as_deref().unwrap_or_default())).collect()
}

async fn examine(server: &Server) -> Report {
    server.place_agent();
    examine_hosts(server.options()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_tells_a_host_from_one_that_is_not_there() {
    let server = Server::start();
    server.place_agent();
    let mut options = server.options();
    let SshHosts::List(hosts) = &mut options.cluster.hosts else { panic!("no list") };
    hosts.push(SshHost::parse("no-such-host.invalid").unwrap());
    let report = examine_hosts(options).await;
    assert!(!report.can_run);
    let [there, missing] = report.nodes.as_slice() else { panic!("{report:?}") };
    for name in ["reached", "login", "agent", "in use", "address", "left behind", "kill", "pause"] {
        assert_eq!(row(there, name).state, State::Fine, "{there:?}");
    }
    // Nobody marked the machine that runs the tests.
    assert!(row(there, "disposable").advice.as_deref().unwrap().contains("schism nodes allow"));
    assert_eq!(row(there, "root").state == State::Fine, is_root());
    let facts = there.facts.as_ref().unwrap();
    assert_eq!(facts.state, server.options().base);
    assert!(facts.spared_ports.contains(&server.port), "{facts:?}");
    // It is the same machine, so its clock differs by nothing.
    let clock = row(there, "clock");
    assert!(clock.state == State::Fine && clock.seen.contains('±'), "{clock:?}");
    assert_eq!(problems(missing).len(), 1, "{missing:?}");
    let (name, why) = problems(missing)[0];
    assert!(name == "reached" && why.contains("no-such-host.invalid"), "{name}: {why}");
    let of_missing = |state| missing.checks.iter().filter(|check| check.state == state).count();
    assert_eq!((of_missing(State::Fine), missing.facts.as_ref()), (0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_that_the_key_does_not_fit() {
    let server = Server::start();
    std::fs::write(server.at("authorized_keys"), "").unwrap();
    let report = examine(&server).await;
    let node = &report.nodes[0];
    assert!(!report.can_run && row(node, "reached").state == State::Fine);
    let [("login", why)] = problems(node)[..] else { panic!("{node:?}") };
    assert!(why.contains("authentication"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_who_uses_a_host() {
    let server = Server::start();
    let nodes = server.up().await.unwrap();
    let (handle, _events) =
        Handle::connect(nodes.agent(0).await.unwrap(), "n1", "run \"nightly\" of alice").await.unwrap();
    let report = examine(&server).await;
    let node = &report.nodes[0];
    let used = row(node, "in use");
    assert_eq!(used.state, State::Problem, "{node:?}");
    assert!(used.advice.as_deref().unwrap().contains("run \"nightly\" of alice"), "{used:?}");
    // Nobody has noticed over there.
    assert_eq!(handle.residue().await.unwrap(), [""; 0]);
    handle.bye().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_finds_what_an_earlier_run_left_and_lets_it_be() {
    let server = Server::start();
    let nodes = server.up().await.unwrap();
    let (handle, _events) = Handle::connect(nodes.agent(0).await.unwrap(), "n1", "earlier").await.unwrap();
    let sleep = Command { argv: ["sleep", "600"].map(str::to_owned).to_vec(), ..Command::default() };
    let pid = handle.start("database", &sleep, &server.at("log").display().to_string()).await.unwrap();
    drop(handle);
    nodes.close().await.unwrap();
    let report = examine(&server).await;
    let left = row(&report.nodes[0], "left behind");
    assert_eq!(left.state, State::Problem, "{left:?}");
    let advice = left.advice.as_deref().unwrap();
    assert!(advice.contains("database") && advice.contains("schism heal --stop"), "{advice}");
    let nodes = server.up().await.unwrap();
    let (handle, _events) = Handle::connect(nodes.agent(0).await.unwrap(), "n1", "later").await.unwrap();
    let status = handle.status("database").await.unwrap();
    assert!(matches!(status, ProcessStatus::Running { pid: now, .. } if now == pid), "{status:?}");
    handle.bye().await.unwrap();
    nodes.close().await.unwrap();
    let report = examine(&server).await;
    assert_eq!(row(&report.nodes[0], "left behind").state, State::Fine, "{report:?}");
}
