//! Two controllers on one node.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use schism::agent::frame;
use schism::agent::protocol::{CONTROLLER_LEASE, Request, ToAgent, VERSION};
use schism::agent::{AgentError, Handle};
use schism::transport::AgentPipe;
use tokio::process::Child;
use tokio::time::timeout;

use super::PATIENCE;

fn start(state: &Path) -> Child {
    tokio::process::Command::new(env!("CARGO_BIN_EXE_schism"))
        .args(["agent", "--state"])
        .arg(state)
        .stdin(Stdio::piped())
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
    let hello = Request::Hello { version: VERSION, controller: "the silent one".into(), node: "n1".into() };
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
