//! The scheduler against clients that answer, fail, crash, hang, block and panic.

use std::collections::HashMap;
use std::io;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use schism::scheduler::{
    Config, Ended, NemesisExecutor, Observer, RunSummary, Scheduler, SchedulerError, Sink,
};
use schism_history::{Event, History, Kind, Process, Random, Writer};
use schism_workloads::generator::{
    Action, any, clients, limit, nemesis, operation, operations, phases, sequence, sleep, stagger,
    time_limit, timeline,
};
use schism_workloads::{BoxFuture, Client, Connector, Dialer, Gen, Op, Outcome, Target, Worker};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// The history in memory: what was appended, and how much of it was flushed.
#[derive(Clone, Default)]
struct Memory {
    events: Arc<Mutex<Vec<Event>>>,
    flushed: Arc<AtomicUsize>,
    /// Appending this event fails as on a full disk.
    full_at: Option<u64>,
    /// Flushing fails once this many events were appended.
    flush_full_at: Option<usize>,
}

impl Sink for Memory {
    fn append(&mut self, event: &Event) -> io::Result<()> {
        if self.full_at.is_some_and(|full| event.index >= full) {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        self.events.lock().unwrap().push(event.clone());
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let appended = self.events.lock().unwrap().len();
        if self.flush_full_at.is_some_and(|full| appended >= full) {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        self.flushed.store(appended, Ordering::SeqCst);
        Ok(())
    }
}

impl Memory {
    fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }
}

struct Nowhere;

impl Dialer for Nowhere {
    fn dial<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<TcpStream>> {
        Box::pin(std::future::pending())
    }
}

fn config(nodes: usize, workers: usize, deadline: Duration) -> Config {
    let target =
        |node| Target { node: format!("n{node}").into(), port: 1, dialer: Arc::new(Nowhere), deadline };
    Config {
        grace: Duration::from_millis(200),
        threads: 2,
        ..Config::new((1..=nodes).map(target).collect(), workers)
    }
}

type Behave = dyn Fn(&Op, &Target) -> BoxFuture<'static, Outcome> + Send + Sync;

/// Clients that do what a function says; counts how many were made.
struct Scripted {
    behave: Arc<Behave>,
    made: AtomicUsize,
}

fn scripted(
    behave: impl Fn(&Op, &Target) -> BoxFuture<'static, Outcome> + Send + Sync + 'static,
) -> Arc<Scripted> {
    Arc::new(Scripted { behave: Arc::new(behave), made: AtomicUsize::new(0) })
}

struct ScriptedClient(Arc<Behave>, Target);

impl Connector for Scripted {
    fn client(&self, target: Target) -> Box<dyn Client> {
        self.made.fetch_add(1, Ordering::SeqCst);
        Box::new(ScriptedClient(Arc::clone(&self.behave), target))
    }
}

impl Client for ScriptedClient {
    fn invoke<'a>(&'a mut self, op: &'a Op) -> BoxFuture<'a, Outcome> {
        (self.0)(op, &self.1)
    }
}

fn ready(outcome: Outcome) -> BoxFuture<'static, Outcome> {
    Box::pin(std::future::ready(outcome))
}

fn echo() -> Arc<Scripted> {
    scripted(|op, _| ready(Outcome::Ok(op.value.clone())))
}

/// Writes of 0, 1, 2, …, without end.
fn writes() -> Gen {
    operations(Random::new(1, "writes"), |_, context| Action::new("write", json!(context.turn)))
}

fn write(value: u64) -> Gen {
    operation(Action::new("write", json!(value)))
}

fn run_all(
    config: Config,
    sink: &Memory,
    connector: Arc<Scripted>,
    generator: Gen,
) -> Result<RunSummary, SchedulerError> {
    Scheduler::new(config, sink.clone(), connector, Arc::new(()), Box::new(()))?
        .run(generator, &CancellationToken::new())
}

/// Everything that is true of every history of `workers` workers on `nodes` nodes, whose run has ended.
fn assert_well_formed(events: &[Event], workers: u64, nodes: u64) {
    let mut open: HashMap<u64, &Event> = HashMap::new();
    let mut dead: HashMap<u64, u64> = HashMap::new();
    let mut time = 0;
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.index, index as u64, "indices are consecutive");
        assert!(event.time >= time, "time does not go back at {index}");
        time = event.time;
        let Process::Client(process) = event.process else {
            assert_eq!(event.kind, Kind::Info, "the nemesis only informs");
            continue;
        };
        assert!(!dead.contains_key(&process), "process {process} acts after its end: {event:?}");
        let node = format!("n{}", process % workers % nodes + 1);
        assert_eq!(event.node.as_deref(), Some(&*node), "a worker stays on its node");
        match event.kind {
            Kind::Invoke => {
                let before = open.insert(process, event);
                assert!(before.is_none(), "process {process} does two things at once: {event:?}");
            }
            Kind::Ok | Kind::Fail | Kind::Info => {
                let invocation = open.remove(&process).expect("a completion has an invocation");
                assert_eq!((&invocation.f, &invocation.key), (&event.f, &event.key));
                if event.kind == Kind::Info {
                    dead.insert(process, event.index);
                }
            }
        }
    }
    assert!(open.is_empty(), "everything is complete: {open:?}");
}

#[test]
fn a_hostile_client_cannot_spoil_the_history() {
    let random = Mutex::new(Random::new(7, "hostile"));
    let connector = scripted(move |op, _| {
        let value = op.value.clone();
        let choice = random.lock().unwrap().below(40);
        match choice {
            0..=15 => ready(Outcome::Ok(value)),
            16..=25 => Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(choice - 15)).await;
                Outcome::Ok(value)
            }),
            26..=31 => ready(Outcome::Fail("refused".to_owned())),
            32..=36 => ready(Outcome::Info("broken".to_owned())),
            37 => Box::pin(std::future::pending()),
            38 => Box::pin(async move {
                tokio::task::yield_now().await;
                resume_unwind(Box::new("a panic later on"))
            }),
            _ => resume_unwind(Box::new("a panic at once")),
        }
    });
    let sink = Memory::default();
    let config = config(3, 7, Duration::from_millis(50));
    let summary = run_all(config, &sink, Arc::clone(&connector), clients(limit(1000, writes()))).unwrap();
    let events = sink.events();
    assert_well_formed(&events, 7, 3);
    assert_eq!(summary.invoked, 1000);
    assert_eq!(summary.ok + summary.fail + summary.info, 1000);
    assert_eq!(events.len(), 2000);
    let count = |kind| events.iter().filter(|event| event.kind == kind).count() as u64;
    assert_eq!(
        (summary.ok, summary.fail, summary.info),
        (count(Kind::Ok), count(Kind::Fail), count(Kind::Info))
    );
    assert!(summary.ok > 300 && summary.fail > 50 && summary.info > 50, "{summary:?}");
    let errors = |part: &str| {
        events
            .iter()
            .filter(|event| event.error.as_ref().is_some_and(|e| e.to_string().contains(part)))
            .count()
    };
    // A fresh client for every process whose operations got as far as a client, and not one more.
    let processes: std::collections::HashSet<_> = events.iter().map(|event| event.process).collect();
    let made = connector.made.load(Ordering::SeqCst);
    assert!(made <= processes.len() && processes.len() - made <= errors("never sent"), "{made}");
    assert!(errors("a panic later on") > 0 && errors("a panic at once") > 0 && errors("no answer") > 0);
}

#[test]
fn an_invocation_is_flushed_before_its_request_leaves() {
    let sink = Memory::default();
    let (events, flushed) = (Arc::clone(&sink.events), Arc::clone(&sink.flushed));
    let connector = scripted(move |op, _| {
        let flushed = flushed.load(Ordering::SeqCst);
        let there = events.lock().unwrap()[..flushed].iter().any(|event| event.value == op.value);
        ready(if there { Outcome::Ok(Value::Null) } else { Outcome::Fail("not in the history".to_owned()) })
    });
    let summary =
        run_all(config(2, 20, Duration::from_secs(5)), &sink, connector, clients(limit(500, writes())));
    assert_eq!(summary.unwrap().ok, 500);
}

/// Blocks the scheduler's thread when it sees the completion of write 0, until `waiting` says that another completion
/// waits.
struct Hold {
    go: Arc<AtomicBool>,
    waiting: Arc<AtomicBool>,
}

impl Observer for Hold {
    fn event(&mut self, event: &Event, invoked: Option<u64>) {
        assert_eq!(invoked.is_some(), event.kind != Kind::Invoke);
        if event.kind == Kind::Ok && event.value == json!(0) {
            self.go.store(true, Ordering::SeqCst);
            wait_until("another completion waits", || self.waiting.load(Ordering::SeqCst));
        }
    }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_waiting_completion_is_recorded_before_the_next_invocation() {
    let (go, waiting) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let hold = Hold { go: Arc::clone(&go), waiting: Arc::clone(&waiting) };
    let connector = scripted(move |op, _| {
        let value = op.value.clone();
        if value != json!(1) {
            return ready(Outcome::Ok(value));
        }
        let (go, waiting) = (Arc::clone(&go), Arc::clone(&waiting));
        Box::pin(async move {
            while !go.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // Runs on this same thread, so only once the completion has been sent.
            tokio::spawn(async move { waiting.store(true, Ordering::SeqCst) });
            Outcome::Ok(value)
        })
    });
    let sink = Memory::default();
    let config = Config { threads: 1, ..config(1, 2, Duration::from_secs(20)) };
    let mut scheduler =
        Scheduler::new(config, sink.clone(), connector, Arc::new(()), Box::new(hold)).unwrap();
    let three = clients(sequence([write(0), write(1), write(2)]));
    scheduler.run(three, &CancellationToken::new()).unwrap();
    let order: Vec<_> =
        sink.events().iter().map(|event| (event.kind, event.value.as_u64().unwrap())).collect();
    let place = |kind, value| order.iter().position(|entry| *entry == (kind, value)).unwrap();
    assert!(place(Kind::Ok, 1) < place(Kind::Invoke, 2), "{order:?}");
}

#[test]
fn a_client_that_hangs_is_left_after_its_deadline() {
    let connector = scripted(|op, target| match (op.value.as_u64(), &*target.node) {
        (Some(0), _) => Box::pin(std::future::pending()),
        _ => ready(Outcome::Ok(op.value.clone())),
    });
    let sink = Memory::default();
    let began = Instant::now();
    let generator = clients(limit(20, writes()));
    let summary = run_all(config(1, 2, Duration::from_millis(100)), &sink, connector, generator).unwrap();
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!((summary.ok, summary.info, summary.abandoned), (19, 1, 0));
    let events = sink.events();
    assert_well_formed(&events, 2, 1);
    let info = events.iter().find(|event| event.kind == Kind::Info).unwrap();
    let invoked =
        events.iter().find(|event| event.kind == Kind::Invoke && event.value == info.value).unwrap();
    assert!(info.time - invoked.time >= 100_000_000, "not before its deadline");
    assert_eq!(info.value, json!(0));
}

#[test]
fn a_client_that_blocks_its_thread_is_abandoned_and_the_others_go_on() {
    let release = Arc::new(AtomicBool::new(false));
    let block = Arc::clone(&release);
    let connector = scripted(move |op, _| {
        if op.value == json!(3) {
            wait_until("the test is over", || block.load(Ordering::SeqCst));
        }
        ready(Outcome::Ok(op.value.clone()))
    });
    let sink = Memory::default();
    let began = Instant::now();
    let config = Config { threads: 1, ..config(2, 4, Duration::from_millis(100)) };
    let paced = stagger(Random::new(1, "pace"), 2_000_000, limit(200, writes()));
    let summary = run_all(config, &sink, connector, clients(paced)).unwrap();
    release.store(true, Ordering::SeqCst);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_well_formed(&sink.events(), 4, 2);
    assert_eq!(summary.abandoned, 1, "{summary:?}");
    assert_eq!(summary.invoked, 200);
    assert!(summary.ok >= 190, "{summary:?}");
    // What waited behind it was never begun, so it has certainly failed.
    let after = sink.events().into_iter().filter(|event| event.kind == Kind::Fail);
    for event in after {
        assert!(event.error.unwrap().to_string().contains("never sent"));
    }
}

#[test]
fn stopping_ends_the_load_and_waits_for_what_is_open() {
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    let connector = scripted(move |op, _| {
        if op.value == json!(5) {
            cancel.cancel();
        }
        let value = op.value.clone();
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Outcome::Ok(value)
        })
    });
    let sink = Memory::default();
    let config = config(1, 3, Duration::from_secs(5));
    let mut scheduler = Scheduler::new(config, sink.clone(), connector, Arc::new(()), Box::new(())).unwrap();
    let summary = scheduler.run(clients(writes()), &stop).unwrap();
    assert_eq!(summary.ended, Ended::Stopped);
    assert_eq!(summary.ok, summary.invoked);
    assert!(summary.invoked < 12, "{summary:?}");
    assert_well_formed(&sink.events(), 3, 1);
    // Cancelled already: nothing begins, not even what is due.
    assert_eq!(scheduler.run(clients(writes()), &stop).unwrap().invoked, 0);
}

#[test]
fn stopping_wakes_a_scheduler_that_has_nothing_to_do() {
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    let sink = Memory::default();
    let config = config(1, 1, Duration::from_secs(5));
    let mut scheduler = Scheduler::new(config, sink.clone(), echo(), Arc::new(()), Box::new(())).unwrap();
    let events = Arc::clone(&sink.events);
    let canceller = std::thread::spawn(move || {
        wait_until("the first operation is complete", || events.lock().unwrap().len() == 2);
        cancel.cancel();
    });
    let began = Instant::now();
    let summary =
        scheduler.run(clients(sequence([write(1), sleep(3_600_000_000_000), write(2)])), &stop).unwrap();
    canceller.join().unwrap();
    assert_eq!((summary.ended, summary.ok), (Ended::Stopped, 1));
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn phases_continue_indices_processes_and_time() {
    let connector = scripted(|op, _| {
        ready(if op.value == json!(0) {
            Outcome::Info("lost".to_owned())
        } else {
            Outcome::Ok(op.value.clone())
        })
    });
    let sink = Memory::default();
    let config = config(1, 1, Duration::from_secs(5));
    let mut scheduler = Scheduler::new(config, sink.clone(), connector, Arc::new(()), Box::new(())).unwrap();
    let stop = CancellationToken::new();
    let first = scheduler.run(clients(write(0)), &stop).unwrap();
    let second = scheduler.run(clients(phases([write(1), write(2)])), &stop).unwrap();
    assert!(first.finished <= second.began);
    let events = sink.events();
    assert_well_formed(&events, 1, 1);
    let processes: Vec<_> = events.iter().map(|event| event.process).collect();
    assert_eq!(processes, [0, 0, 1, 1, 1, 1].map(Process::Client));
}

#[test]
fn a_full_disk_stops_the_load_at_once() {
    for flush in [false, true] {
        let dispatched = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&dispatched);
        let connector = scripted(move |op, _| {
            count.fetch_add(1, Ordering::SeqCst);
            let value = op.value.clone();
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Outcome::Ok(value)
            })
        });
        let sink = Memory {
            full_at: (!flush).then_some(50),
            flush_full_at: flush.then_some(50),
            ..Memory::default()
        };
        let config = config(1, 3, Duration::from_secs(5));
        let mut scheduler =
            Scheduler::new(config, sink.clone(), connector, Arc::new(()), Box::new(())).unwrap();
        let error = scheduler.run(clients(writes()), &CancellationToken::new()).unwrap_err();
        let SchedulerError::Sink { index, source } = &error else {
            panic!("{error}");
        };
        assert!((50..60).contains(index), "{error}");
        assert_eq!(source.raw_os_error(), Some(libc::ENOSPC));
        assert!(error.to_string().contains("cannot write the history"), "{error}");
        // Nothing that is not in the history was sent.
        let flushed = sink.flushed.load(Ordering::SeqCst);
        let invoked = sink.events()[..flushed].iter().filter(|event| event.kind == Kind::Invoke).count();
        assert!((20..=invoked).contains(&dispatched.load(Ordering::SeqCst)), "{invoked}");
        let again = scheduler.run(clients(writes()), &CancellationToken::new()).unwrap_err();
        assert!(matches!(again, SchedulerError::Closed));
    }
}

#[test]
fn a_time_limit_fires_while_the_generator_waits() {
    let forever = any([
        clients(operations(Random::new(1, "x"), |_, _| Action::new("read", Value::Null))),
        nemesis(timeline([(3_600_000_000_000, Action::new("kill", Value::Null))])),
    ]);
    let connector = scripted(|_, _| {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(150)).await;
            Outcome::Ok(Value::Null)
        })
    });
    let sink = Memory::default();
    let mut scheduler = Scheduler::new(
        config(1, 1, Duration::from_secs(5)),
        sink.clone(),
        connector,
        Arc::new(()),
        Box::new(()),
    )
    .unwrap();
    let limit = scheduler.now() + 200_000_000;
    let summary = scheduler.run(time_limit(limit, forever), &CancellationToken::new()).unwrap();
    assert_eq!(summary.ended, Ended::Done);
    assert!(sink.events().iter().all(|event| event.kind != Kind::Invoke || event.time < limit));
    assert!((1..=2).contains(&summary.invoked), "{summary:?}");
}

#[test]
fn a_generator_that_can_never_go_on_is_an_error() {
    let sink = Memory::default();
    // A nemesis operation, but no lane to run it.
    let config = Config { lanes: 0, ..config(1, 1, Duration::from_secs(1)) };
    let stuck = any([clients(write(1)), nemesis(operation(Action::new("kill", Value::Null)))]);
    let error = run_all(config, &sink, echo(), stuck).unwrap_err();
    assert!(matches!(error, SchedulerError::Stalled), "{error}");
    assert_well_formed(&sink.events(), 1, 1);
    assert_eq!(sink.events().len(), 2);
}

struct Faults;

impl NemesisExecutor for Faults {
    fn invoke(&self, op: Op) -> BoxFuture<'static, Value> {
        assert!(matches!(op.worker, Worker::Nemesis(_)));
        if op.f == "panic at once" {
            panic!("at once");
        }
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert_ne!(op.f, "panic");
            json!({ "did": op.value })
        })
    }
}

#[test]
fn the_nemesis_only_informs_and_survives_panics() {
    let sink = Memory::default();
    let config = Config { lanes: 2, ..config(1, 2, Duration::from_secs(5)) };
    let mut scheduler = Scheduler::new(config, sink.clone(), echo(), Arc::new(Faults), Box::new(())).unwrap();
    let at = |time, f: &'static str| (time, Action::new(f, json!({ "targets": ["n1"] })));
    let faults = timeline([at(0, "kill"), at(1_000_000, "panic"), at(2_000_000, "panic at once")]);
    let generator = any([nemesis(faults), clients(limit(10, writes()))]);
    let summary = scheduler.run(generator, &CancellationToken::new()).unwrap();
    assert_eq!((summary.nemesis, summary.ok), (3, 10));
    let events = sink.events();
    assert_well_formed(&events, 2, 1);
    let faults: Vec<_> = events.iter().filter(|event| event.process == Process::Nemesis).collect();
    assert_eq!(faults.len(), 6);
    assert!(faults.iter().all(|event| event.node.is_none() && event.key.is_none() && event.error.is_none()));
    let killed: Vec<_> = faults.iter().filter(|event| event.f == "kill").map(|event| &event.value).collect();
    assert_eq!(killed, [&json!({ "targets": ["n1"] }), &json!({ "did": { "targets": ["n1"] } })]);
    for f in ["panic", "panic at once"] {
        let last = faults.iter().rfind(|event| event.f == f).unwrap();
        assert!(last.value["error"].as_str().unwrap().contains("panicked"), "{last:?}");
    }
}

#[test]
fn nonsense_is_refused() {
    let refused = |config| {
        let made = Scheduler::new(config, Memory::default(), echo(), Arc::new(()), Box::new(()));
        matches!(made, Err(SchedulerError::Config(_)))
    };
    assert!(refused(config(0, 1, Duration::from_secs(1))));
    assert!(refused(config(1, 0, Duration::from_secs(1))));
    assert!(refused(Config { threads: 0, ..config(1, 1, Duration::from_secs(1)) }));
}

const VICTIM: &str = "SCHISM_TEST_HISTORY";

/// Not a test of its own: the process that the next test kills.
#[test]
#[ignore = "runs until it is killed"]
fn victim() {
    let Some(path) = std::env::var_os(VICTIM) else {
        return;
    };
    let writer = Writer::create(Path::new(&path)).unwrap();
    let mut scheduler =
        Scheduler::new(config(3, 6, Duration::from_secs(5)), writer, echo(), Arc::new(()), Box::new(()))
            .unwrap();
    // Ends by itself should nobody kill it.
    let bounded = time_limit(20_000_000_000, clients(writes()));
    scheduler.run(bounded, &CancellationToken::new()).unwrap();
}

#[test]
fn a_killed_run_leaves_a_history_that_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let path = folder.path().join(format!("history-{round}.jsonl"));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "scheduler::victim", "--ignored"])
            .env(VICTIM, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let enough = 50_000 * (round + 1);
        wait_until("there is some history", || {
            std::fs::metadata(&path).is_ok_and(|file| file.len() > enough)
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let mut events = History::open(&path).unwrap().events;
        assert!(events.len() > 100);
        // All that may be missing at the end is the completion of what was open.
        let mut open: HashMap<Process, usize> = HashMap::new();
        for (index, event) in events.iter().enumerate() {
            match event.kind {
                Kind::Invoke => open.insert(event.process, index),
                _ => open.remove(&event.process),
            };
        }
        assert!(open.len() <= 6, "{open:?}");
        let lost: std::collections::HashSet<_> = open.into_values().map(|index| index as u64).collect();
        let cut = lost.iter().min().copied().unwrap_or(events.len() as u64);
        events.retain(|event| event.index < cut || !lost.contains(&event.index));
        let mut time = 0;
        for event in &events {
            assert!(event.time >= time);
            time = event.time;
        }
    }
}

/// Counts the completions that it sees on threads of clients, and may panic there.
struct Elsewhere {
    count: Arc<AtomicUsize>,
    panics: bool,
}

impl Observer for Elsewhere {
    fn event(&mut self, event: &Event, _: Option<u64>) {
        if event.kind == Kind::Ok && std::thread::current().name() == Some("schism-clients") {
            self.count.fetch_add(1, Ordering::SeqCst);
            assert!(!self.panics, "the observer's own");
        }
    }
}

/// Answers after a millisecond.
fn slow() -> Arc<Scripted> {
    scripted(|op, _| {
        let value = op.value.clone();
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Outcome::Ok(value)
        })
    })
}

fn slow_and_paced(sink: &Memory, panics: bool) -> (Result<RunSummary, SchedulerError>, usize) {
    let count = Arc::new(AtomicUsize::new(0));
    let observer = Elsewhere { count: Arc::clone(&count), panics };
    let config = config(1, 5, Duration::from_secs(5));
    let mut scheduler =
        Scheduler::new(config, sink.clone(), slow(), Arc::new(()), Box::new(observer)).unwrap();
    let paced = stagger(Random::new(1, "pace"), 5_000_000, limit(100, writes()));
    let ran = scheduler.run(clients(paced), &CancellationToken::new());
    (ran, count.load(Ordering::SeqCst))
}

#[test]
fn a_completion_is_recorded_although_the_scheduler_sleeps() {
    let sink = Memory::default();
    let (ran, elsewhere) = slow_and_paced(&sink, false);
    assert_eq!(ran.unwrap().ok, 100);
    assert_well_formed(&sink.events(), 5, 1);
    assert_eq!(sink.flushed.load(Ordering::SeqCst), 200);
    assert!(elsewhere > 0, "the scheduler was woken for each");
}

#[test]
fn a_panic_in_the_schedulers_place_ends_the_run() {
    let ran = std::panic::catch_unwind(|| slow_and_paced(&Memory::default(), true));
    let panic = ran.map(|(ran, _)| ran.map(|_| ())).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>().copied(), Some("the observer's own"));
}

#[test]
fn a_full_disk_ends_the_run_although_the_scheduler_sleeps() {
    // A completion is the second event, and the next operation is an hour away.
    for flush in [false, true] {
        let sink =
            Memory { full_at: (!flush).then_some(1), flush_full_at: flush.then_some(2), ..Memory::default() };
        let generator = clients(sequence([write(1), sleep(3_600_000_000_000), write(2)]));
        let error = run_all(config(1, 2, Duration::from_secs(5)), &sink, slow(), generator).unwrap_err();
        assert!(matches!(error, SchedulerError::Sink { .. }), "{error}");
    }
}

#[test]
fn a_completion_that_makes_an_operation_possible_wakes_the_scheduler() {
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    let sink = Memory::default();
    let events = Arc::clone(&sink.events);
    // One worker: all the time but for its answers the scheduler waits for the nemesis.
    let config = config(1, 1, Duration::from_secs(30));
    let mut scheduler = Scheduler::new(config, sink.clone(), slow(), Arc::new(()), Box::new(())).unwrap();
    let canceller = std::thread::spawn(move || {
        wait_until("all is complete", || events.lock().unwrap().len() == 40);
        cancel.cancel();
    });
    let far = timeline([(3_600_000_000_000, Action::new("kill", Value::Null))]);
    let summary = scheduler.run(any([clients(limit(20, writes())), nemesis(far)]), &stop).unwrap();
    canceller.join().unwrap();
    assert_eq!((summary.ok, summary.nemesis), (20, 0));
    assert_well_formed(&sink.events(), 1, 1);
}

#[test]
fn a_pause_begins_with_the_completion_before_it() {
    let sink = Memory::default();
    let config = config(1, 1, Duration::from_secs(30));
    let mut scheduler = Scheduler::new(config, sink.clone(), slow(), Arc::new(()), Box::new(())).unwrap();
    let from = scheduler.now();
    let kill = |millis: u64| (from + millis * 1_000_000, Action::new("kill", Value::Null));
    let faults = nemesis(timeline([kill(2_500), kill(60_000)]));
    // Were it to begin only when the first fault wakes the scheduler, it would end seconds later.
    let pause = clients(phases([write(1), sleep(2_600_000_000), write(2)]));
    let (stop, events) = (CancellationToken::new(), Arc::clone(&sink.events));
    let cancel = stop.clone();
    let canceller = std::thread::spawn(move || {
        wait_until("both are written", || {
            events.lock().unwrap().iter().filter(|event| event.kind == Kind::Ok).count() == 2
        });
        cancel.cancel();
    });
    scheduler.run(any([pause, faults]), &stop).unwrap();
    canceller.join().unwrap();
    let events = sink.events();
    let written = |value: i64, kind| {
        let found = events.iter().find(|event| event.value == json!(value) && event.kind == kind);
        found.unwrap_or_else(|| panic!("no {kind:?} of {value}: {events:?}")).time
    };
    let pause = written(2, Kind::Invoke) - written(1, Kind::Ok);
    let fault = events.iter().find(|event| event.f == "kill").unwrap().time;
    assert!(written(2, Kind::Invoke) < fault + 2_600_000_000, "it began with the fault: {events:?}");
    assert!(pause >= 2_600_000_000, "{pause}: {events:?}");
}

#[test]
fn whoever_records_nothing_is_lost_or_stuck() {
    for seed in 0..30 {
        let mut random = Random::new(seed, "shape");
        let workers = 1 + random.below(12);
        let threads = 1 + random.below(3) as usize;
        let gap = [0, 20_000, 60_000, 150_000][random.below(4) as usize];
        let latencies = Mutex::new(Random::new(seed, "latencies"));
        let connector = scripted(move |op, _| {
            let value = op.value.clone();
            let choice = latencies.lock().unwrap().below(10);
            match choice {
                0..=3 => ready(Outcome::Ok(value)),
                4..=5 => Box::pin(async move {
                    tokio::task::yield_now().await;
                    Outcome::Ok(value)
                }),
                6 => ready(Outcome::Info("lost".to_owned())),
                _ => Box::pin(async move {
                    tokio::time::sleep(Duration::from_millis(choice - 6)).await;
                    Outcome::Ok(value)
                }),
            }
        });
        let sink = Memory::default();
        let config = Config { threads, ..config(2, workers as usize, Duration::from_secs(20)) };
        let load = limit(300, writes());
        let load = if gap == 0 { load } else { stagger(Random::new(seed, "pace"), gap, load) };
        let summary = run_all(config, &sink, connector, clients(load)).unwrap();
        assert_well_formed(&sink.events(), workers, 2);
        assert_eq!((summary.invoked, summary.ok + summary.info), (300, 300), "seed {seed}");
        assert_eq!(summary.abandoned, 0, "seed {seed}");
        assert_eq!(sink.flushed.load(Ordering::SeqCst), 600, "seed {seed}");
    }
}
