//! Two controllers on one node.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use schism::agent::frame;
use schism::agent::protocol::{CONTROLLER_LEASE, ProcessStatus, Request, SILENCE_MAX, ToAgent, VERSION};
use schism::agent::{AgentError, Handle};
use schism::transport::AgentPipe;
use schism_nemesis::node::NodeFault;
use tokio::process::Child;
use tokio::time::timeout;

use super::{PATIENCE, alive, sh};

fn start(state: &Path) -> Child {
    start_with(state, Stdio::piped())
}

fn start_with(state: &Path, stdin: Stdio) -> Child {
    tokio::process::Command::new(env!("CARGO_BIN_EXE_schism"))
        .args(["agent", "--state"])
        .arg(state)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// An agent that serves a controller of this name.
async fn serve(state: &Path, controller: &str) -> Result<(Handle, Child), AgentError> {
    let mut child = start(state);
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let pipe = AgentPipe { stdin: Box::new(stdin), stdout: Box::new(stdout) };
    let (handle, _) = Handle::connect(pipe, "n1", controller).await?;
    Ok((handle, child))
}

/// An agent whose controller has said hello and nothing more, though its connection stays.
async fn silent(state: &Path) -> Child {
    let mut child = start(state);
    let hello = Request::Hello {
        version: VERSION,
        controller: "the silent one".into(),
        node: "n1".into(),
        disposable: false,
    };
    frame::write(child.stdin.as_mut().unwrap(), &ToAgent { id: 1, request: hello }).await.unwrap();
    let answer: Option<serde_json::Value> = frame::read(child.stdout.as_mut().unwrap()).await.unwrap();
    assert!(answer.unwrap().to_string().contains("hello"));
    child
}

#[tokio::test]
async fn the_second_controller_is_refused_with_the_name_of_the_first() {
    let state = tempfile::tempdir().unwrap();
    let (first, _child) = serve(state.path(), "run \"nightly\" of alice").await.unwrap();
    let refused = serve(state.path(), "run \"mine\" of bob").await.err().unwrap().to_string();
    assert!(refused.contains("the agent of run \"nightly\" of alice (process "), "{refused}");
    // The first has not noticed.
    assert_eq!(first.residue().await.unwrap(), [""; 0]);
    first.bye().await.unwrap();
    let (second, mut child) = serve(state.path(), "run \"mine\" of bob").await.unwrap();
    second.bye().await.unwrap();
    timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert!(!state.path().join("heard").exists());
}

#[tokio::test]
async fn a_controller_whose_lease_has_expired_makes_way() {
    // One agent goes when it is asked to, the other one cannot.
    for stopped in [false, true] {
        let state = tempfile::tempdir().unwrap();
        let mut first = silent(state.path()).await;
        let pid = Pid::from_raw(first.id().unwrap().cast_signed());
        let heard = std::time::Instant::now();
        if stopped {
            kill(pid, Signal::SIGSTOP).unwrap();
        }
        let (second, _child) = serve(state.path(), "the second").await.unwrap();
        assert!(
            heard.elapsed() + Duration::from_millis(500) > CONTROLLER_LEASE,
            "after {:?}",
            heard.elapsed()
        );
        let ended = timeout(PATIENCE, first.wait()).await.unwrap().unwrap();
        assert_eq!(ended.success(), !stopped, "{ended}");
        second.bye().await.unwrap();
    }
}

#[tokio::test]
async fn a_controller_whose_pipe_stands_still_loses_its_faults_and_the_node() {
    // With a fault, whose lease ends the claim before the controller's own; without any, when somebody else comes.
    for fault in [true, false] {
        let state = tempfile::tempdir().unwrap();
        let (from_relay, to_agent) = std::io::pipe().unwrap();
        let mut relay = tokio::process::Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::from(to_agent))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut agent = start_with(state.path(), Stdio::from(from_relay));
        let (stdin, stdout) = (relay.stdin.take().unwrap(), agent.stdout.take().unwrap());
        let pipe = AgentPipe { stdin: Box::new(stdin), stdout: Box::new(stdout) };
        let nightly = "run \"nightly\" of alice";
        let (first, _events) = Handle::connect_with(pipe, "n1", nightly, true).await.unwrap();
        let pid = first.start("server", &sh("sleep 100; true"), "/dev/null").await.unwrap();
        if fault {
            let pause = NodeFault::Pause { process: "server".to_owned() };
            first.inject("f1", &pause, Duration::from_secs(4)).await.unwrap();
            assert!(first.verify("f1", PATIENCE).await.unwrap().holds);
        }
        let refused = serve(state.path(), "the second").await.err().unwrap().to_string();
        assert!(refused.contains("the agent of run \"nightly\" of alice"), "{refused}");

        kill(Pid::from_raw(relay.id().unwrap().cast_signed()), Signal::SIGSTOP).unwrap();
        if fault {
            // Nobody else asks for the node, and what the controller may be silent for without faults is longer than this.
            const { assert!(PATIENCE.as_secs() < SILENCE_MAX.as_secs()) };
            let ended = timeout(PATIENCE, agent.wait()).await.unwrap().unwrap();
            assert!(ended.success(), "{ended}");
        }
        let (second, _child) = serve(state.path(), "the second").await.unwrap();
        assert_eq!(second.healed(), [""; 0], "the first agent healed");
        let status = second.status("server").await.unwrap();
        assert!(
            matches!(status, ProcessStatus::Running { pid: same, state: 'S' | 'R' } if same == pid),
            "{status:?}"
        );
        second.bye().await.unwrap();
        assert!(!alive(pid));
    }
}
