//! Faults under leases, with a mechanism that is nothing but a file: it is in force while the file is there.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use schism::agent::protocol::{FromAgent, ProcessStatus, Request, Response, ToAgent, VERSION};
use schism::agent::server::{Mechanisms, Options, ServeError, serve};
use schism::agent::{AgentEvent, Handle, frame};
use schism::transport::AgentPipe;
use schism_nemesis::linux::Found;
use schism_nemesis::node::{Evidence, FaultError, Host, Mechanism, NodeFault};
use tokio::io::DuplexStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{PATIENCE, alive, pids, sh, until};

const LEASE: Duration = Duration::from_secs(30);

/// What happens on the node, and what should go wrong there.
#[derive(Default)]
struct World {
    directory: PathBuf,
    precheck_fails: AtomicBool,
    inject_fails: AtomicBool,
    inject_panics: AtomicBool,
    renew_fails: AtomicBool,
    /// This many heals fail.
    heals_to_fail: AtomicU32,
    renewed: AtomicU32,
    /// Nothing is ever seen, and looking takes as long as it may.
    blind: AtomicBool,
    log: Mutex<Vec<&'static str>>,
}

impl World {
    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

struct FileFault {
    world: Arc<World>,
    name: String,
}

impl FileFault {
    fn step<T>(&self, step: &'static str, fails: bool, then: impl FnOnce() -> T) -> Result<T, FaultError> {
        self.world.log.lock().unwrap().push(step);
        let done = then();
        if fails {
            return Err(FaultError { step, fault: "file", reason: "as told".to_owned() });
        }
        Ok(done)
    }
}

impl Mechanism for FileFault {
    fn precheck(&self, _: &dyn Host) -> Result<(), FaultError> {
        self.step("precheck", self.world.precheck_fails.load(Ordering::SeqCst), || ())
    }

    fn inject(&mut self, _: &dyn Host, _: Duration) -> Result<(), FaultError> {
        let fails = self.world.inject_fails.load(Ordering::SeqCst);
        self.step("inject", fails, || {
            // Journalled before it is made.
            let journal_directory = self.world.directory.join("journal");
            let journalled = journal(&self.world.directory).iter().any(|name| {
                let entry = std::fs::read_to_string(journal_directory.join(name)).unwrap();
                entry.contains(&format!("\"process\": \"{}\"", self.name))
            });
            assert!(journalled);
            std::fs::write(self.world.file(&self.name), "").unwrap();
            assert!(!self.world.inject_panics.load(Ordering::SeqCst), "as told");
        })
    }

    fn verify(&mut self, _: &dyn Host, patience: Duration) -> Result<Evidence, FaultError> {
        self.step("verify", false, || {
            if self.world.blind.load(Ordering::SeqCst) {
                std::thread::sleep(patience);
                return Evidence { holds: false, seen: "nothing".to_owned() };
            }
            let holds = self.world.file(&self.name).exists();
            Evidence { holds, seen: format!("the file is there: {holds}") }
        })
    }

    fn renew(&mut self, _: &dyn Host, _: Duration) -> Result<(), FaultError> {
        self.world.renewed.fetch_add(1, Ordering::SeqCst);
        self.step("renew", self.world.renew_fails.load(Ordering::SeqCst), || ())
    }

    fn heal(&mut self, _: &dyn Host) -> Result<(), FaultError> {
        let to_fail = &self.world.heals_to_fail;
        let fails =
            to_fail.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        self.step("heal", fails, || {
            if !fails {
                // Idempotent.
                let _ = std::fs::remove_file(self.world.file(&self.name));
            }
        })
    }

    fn verify_healed(&mut self, _: &dyn Host, _: Duration) -> Result<Evidence, FaultError> {
        self.step("verify healed", false, || {
            let holds = !self.world.file(&self.name).exists();
            Evidence { holds, seen: format!("the file is gone: {holds}") }
        })
    }
}

fn world() -> (tempfile::TempDir, Arc<World>) {
    let directory = tempfile::tempdir().unwrap();
    let world = Arc::new(World { directory: directory.path().to_owned(), ..World::default() });
    (directory, world)
}

fn file_faults(world: &Arc<World>) -> Mechanisms {
    let world = Arc::clone(world);
    Arc::new(move |_, fault| match fault {
        NodeFault::Pause { process } => {
            Box::new(FileFault { world: Arc::clone(&world), name: process.clone() })
        }
        other => panic!("{other:?}"),
    })
}

fn fault(name: &str) -> NodeFault {
    NodeFault::Pause { process: name.to_owned() }
}

fn journal(state: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(state.join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A server in this process.
struct Server {
    task: JoinHandle<Result<(), ServeError>>,
    /// As a signal would.
    end: oneshot::Sender<()>,
}

fn start(state: &Path, mechanisms: Mechanisms) -> (Server, DuplexStream, DuplexStream) {
    let (to_agent, stdin) = tokio::io::duplex(1 << 16);
    let (stdout, from_agent) = tokio::io::duplex(1 << 16);
    let options = Options {
        state: state.to_owned(),
        mechanisms,
        kernel: Arc::new(|| Ok(Vec::new())),
        purge: Arc::new(|| Ok(())),
        watchdog: None,
    };
    let (end, ended) = oneshot::channel::<()>();
    let task = tokio::spawn(serve(stdin, stdout, options, async move {
        if ended.await.is_err() {
            std::future::pending().await
        }
    }));
    (Server { task, end }, to_agent, from_agent)
}

async fn connect(state: &Path, mechanisms: Mechanisms) -> (Server, Handle, UnboundedReceiver<AgentEvent>) {
    let (server, to_agent, from_agent) = start(state, mechanisms);
    let pipe = AgentPipe { stdin: Box::new(to_agent), stdout: Box::new(from_agent) };
    let (handle, events) = Handle::connect_with(pipe, "n1", "test", true).await.unwrap();
    (server, handle, events)
}

impl Server {
    async fn result(self) -> Result<(), ServeError> {
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_fault_lives_as_it_should() {
    let (directory, world) = world();
    let (server, handle, _events) = connect(directory.path(), file_faults(&world)).await;
    handle.precheck(&fault("x")).await.unwrap();
    handle.inject("f/1", &fault("x"), LEASE).await.unwrap();
    assert!(world.file("x").exists());
    assert_eq!(journal(directory.path()), ["f%2f1.json"]);
    assert!(handle.verify("f/1", PATIENCE).await.unwrap().holds);
    let error = handle.inject("f/1", &fault("y"), LEASE).await.unwrap_err().to_string();
    assert!(error.contains("in force already"), "{error}");
    assert_eq!(handle.residue().await.unwrap(), ["fault `f/1` is in force"]);
    // Nothing of it is gone before it is healed, and seeing that does not make the agent forget it.
    assert!(!handle.verify_healed("f/1", Duration::ZERO).await.unwrap().holds);
    handle.heal("f/1").await.unwrap();
    assert_eq!(journal(directory.path()), ["f%2f1.json"]);
    assert_eq!(handle.residue().await.unwrap(), ["fault `f/1` is healed, but was not yet seen to be gone"]);
    assert!(handle.verify_healed("f/1", PATIENCE).await.unwrap().holds);
    assert_eq!(journal(directory.path()), [""; 0]);
    assert_eq!(handle.residue().await.unwrap(), [""; 0]);
    // What is unknown is healed.
    handle.heal("f/1").await.unwrap();
    assert!(handle.verify_healed("f/1", PATIENCE).await.unwrap().holds);
    let error = handle.verify("f/1", PATIENCE).await.unwrap_err().to_string();
    assert!(error.contains("no fault `f/1`"), "{error}");
    handle.bye().await.unwrap();
    server.result().await.unwrap();
}

#[tokio::test]
async fn facts_say_what_the_mechanism_itself_says_and_make_nothing() {
    let (directory, world) = world();
    let (server, handle, _events) = connect(directory.path(), file_faults(&world)).await;
    let tools = ["sh", "no-such-program"].map(str::to_owned);
    let faults = [fault("x"), fault("y")];
    let (facts, clock) = handle.facts(&tools, &faults).await.unwrap();
    assert_eq!(facts.prechecks, [Found::Yes, Found::Yes]);
    assert!(facts.tools["sh"].is_some() && facts.tools["no-such-program"].is_none());
    // The same machine's clock.
    assert!(clock.ahead_us.abs() <= clock.within_us + 1, "{clock:?}");
    world.precheck_fails.store(true, Ordering::SeqCst);
    let (facts, _) = handle.facts(&[], &faults[..1]).await.unwrap();
    assert_eq!(facts.prechecks, [Found::No("as told".to_owned())]);
    assert_eq!(*world.log.lock().unwrap(), ["precheck"; 3]);
    let too_many = vec!["x".to_owned(); 1000];
    assert!(handle.facts(&too_many, &[]).await.unwrap_err().to_string().contains("at most"));
    assert_eq!(handle.residue().await.unwrap(), [""; 0]);
    handle.bye().await.unwrap();
    server.result().await.unwrap();
}

#[tokio::test]
async fn a_fault_that_fails_midway_is_undone() {
    let (directory, world) = world();
    let (server, handle, _events) = connect(directory.path(), file_faults(&world)).await;
    world.precheck_fails.store(true, Ordering::SeqCst);
    handle.precheck(&fault("x")).await.unwrap_err();
    handle.inject("f1", &fault("x"), LEASE).await.unwrap_err();
    assert_eq!(*world.log.lock().unwrap(), ["precheck", "precheck"]);
    world.precheck_fails.store(false, Ordering::SeqCst);

    world.inject_fails.store(true, Ordering::SeqCst);
    let error = handle.inject("f1", &fault("x"), LEASE).await.unwrap_err().to_string();
    assert!(error.contains("as told") && !error.contains("could not be undone"), "{error}");
    assert!(!world.file("x").exists());
    assert_eq!(handle.residue().await.unwrap(), [""; 0]);

    world.inject_panics.store(true, Ordering::SeqCst);
    let error = handle.inject("f1", &fault("x"), LEASE).await.unwrap_err().to_string();
    assert!(error.contains("failed inside"), "{error}");
    assert!(!world.file("x").exists());
    assert_eq!(handle.residue().await.unwrap(), [""; 0]);

    world.inject_panics.store(false, Ordering::SeqCst);
    world.heals_to_fail.store(5, Ordering::SeqCst);
    let error = handle.inject("f1", &fault("x"), LEASE).await.unwrap_err().to_string();
    assert!(error.contains("could not be undone"), "{error}");
    assert!(handle.residue().await.unwrap()[0].contains("could not be healed"));
    handle.heal("f1").await.unwrap();
    assert!(handle.verify_healed("f1", PATIENCE).await.unwrap().holds);
    for (id, lease) in [("", LEASE), ("f1", Duration::ZERO), ("f1", Duration::MAX)] {
        handle.inject(id, &fault("x"), lease).await.unwrap_err();
    }
    assert_eq!(journal(directory.path()), [""; 0]);
    drop(handle);
    server.result().await.unwrap();
}

#[tokio::test]
async fn a_heal_that_fails_is_tried_again_and_then_residue() {
    let (directory, world) = world();
    let (server, handle, _events) = connect(directory.path(), file_faults(&world)).await;
    handle.inject("f1", &fault("x"), LEASE).await.unwrap();
    world.heals_to_fail.store(4, Ordering::SeqCst);
    handle.heal("f1").await.unwrap();
    assert!(handle.verify_healed("f1", PATIENCE).await.unwrap().holds);

    handle.inject("f1", &fault("x"), LEASE).await.unwrap();
    world.heals_to_fail.store(1000, Ordering::SeqCst);
    handle.heal("f1").await.unwrap_err();
    let residue = handle.residue().await.unwrap();
    assert!(residue.len() == 1 && residue[0].contains("as told"), "{residue:?}");
    let error = handle.bye().await.unwrap_err().to_string();
    assert!(error.contains("as told"), "{error}");
    assert!(matches!(server.result().await, Err(ServeError::Residue(_))));
    assert_eq!(journal(directory.path()), ["f1.json"]);
    assert!(1000 - world.heals_to_fail.load(Ordering::SeqCst) <= 20, "the tries are bounded");

    // The next agent heals it, and says so.
    world.heals_to_fail.store(0, Ordering::SeqCst);
    let (server, handle, _events) = connect(directory.path(), file_faults(&world)).await;
    assert_eq!(handle.healed(), ["f1"]);
    assert!(!world.file("x").exists());
    assert_eq!(handle.residue().await.unwrap(), [""; 0]);
    drop(handle);
    server.result().await.unwrap();
}

#[tokio::test]
async fn a_lost_controller_heals() {
    let (directory, world) = world();
    let (server, handle, events) = connect(directory.path(), file_faults(&world)).await;
    for name in ["x", "y"] {
        handle.inject(name, &fault(name), LEASE).await.unwrap();
    }
    drop((handle, events));
    server.result().await.unwrap();
    assert!(!world.file("x").exists() && !world.file("y").exists());
    assert_eq!(journal(directory.path()), [""; 0]);
}

#[tokio::test]
async fn a_signal_heals() {
    let (directory, world) = world();
    let (server, handle, _events) = connect(directory.path(), file_faults(&world)).await;
    handle.inject("f1", &fault("x"), LEASE).await.unwrap();
    server.end.send(()).unwrap();
    tokio::time::timeout(PATIENCE, server.task).await.unwrap().unwrap().unwrap();
    assert!(!world.file("x").exists());
}

/// A controller that sends what it is told to and nothing else: no heartbeat either.
struct Peer {
    to_agent: DuplexStream,
    from_agent: DuplexStream,
}

fn hello() -> Request {
    Request::Hello { version: VERSION, controller: "c".into(), node: "n".into(), disposable: true }
}

impl Peer {
    async fn say(&mut self, id: u64, request: Request) {
        frame::write(&mut self.to_agent, &ToAgent { id, request }).await.unwrap();
    }

    async fn hear(&mut self) -> Option<FromAgent> {
        tokio::time::timeout(PATIENCE, frame::read(&mut self.from_agent)).await.unwrap().unwrap()
    }

    async fn ask(&mut self, id: u64, request: Request) -> Response {
        self.say(id, request).await;
        let answer = self.hear().await.unwrap();
        assert_eq!(answer.id, id, "{answer:?}");
        answer.response
    }

    async fn hello(&mut self) {
        assert!(matches!(self.ask(1, hello()).await, Response::Hello { .. }));
    }

    async fn inject(&mut self, lease_ms: u64) {
        let request = Request::Inject { id: "f1".into(), fault: fault("x"), lease_ms };
        assert_eq!(self.ask(2, request).await, Response::Done);
    }
}

fn peer(directory: &Path, world: &Arc<World>) -> (Server, Peer) {
    let (server, to_agent, from_agent) = start(directory, file_faults(world));
    (server, Peer { to_agent, from_agent })
}

#[tokio::test]
async fn a_lease_runs_out_without_heartbeats() {
    let (directory, world) = world();
    let (server, mut peer) = peer(directory.path(), &world);
    peer.hello().await;
    peer.inject(400).await;
    let begin = Instant::now();
    assert_eq!(
        peer.hear().await.unwrap(),
        FromAgent { id: 0, response: Response::LeaseExpired { id: "f1".into() } }
    );
    assert!(begin.elapsed() < Duration::from_millis(2400), "{:?}", begin.elapsed());
    assert!(!world.file("x").exists());
    assert_eq!(journal(directory.path()), [""; 0]);
    // The agent goes on.
    peer.inject(60_000).await;
    drop(peer);
    server.result().await.unwrap();
    assert!(!world.file("x").exists());
}

#[tokio::test]
async fn heartbeats_renew_even_while_somebody_looks() {
    let (directory, world) = world();
    world.blind.store(true, Ordering::SeqCst);
    let (server, mut peer) = peer(directory.path(), &world);
    peer.hello().await;
    let begin = Instant::now();
    peer.inject(1500).await;
    peer.say(3, Request::Verify { id: "f1".into(), patience_ms: 4000 }).await;
    let mut id = 10;
    let evidence = loop {
        let sent = Instant::now();
        peer.say(id, Request::Heartbeat).await;
        match peer.hear().await.unwrap() {
            FromAgent { id: 3, response } => break response,
            answer => {
                assert_eq!(answer, FromAgent { id, response: Response::Done });
                assert!(sent.elapsed() < Duration::from_millis(900), "a heartbeat waited");
            }
        }
        id += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(matches!(evidence, Response::Evidence { evidence } if !evidence.holds));
    assert!(begin.elapsed() >= Duration::from_secs(4) && world.file("x").exists());
    assert!(world.renewed.load(Ordering::SeqCst) >= 3);
    drop(peer);
    server.result().await.unwrap();
}

#[tokio::test]
async fn a_renewal_that_fails_is_told() {
    let (directory, world) = world();
    let (server, handle, mut events) = connect(directory.path(), file_faults(&world)).await;
    handle.inject("f1", &fault("x"), LEASE).await.unwrap();
    world.renew_fails.store(true, Ordering::SeqCst);
    let event = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
    assert!(matches!(&event, AgentEvent::RenewFailed { id, .. } if id == "f1"), "{event:?}");
    drop(handle);
    server.result().await.unwrap();
}

#[tokio::test]
async fn strangers_are_refused() {
    let (directory, world) = world();
    let (server, mut stranger) = peer(directory.path(), &world);
    let hello = Request::Hello { version: 99, controller: "c".into(), node: "n".into(), disposable: true };
    let answer = stranger.ask(1, hello).await;
    assert!(matches!(&answer, Response::Failed { reason } if reason.contains("version 99")), "{answer:?}");
    assert_eq!(stranger.hear().await, None);
    assert!(matches!(server.result().await, Err(ServeError::Hello(_))));

    let (server, mut stranger) = peer(directory.path(), &world);
    assert!(matches!(stranger.ask(1, Request::Residue).await, Response::Failed { .. }));
    assert!(matches!(server.result().await, Err(ServeError::Hello(_))));

    let (server, mut stranger) = peer(directory.path(), &world);
    tokio::io::AsyncWriteExt::write_all(&mut stranger.to_agent, b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let error = server.result().await.unwrap_err().to_string();
    assert!(error.contains("GET / HTTP/1.1"), "{error}");

    // Garbage after hello: nothing can be understood any more, so everything is healed.
    let (server, mut stranger) = peer(directory.path(), &world);
    stranger.hello().await;
    stranger.inject(60_000).await;
    tokio::io::AsyncWriteExt::write_all(&mut stranger.to_agent, b"packet_write_wait").await.unwrap();
    assert!(matches!(server.result().await, Err(ServeError::Peer(_))));
    assert!(!world.file("x").exists());
}

#[tokio::test]
async fn an_unusable_state_directory_is_told() {
    let (directory, world) = world();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (server, mut peer) = peer(&file, &world);
    let answer = peer.ask(1, hello()).await;
    assert!(
        matches!(&answer, Response::Failed { reason } if reason.contains("state directory")),
        "{answer:?}"
    );
    assert!(matches!(server.result().await, Err(ServeError::State(_))));
}

#[tokio::test]
async fn a_journal_that_cannot_be_understood_is_residue() {
    let (directory, world) = world();
    let journal_directory = directory.path().join("journal");
    std::fs::create_dir(&journal_directory).unwrap();
    let entry = r#"{"version":7,"id":"new","fault":{"pause":{"process":"x"}},"lease_ms":1}"#;
    std::fs::write(journal_directory.join("new.json"), entry).unwrap();
    std::fs::write(journal_directory.join("damaged.json"), &entry[..20]).unwrap();
    std::fs::write(journal_directory.join("torn.partial"), &entry[..20]).unwrap();
    std::fs::write(journal_directory.join("old.json"), entry.replace("7", "1").replace("new", "old"))
        .unwrap();
    std::fs::write(world.file("x"), "").unwrap();
    let (server, handle, _events) = connect(directory.path(), file_faults(&world)).await;
    assert_eq!(handle.healed(), ["old"]);
    assert!(!world.file("x").exists());
    let residue = handle.residue().await.unwrap();
    assert!(residue.len() == 2, "{residue:?}");
    assert!(residue[0].contains("damaged.json") && residue[1].contains("version 7"), "{residue:?}");
    let error = handle.inject("new", &fault("x"), LEASE).await.unwrap_err().to_string();
    assert!(error.contains("in the way"), "{error}");
    drop(handle);
    assert!(matches!(server.result().await, Err(ServeError::Residue(_))));
    assert_eq!(journal(directory.path()), ["damaged.json", "new.json"]);
}

#[tokio::test]
async fn without_a_journal_there_is_no_fault() {
    let (directory, world) = world();
    let (server, handle, _events) = connect(directory.path(), file_faults(&world)).await;
    let journal_directory = directory.path().join("journal");
    std::fs::remove_dir(&journal_directory).unwrap();
    let error = handle.inject("f1", &fault("x"), LEASE).await.unwrap_err().to_string();
    assert!(error.contains("f1") && error.contains("No such file"), "{error}");
    assert!(!world.log.lock().unwrap().contains(&"inject"));
    std::fs::create_dir(&journal_directory).unwrap();
    drop(handle);
    server.result().await.unwrap();
}

/// Kills a supervised process as a real mechanism does.
struct Kill(String);

impl Mechanism for Kill {
    fn precheck(&self, _: &dyn Host) -> Result<(), FaultError> {
        Ok(())
    }

    fn inject(&mut self, host: &dyn Host, _: Duration) -> Result<(), FaultError> {
        host.hold_down(&self.0, true);
        // The dying still count as running, and would not be started again.
        let begin = Instant::now();
        while let pids = host.pids(&self.0)
            && !pids.is_empty()
        {
            assert!(begin.elapsed() < PATIENCE);
            for pid in pids {
                // Another round may find it dead already.
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
        }
        Ok(())
    }

    fn verify(&mut self, host: &dyn Host, _: Duration) -> Result<Evidence, FaultError> {
        Ok(Evidence { holds: host.pids(&self.0).is_empty(), seen: String::new() })
    }

    fn renew(&mut self, _: &dyn Host, _: Duration) -> Result<(), FaultError> {
        Ok(())
    }

    fn heal(&mut self, host: &dyn Host) -> Result<(), FaultError> {
        host.hold_down(&self.0, false);
        host.start(&self.0)
    }

    fn verify_healed(&mut self, host: &dyn Host, _: Duration) -> Result<Evidence, FaultError> {
        Ok(Evidence { holds: !host.pids(&self.0).is_empty(), seen: String::new() })
    }
}

fn kills() -> Mechanisms {
    Arc::new(|_, fault| match fault {
        NodeFault::Kill { process } => Box::new(Kill(process.clone())),
        other => panic!("{other:?}"),
    })
}

#[tokio::test]
async fn a_killed_process_stays_down_and_comes_back() {
    let state = tempfile::tempdir().unwrap();
    let list = state.path().join("pids");
    let script = format!("echo $$ >> {0}; sleep 100 & echo $! >> {0}; wait", list.display());
    let (server, handle, mut events) = connect(state.path(), kills()).await;
    handle.start("server", &sh(&script), "/dev/null").await.unwrap();
    until("it is up", || pids(&list).len() == 2).await;
    let kill = NodeFault::Kill { process: "server".into() };
    handle.inject("f1", &kill, LEASE).await.unwrap();
    assert!(handle.verify("f1", PATIENCE).await.unwrap().holds);
    for pid in pids(&list) {
        until("all of it dies", || !alive(pid)).await;
    }
    assert!(matches!(handle.status("server").await.unwrap(), ProcessStatus::Exited { .. }));
    handle.heal("f1").await.unwrap();
    assert!(handle.verify_healed("f1", PATIENCE).await.unwrap().holds);
    until("it is up again", || pids(&list).len() == 4).await;

    // Killed again, and the controller is lost: it comes back, and lives on without an agent.
    handle.inject("f2", &kill, LEASE).await.unwrap();
    drop(handle);
    server.result().await.unwrap();
    until("it is up again", || pids(&list).len() == 6).await;
    // None of its ends was a surprise.
    let event = events.recv().await;
    assert!(matches!(event, Some(AgentEvent::Gone { .. })), "{event:?}");

    let (server, handle, _events) = connect(state.path(), kills()).await;
    assert!(matches!(handle.status("server").await.unwrap(),
        ProcessStatus::Running { pid, .. } if pid == pids(&list)[4]));
    handle.bye().await.unwrap();
    server.result().await.unwrap();
    for pid in pids(&list) {
        assert!(!alive(pid));
    }
}

/// Tells the process that this test starts of itself what to be.
const SOCKET: &str = "SCHISM_TEST_AGENT_SOCKET";

#[tokio::test]
async fn the_next_agent_heals_what_a_killed_one_left() {
    if let Some(path) = std::env::var_os(SOCKET) {
        // The agent, in a process of its own that can be killed.
        let path = PathBuf::from(path);
        let directory = path.parent().unwrap().to_owned();
        let world = Arc::new(World { directory: directory.clone(), ..World::default() });
        let socket = tokio::net::UnixStream::connect(path).await.unwrap();
        let (reader, writer) = socket.into_split();
        let options = Options {
            state: directory,
            mechanisms: file_faults(&world),
            kernel: Arc::new(|| Ok(Vec::new())),
            purge: Arc::new(|| Ok(())),
            watchdog: None,
        };
        serve(reader, writer, options, std::future::pending()).await.unwrap();
        return;
    }
    let (directory, world) = world();
    let path = directory.path().join("socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "agent::leases::the_next_agent_heals_what_a_killed_one_left"])
        .env(SOCKET, &path)
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (socket, _) = tokio::time::timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let (reader, writer) = socket.into_split();
    let pipe = AgentPipe { stdin: Box::new(writer), stdout: Box::new(reader) };
    let (handle, mut events) = Handle::connect_with(pipe, "n1", "test", true).await.unwrap();
    handle.inject("f1", &fault("x"), LEASE).await.unwrap();
    child.kill().await.unwrap();
    assert!(matches!(
        tokio::time::timeout(PATIENCE, events.recv()).await.unwrap(),
        Some(AgentEvent::Gone { .. })
    ));
    assert!(world.file("x").exists());
    assert_eq!(journal(directory.path()), ["f1.json"]);

    let (server, handle, _events) = connect(directory.path(), file_faults(&world)).await;
    assert_eq!(handle.healed(), ["f1"]);
    assert!(!world.file("x").exists());
    assert_eq!(journal(directory.path()), [""; 0]);
    // The fault's own controller may still ask for it.
    handle.heal("f1").await.unwrap();
    assert!(handle.verify_healed("f1", PATIENCE).await.unwrap().holds);
    drop(handle);
    server.result().await.unwrap();
}
