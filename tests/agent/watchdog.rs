//! What heals when an agent dies: its watchdog, the next agent, `schism heal`.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use schism::agent::protocol::ProcessStatus;
use schism_nemesis::node::NodeFault;

use super::{Agent, PATIENCE, agent, alive, sh, until};

/// Longer than any test: nothing here is healed because its lease ran out.
const LEASE: Duration = Duration::from_secs(600);
const SERVER: &str = "server";

fn pause() -> NodeFault {
    NodeFault::Pause { process: SERVER.to_owned() }
}

/// The watchdogs of this state directory.
fn watchdogs(state: &Path) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let Some(pid) = entry.unwrap().file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let ours = words.contains(&state.as_os_str().as_encoded_bytes());
        if words.get(1) == Some(&&b"watchdog"[..]) && ours && alive(pid) {
            found.push(pid);
        }
    }
    found
}

fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

fn letter(pid: i32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
}

fn journal(state: &Path) -> usize {
    std::fs::read_dir(state.join("journal")).unwrap().count()
}

/// An agent with a process, which is paused.
async fn paused(state: &Path) -> (Agent, i32) {
    let agent = agent(state).await;
    let pid = agent.handle.start(SERVER, &sh("sleep 100; true"), "/dev/null").await.unwrap();
    assert_eq!(watchdogs(state), [0; 0], "nothing is to be watched yet");
    agent.handle.inject("f1", &pause(), LEASE).await.unwrap();
    assert!(agent.handle.verify("f1", PATIENCE).await.unwrap().holds);
    assert_eq!(letter(pid), 'T');
    (agent, pid)
}

#[tokio::test]
async fn a_killed_agents_faults_are_healed_by_nobody_else() {
    let state = tempfile::tempdir().unwrap();
    let (first, pid) = paused(state.path()).await;
    assert_eq!(watchdogs(state.path()).len(), 1);
    first.kill().await;
    until("the process goes on", || letter(pid) != 'T').await;
    until("the watchdog goes", || watchdogs(state.path()).is_empty()).await;
    assert_eq!(journal(state.path()), 0);
    // The next agent knows, once, and adopts the process.
    let second = agent(state.path()).await;
    assert_eq!(second.handle.healed(), ["f1"]);
    let status = second.handle.status(SERVER).await.unwrap();
    assert!(matches!(status, ProcessStatus::Running { pid: same, .. } if same == pid), "{status:?}");
    second.kill().await;
    let third = agent(state.path()).await;
    assert_eq!(third.handle.healed(), [""; 0]);

    // What was killed is started again, and lives on without agent and watchdog.
    let killed = NodeFault::Kill { process: SERVER.to_owned() };
    third.handle.inject("f2", &killed, LEASE).await.unwrap();
    until("it is down", || !alive(pid)).await;
    third.kill().await;
    until("the watchdog goes", || watchdogs(state.path()).is_empty()).await;
    let fourth = agent(state.path()).await;
    let status = fourth.handle.status(SERVER).await.unwrap();
    assert!(matches!(status, ProcessStatus::Running { pid: other, .. } if other != pid), "{status:?}");
    fourth.bye().await;
}

#[tokio::test]
async fn a_watchdog_that_dies_is_replaced() {
    let state = tempfile::tempdir().unwrap();
    let (agent, pid) = paused(state.path()).await;
    let first = watchdogs(state.path())[0];
    send(first, Signal::SIGKILL);
    until("there is another one", || watchdogs(state.path()).iter().any(|other| *other != first)).await;
    agent.kill().await;
    until("the process goes on", || letter(pid) != 'T').await;
    until("the watchdog goes", || watchdogs(state.path()).is_empty()).await;
    super::agent(state.path()).await.bye().await;
}

#[tokio::test]
async fn what_ends_an_agent_does_not_end_its_watchdog() {
    let state = tempfile::tempdir().unwrap();
    let (agent, pid) = paused(state.path()).await;
    let watchdog = watchdogs(state.path())[0];
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        send(watchdog, signal);
    }
    agent.kill().await;
    until("the process goes on", || letter(pid) != 'T').await;
    until("the watchdog goes", || !alive(watchdog)).await;
    super::agent(state.path()).await.bye().await;
}

#[tokio::test]
async fn an_agent_that_ends_well_takes_its_watchdog_along() {
    let state = tempfile::tempdir().unwrap();
    let (agent, _) = paused(state.path()).await;
    let watchdog = watchdogs(state.path())[0];
    agent.bye().await;
    assert!(!alive(watchdog));
}

#[tokio::test]
async fn without_a_watchdog_there_is_no_fault() {
    let state = tempfile::tempdir().unwrap();
    // Its log cannot be opened.
    std::fs::create_dir(state.path().join("watchdog.log")).unwrap();
    let agent = agent(state.path()).await;
    let pid = agent.handle.start(SERVER, &sh("sleep 100; true"), "/dev/null").await.unwrap();
    let error = agent.handle.inject("f1", &pause(), LEASE).await.unwrap_err().to_string();
    assert!(error.contains("watchdog") && error.contains("watchdog.log"), "{error}");
    assert_ne!(letter(pid), 'T');
    assert_eq!(journal(state.path()), 0);
    std::fs::remove_dir(state.path().join("watchdog.log")).unwrap();
    agent.handle.inject("f1", &pause(), LEASE).await.unwrap();
    agent.bye().await;
}

fn edit(path: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let mut record = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut record);
    std::fs::write(path, record.to_string()).unwrap();
}

/// Kills agent and watchdog in a way that neither heals.
async fn kill_both(agent: Agent, state: &Path) {
    let watchdog = watchdogs(state)[0];
    send(watchdog, Signal::SIGSTOP);
    agent.kill().await;
    send(watchdog, Signal::SIGKILL);
    until("the watchdog dies", || !alive(watchdog)).await;
}

#[tokio::test]
async fn a_reboot_heals_a_kill_and_signals_nobody() {
    let state = tempfile::tempdir().unwrap();
    let (first, pid) = paused(state.path()).await;
    first.handle.inject("f2", &NodeFault::Kill { process: SERVER.to_owned() }, LEASE).await.unwrap();
    until("it is down", || !alive(pid)).await;
    kill_both(first, state.path()).await;
    assert_eq!(journal(state.path()), 2);
    // Somebody who is nobody's business has the number now, as far as the records say: they are of another boot.
    let mut stranger = std::process::Command::new("sleep").arg("100").spawn().unwrap();
    let number = stranger.id().cast_signed();
    send(number, Signal::SIGSTOP);
    for name in ["f1", "f2"] {
        edit(&state.path().join(format!("journal/{name}.json")), |entry| entry["scope"] = "before".into());
    }
    edit(&state.path().join("processes/server.json"), |record| {
        let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap();
        let start: u64 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
        record["life"]["scope"] = "before".into();
        record["life"]["identity"] = serde_json::json!({ "pid": number, "start": start });
    });
    let second = agent(state.path()).await;
    assert_eq!(second.handle.healed(), ["f1", "f2"]);
    assert_eq!(journal(state.path()), 0);
    let status = second.handle.status(SERVER).await.unwrap();
    assert!(matches!(status, ProcessStatus::Exited { .. }), "started by a heal: {status:?}");
    assert_eq!(letter(number), 'T', "a stranger was signalled");
    second.bye().await;
    assert_eq!(letter(number), 'T', "a stranger was signalled");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

fn heal(state: &Path, more: &[&str]) -> (Output, serde_json::Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_schism"))
        .args(["heal", "--json", "--state"])
        .arg(state)
        .args(more)
        .output()
        .unwrap();
    let said = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output, said)
}

#[tokio::test]
async fn a_person_heals_what_nobody_did() {
    let state = tempfile::tempdir().unwrap();
    let (agent, pid) = paused(state.path()).await;
    kill_both(agent, state.path()).await;
    assert_eq!((letter(pid), journal(state.path())), ('T', 1));
    let (output, said) = heal(state.path(), &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(said["found"].as_array().unwrap().contains(&"fault `f1`, from the journal".into()), "{said}");
    assert_eq!(said["left"], serde_json::json!([]));
    assert!(said["running"][0].as_str().unwrap().contains("process `server` runs"), "{said}");
    assert_ne!(letter(pid), 'T');
    assert_eq!(journal(state.path()), 0);

    // Stopped, and no journal says why.
    send(pid, Signal::SIGSTOP);
    let (_, said) = heal(state.path(), &[]);
    assert!(said["found"][0].as_str().unwrap().contains("was stopped"), "{said}");
    assert_ne!(letter(pid), 'T');

    let (output, said) = heal(state.path(), &["--stop"]);
    let nothing = serde_json::json!({ "found": [], "left": [], "running": [] });
    assert_eq!((output.status.code(), said), (Some(0), nothing.clone()));
    assert!(!alive(pid));
    let (_, again) = heal(state.path(), &[]);
    assert_eq!(again, nothing);

    // What cannot be understood is said, and stays.
    std::fs::write(state.path().join("journal/odd.json"), "{").unwrap();
    let (output, said) = heal(state.path(), &[]);
    assert_eq!(output.status.code(), Some(6));
    assert!(said["left"][0].as_str().unwrap().contains("odd.json"), "{said}");
    assert!(state.path().join("journal/odd.json").exists());
}
