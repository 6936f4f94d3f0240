//! Clusters of demo nodes in this process, on loopback, each node with a runtime of its own so that it can be stopped.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::wire::{Answer, Answers, Batch, Request};
use super::*;

/// A running node. Dropping it stops it without any goodbye.
struct Running {
    runtime: Option<tokio::runtime::Runtime>,
}

impl Running {
    fn start(args: &Args) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let entered = runtime.enter();
        // The writer thread of the node before lets go of the log, and the kernel of the port, a moment after its end.
        let replica = until(|| replica(args).ok());
        let listener = until(|| runtime.block_on(tokio::net::TcpListener::bind(args.listen)).ok());
        runtime.spawn(server::serve(listener, replica));
        drop(entered);
        Self { runtime: Some(runtime) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

/// Asks again until there is an answer; a test that waits in vain fails.
fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::sleep(Duration::from_millis(2));
    }
}

struct Cluster {
    nodes: Vec<Option<Running>>,
    args: Vec<Args>,
    /// Listens and never answers: what a paused node looks like.
    _silent: TcpListener,
    _data: TempDir,
}

impl Cluster {
    /// A cluster in which, for every pair in `cut`, the first node's requests to the second meet silence.
    fn start(nodes: usize, mode: Mode, cut: &[(usize, usize)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = free_addresses(nodes);
        let args: Vec<Args> = (0..nodes)
            .map(|number| {
                let peer = |other: usize| Peer {
                    name: format!("n{}", other + 1),
                    address: match cut.contains(&(number, other)) {
                        true => silent.local_addr().unwrap().to_string(),
                        false => addresses[other].to_string(),
                    },
                };
                Args {
                    name: format!("n{}", number + 1),
                    listen: addresses[number],
                    peers: (0..nodes).filter(|other| *other != number).map(peer).collect(),
                    data: data.path().join(format!("n{}", number + 1)),
                    mode,
                }
            })
            .collect();
        let nodes = args.iter().map(|args| Some(Running::start(args))).collect();
        Self { nodes, args, _silent: silent, _data: data }
    }

    fn stop(&mut self, node: usize) {
        self.nodes[node] = None;
    }

    fn restart(&mut self, node: usize) {
        self.stop(node);
        self.nodes[node] = Some(Running::start(&self.args[node]));
    }

    fn read(&self, node: usize, key: &str) -> (u16, Value) {
        http(self.args[node].listen, "GET", &format!("/register/{key}"), "")
    }

    fn write(&self, node: usize, key: &str, value: Value) -> (u16, Value) {
        http(
            self.args[node].listen,
            "PUT",
            &format!("/register/{key}"),
            &json!({ "value": value }).to_string(),
        )
    }
}

/// Addresses whose ports are free now. They are on a loopback address that only this process uses, so that no other
/// test's outgoing connection takes a port while its node is down.
fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let pid = std::process::id();
    let host = format!("127.{}.{}.{}:0", 1 + (pid >> 16) % 200, (pid >> 8) & 255, 2 + (pid & 255) % 250);
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind(&host).unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

/// One request on a connection of its own.
fn http(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: demo\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

fn ok(value: Value) -> (u16, Value) {
    (200, json!({ "value": value }))
}

#[test]
fn reads_see_writes_at_every_node() {
    let cluster = Cluster::start(5, Mode::Correct, &[]);
    assert_eq!(cluster.read(0, "x"), ok(Value::Null));
    for round in 0..5 {
        for writer in 0..5 {
            let value = json!({ "round": round, "writer": writer });
            assert_eq!(cluster.write(writer, "x", value.clone()), (200, json!({})));
            assert_eq!(cluster.read((writer + round) % 5, "x"), ok(value));
        }
    }
    assert_eq!(cluster.read(1, "y"), ok(Value::Null));
    let health = json!({ "health": true, "node": "n3", "mode": "correct" });
    assert_eq!(http(cluster.args[2].listen, "GET", "/health", ""), (200, health));
}

#[test]
fn bad_requests_are_refused_with_a_reason() {
    let cluster = Cluster::start(1, Mode::Correct, &[]);
    let address = cluster.args[0].listen;
    for (method, path, body, status) in [
        ("GET", "/nothing", "", 404),
        ("DELETE", "/register/x", "", 405),
        ("GET", "/register/", "", 400),
        ("PUT", "/register/x", "{}", 400),
        ("PUT", "/register/x", "{\"value\":1,\"valeu\":2}", 400),
        ("PUT", "/register/x", "no json", 400),
        ("PUT", "/register/x", &json!({ "value": "x".repeat(70_000) }).to_string(), 400),
        ("POST", "/peer/batch", "{\"requests\":[{\"steal\":{}}]}", 400),
    ] {
        let (seen, answer) = http(address, method, path, body);
        assert_eq!((seen, &answer["definite"]), (status, &json!(true)), "{method} {path}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|error| !error.is_empty()), "{answer}");
    }
    assert_eq!(cluster.write(0, "x", Value::Null), (200, json!({})));
    assert_eq!(cluster.read(0, "x"), ok(Value::Null));
}

#[test]
fn a_minority_down_is_no_problem_and_a_majority_down_is_an_error() {
    let mut cluster = Cluster::start(3, Mode::Correct, &[]);
    cluster.stop(2);
    assert_eq!(cluster.write(0, "x", json!(1)).0, 200);
    assert_eq!(cluster.read(1, "x"), ok(json!(1)));
    cluster.stop(1);
    let (status, answer) = cluster.write(0, "x", json!(2));
    assert_eq!((status, &answer["definite"]), (503, &json!(true)), "nothing was stored: {answer}");
    assert_eq!(cluster.read(0, "x").0, 503);
    cluster.restart(1);
    until(|| (cluster.read(0, "x") == ok(json!(1))).then_some(()));
    cluster.restart(2);
    until(|| (cluster.read(2, "x") == ok(json!(1))).then_some(()));
}

#[test]
fn silent_peers_do_not_hold_up_a_quorum() {
    let cluster = Cluster::start(5, Mode::Correct, &[(0, 3), (0, 4)]);
    let start = Instant::now();
    for value in 0..20 {
        assert_eq!(cluster.write(0, "x", json!(value)).0, 200);
        assert_eq!(cluster.read(0, "x"), ok(json!(value)));
    }
    // Each operation would take at least one answer timeout (400 ms) if it waited for the silent ones.
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[test]
fn a_failed_read_changes_nothing_and_a_half_done_write_is_not_definite() {
    // n1 can ask n2, but nobody else, and n2's disk is the only other one: a fake n2 answers queries and keeps nothing.
    let (fake, _stores) = fake_peer();
    let cluster = lone_node(Mode::Correct, fake);
    let (status, answer) = cluster.write(0, "x", json!(1));
    assert_eq!((status, &answer["definite"]), (503, &json!(false)), "{answer}");
    let (status, answer) = cluster.read(0, "x");
    assert_eq!((status, &answer["definite"]), (503, &json!(true)), "{answer}");
}

#[test]
fn only_the_forgetful_mode_forgets() {
    for (mode, remembered) in [(Mode::Correct, json!("kept")), (Mode::ForgetsOnRestart, Value::Null)] {
        let mut cluster = Cluster::start(3, mode, &[]);
        assert_eq!(cluster.write(0, "x", json!("kept")).0, 200);
        for node in 0..3 {
            cluster.stop(node);
        }
        for node in 0..3 {
            cluster.restart(node);
        }
        let answer = until(|| Some(cluster.read(0, "x")).filter(|answer| answer.0 == 200));
        assert_eq!(answer, ok(remembered), "{mode:?}");
    }
}

#[test]
fn only_local_reads_are_stale() {
    for (mode, seen) in [(Mode::Correct, json!("new")), (Mode::LocalReads, Value::Null)] {
        // n3 never hears of the write, but could ask.
        let cluster = Cluster::start(3, mode, &[(0, 2)]);
        assert_eq!(cluster.write(0, "x", json!("new")).0, 200);
        assert_eq!(cluster.read(2, "x"), ok(seen), "{mode:?}");
    }
}

#[test]
fn only_early_acknowledgement_acknowledges_alone() {
    for (mode, status) in [(Mode::Correct, 503), (Mode::AckEarly, 200)] {
        let cluster = Cluster::start(3, mode, &[(0, 1), (0, 2)]);
        assert_eq!(cluster.write(0, "x", json!("lost")).0, status, "{mode:?}");
    }
}

#[test]
fn an_early_acknowledged_write_is_missed_by_a_later_read() {
    // n1 reaches nobody and nobody reaches n1, except the client: a partition that isolates it.
    let isolated = [(0, 1), (0, 2), (1, 0), (2, 0)];
    let cluster = Cluster::start(3, Mode::AckEarly, &isolated);
    assert_eq!(cluster.write(0, "x", json!("acknowledged")).0, 200);
    assert_eq!(cluster.read(1, "x"), ok(Value::Null));
}

/// A peer that answers queries with nothing, hands every store it gets to the test and keeps none.
fn fake_peer() -> (SocketAddr, mpsc::Receiver<wire::Register>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stores, received) = mpsc::channel();
    std::thread::spawn(move || {
        // Ends with the test's process; every connection is served to its end, one after the other.
        for stream in listener.incoming().flatten() {
            let stores = stores.clone();
            std::thread::spawn(move || serve_fake(stream, &stores));
        }
    });
    (address, received)
}

fn serve_fake(mut stream: TcpStream, stores: &mpsc::Sender<wire::Register>) -> Option<()> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8(bytes.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        if body.len() < length.parse().unwrap() {
            continue;
        }
        bytes.clear();
        let batch: Batch = serde_json::from_str(body).unwrap();
        let answer = |request: &Arc<Request>| match &**request {
            Request::Query { .. } => Answer::Holds { register: None },
            Request::Store { register, .. } => {
                let _ = stores.send(register.clone());
                Answer::Failed { reason: "a fake keeps nothing".to_owned() }
            }
        };
        let answers = batch.requests.iter().map(answer).collect();
        let body = json!(Answers { answers }).to_string();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).ok()?;
    }
}

/// n1 of three, whose n2 is `fake` and whose n3 is silent.
fn lone_node(mode: Mode, fake: SocketAddr) -> Cluster {
    let mut cluster = Cluster::start(3, mode, &[(0, 2)]);
    cluster.stop(1);
    cluster.stop(2);
    cluster.args[0].peers[0].address = fake.to_string();
    cluster.restart(0);
    cluster
}

/// The subtle case: a value reaches another node, the writer dies before its own disk has it, comes back, and writes
/// another value to the same register. Both writes see the same highest counter.
#[test]
fn a_restart_in_the_middle_of_a_write_does_not_reuse_its_tag() {
    let (fake, stores) = fake_peer();
    let mut cluster = lone_node(Mode::Correct, fake);
    assert_eq!(cluster.write(0, "x", json!("before")).0, 503);
    let before = stores.recv_timeout(Duration::from_secs(10)).unwrap();
    cluster.stop(0);
    // The crash came before the node's own copy was durable: its last line is torn.
    let log = cluster.args[0].data.join("log");
    let bytes = until(|| std::fs::read(&log).ok().filter(|bytes| bytes.ends_with(b"\n")));
    assert!(String::from_utf8_lossy(&bytes).contains("before"));
    std::fs::write(&log, &bytes[..bytes.len() - 5]).unwrap();
    cluster.restart(0);
    assert_eq!(cluster.write(0, "x", json!("after")).0, 503);
    let after = until(|| {
        // Stores of the first write may have been sent more than once.
        stores.try_recv().ok().filter(|register| register.value == json!("after"))
    });
    assert_eq!(before.value, json!("before"));
    assert_eq!(before.tag.counter, after.tag.counter, "otherwise this test tests nothing");
    assert_eq!(before.tag.node, after.tag.node);
    assert_ne!(before.tag, after.tag);
}

#[test]
fn concurrent_writes_of_one_node_have_tags_of_their_own() {
    let (fake, stores) = fake_peer();
    let cluster = lone_node(Mode::Correct, fake);
    std::thread::scope(|scope| {
        for value in 0..8 {
            let cluster = &cluster;
            scope.spawn(move || cluster.write(0, "x", json!(value)));
        }
    });
    let mut values = std::collections::BTreeMap::new();
    while let Ok(register) = stores.try_recv() {
        // The same store may come again after a lost connection.
        assert_eq!(values.entry(register.tag).or_insert(register.value.clone()), &register.value);
    }
    let distinct: std::collections::BTreeSet<String> = values.values().map(Value::to_string).collect();
    assert_eq!(distinct.len(), values.len(), "a value has two tags");
    assert!(values.len() > 1, "nothing was concurrent");
}

/// One read or write of the register that a single writer counts up in.
struct Seen {
    start: Instant,
    end: Instant,
    value: u64,
}

/// With one writer that counts up, linearizable means: no operation sees less than any that ended before it began.
/// Two nodes of five crash and come back all the while.
#[test]
fn nothing_goes_back_in_time_while_nodes_restart() {
    let mut cluster = Cluster::start(5, Mode::Correct, &[]);
    let addresses: Vec<SocketAddr> = cluster.args.iter().take(3).map(|args| args.listen).collect();
    let (stop, seen) = (std::sync::atomic::AtomicBool::new(false), std::sync::Mutex::new(Vec::new()));
    let restarts = std::thread::scope(|scope| {
        let (stop, seen, addresses) = (&stop, &seen, &addresses);
        for &address in addresses {
            scope.spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let start = Instant::now();
                    let (status, answer) = http(address, "GET", "/register/x", "");
                    if status == 200 {
                        let value = answer["value"].as_u64().unwrap_or(0);
                        seen.lock().unwrap().push(Seen { start, end: Instant::now(), value });
                    }
                }
            });
        }
        let writer = scope.spawn(move || {
            for value in 1..=200 {
                let start = Instant::now();
                let body = json!({ "value": value }).to_string();
                let (status, answer) = http(addresses[value as usize % 3], "PUT", "/register/x", &body);
                if status != 200 && answer["definite"] != json!(true) {
                    // It may still happen, in any order with what comes next: nothing more can be said.
                    break;
                }
                if status == 200 {
                    seen.lock().unwrap().push(Seen { start, end: Instant::now(), value });
                }
            }
        });
        let mut restarts = 0;
        while !writer.is_finished() {
            cluster.restart(3 + restarts % 2);
            restarts += 1;
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        restarts
    });
    let seen = seen.into_inner().unwrap();
    assert!(restarts > 1 && seen.len() > 20, "{restarts} restarts, {} operations", seen.len());
    for later in &seen {
        let least =
            seen.iter().filter(|earlier| earlier.end < later.start).map(|earlier| earlier.value).max();
        assert!(Some(later.value) >= least, "{} after {least:?}", later.value);
    }
}

#[test]
fn names_must_differ() {
    let mut args = Cluster::start(1, Mode::Correct, &[]).args.remove(0);
    args.peers = vec!["n1=127.0.0.1:9".parse().unwrap()];
    assert!(matches!(args.check(), Err(DemoError::DuplicateName(name)) if name == "n1"));
    for bad in ["n2", "=a:1", "n2=a", "n2=:1", "n2=a:b"] {
        assert!(bad.parse::<Peer>().is_err(), "{bad}");
    }
}

#[test]
fn the_command_line_of_a_node() {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }
    let parse = |line: &str| <Line as clap::Parser>::try_parse_from(line.split(' ')).map(|line| line.args);
    let args = parse(
        "demo-node --name n1 --listen 10.0.0.1:7000 --peer n2=10.0.0.2:7000 --peer n3=host:7001 --data /d --mode ack-early",
    )
    .unwrap();
    assert_eq!((args.name.as_str(), args.mode), ("n1", Mode::AckEarly));
    assert_eq!(
        args.peers.iter().map(|peer| peer.address.as_str()).collect::<Vec<_>>(),
        ["10.0.0.2:7000", "host:7001"]
    );
    for mode in ["correct", "local-reads", "ack-early", "forgets-on-restart"] {
        let args =
            parse(&format!("demo-node --name n1 --listen 10.0.0.1:7000 --data /d --mode {mode}")).unwrap();
        assert_eq!(args.mode.name(), mode);
    }
    let error =
        parse("demo-node --name n1 --listen 10.0.0.1:7000 --data /d --peer n2").err().unwrap().to_string();
    assert!(error.contains("expected NAME=HOST:PORT"), "{error}");
}
