//! The agent as a controller sees it: the real binary on a pipe, and the server inside this process where a test brings
//! mechanisms of its own.

#![allow(clippy::unwrap_used, reason = "what a test's own functions cannot do fails the test")]

mod controllers;
mod leases;
mod watchdog;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use schism::agent::protocol::{Command, ProcessStatus};
use schism::agent::{AgentError, AgentEvent, Handle};
use schism::transport::AgentPipe;
use schism_nemesis::node::NodeFault;
use tokio::process::Child;
use tokio::sync::mpsc::UnboundedReceiver;

const PATIENCE: Duration = Duration::from_secs(20);

/// A running `schism agent`.
struct Agent {
    handle: Handle,
    events: UnboundedReceiver<AgentEvent>,
    child: Child,
}

async fn agent(state: &Path) -> Agent {
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_schism"))
        .arg("agent")
        .arg("--state")
        .arg(state)
        .env("SCHISM_LOG", "warn")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pipe = AgentPipe {
        stdin: Box::new(child.stdin.take().unwrap()),
        stdout: Box::new(child.stdout.take().unwrap()),
    };
    let (handle, events) = Handle::connect_with(pipe, "n1", "test", true).await.unwrap();
    Agent { handle, events, child }
}

impl Agent {
    async fn sh(&self, script: &str, deadline: Duration) -> schism::agent::RunOutput {
        self.handle.run(&sh(script), None, deadline, 1 << 20).await.unwrap()
    }

    /// Ends it well and stops what it supervises.
    async fn bye(mut self) {
        self.handle.bye().await.unwrap();
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
    }

    /// As a crash would.
    async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

fn sh(script: &str) -> Command {
    Command { argv: vec!["sh".into(), "-c".into(), script.into()], env: BTreeMap::new(), directory: None }
}

/// Waits for a condition, for a bounded time.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn alive(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !matches!(stat.rsplit_once(") ").unwrap().1.chars().next(), Some('Z' | 'X'))
}

/// Numbers that a script wrote, one a line.
fn pids(path: &Path) -> Vec<i32> {
    std::fs::read_to_string(path).unwrap_or_default().lines().filter_map(|line| line.parse().ok()).collect()
}

#[tokio::test]
async fn runs_commands() {
    let state = tempfile::tempdir().unwrap();
    let agent = agent(state.path()).await;
    let output = agent
        .handle
        .run(&sh("cat; echo err >&2; echo $X; pwd; exit 3"), Some("in ".into()), PATIENCE, 100)
        .await
        .unwrap();
    assert_eq!((output.code, output.signal, output.timed_out), (Some(3), None, false));
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("in \n/\n", "err\n"));
    let command = Command {
        env: BTreeMap::from([("X".into(), "x".into())]),
        directory: Some("/tmp".into()),
        ..sh("echo $X; pwd; kill -9 $$")
    };
    let output = agent.handle.run(&command, None, PATIENCE, 100).await.unwrap();
    assert_eq!((output.code, output.signal, output.stdout.as_str()), (None, Some(9), "x\n/tmp\n"));
    let missing = Command {
        argv: vec!["no-such-program".into()],
        env: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]),
        directory: None,
    };
    let error = agent.handle.run(&missing, None, PATIENCE, 100).await.unwrap_err().to_string();
    assert!(error.contains("no such program"), "{error}");
    let error = agent.handle.run(&Command::default(), None, PATIENCE, 100).await.unwrap_err().to_string();
    assert!(error.contains("empty"), "{error}");
    assert_eq!(agent.handle.residue().await.unwrap(), [""; 0]);
    agent.bye().await;
}

#[tokio::test]
async fn keeps_the_end_of_long_output() {
    let state = tempfile::tempdir().unwrap();
    let agent = agent(state.path()).await;
    let output = agent.handle.run(&sh("seq 1 200000; seq 1 3 >&2"), None, PATIENCE, 14).await.unwrap();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("199999\n200000\n", "1\n2\n3\n"));
    assert!(output.truncated);
    // More than one frame could hold: the agent's own limit, and characters that JSON makes six times as long.
    let output = agent
        .handle
        .run(&sh("head -c 3000000 /dev/zero | tr '\\0' '\\1'"), None, PATIENCE, usize::MAX)
        .await
        .unwrap();
    assert_eq!((output.stdout.len(), output.truncated), (1 << 20, true));
    agent.bye().await;
}

#[tokio::test]
async fn a_deadline_kills_everything_that_was_started() {
    let state = tempfile::tempdir().unwrap();
    let agent = agent(state.path()).await;
    let list = state.path().join("pids");
    // A child, a grandchild, one in a session of its own whose parent is gone, one without our environment.
    let script = format!(
        "exec 2>/dev/null; L={}; sleep 100 & echo $! >> $L; (sleep 100 & echo $! >> $L); \
         (setsid sh -c 'echo $$ >> '$L'; exec sleep 100' &); env -i sh -c 'sleep 100 & echo $! >> '$L; \
         echo out; sleep 100",
        list.display()
    );
    let deadline = Duration::from_millis(1500);
    let output = agent.sh(&script, deadline).await;
    assert!(output.timed_out && output.signal == Some(9), "{output:?}");
    assert_eq!(output.stdout, "out\n");
    let started = pids(&list);
    assert_eq!(started.len(), 4);
    for pid in started {
        assert!(!alive(pid), "process {pid} lives on");
    }
    assert_eq!(agent.handle.residue().await.unwrap(), [""; 0]);
    agent.bye().await;
}

#[tokio::test]
async fn a_command_ends_when_its_process_does() {
    let state = tempfile::tempdir().unwrap();
    let agent = agent(state.path()).await;
    // The pipe stays open in the background process: that must hold nobody up, and it is residue until it ends.
    let output = agent.sh("sleep 100 & echo $!", PATIENCE).await;
    let pid: i32 = output.stdout.trim().parse().unwrap();
    assert!(output.success() && alive(pid));
    let residue = agent.handle.residue().await.unwrap();
    assert!(residue.len() == 1 && residue[0].contains(&pid.to_string()), "{residue:?}");
    // Until the agent leaves for good: then nothing of ours stays.
    agent.bye().await;
    assert!(!alive(pid));
}

#[tokio::test]
async fn supervises_a_process() {
    let state = tempfile::tempdir().unwrap();
    let log = state.path().join("logs/server.log");
    let log = log.to_str().unwrap();
    let mut agent = agent(state.path()).await;
    assert_eq!(agent.handle.status("server").await.unwrap(), ProcessStatus::Unknown);
    let pid = agent.handle.start("server", &sh("echo up; echo err >&2; exec sleep 100"), log).await.unwrap();
    assert!(alive(pid));
    let error = agent.handle.start("server", &sh("true"), log).await.unwrap_err().to_string();
    assert!(error.contains("runs already"), "{error}");
    until("the log is written", || std::fs::read_to_string(log).unwrap() == "up\nerr\n").await;
    assert!(matches!(
        agent.handle.status("server").await.unwrap(),
        ProcessStatus::Running { pid: same, state: 'S' | 'R' } if same == pid
    ));
    let residue = agent.handle.residue().await.unwrap();
    assert_eq!(residue, [format!("process `server` runs ({pid})")]);
    agent.handle.stop("server", 15, PATIENCE).await.unwrap();
    agent.handle.stop("server", 15, PATIENCE).await.unwrap();
    assert_eq!(
        agent.handle.status("server").await.unwrap(),
        ProcessStatus::Exited { code: None, signal: Some(15) }
    );
    // A stop that was asked for is no event; a crash is.
    let pid = agent.handle.start("server", &sh("exit 7"), log).await.unwrap();
    let event = tokio::time::timeout(PATIENCE, agent.events.recv()).await.unwrap().unwrap();
    assert_eq!(event, AgentEvent::Exited { name: "server".into(), pid, code: Some(7), signal: None });
    let missing = Command { argv: vec!["/no/such/server".into()], ..Command::default() };
    let error = agent.handle.start("server", &missing, log).await.unwrap_err().to_string();
    assert!(error.contains("no such program"), "{error}");
    agent.bye().await;
}

#[tokio::test]
async fn stopping_kills_what_ignores_it() {
    let state = tempfile::tempdir().unwrap();
    let list = state.path().join("pids");
    let script = format!(
        "trap '' TERM; L={}; echo $$ >> $L; sleep 100 & echo $! >> $L; \
         (setsid sh -c 'trap \"\" TERM; echo $$ >> '$L'; while :; do sleep 1; done' &); \
         while :; do sleep 1; done",
        list.display()
    );
    let agent = agent(state.path()).await;
    agent.handle.start("stubborn", &sh(&script), "/dev/null").await.unwrap();
    until("everything is up", || pids(&list).len() == 3).await;
    agent.handle.stop("stubborn", 15, Duration::from_millis(100)).await.unwrap();
    for pid in pids(&list) {
        assert!(!alive(pid), "process {pid} lives on");
    }
    assert_eq!(
        agent.handle.status("stubborn").await.unwrap(),
        ProcessStatus::Exited { code: None, signal: Some(9) }
    );
    assert_eq!(agent.handle.residue().await.unwrap(), [""; 0]);
    agent.bye().await;
}

#[tokio::test]
async fn processes_outlive_their_agent_and_are_adopted() {
    let state = tempfile::tempdir().unwrap();
    let log = state.path().join("log");
    let first = agent(state.path()).await;
    let command = sh("sleep 100 & echo $!; wait");
    let pid = first.handle.start("server", &command, log.to_str().unwrap()).await.unwrap();
    until("the child is up", || pids(&log).len() == 1).await;
    first.kill().await;

    let mut second = agent(state.path()).await;
    assert!(matches!(second.handle.status("server").await.unwrap(),
        ProcessStatus::Running { pid: same, .. } if same == pid));
    second.sh(&format!("kill -9 {pid}"), PATIENCE).await;
    let event = tokio::time::timeout(PATIENCE, second.events.recv()).await.unwrap().unwrap();
    assert_eq!(event, AgentEvent::Exited { name: "server".into(), pid, code: None, signal: None });
    // Its child lives on and is still known to be its.
    second.handle.stop("server", 15, PATIENCE).await.unwrap();
    assert!(!alive(pids(&log)[0]));
    drop(second.handle);
    let mut child = second.child;
    assert!(tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap().success());

    // Down is how the third one finds it, and a recycled number must not fool it.
    let record = state.path().join("processes/server.json");
    let text = std::fs::read_to_string(&record).unwrap();
    let forged = text.replace(&format!("\"pid\": {pid}"), &format!("\"pid\": {}", std::process::id()));
    assert_ne!(text, forged);
    std::fs::write(&record, forged).unwrap();
    let third = agent(state.path()).await;
    assert_eq!(
        third.handle.status("server").await.unwrap(),
        ProcessStatus::Exited { code: None, signal: None }
    );
    third.bye().await;
}

#[tokio::test]
async fn an_end_that_no_agent_saw_is_told_by_the_next() {
    let state = tempfile::tempdir().unwrap();
    let log = state.path().join("log");
    let first = agent(state.path()).await;
    let command = sh("sleep 100 & echo $!; wait");
    let pid = first.handle.start("server", &command, log.to_str().unwrap()).await.unwrap();
    first.handle.start("stopped", &command, "/dev/null").await.unwrap();
    first.handle.stop("stopped", 9, PATIENCE).await.unwrap();
    until("the child is up", || pids(&log).len() == 1).await;
    first.kill().await;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    until("it dies", || !alive(pid)).await;

    let mut second = agent(state.path()).await;
    let event = tokio::time::timeout(PATIENCE, second.events.recv()).await.unwrap().unwrap();
    assert_eq!(event, AgentEvent::Exited { name: "server".into(), pid, code: None, signal: None });
    // Its child lives on; that is known, and can be ended.
    assert!(alive(pids(&log)[0]));
    second.handle.stop("server", 15, PATIENCE).await.unwrap();
    assert!(!alive(pids(&log)[0]));
    assert_eq!(second.handle.residue().await.unwrap(), [""; 0]);
    second.kill().await;
    // Told once.
    let mut third = agent(state.path()).await;
    third.handle.bye().await.unwrap();
    assert!(matches!(third.events.recv().await, Some(AgentEvent::Gone { .. })));
}

#[tokio::test]
async fn moves_big_files_both_ways() {
    let state = tempfile::tempdir().unwrap();
    let agent = agent(state.path()).await;
    let path = state.path().join("a/b/big");
    let on_node = path.to_str().unwrap();
    let data: Vec<u8> = (0..9_000_001_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    agent.handle.write_file(on_node, 0o751, &data).await.unwrap();
    assert!(std::fs::read(&path).unwrap() == data);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o7777, 0o751);
    let here = state.path().join("here/big");
    assert_eq!(agent.handle.fetch_file(on_node, &here).await.unwrap(), data.len() as u64);
    assert!(std::fs::read(&here).unwrap() == data);
    assert_eq!(agent.handle.send_file(&here, on_node, 0o600).await.unwrap(), data.len() as u64);
    assert!(std::fs::read(&path).unwrap() == data);
    assert_eq!(agent.handle.read_file(on_node, -3, 100).await.unwrap(), data[data.len() - 3..]);
    assert_eq!(agent.handle.read_file(on_node, 5, 2).await.unwrap(), data[5..7]);
    assert_eq!(agent.handle.read_file(on_node, 1 << 40, 2).await.unwrap(), [0; 0]);
    agent.handle.write_file(on_node, 0o600, b"").await.unwrap();
    assert_eq!(agent.handle.read_file(on_node, 0, 2).await.unwrap(), [0; 0]);
    assert_eq!(agent.handle.fetch_file(on_node, &here).await.unwrap(), 0);
    for (path, part) in [
        ("relative", "absolute"),
        ("/no/such", "No such file"),
        ("/proc", "not a regular file"),
        ("/dev/zero", "regular"),
    ] {
        let error = agent.handle.read_file(path, 0, 10).await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let error = agent.handle.write_file("/proc/no/such", 0o600, b"x").await.unwrap_err().to_string();
    assert!(error.contains("/proc/no"), "{error}");
    agent.bye().await;
}

#[tokio::test]
async fn serves_many_requests() {
    let state = tempfile::tempdir().unwrap();
    let agent = agent(state.path()).await;
    let command = Command { argv: vec!["true".into()], ..Command::default() };
    for _ in 0..1000 {
        assert!(agent.handle.run(&command, None, PATIENCE, 10).await.unwrap().success());
    }
    let mut runs = tokio::task::JoinSet::new();
    for number in 0..50 {
        let handle = agent.handle.clone();
        runs.spawn(async move {
            let output =
                handle.run(&sh(&format!("sleep 0.1; echo {number}")), None, PATIENCE, 10).await.unwrap();
            assert_eq!(output.stdout, format!("{number}\n"));
        });
    }
    // More than may be open at once: these wait their turn.
    for _ in 0..600 {
        let handle = agent.handle.clone();
        runs.spawn(async move {
            assert_eq!(handle.status("none").await.unwrap(), ProcessStatus::Unknown);
        });
    }
    while let Some(result) = runs.join_next().await {
        result.unwrap();
    }
    agent.bye().await;
}

#[tokio::test]
async fn a_dead_agent_fails_every_request() {
    let state = tempfile::tempdir().unwrap();
    let mut agent = agent(state.path()).await;
    let list = state.path().join("pids");
    let mut runs = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let handle = agent.handle.clone();
        let script = format!("echo $$ >> {}; exec sleep 100", list.display());
        runs.spawn(async move { handle.run(&sh(&script), None, PATIENCE, 10).await });
    }
    until("everything runs", || pids(&list).len() == 20).await;
    agent.child.kill().await.unwrap();
    while let Some(result) = runs.join_next().await {
        let error = result.unwrap().unwrap_err();
        assert!(matches!(error, AgentError::Gone { .. }), "{error}");
    }
    assert!(matches!(agent.events.recv().await, Some(AgentEvent::Gone { .. })));
    assert!(matches!(agent.handle.status("x").await, Err(AgentError::Gone { .. })));
    // What it ran died with it.
    for pid in pids(&list) {
        until("the commands die", || !alive(pid)).await;
    }
}

#[tokio::test]
async fn a_signal_ends_the_agent_and_nothing_else() {
    let state = tempfile::tempdir().unwrap();
    let mut first = agent(state.path()).await;
    let pid = first.handle.start("server", &sh("exec sleep 100"), "/dev/null").await.unwrap();
    let me = nix::unistd::Pid::from_raw(first.handle.pid() as i32);
    nix::sys::signal::kill(me, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(tokio::time::timeout(PATIENCE, first.child.wait()).await.unwrap().unwrap().success());
    assert!(alive(pid));
    let second = agent(state.path()).await;
    second.bye().await;
    assert!(!alive(pid));
    assert_eq!(std::fs::read_dir(state.path().join("processes")).unwrap().count(), 0);
}

#[tokio::test]
async fn orphans_are_reaped() {
    let state = tempfile::tempdir().unwrap();
    let agent = agent(state.path()).await;
    let output =
        agent.sh("setsid sh -c 'echo $$; exec sleep 0.1' & wait; (sleep 0.1 & echo $!)", PATIENCE).await;
    for pid in output.stdout.lines() {
        until("the orphan is reaped", || !Path::new(&format!("/proc/{pid}")).exists()).await;
    }
    agent.bye().await;
}

#[tokio::test]
async fn what_is_no_agent_is_told_apart() {
    let connect = async |script: &str| {
        let mut child = tokio::process::Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let pipe = AgentPipe {
            stdin: Box::new(child.stdin.take().unwrap()),
            stdout: Box::new(child.stdout.take().unwrap()),
        };
        Handle::connect(pipe, "n1", "test").await.unwrap_err()
    };
    let error = connect("echo 'This account is currently not available.'; exit 1").await;
    assert!(
        matches!(&error, AgentError::Failed { reason, .. } if reason.contains("This account is currently not available.")),
        "{error}"
    );
    let error = connect("exit 1").await;
    assert!(matches!(&error, AgentError::Gone { during, .. } if during.contains("hello")), "{error}");
}

#[tokio::test]
async fn the_next_agent_continues_what_a_killed_one_paused() {
    let state = tempfile::tempdir().unwrap();
    let first = agent(state.path()).await;
    let pid = first.handle.start("server", &sh("sleep 100; true"), "/dev/null").await.unwrap();
    let pause = NodeFault::Pause { process: "server".into() };
    first.handle.inject("f1", &pause, Duration::from_secs(60)).await.unwrap();
    let evidence = first.handle.verify("f1", PATIENCE).await.unwrap();
    assert!(evidence.holds, "{evidence:?}");
    assert_eq!(first.handle.status("server").await.unwrap(), ProcessStatus::Running { pid, state: 'T' });
    first.kill().await;
    assert!(alive(pid));

    let second = agent(state.path()).await;
    assert_eq!(second.handle.healed(), ["f1"]);
    let status = second.handle.status("server").await.unwrap();
    assert!(
        matches!(status, ProcessStatus::Running { pid: same, state } if same == pid && state != 'T'),
        "{status:?}"
    );

    // And what one killed, the next one starts again.
    let kill = NodeFault::Kill { process: "server".into() };
    second.handle.inject("f2", &kill, Duration::from_secs(60)).await.unwrap();
    assert!(second.handle.verify("f2", PATIENCE).await.unwrap().holds);
    second.kill().await;
    let third = agent(state.path()).await;
    assert_eq!(third.handle.healed(), ["f2"]);
    let status = third.handle.status("server").await.unwrap();
    assert!(matches!(status, ProcessStatus::Running { pid: other, .. } if other != pid), "{status:?}");
    third.bye().await;
}

#[tokio::test]
async fn looks_for_others() {
    let state = tempfile::tempdir().unwrap();
    let agent = agent(state.path()).await;
    let open = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let addresses = [open.local_addr().unwrap(), closed];
    assert_eq!(agent.handle.reach(&addresses, PATIENCE).await.unwrap(), [true, true]);
    let listener = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    listener.set_read_timeout(Some(PATIENCE)).unwrap();
    agent.handle.poke(&[listener.local_addr().unwrap()]).await.unwrap();
    assert!(listener.recv(&mut [0; 16]).unwrap() > 0);
    let error = agent.handle.poke(&vec![closed; 2000]).await.unwrap_err().to_string();
    assert!(error.contains("the limit is"), "{error}");
    agent.bye().await;
}
