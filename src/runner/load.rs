//! Load and faults through the scheduler: the main phase, healing, and the final reads.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use schism_history::{Event, Writer};
use schism_nemesis::timeline::Timeline;
use schism_workloads::generator::{Action, Gen, WorkerSet, any, on_workers, time_limit, timeline};
use schism_workloads::register::{self, RecentKeys};
use schism_workloads::{Target, Worker, connector};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Nodes;
use super::faults::{Executor, Faults};
use super::interrupt::Interrupt;
use super::live::Live;
use super::live_check::{Feed, LiveCheck};
use super::system;
use crate::plan::Plan;
use crate::report::{Reason, Stopped, Timing};
use crate::scheduler::{Config, Ended, Observer, RunSummary, Scheduler, SchedulerError};
use crate::spec::Workload;
use crate::store::RunDir;
use crate::verdict::Verdict;
use crate::verdict::agreement::Watched;

/// Keys read at the end: those used last.
const FINAL_KEYS: usize = 50;
/// The final reads end after this long, read or not.
const FINAL_PATIENCE: Duration = Duration::from_secs(30);

/// What the load came to.
#[derive(Default)]
pub struct Outcome {
    /// Why the run is not a pass, as far as it shows here.
    pub reasons: Vec<Reason>,
    /// How long the phases took.
    pub timings: Vec<Timing>,
    /// Whether and when a violation ended the load.
    pub stopped: Option<Stopped>,
    /// What was found while the history grew.
    pub watched: Option<Watched>,
    /// Whether the history could not be written at some point.
    history_ends_early: bool,
}

impl Outcome {
    fn against(&mut self, verdict: Verdict, what: String) {
        tracing::error!(event = "reason", %verdict, %what);
        self.reasons.push(Reason { verdict, what });
    }

    fn timed(&mut self, phase: &str, since: Instant) {
        self.timings.push(Timing { phase: phase.to_owned(), seconds: since.elapsed().as_secs_f64() });
    }
}

/// A load that is ready to begin.
pub struct Load<'a> {
    plan: &'a Plan,
    dir: &'a RunDir,
    scheduler: Scheduler<Writer>,
    keys: Arc<Mutex<RecentKeys>>,
    check: LiveCheck,
    /// Time 0 of the history.
    origin: Instant,
}

/// Tells the status line and the check, and remembers the keys.
struct Watching {
    live: Live,
    keys: Arc<Mutex<RecentKeys>>,
    check: Feed,
}

impl Observer for Watching {
    fn event(&mut self, event: &Event, invoked: Option<u64>) {
        self.live.event(event, invoked);
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).observe(event);
        self.check.event(event);
    }
}

impl<'a> Load<'a> {
    /// Opens the history and makes clients and nemesis ready. Time 0 is now.
    ///
    /// # Errors
    /// The history cannot be written, or threads cannot be started.
    pub fn new(
        plan: &'a Plan,
        nodes: &Nodes,
        faults: &Arc<Faults>,
        live: &Live,
        dir: &'a RunDir,
    ) -> Result<Self, String> {
        let path = dir.history();
        let writer =
            Writer::create(&path).map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        let Workload::Register(spec) = &plan.workload.spec;
        let targets = nodes.fleet.nodes().iter().map(|node| Target {
            node: Arc::clone(&node.name),
            port: plan.workload.port,
            dialer: Arc::clone(&nodes.dialer),
            deadline: spec.deadline.0,
        });
        let connector = connector(&plan.workload.client, plan.workload.reads.as_deref())
            .map_err(|error| error.to_string())?;
        let keys = Arc::new(Mutex::new(RecentKeys::default()));
        let mut config = Config::new(targets.collect(), plan.workload.workers);
        config.lanes = lanes(&plan.faults);
        let origin = config.origin;
        let (feed, check) = LiveCheck::start(plan.checks.first(), live.clone(), origin);
        let scheduler = Scheduler::new(
            config,
            writer,
            connector,
            Arc::new(Executor(Arc::clone(faults))),
            Box::new(Watching { live: live.clone(), keys: Arc::clone(&keys), check: feed }),
        )
        .map_err(|error| error.to_string())?;
        Ok(Self { plan, dir, scheduler, keys, check, origin })
    }

    /// Everything from the first operation to the last. With `stop_on_violation` the first violation found ends the load.
    pub(super) async fn drive(
        self,
        nodes: &Nodes,
        faults: &Arc<Faults>,
        live: &Live,
        interrupt: &Interrupt,
        stop_on_violation: bool,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let Self { plan, dir, mut scheduler, keys, mut check, origin } = self;
        let Workload::Register(spec) = &plan.workload.spec;
        let operations: Vec<&str> = plan.workload.operations.iter().map(String::as_str).collect();
        let count = plan.cluster.nodes.len();

        live.phase("load");
        let begun = Instant::now();
        let clients = register::generator(spec, plan.workload.workers, count, &operations, plan.seed);
        let mut branches = vec![clients];
        branches.extend(nemesis(&plan.faults));
        let main = time_limit(scheduler.now().saturating_add(plan.time_limit.nanos()), any(branches));
        let stop = interrupt.stop.child_token();
        let (back, ran) = {
            let lost = nodes.fleet.lost().clone();
            let run = blocking(scheduler, main, &stop);
            tokio::pin!(run);
            tokio::select! {
                done = &mut run => done,
                () = lost.cancelled() => {
                    stop.cancel();
                    run.await
                }
                finding = check.first(), if stop_on_violation => {
                    // A signal may have come just before.
                    outcome.stopped = (!stop.is_cancelled()).then(|| Stopped {
                        at: u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX),
                        index: finding.index,
                        what: finding.to_string(),
                    });
                    stop.cancel();
                    run.await
                }
            }
        };
        scheduler = back;
        outcome.timed("load", begun);
        outcome.ended("the load", &ran, dir);
        let stopped = matches!(&ran, Ok(RunSummary { ended: Ended::Stopped, .. }));
        // Where the load was at its end anyway, nothing has stopped it.
        outcome.stopped = outcome.stopped.take().filter(|_| stopped);
        if let Some(Stopped { at, what, .. }) = &outcome.stopped {
            tracing::info!(event = "load stopped", at, %what);
        } else if stopped && interrupt.stop.is_cancelled() {
            let after = begun.elapsed().as_secs_f64();
            let what = format!("The load was interrupted after {after:.1} s of {}.", plan.time_limit);
            outcome.against(Verdict::Void, what);
        }

        live.phase("healing");
        let begun = Instant::now();
        let never = CancellationToken::new();
        let heals = faults.unhealed().into_iter().map(|(id, f)| (0, step(f, &id, "heal")));
        let (back, healed) = blocking(scheduler, on_lane(0, timeline(heals)), &never).await;
        scheduler = back;
        outcome.ended("healing", &healed, dir);
        // What the scheduler could not do, because the history is closed or a heal failed, is tried once more without it.
        for (id, _) in faults.unhealed() {
            let value = faults.heal(&id).await;
            if value["healed"] != json!(true) {
                let error = value["error"].as_str().unwrap_or("no reason given");
                outcome.against(Verdict::Residue, format!("{id} could not be healed: {error}"));
            }
        }
        outcome.timed("heal", begun);

        let lost = nodes.fleet.lost();
        if healed.is_ok() && !interrupt.leave.is_cancelled() && !lost.is_cancelled() {
            live.phase("settling");
            let begun = Instant::now();
            let settled = async {
                tokio::time::sleep(plan.settle.0).await;
                system::healthy(&nodes.fleet, &nodes.dialer, &nodes.setups).await
            };
            tokio::select! {
                settled = settled => if let Err(why) = settled {
                    let what = format!("The system did not recover after everything was healed: {why}");
                    outcome.against(Verdict::Void, what);
                },
                () = interrupt.leave.cancelled() => {}
                () = lost.cancelled() => {}
            }
            outcome.timed("settle", begun);
            live.phase("final reads");
            let begun = Instant::now();
            let latest = keys.lock().unwrap_or_else(PoisonError::into_inner).latest(FINAL_KEYS);
            let deadline = scheduler.now().saturating_add(FINAL_PATIENCE.as_nanos() as u64);
            let reads = time_limit(deadline, register::final_reads(&latest, plan.workload.workers, count));
            let (back, read) = blocking(scheduler, reads, &interrupt.leave).await;
            scheduler = back;
            outcome.ended("the final reads", &read, dir);
            outcome.read_back(&read, latest.len());
            outcome.timed("final reads", begun);
        }
        // With the scheduler goes the check's feed, so that it can come to its end.
        let closed = scheduler.into_sink().close();
        outcome.watched = check.finish(&interrupt.leave).await;
        // Where the history ends early, that is said already.
        if let Err(error) = closed
            && !outcome.history_ends_early
        {
            outcome.against(Verdict::Infra, format!("The history could not be written to its end: {error}"));
        }
        outcome
    }
}

impl Outcome {
    fn ended(&mut self, phase: &str, ran: &Result<RunSummary, SchedulerError>, dir: &RunDir) {
        self.history_ends_early |= matches!(ran, Err(SchedulerError::Sink { .. } | SchedulerError::Closed));
        match ran {
            Err(SchedulerError::Sink { index, source }) if source.kind() == io::ErrorKind::StorageFull => {
                let what = format!(
                    "The disk under {} is full ({source}): the load was stopped, and history.jsonl \
                     ends before event {index}. Free some space, or choose another place with --runs DIR.",
                    dir.path().display()
                );
                self.against(Verdict::Infra, what);
            }
            Ok(summary) => tracing::info!(event = "phase done", phase, ?summary),
            // Said already, by the phase in which it happened.
            Err(SchedulerError::Closed) => {}
            Err(error) => self.against(Verdict::Infra, format!("In {phase}: {error}")),
        }
    }

    /// Without a final read nobody knows what became of the writes before it. `keys` were to be read.
    fn read_back(&mut self, read: &Result<RunSummary, SchedulerError>, keys: usize) {
        if let Ok(summary @ RunSummary { ok: 0, .. }) = read
            && keys > 0
        {
            let what = format!(
                "None of the {} final reads of {keys} keys succeeded: nobody saw what became of the last writes.",
                summary.invoked
            );
            self.against(Verdict::Void, what);
        }
    }
}

/// Lets the scheduler have a thread of its own until the generator is done.
async fn blocking(
    mut scheduler: Scheduler<Writer>,
    generator: Gen,
    stop: &CancellationToken,
) -> (Scheduler<Writer>, Result<RunSummary, SchedulerError>) {
    let stop = stop.clone();
    let done = tokio::task::spawn_blocking(move || {
        let ran = scheduler.run(generator, &stop);
        (scheduler, ran)
    });
    match done.await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn lanes(timeline: &Timeline) -> usize {
    timeline.faults.iter().map(|fault| fault.lane + 1).max().unwrap_or(1)
}

/// The timeline as operations of the nemesis: one to inject and one to heal each fault, each lane on a worker of its own.
fn nemesis(plan: &Timeline) -> Vec<Gen> {
    let mut generators = Vec::new();
    for lane in 0..lanes(plan) {
        let mut steps: Vec<(u64, Action)> = Vec::new();
        for fault in plan.faults.iter().filter(|fault| fault.lane == lane) {
            let f = fault.fault.kind().name();
            let mut inject = step(f, &fault.id, "inject");
            inject.value["what"] = json!(fault.fault.describe());
            steps.push((fault.at_ns, inject));
            steps.push((fault.end_ns(), step(f, &fault.id, "heal")));
        }
        if !steps.is_empty() {
            generators.push(on_lane(lane, timeline(steps)));
        }
    }
    generators
}

fn on_lane(lane: usize, inner: Gen) -> Gen {
    let lane: WorkerSet = std::iter::once(Worker::Nemesis(lane)).collect();
    on_workers(lane, inner)
}

fn step(f: &'static str, id: &str, phase: &str) -> Action {
    Action { f: f.into(), key: None, value: json!({ "id": id, "phase": phase }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn final_reads_that_all_failed_prove_nothing() {
        let summary = |ok| RunSummary {
            ended: Ended::Done,
            began: 0,
            finished: 1,
            invoked: 6,
            ok,
            fail: 6 - ok,
            info: 0,
            abandoned: 0,
            nemesis: 0,
        };
        let verdicts = |ok, keys| {
            let mut outcome = Outcome::default();
            outcome.read_back(&Ok(summary(ok)), keys);
            outcome.reasons.iter().map(|reason| reason.verdict).collect::<Vec<_>>()
        };
        assert_eq!(verdicts(0, 2), [Verdict::Void]);
        assert_eq!(verdicts(1, 2), []);
        assert_eq!(verdicts(0, 0), [], "a load without a key has said so already");
    }
}
