//! Whatever dies, nothing of a fault stays: agents make faults on the nodes of a local cluster, and at a random moment somebody
//! is killed, stopped or cut off, or a node loses its power. Then the node is audited.
//!
//! The ordinary tests strike some twenty times. For a soak: `SCHISM_SOAK=1000 cargo test --test all soak -- --nocapture`. There,
//! whatever is found later than two seconds after the lease is a failure, too. `SCHISM_SOAK_SEED` gives other moments,
//! `SCHISM_SOAK_NODES` another number of nodes, which strike at the same time.

mod audit;
mod controller;
mod strike;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use schism::agent::Handle;
use schism::transport::local::{self, LocalCluster, LocalOptions};
use schism::transport::{AgentPipe, Transport};
use schism_history::Random;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use self::strike::Kind;

/// What this test binary does instead of testing, in a process of its own.
const ROLE: &str = "SCHISM_SOAK_ROLE";
const AS_ROLE: [&str; 4] = ["--exact", "soak::role", "--ignored", "--nocapture"];
/// Points of the ordinary test: each kind of strike three times.
const POINTS: usize = 3 * Kind::ALL.len();
/// Beyond the lease, what is left is a failure.
const GRACE: Duration = Duration::from_secs(2);
/// What is still there after this long stays there, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(40);
/// The latest moment of a strike after the controller has said hello.
const MOMENT_MAX_MS: u64 = 900;

#[test]
#[ignore = "started by the soak, with a role"]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let words: Vec<&str> = role.split(' ').collect();
    match words.as_slice() {
        ["controller", socket, seed, lease_ms] => {
            controller::play(socket, seed.parse().unwrap(), lease_ms.parse().unwrap());
        }
        ["strike", signal, targets @ ..] => strike::play(signal, targets),
        ["audit", expectations @ ..] => audit::play(expectations),
        other => panic!("no role is called {other:?}"),
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().unwrap())
}

#[test]
fn nothing_outlives_its_lease_whatever_dies() {
    let soak = number("SCHISM_SOAK");
    let points = soak.map_or(POINTS, |points| usize::try_from(points).unwrap());
    let nodes = usize::try_from(number("SCHISM_SOAK_NODES").unwrap_or(4)).unwrap();
    let plan = Plan {
        seed: number("SCHISM_SOAK_SEED").unwrap_or(1),
        // Shorter than the controller's heartbeats: there, leases also run out while everybody lives.
        lease: Duration::from_millis(if soak.is_some() { 3000 } else { 1000 }),
        strict: soak.is_some(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let tally = runtime.block_on(soak_all(points, nodes, plan));
    println!("{}", tally.table());
    assert!(tally.failures.is_empty(), "{} failures:\n{}", tally.failures.len(), tally.failures.join("\n"));
    let with_faults: usize = tally.kinds.values().map(|kind| kind.with_faults).sum();
    assert!(
        2 * with_faults > points,
        "only {with_faults} of {points} strikes met a fault: they prove little"
    );
}

/// An audit that sees nothing would pass everything.
#[test]
fn the_audit_sees_what_nobody_heals() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let place = tempfile::tempdir().unwrap();
        let cluster = up(1).await;
        let plan = Plan { seed: 1, lease: Duration::from_secs(600), strict: false };
        let scene = Scene { cluster: &cluster, node: 0, socket: place.path().join("n1"), plan };
        for (fault, trace) in
            [("drop-from", "nftables rule"), ("pause", "is stopped"), ("kill", "is held down")]
        {
            for seed in 0_u64.. {
                assert!(seed < 100, "no {fault} was ever met");
                let link = scene.connect(seed).await;
                tokio::time::sleep(Duration::from_millis(300)).await;
                // The watchdog first, and so that it cannot heal when the agent dies.
                scene.on_node("strike stop watchdog").await;
                let said = scene.on_node("strike kill agent").await;
                scene.on_node("strike kill watchdog").await;
                let audited = scene.on_node("audit victim nobody").await;
                link.close().await;
                let met = said.lines().any(|line| line.starts_with("in force") && line.contains(fault));
                if met && audited.contains(&format!("\"{fault}\":")) && audited.contains(trace) {
                    break;
                }
            }
        }
        cluster.close().await.unwrap();
    });
}

#[derive(Clone, Copy)]
struct Plan {
    seed: u64,
    lease: Duration,
    /// Being late is a failure.
    strict: bool,
}

#[derive(Default)]
struct OfKind {
    points: usize,
    /// Points at which a fault was in force.
    with_faults: usize,
    /// From the strike to the end of the first audit that found nothing.
    clean_after: Vec<Duration>,
}

#[derive(Default)]
struct Tally {
    kinds: BTreeMap<&'static str, OfKind>,
    failures: Vec<String>,
}

impl Tally {
    fn table(&self) -> String {
        let mut lines = vec![format!(
            "{:<38} {:>6} {:>12} {:>10} {:>10}",
            "strike", "points", "with faults", "median ms", "worst ms"
        )];
        for (name, OfKind { points, with_faults, clean_after }) in &self.kinds {
            let mut sorted = clean_after.clone();
            sorted.sort();
            let at = |index: usize| sorted.get(index).map_or(0, Duration::as_millis);
            lines.push(format!(
                "{name:<38} {points:>6} {with_faults:>12} {:>10} {:>10}",
                at(sorted.len() / 2),
                at(sorted.len().saturating_sub(1))
            ));
        }
        lines.push(format!("{} failures", self.failures.len()));
        lines.join("\n")
    }
}

async fn soak_all(points: usize, nodes: usize, plan: Plan) -> Tally {
    let place = tempfile::tempdir().unwrap();
    let cluster = Arc::new(up(nodes).await);
    let tally = Arc::new(Mutex::new(Tally::default()));
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for node in 0..nodes {
        let (cluster, tally, next) = (Arc::clone(&cluster), Arc::clone(&tally), Arc::clone(&next));
        let socket = place.path().join(format!("n{}", node + 1));
        workers.spawn(async move {
            loop {
                let point = next.fetch_add(1, Ordering::Relaxed);
                // What is wrong is known then; a soak counts how often.
                let enough = !plan.strict && !tally.lock().unwrap().failures.is_empty();
                if point >= points || enough {
                    return;
                }
                let kind = Kind::ALL[point % Kind::ALL.len()];
                let scene = Scene { cluster: &cluster, node, socket: socket.clone(), plan };
                let result = scene.play(kind, point).await;
                let mut tally = tally.lock().unwrap();
                let of_kind = tally.kinds.entry(kind.name()).or_default();
                of_kind.points += 1;
                of_kind.with_faults += usize::from(result.had_faults);
                of_kind.clean_after.push(result.clean_after);
                if let Some(failure) = result.failure {
                    tally.failures.push(format!("point {point} ({}): {failure}", kind.name()));
                }
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
    cluster.close().await.unwrap();
    std::mem::take(&mut *tally.lock().unwrap())
}

async fn up(nodes: usize) -> LocalCluster {
    let options = LocalOptions {
        exe: env!("CARGO_BIN_EXE_schism").into(),
        expose: vec![std::env::current_exe().unwrap()],
        agent_log_dir: std::env::var_os("SCHISM_SOAK_LOGS").map(PathBuf::from),
        ..LocalOptions::new(nodes)
    };
    local::up(options).await.unwrap()
}

struct Outcome {
    had_faults: bool,
    clean_after: Duration,
    failure: Option<String>,
}

/// One node at one point.
struct Scene<'a> {
    cluster: &'a LocalCluster,
    node: usize,
    socket: PathBuf,
    plan: Plan,
}

impl Scene<'_> {
    async fn play(&self, kind: Kind, point: usize) -> Outcome {
        let mut random = Random::new(self.plan.seed, &format!("soak {point}"));
        let mut link = self.connect(random.next_u64()).await;
        tokio::time::sleep(Duration::from_millis(random.below(MOMENT_MAX_MS))).await;
        let later = Duration::from_millis(random.below(60));
        let mut begin = Instant::now();
        let mut had_faults = false;
        let mut strike = async |signal: &str, targets: &str| {
            let said = self.on_node(&format!("strike {signal} {targets}")).await;
            assert!(said.contains("struck"), "{said}");
            had_faults |= said.lines().any(|line| line.starts_with("in force"));
        };
        match kind {
            Kind::Controller => {
                strike("none", "nobody").await;
                begin = Instant::now();
                link.controller.kill().await.unwrap();
            }
            Kind::Agent => strike("kill", "agent").await,
            Kind::Both => {
                // The strike takes a while to get there; were the controller always first, the agent would have healed by then.
                tokio::join!(strike("kill", "agent"), async {
                    tokio::time::sleep(2 * later).await;
                    link.controller.kill().await.unwrap();
                });
            }
            Kind::Connection => {
                strike("none", "nobody").await;
                begin = Instant::now();
                link.frozen.send_replace(true);
            }
            Kind::StoppedAgent => {
                strike("stop", "agent").await;
                // Nobody renews from now on.
                link.frozen.send_replace(true);
            }
            Kind::Healers => {
                strike("kill", "agent").await;
                tokio::time::sleep(later).await;
                strike("kill", "watchdog").await;
            }
            Kind::Power => {
                strike("none", "nobody").await;
                self.cluster.power_cycle(self.node).await.unwrap();
            }
        }
        if matches!(kind, Kind::Healers | Kind::Power) {
            // Nobody is left to heal, until the next agent starts.
            link.close().await;
            begin = Instant::now();
            let pipe = self.cluster.agent(self.node).await.unwrap();
            let (handle, _) = Handle::connect(pipe, "node", "soak").await.unwrap();
            drop(handle);
            let (clean_after, failure) = self.audit(kind, begin).await;
            return Outcome { had_faults, clean_after, failure };
        }
        let (clean_after, failure) = self.audit(kind, begin).await;
        link.close().await;
        if kind == Kind::StoppedAgent {
            // It keeps the state directory from the next one.
            self.on_node("strike kill agent").await;
        }
        Outcome { had_faults, clean_after, failure }
    }

    /// Audits until nothing is found.
    async fn audit(&self, kind: Kind, begin: Instant) -> (Duration, Option<String>) {
        let role = format!("audit {}", kind.expectations());
        loop {
            let said = self.on_node(&role).await;
            assert!(said.contains("audited"), "{said}");
            let after = begin.elapsed();
            let found: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("found ")).collect();
            if found.is_empty() {
                let late = after > self.plan.lease + GRACE && self.plan.strict;
                return (after, late.then(|| format!("clean only after {after:?}")));
            }
            if after > PATIENCE {
                let seen: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("sees ")).collect();
                let (found, seen) = (found.join("; "), seen.join("; "));
                return (after, Some(format!("after {after:?} there is still: {found} (and {seen})")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What this test binary says in a role on the node.
    async fn on_node(&self, role: &str) -> String {
        let own = std::env::current_exe().unwrap();
        let role = format!("{ROLE}={role}");
        let argv = [&["env", &role, own.to_str().unwrap()], &AS_ROLE[..]].concat();
        let AgentPipe { stdin, mut stdout } = self.cluster.start_program(self.node, &argv).await.unwrap();
        drop(stdin);
        let mut said = String::new();
        stdout.read_to_string(&mut said).await.unwrap();
        said
    }

    /// Starts an agent and a controller in a process of its own, and joins them.
    async fn connect(&self, seed: u64) -> Link {
        // The one of an earlier point.
        let _ = std::fs::remove_file(&self.socket);
        let listener = UnixListener::bind(&self.socket).unwrap();
        let lease_ms = self.plan.lease.as_millis();
        let role = format!("controller {} {seed} {lease_ms}", self.socket.display());
        let controller = Command::new(std::env::current_exe().unwrap())
            .args(AS_ROLE)
            .env(ROLE, role)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let AgentPipe { mut stdin, mut stdout } = self.cluster.agent(self.node).await.unwrap();
        let (stream, _) = tokio::time::timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        let (mut from_controller, mut to_controller) = stream.into_split();
        let frozen = watch::Sender::new(false);
        let (there, back) = (frozen.subscribe(), frozen.subscribe());
        let relays = tokio::spawn(async move {
            // Either end is closed when the other one is: that is what a connection does.
            tokio::select! {
                () = relay(&mut from_controller, &mut stdin, there) => {}
                () = relay(&mut stdout, &mut to_controller, back) => {}
            }
        });
        Link { controller, frozen, relays }
    }
}

/// A controller, its agent's pipe and what is between them.
struct Link {
    controller: Child,
    /// Nothing passes, and nobody is told.
    frozen: watch::Sender<bool>,
    relays: tokio::task::JoinHandle<()>,
}

impl Link {
    async fn close(mut self) {
        // It may be dead already.
        let _ = self.controller.kill().await;
        self.relays.abort();
        let _ = self.relays.await;
    }
}

async fn relay(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut frozen: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let frozen_now = async {
            if frozen.wait_for(|frozen| *frozen).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = frozen_now => std::future::pending::<()>().await,
            read = from.read(&mut buffer) => match read {
                Ok(length @ 1..) if to.write_all(&buffer[..length]).await.is_ok() => {}
                _ => return,
            },
        }
    }
}
