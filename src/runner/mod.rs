//! The life of a run: from a plan to a verdict, whatever happens on the way.
//!
//! Every step after the clients have begun runs whatever happened before it: a failed heal, log or teardown is reported in its
//! own right and never costs the verdict. How each step is done is the business of the other parts.
//!
//! | file | what |
//! |---|---|
//! | `fleet` | the agents, started again when they die |
//! | `provision` | the programs of the system, here and on the nodes |
//! | `system` | the system under test: start, health, stop, logs |
//! | `roles`, `ask` | who leads; one question to a node |
//! | `faults` | the nemesis: resolve, inject, prove, heal, prove |
//! | `collect` | what is kept of each node: logs, configuration, versions |
//! | `capture` | recording packets while faults are in force |
//! | `load` | generator, clients and nemesis through the scheduler |
//! | `conclude` | checkers, verdict, report; also for crashed runs |
//! | `live_check` | judges the history while it grows, on a thread of its own |
//! | `live`, `interrupt` | the status line; Ctrl-C |

mod ask;
mod capture;
mod collect;
pub mod conclude;
mod faults;
mod fleet;
mod interrupt;
mod live;
mod live_check;
mod load;
pub(crate) mod provision;
mod roles;
mod second_look;
mod system;

pub use faults::LEASE;
pub(crate) use fleet::last_lines;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use schism_workloads::Dialer;

use crate::plan::Plan;
use crate::report::{Reason, Results, Stopped, Timing, Version};
use crate::spec::{Cluster, SshCluster};
use crate::store::{self, RunDir, StoreError};
use crate::system::NodeSetup;
use crate::transport::Transport;
use crate::transport::local::{self, LocalOptions};
use crate::transport::ssh::{self, SshOptions};
use crate::verdict::Verdict;
use crate::verdict::agreement::Watched;
use capture::Capture;
use conclude::Known;
use faults::Faults;
use fleet::{Fleet, NodeEvent};
use interrupt::Interrupt;
use live::{Live, Printer};
use roles::RoleWatch;

use crate::agent::AgentEvent;

/// How a run is carried out, as far as the plan does not say.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where run directories go.
    pub runs: PathBuf,
    /// No progress.
    pub quiet: bool,
    /// Whether the first confirmed violation ends the load.
    pub stop_on_violation: bool,
    /// The command that repeats this run.
    pub command: String,
}

/// A run that could not even begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The run directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// This machine refuses threads or signal handlers.
    #[error("cannot start: {0}")]
    Machine(#[from] std::io::Error),
}

/// What is left of a run.
pub struct Finished {
    /// Its directory.
    pub dir: RunDir,
    /// Its results; absent when a second Ctrl-C said to leave.
    pub results: Option<Results>,
    /// The verdict, also without results.
    pub verdict: Verdict,
    /// Whether the page was written.
    pub has_report: bool,
    /// What of the verdict could not be written, a sentence each.
    pub unwritten: Vec<String>,
}

/// Carries out `plan`; `source` is the text of the test file.
///
/// # Errors
/// The run could not begin. Everything later is in the results.
pub fn run(plan: &Plan, source: &str, options: &Options) -> Result<Finished, RunError> {
    let dir = RunDir::create(&options.runs, &plan.name)?;
    store::start_logging(&dir.log())?;
    dir.write(&dir.test(), source.as_bytes())?;
    dir.write(&dir.plan(), &plan.to_json())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let finished = runtime.block_on(async {
        let interrupt = Interrupt::listen()?;
        let mut run = Run::new(plan, options, dir, interrupt);
        run.live_through().await;
        Ok(run.conclude())
    });
    // A client thread that blocks for ever must not keep the process alive.
    runtime.shutdown_timeout(Duration::from_secs(1));
    finished
}

/// A run on its way.
struct Run<'a> {
    plan: Arc<Plan>,
    options: &'a Options,
    dir: RunDir,
    interrupt: Interrupt,
    started: jiff::Timestamp,
    versions: Vec<Version>,
    reasons: Vec<Reason>,
    timings: Vec<Timing>,
    stopped: Option<Stopped>,
    watched: Option<Watched>,
    live: Live,
}

impl<'a> Run<'a> {
    fn new(plan: &Plan, options: &'a Options, dir: RunDir, interrupt: Interrupt) -> Self {
        Self {
            plan: Arc::new(plan.clone()),
            options,
            dir,
            interrupt,
            started: jiff::Timestamp::now(),
            versions: Vec::new(),
            reasons: Vec::new(),
            timings: Vec::new(),
            stopped: None,
            watched: None,
            live: Live::default(),
        }
    }

    fn against(&mut self, verdict: Verdict, what: String) {
        tracing::error!(event = "reason", %verdict, %what);
        self.reasons.push(Reason { verdict, what });
    }

    fn timed(&mut self, phase: &str, since: Instant) {
        self.timings.push(Timing { phase: phase.to_owned(), seconds: since.elapsed().as_secs_f64() });
    }

    /// Everything up to the last byte of the history and of the logs. What goes wrong becomes a reason.
    async fn live_through(&mut self) {
        let printer = Printer::start(self.live.clone(), self.options.quiet);
        self.live.phase("bringing the cluster up");
        let begun = Instant::now();
        let interrupt = self.interrupt.clone();
        let up = tokio::select! {
            up = self.bring_up() => up.map_err(|why| (Verdict::Infra, why)),
            // What was begun is dropped: downloads end, and a cluster that is half up goes down.
            () = interrupt.stop.cancelled() => Err(interrupted()),
        };
        let mut nodes = match up {
            Ok(nodes) => nodes,
            Err((verdict, why)) => {
                self.against(verdict, why);
                return;
            }
        };
        self.timed("bring the cluster up", begun);
        // What an earlier run left is not ours to judge under, and not ours to sweep away.
        let leftovers = residue(&nodes.fleet).await;
        if leftovers.is_empty() {
            self.on_nodes(&mut nodes).await;
        }
        for found in leftovers {
            self.against(Verdict::Residue, format!("Before the run began: {found}"));
        }
        self.live.phase("taking the cluster down");
        let begun = Instant::now();
        nodes.fleet.bye().await;
        if let Err(error) = nodes.transport.close().await {
            self.against(Verdict::Residue, error.to_string());
        }
        self.timed("take the cluster down", begun);
        drop(printer);
    }

    /// The cluster with an agent on every node, and what the system needs there.
    async fn bring_up(&mut self) -> Result<Nodes, String> {
        let plan = Arc::clone(&self.plan);
        match &plan.cluster.kind {
            Cluster::Local(_) => self.bring_up_here(&plan).await,
            Cluster::Ssh(cluster) => self.bring_up_there(cluster).await,
        }
    }

    /// Nodes on this machine: they see its files at the same paths, once they are exposed.
    async fn bring_up_here(&mut self, plan: &Plan) -> Result<Nodes, String> {
        let installed = provision::here(plan).await?;
        self.versions
            .push(Version { what: plan.system.def.name.clone(), version: installed.version.clone() });
        let setups = plan.setups(&installed.binaries).map_err(|error| error.to_string())?;
        let mut options = LocalOptions::new(plan.cluster.nodes.len());
        options.expose.extend_from_slice(&installed.expose);
        options.agent_log_dir = Some(self.dir.path().join("nodes"));
        let transport = local::up(options).await.map_err(|error| error.to_string())?;
        let (fleet, nodes) = self.start_fleet(Arc::new(transport)).await?;
        Ok(Nodes { setups: Arc::new(setups), ..nodes.of(fleet) })
    }

    /// Hosts of their own: their addresses are known once they are reached, and programs are brought there.
    async fn bring_up_there(&mut self, cluster: &SshCluster) -> Result<Nodes, String> {
        let mut options = SshOptions::new(cluster.clone());
        options.agent_log_dir = Some(self.dir.path().join("nodes"));
        let transport = ssh::up(options).await.map_err(|error| error.to_string())?;
        let unmarked = transport.unmarked().join(", ");
        if !unmarked.is_empty() && !cluster.disposable && !self.plan.faults.faults.is_empty() {
            let _ = transport.close().await;
            return Err(format!(
                "Faults are made only on hosts that are marked as disposable, and these are not: {unmarked}. If nothing else \
                 depends on them: schism nodes allow HOST …, or `disposable: true` in the test file."
            ));
        }
        let addresses: Vec<IpAddr> = transport.nodes().iter().map(|node| node.address).collect();
        let plan = self.plan.with_addresses(&addresses).map_err(|error| error.to_string())?;
        self.plan = Arc::new(plan);
        let transport: Arc<dyn Transport> = Arc::new(transport);
        let (fleet, nodes) = self.start_fleet(Arc::clone(&transport)).await?;
        let ready = async {
            self.dir.write(&self.dir.plan(), &self.plan.to_json()).map_err(|error| error.to_string())?;
            let (binaries, version) = provision::there(&fleet, &self.plan).await?;
            let setups =
                binaries.iter().enumerate().map(|(index, binaries)| self.plan.setup(index, binaries));
            let setups: Vec<NodeSetup> =
                setups.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
            Ok::<_, String>((setups, version))
        };
        match ready.await {
            Ok((setups, version)) => {
                self.versions.push(Version { what: self.plan.system.def.name.clone(), version });
                Ok(Nodes { setups: Arc::new(setups), ..nodes.of(fleet) })
            }
            Err(why) => {
                fleet.bye().await;
                let _ = transport.close().await;
                Err(why)
            }
        }
    }

    async fn start_fleet(&self, transport: Arc<dyn Transport>) -> Result<(Arc<Fleet>, Began), String> {
        let disposable = matches!(&self.plan.cluster.kind, Cluster::Ssh(cluster) if cluster.disposable);
        let (fleet, events) = match Fleet::start(Arc::clone(&transport), &self.plan.name, disposable).await {
            Ok(started) => started,
            Err(error) => {
                // The cluster must not outlive a failed start; what closing says adds nothing to the error.
                let _ = transport.close().await;
                return Err(error.to_string());
            }
        };
        tracing::info!(event = "cluster up", nodes = transport.nodes().len());
        Ok((fleet, Began { transport, events }))
    }

    /// From the start of the system to its stop.
    async fn on_nodes(&mut self, nodes: &mut Nodes) {
        let begun = Instant::now();
        self.live.phase("starting the system");
        let up = async {
            system::start(&nodes.fleet, &nodes.setups).await?;
            system::healthy(&nodes.fleet, &nodes.dialer, &nodes.setups).await
        };
        let up = tokio::select! {
            up = up => up.map_err(|why| (Verdict::Infra, why)),
            () = self.interrupt.stop.cancelled() => Err(interrupted()),
        };
        self.timed("start the system", begun);
        match up {
            Ok(()) => self.under_load(nodes).await,
            // The one reason for whatever else went wrong.
            Err((Verdict::Infra, _)) if nodes.fleet.is_lost().await => {}
            Err((verdict, why)) => self.against(verdict, why),
        }
        if self.is_lost(nodes) {
            // Nobody is left to ask, and nothing to collect or to clean up.
            return;
        }
        self.live.phase("collecting");
        let begun = Instant::now();
        for missing in collect::collect(&nodes.fleet, &nodes.setups, &self.dir).await {
            // A log that is missing does not change what the history says.
            tracing::warn!(event = "not collected", %missing);
        }
        let mut left = system::stop(&nodes.fleet, &nodes.setups).await;
        if !nodes.transport.shares_files() {
            left.extend(system::remove_files(&nodes.fleet, &nodes.setups).await);
        }
        left.extend(residue(&nodes.fleet).await);
        if left.is_empty() || !nodes.fleet.is_lost().await || !self.is_lost(nodes) {
            for why in left {
                self.against(Verdict::Residue, why);
            }
        }
        self.timed("collect", begun);
    }

    /// Whether the whole cluster has died, which is then the reason.
    fn is_lost(&mut self, nodes: &Nodes) -> bool {
        let why = nodes.fleet.why_lost().map(str::to_owned);
        why.map(|why| self.against(Verdict::Infra, why)).is_some()
    }

    /// Load and faults, heal, settle, final reads.
    async fn under_load(&mut self, nodes: &mut Nodes) {
        let roles = nodes.roles();
        let watch = roles.as_ref().map(|roles| roles.watch());
        let process = nodes.setups.first().and_then(|setup| setup.processes.first());
        let process = process.map(|process| process.name.clone()).unwrap_or_default();
        let capture =
            self.plan.capture.then(|| Capture::new(Arc::clone(&nodes.fleet), Arc::clone(&nodes.setups)));
        let (fleet, live) = (Arc::clone(&nodes.fleet), self.live.clone());
        let faults = Faults::new(fleet, &self.plan.faults, roles, &process, live, capture);
        let listener = nodes.listen(&faults);
        let (plan, dir) = (Arc::clone(&self.plan), self.dir.clone());
        let load = match load::Load::new(&plan, nodes, &faults, &self.live, &dir) {
            Ok(load) => load,
            Err(why) => {
                self.against(Verdict::Infra, why);
                return;
            }
        };
        let interrupt = self.interrupt.clone();
        let stop_on_violation = self.options.stop_on_violation;
        let outcome = load.drive(nodes, &faults, &self.live, &interrupt, stop_on_violation).await;
        self.timings.extend(outcome.timings);
        self.reasons.extend(outcome.reasons);
        (self.stopped, self.watched) = (outcome.stopped, outcome.watched);
        if let Some(watch) = watch {
            watch.abort();
        }
        listener.abort();
        let surprises = std::mem::take(&mut *nodes.surprises.lock().unwrap_or_else(PoisonError::into_inner));
        if surprises.is_empty() || nodes.fleet.why_lost().is_some() {
            return;
        }
        for what in surprises {
            self.against(Verdict::Infra, what);
        }
    }

    /// Judges the history, writes results and report.
    fn conclude(self) -> Finished {
        let Self { plan, options, dir, interrupt, started, mut versions, reasons, .. } = self;
        let Self { timings, stopped, watched, .. } = self;
        versions
            .insert(0, Version { what: "schism".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() });
        versions.push(Version { what: "Linux".to_owned(), version: kernel() });
        if interrupt.leave.is_cancelled() {
            let verdict = reasons.iter().fold(Verdict::Void, |worst, reason| worst.worst(reason.verdict));
            return Finished { dir, results: None, verdict, has_report: false, unwritten: Vec::new() };
        }
        let facts = conclude::facts(&plan, &started.to_string(), versions, &options.command);
        let known = Known { reasons, timings, stopped, watched };
        let conclusion = conclude::conclude(&dir, &plan, facts, known);
        let verdict = conclusion.results.verdict;
        let conclude::Conclusion { results, unwritten, has_report } = conclusion;
        Finished { dir, results: Some(results), verdict, has_report, unwritten }
    }
}

/// A cluster with its agents, before anything else is known.
struct Began {
    transport: Arc<dyn Transport>,
    events: tokio::sync::mpsc::UnboundedReceiver<NodeEvent>,
}

impl Began {
    fn of(self, fleet: Arc<Fleet>) -> Nodes {
        Nodes {
            dialer: self.transport.dialer(),
            transport: self.transport,
            fleet,
            events: Some(self.events),
            setups: Arc::default(),
            surprises: Arc::default(),
        }
    }
}

/// The cluster of a run.
struct Nodes {
    transport: Arc<dyn Transport>,
    dialer: Arc<dyn Dialer>,
    fleet: Arc<Fleet>,
    events: Option<tokio::sync::mpsc::UnboundedReceiver<NodeEvent>>,
    setups: Arc<Vec<NodeSetup>>,
    /// What happened on the nodes that nobody had ordered, one sentence each.
    surprises: Arc<Mutex<Vec<String>>>,
}

impl Nodes {
    /// Listens to what the nodes say unasked. An agent that died is started again, so that it heals what the dead one
    /// left; a process that ended and was not meant to is told at the end.
    fn listen(&mut self, faults: &Arc<Faults>) -> tokio::task::JoinHandle<()> {
        let Some(mut events) = self.events.take() else { return tokio::spawn(std::future::ready(())) };
        let (fleet, faults, surprises) =
            (Arc::clone(&self.fleet), Arc::clone(faults), Arc::clone(&self.surprises));
        tokio::spawn(async move {
            while let Some(NodeEvent { node, event }) = events.recv().await {
                let name = Arc::clone(&fleet.nodes()[node].name);
                match event {
                    AgentEvent::Exited { name: process, pid, code, signal } => {
                        tracing::warn!(event = "process ended", node = %name, %process, pid, code, signal);
                        let how = match (code, signal) {
                            (Some(code), _) => format!("with code {code}"),
                            (None, Some(signal)) => format!("by signal {signal}"),
                            (None, None) => "in an unknown way".to_owned(),
                        };
                        let what = format!(
                            "{process} on {name} ended {how}, and no fault had done it; see its log."
                        );
                        surprises.lock().unwrap_or_else(PoisonError::into_inner).push(what);
                    }
                    AgentEvent::LeaseExpired { id } => {
                        tracing::warn!(event = "lease expired", node = %name, fault = %id);
                        faults.ended_early(node, Some(&id), &format!("its lease ran out on {name}"));
                    }
                    AgentEvent::RenewFailed { id, reason } => {
                        tracing::warn!(event = "renewal failed", node = %name, fault = %id, %reason);
                        faults.ended_early(
                            node,
                            Some(&id),
                            &format!("it could not be renewed on {name}: {reason}"),
                        );
                    }
                    AgentEvent::Gone { reason } => {
                        tracing::warn!(event = "agent gone", node = %name, %reason);
                        faults.ended_early(node, None, &format!("the agent on {name} died"));
                        let (fleet, surprises) = (Arc::clone(&fleet), Arc::clone(&surprises));
                        // What other nodes say meanwhile has to be heard.
                        tokio::spawn(async move {
                            if let Err(error) = fleet.revive(node).await {
                                let what = format!(
                                    "The agent on {name} died and could not be started again: {error}"
                                );
                                surprises.lock().unwrap_or_else(PoisonError::into_inner).push(what);
                            }
                        });
                    }
                }
            }
        })
    }

    fn roles(&self) -> Option<Arc<RoleWatch>> {
        let asked: Vec<_> = self
            .setups
            .iter()
            .filter_map(|setup| Some((setup.node.clone(), setup.leader.clone()?)))
            .collect();
        (!asked.is_empty()).then(|| RoleWatch::new(Arc::clone(&self.dialer), asked))
    }
}

/// What is still on the nodes, one sentence each. Agents that cannot be asked are named.
async fn residue(fleet: &Arc<Fleet>) -> Vec<String> {
    let found = fleet.each(|fleet, node| async move {
        let name = fleet.nodes()[node].name.clone();
        let agent = match fleet.agent(node).await {
            Ok(agent) => agent,
            Err(error) => return vec![format!("{name} could not be asked for residue: {error}")],
        };
        match agent.residue().await {
            Ok(found) => found.into_iter().map(|found| format!("on {name}: {found}")).collect(),
            Err(error) => vec![format!("{name} could not be asked for residue: {error}")],
        }
    });
    found.await.concat()
}

/// Why a run proves nothing that was interrupted too early.
fn interrupted() -> (Verdict, String) {
    (Verdict::Void, "The run was interrupted before the system was up.".to_owned())
}

fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}
