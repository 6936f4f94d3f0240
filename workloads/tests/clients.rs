//! Clients against servers on loopback: scripted ones, and a real etcd where the machine has it.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

use std::io;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use schism_workloads::client::http::{HttpConnection, path_segment};
use schism_workloads::{BoxFuture, Client, Dialer, Op, Outcome, Target, Worker, connector};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct Loopback;

impl Dialer for Loopback {
    fn dial<'a>(&'a self, _: &'a str, port: u16) -> BoxFuture<'a, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(("127.0.0.1", port)))
    }
}

fn target(port: u16, deadline: Duration) -> Target {
    Target { node: "n1".into(), port, dialer: Arc::new(Loopback), deadline }
}

fn client(name: &str, reads: Option<&str>, port: u16) -> Box<dyn Client> {
    connector(name, reads).unwrap().client(target(port, Duration::from_secs(5)))
}

fn op(f: &'static str, key: &str, value: Value) -> Op {
    Op { time: 0, worker: Worker::Client(0), f: f.into(), key: Some(key.into()), value }
}

/// What a scripted server does with a request it has read.
#[derive(Clone)]
enum Reply {
    /// Answers, with status and body.
    Answer(u16, &'static str),
    /// Promises a longer body than it sends, and closes.
    Half,
    /// Closes without a word.
    Close,
    /// Never answers.
    Hang,
}

/// A server that answers the requests it gets by the script, and keeps what it was asked.
struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<(String, String)>>>,
    connections: Arc<Mutex<usize>>,
}

impl Server {
    async fn start(script: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, connections) = (Arc::default(), Arc::default());
        let server = Self { port, seen: Arc::clone(&seen), connections: Arc::clone(&connections) };
        let script = Arc::new(Mutex::new(script.into_iter()));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *connections.lock().unwrap() += 1;
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&seen)));
            }
        });
        server
    }

    fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(head, _)| head.clone()).collect()
    }

    fn bodies(&self) -> Vec<Value> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|(_, body)| serde_json::from_str(body).unwrap_or(Value::Null)).collect()
    }

    fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

async fn serve(
    mut stream: TcpStream,
    script: Arc<Mutex<std::vec::IntoIter<Reply>>>,
    seen: Arc<Mutex<Vec<(String, String)>>>,
) {
    let mut buffer = Vec::new();
    loop {
        let (head, length) = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8(buffer.drain(..end + 4).collect()).unwrap();
                let length =
                    head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                break (head, length.unwrap_or(0));
            }
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        };
        while buffer.len() < length {
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let body = String::from_utf8(buffer.drain(..length).collect()).unwrap();
        seen.lock().unwrap().push((head.lines().next().unwrap_or_default().to_owned(), body));
        let reply = script.lock().unwrap().next().unwrap_or(Reply::Close);
        match reply {
            Reply::Answer(status, body) => {
                let text = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(text.as_bytes()).await.unwrap();
            }
            Reply::Half => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await.unwrap();
                return;
            }
            Reply::Close => return,
            Reply::Hang => std::future::pending().await,
        }
    }
}

async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

fn is_info(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Info(_))
}

fn is_fail(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Fail(_))
}

#[tokio::test]
async fn a_request_whose_answer_breaks_off_is_unknown_and_is_never_sent_again() {
    for (name, write) in [("demo", "write"), ("etcd", "write"), ("etcd", "cas")] {
        for reply in [Reply::Half, Reply::Close] {
            let server = Server::start(vec![reply]).await;
            let mut client = client(name, None, server.port);
            let value = if write == "cas" { json!([1, 2]) } else { json!(1) };
            let outcome = client.invoke(&op(write, "x", value)).await;
            assert!(is_info(&outcome), "{name} {write}: {outcome:?}");
            assert_eq!(server.requests().len(), 1, "{name} {write}");
            assert_eq!(server.connections(), 1, "{name} {write}");
        }
    }
}

#[tokio::test]
async fn a_read_without_an_answer_has_failed() {
    for name in ["demo", "etcd"] {
        let server = Server::start(vec![Reply::Half]).await;
        let outcome = client(name, None, server.port).invoke(&op("read", "x", Value::Null)).await;
        assert!(is_fail(&outcome), "{name}: {outcome:?}");
        assert_eq!(server.requests().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_refused_connection_means_that_nothing_was_sent() {
    for name in ["demo", "etcd"] {
        let outcome = client(name, None, closed_port().await).invoke(&op("write", "x", json!(1))).await;
        assert!(is_fail(&outcome), "{name}: {outcome:?}");
    }
}

#[tokio::test]
async fn silence_is_unknown_after_the_deadline() {
    for name in ["demo", "etcd"] {
        let server = Server::start(vec![Reply::Hang, Reply::Hang]).await;
        let deadline = Duration::from_millis(50);
        let mut client = connector(name, None).unwrap().client(target(server.port, deadline));
        let began = Instant::now();
        let outcome = client.invoke(&op("write", "x", json!(1))).await;
        assert!(is_info(&outcome) && began.elapsed() >= deadline, "{name}: {outcome:?}");
        assert!(is_fail(&client.invoke(&op("read", "x", Value::Null)).await), "{name}");
        assert_eq!(server.requests().len(), 2, "{name}");
        // The late answer to the first must not be taken for that to the second.
        assert_eq!(server.connections(), 2, "{name}");
    }
}

/// Never gets a connection.
struct Nowhere;

impl Dialer for Nowhere {
    fn dial<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<TcpStream>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_connection_that_never_opens_sends_nothing() {
    let deadline = Duration::from_millis(20);
    let nowhere = Target { node: "n1".into(), port: 1, dialer: Arc::new(Nowhere), deadline };
    let outcome = connector("etcd", None).unwrap().client(nowhere).invoke(&op("write", "x", json!(1))).await;
    assert_eq!(outcome, Outcome::Fail("no connection within 20ms".to_owned()));
}

#[tokio::test]
async fn the_connection_is_kept_and_replaced_once_closed() {
    let server = Server::start(vec![
        Reply::Answer(200, "{}"),
        Reply::Answer(200, r#"{"value":1}"#),
        Reply::Close,
        Reply::Answer(200, r#"{"value":2}"#),
    ])
    .await;
    let mut client = client("demo", None, server.port);
    assert_eq!(client.invoke(&op("write", "a b/é", json!(1))).await, Outcome::Ok(json!(1)));
    assert_eq!(client.invoke(&op("read", "x", Value::Null)).await, Outcome::Ok(json!(1)));
    assert_eq!(server.connections(), 1);
    assert!(is_info(&client.invoke(&op("write", "x", json!(2))).await));
    assert_eq!(client.invoke(&op("read", "x", Value::Null)).await, Outcome::Ok(json!(2)));
    assert_eq!(server.connections(), 2);
    let requests = server.requests();
    assert_eq!(requests[0], "PUT /register/a%20b%2F%C3%A9 HTTP/1.1");
    assert_eq!(requests[1], "GET /register/x HTTP/1.1");
    assert_eq!(server.bodies()[0], json!({ "value": 1 }));
}

#[tokio::test]
async fn the_demo_system_says_whether_a_refusal_is_definite() {
    let server = Server::start(vec![
        Reply::Answer(503, r#"{"error":"no majority","definite":true}"#),
        Reply::Answer(503, r#"{"error":"no majority","definite":false}"#),
        Reply::Answer(500, "?"),
    ])
    .await;
    let mut client = client("demo", None, server.port);
    assert_eq!(client.invoke(&op("write", "x", json!(1))).await, Outcome::Fail("no majority".to_owned()));
    assert_eq!(client.invoke(&op("write", "x", json!(1))).await, Outcome::Info("no majority".to_owned()));
    assert!(is_info(&client.invoke(&op("write", "x", json!(1))).await));
    assert!(is_fail(&client.invoke(&op("cas", "x", json!([1, 2]))).await));
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn etcd_errors_are_sorted_by_the_table() {
    let server = Server::start(vec![
        Reply::Answer(429, r#"{"error":"etcdserver: too many requests","code":8}"#),
        Reply::Answer(503, r#"{"error":"etcdserver: request timed out","code":14}"#),
        Reply::Answer(503, r#"{"error":"etcdserver: request timed out","code":14}"#),
        Reply::Answer(200, "nonsense"),
    ])
    .await;
    let mut client = client("etcd", None, server.port);
    let write = op("write", "x", json!(1));
    assert_eq!(client.invoke(&write).await, Outcome::Fail("etcdserver: too many requests".to_owned()));
    assert_eq!(client.invoke(&write).await, Outcome::Info("etcdserver: request timed out".to_owned()));
    let read = client.invoke(&op("read", "x", Value::Null)).await;
    assert_eq!(read, Outcome::Fail("etcdserver: request timed out".to_owned()));
    assert!(is_info(&client.invoke(&write).await));
}

#[tokio::test]
async fn serializable_reads_are_asked_for_on_the_wire_and_only_then() {
    for (reads, expected) in
        [(None, None), (Some("linearizable"), None), (Some("serializable"), Some(json!(true)))]
    {
        let server = Server::start(vec![Reply::Answer(200, "{}")]).await;
        let outcome = client("etcd", reads, server.port).invoke(&op("read", "x", Value::Null)).await;
        assert_eq!(outcome, Outcome::Ok(Value::Null), "no pair: the key does not exist");
        assert_eq!(server.requests(), ["POST /v3/kv/range HTTP/1.1"]);
        assert_eq!(server.bodies()[0].get("serializable").cloned(), expected, "{reads:?}");
    }
}

#[tokio::test]
async fn a_cas_compares_the_value_or_the_absence() {
    let server = Server::start(vec![
        Reply::Answer(200, r#"{"succeeded":true}"#),
        Reply::Answer(200, "{}"),
        Reply::Answer(200, "{}"),
    ])
    .await;
    let mut client = client("etcd", None, server.port);
    assert_eq!(client.invoke(&op("cas", "x", json!([1, 2]))).await, Outcome::Ok(json!([1, 2])));
    assert!(is_fail(&client.invoke(&op("cas", "x", json!([null, 2]))).await));
    assert!(is_fail(&client.invoke(&op("cas", "x", json!(7))).await), "not a pair: nothing to send");
    let bodies = server.bodies();
    assert_eq!(bodies.len(), 2);
    assert_eq!(bodies[0]["compare"][0]["target"], "VALUE");
    assert_eq!(bodies[0]["compare"][0]["value"], "MQ==");
    assert_eq!(bodies[1]["compare"][0]["target"], "CREATE");
    assert_eq!(bodies[1]["compare"][0]["create_revision"], "0");
}

#[tokio::test]
async fn a_request_that_cannot_be_made_is_not_sent() {
    let server = Server::start(vec![Reply::Answer(200, "{}")]).await;
    let mut connection = HttpConnection::new(target(server.port, Duration::from_secs(5)));
    let answer = connection.request(hyper::Method::GET, "not a path", "").await.unwrap_err();
    assert!(!answer.maybe_sent, "{answer:?}");
    assert_eq!(path_segment("aZ09-._~ %"), "aZ09-._~%20%25");
}

/// A single etcd on free loopback ports, killed when dropped.
struct Etcd {
    child: Child,
    port: u16,
    _data: tempfile::TempDir,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Etcd {
    /// `None` where the machine has no etcd.
    async fn start() -> Option<Self> {
        // A port that was free a moment ago may be taken by now: then try others.
        for _ in 0..10 {
            let data = tempfile::tempdir().unwrap();
            let (port, peer) = (closed_port().await, closed_port().await);
            let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
            let spawned = Command::new("etcd")
                .args(["--name", "n1", "--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .args(["--initial-cluster", &format!("n1={peer}"), "--unsafe-no-fsync"])
                .arg("--data-dir")
                .arg(data.path().join("data"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            let child = match spawned {
                Ok(child) => child,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
                Err(error) => panic!("cannot start etcd: {error}"),
            };
            let mut etcd = Self { child, port, _data: data };
            if etcd.becomes_healthy().await {
                return Some(etcd);
            }
        }
        panic!("etcd did not become healthy on any of ten ports");
    }

    async fn becomes_healthy(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            if TcpStream::connect(address).await.is_ok() {
                let mut connection = HttpConnection::new(target(self.port, Duration::from_secs(1)));
                let health = connection.request(hyper::Method::GET, "/health", "").await;
                if health.is_ok_and(|health| health.status == 200) {
                    return true;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

#[tokio::test]
async fn a_real_etcd_reads_writes_and_compares() {
    let Some(etcd) = Etcd::start().await else {
        eprintln!("skipped: there is no `etcd` on this machine");
        return;
    };
    for reads in [None, Some("serializable")] {
        let mut client = client("etcd", reads, etcd.port);
        let key = reads.unwrap_or("default");
        let read = op("read", key, Value::Null);
        assert_eq!(client.invoke(&read).await, Outcome::Ok(Value::Null));
        let create = op("cas", key, json!([null, 1]));
        assert_eq!(client.invoke(&create).await, Outcome::Ok(json!([null, 1])));
        assert!(is_fail(&client.invoke(&create).await), "it exists by now");
        assert_eq!(client.invoke(&read).await, Outcome::Ok(json!(1)));
        assert_eq!(client.invoke(&op("write", key, json!(2))).await, Outcome::Ok(json!(2)));
        assert!(is_fail(&client.invoke(&op("cas", key, json!([1, 3]))).await));
        assert_eq!(client.invoke(&op("cas", key, json!([2, 4]))).await, Outcome::Ok(json!([2, 4])));
        assert_eq!(client.invoke(&read).await, Outcome::Ok(json!(4)));
        let never = op("cas", &format!("{key} never written"), json!([1, 2]));
        assert!(is_fail(&client.invoke(&never).await));
    }
    // An error of etcd's own, through its real gateway.
    let mut client = client("etcd", None, etcd.port);
    let large = op("write", "large", json!("x".repeat(1_800_000)));
    assert_eq!(client.invoke(&large).await, Outcome::Fail("etcdserver: request is too large".to_owned()));
}
