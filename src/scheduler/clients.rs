//! The threads on which clients live. Each runs a tokio runtime and gets batches of operations under one lock and with
//! one wake-up; each answer is sent as soon as it is there.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use schism_workloads::{Client, Connector, Op, Outcome, Target, Worker};
use tokio::sync::Notify;

use super::inbox::{Completion, Inbox, SPIN_MAX};

/// A client ends its operations itself, since it alone knows whether anything was sent. Only this long after the
/// deadline the runtime's timer does it instead.
const SLACK: Duration = Duration::from_millis(100);

/// How often to look for work between two looks at everything else that goes on in the runtime, which cost a system
/// call.
const LOOKS: usize = 50;

/// One operation for a client.
pub(super) struct Job {
    /// Number of the client worker.
    pub worker: usize,
    /// Index of the invocation.
    pub ticket: u64,
    /// What to do.
    pub op: Op,
    /// When the client must have answered.
    pub deadline: Instant,
}

/// What all client threads have in common.
pub(super) struct Setup {
    pub targets: Vec<Target>,
    pub connector: Arc<dyn Connector>,
    pub inbox: Arc<Inbox>,
    pub origin: Instant,
}

impl Setup {
    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A thread of clients, as the scheduler holds it. Dropped, it takes no more work and ends once nothing is open on it;
/// it is not waited for, since it may be blocked for good.
pub(super) struct ClientThread {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Whether there is something in the queue, for looking without the lock.
    filled: AtomicBool,
    /// When it was filled last, in nanoseconds since the start of the run.
    filled_at: AtomicU64,
    notify: Notify,
    /// Whether a batch is being made ready.
    coming: AtomicBool,
    /// Operations that wait for something.
    open: AtomicUsize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientThread {
    /// Starts a thread.
    pub(super) fn start(setup: Arc<Setup>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::new(Shared::default());
        let pump = Pump { setup, shared: Arc::clone(&shared), clients: Arc::default() };
        std::thread::Builder::new().name("schism-clients".to_owned()).spawn(move || {
            runtime.block_on(pump.run());
            // A client may have left blocking work behind; it is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { shared })
    }

    /// Wakes the thread for a batch that is about to be handed over. Waking takes longer than recording the invocations,
    /// and so the two go on at once.
    pub(super) fn announce(&self) {
        self.shared.coming.store(true, Ordering::Release);
        self.shared.notify.notify_one();
    }

    /// Hands a batch over, which is left empty. `now` is in nanoseconds since the start of the run.
    pub(super) fn dispatch(&self, batch: &mut Vec<Job>, now: u64) {
        if batch.is_empty() {
            return;
        }
        {
            let mut queue = self.shared.lock();
            queue.jobs.extend(batch.drain(..));
            self.shared.filled_at.store(now, Ordering::Relaxed);
            self.shared.filled.store(true, Ordering::Release);
        }
        self.shared.notify.notify_one();
    }

    /// Takes back what the thread has not begun: nothing of it was or will be sent.
    pub(super) fn reclaim(&self) -> VecDeque<Job> {
        std::mem::take(&mut self.shared.lock().jobs)
    }
}

impl Drop for ClientThread {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.notify.notify_one();
    }
}

type Clients = Mutex<Vec<Option<Box<dyn Client>>>>;

/// The thread's own side.
struct Pump {
    setup: Arc<Setup>,
    shared: Arc<Shared>,
    /// By worker number. Absent: a fresh one is needed.
    clients: Arc<Clients>,
}

impl Pump {
    async fn run(self) {
        let mut watch = false;
        loop {
            // One by one, so that behind a client that blocks no answer is held back, and what was not begun can be taken
            // away.
            while let Some(job) = self.next() {
                if let Some(completion) = self.begin(job) {
                    self.setup.inbox.send(completion);
                }
            }
            if self.shared.lock().closed && self.shared.open.load(Ordering::Acquire) == 0 {
                return;
            }
            let began = self.setup.now();
            let coming = self.shared.coming.swap(false, Ordering::AcqRel);
            if !((watch || coming) && self.watch().await) {
                self.shared.notify.notified().await;
            }
            // Only while work comes that fast; see the scheduler's side of this.
            let soon = began.saturating_add(SPIN_MAX.as_nanos() as u64);
            if self.shared.filled.load(Ordering::Acquire) {
                watch = self.shared.filled_at.load(Ordering::Relaxed) < soon;
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.shared.lock();
        let job = queue.jobs.pop_front();
        if job.is_none() {
            self.shared.filled.store(false, Ordering::Release);
        }
        job
    }

    /// Looks for work for a moment, while the runtime goes on with what else there is. Whether it came.
    async fn watch(&self) -> bool {
        let began = Instant::now();
        while began.elapsed() < SPIN_MAX {
            for _ in 0..LOOKS {
                if self.shared.filled.load(Ordering::Acquire) {
                    return true;
                }
                std::hint::spin_loop();
            }
            tokio::task::yield_now().await;
        }
        false
    }

    /// Begins an operation. One that is over at once, as with a client that does nothing, costs no task and no timer.
    fn begin(&self, job: Job) -> Option<Completion> {
        let Job { worker, ticket, op, deadline } = job;
        let setup = Arc::clone(&self.setup);
        let completion =
            move |time, outcome| Completion { ticket, worker: Worker::Client(worker), time, outcome };
        if Instant::now() >= deadline {
            let reason = "never sent: the deadline passed while the client's thread was busy";
            return Some(completion(setup.now(), Outcome::Fail(reason.to_owned())));
        }
        let client = lock(&self.clients).get_mut(worker).and_then(Option::take);
        let mut attempt = Box::pin(attempt(Arc::clone(&setup), worker, client, op));
        if let Poll::Ready((client, outcome)) = attempt.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            let time = setup.now();
            put_back(&self.clients, worker, client, &outcome);
            return Some(completion(time, outcome));
        }
        let (clients, shared) = (Arc::clone(&self.clients), Arc::clone(&self.shared));
        shared.open.fetch_add(1, Ordering::AcqRel);
        tokio::spawn(async move {
            let ended = tokio::time::timeout_at((deadline + SLACK).into(), attempt).await;
            let time = setup.now();
            let (client, outcome) =
                ended.unwrap_or_else(|_| (None, Outcome::Info("no answer before the deadline".to_owned())));
            put_back(&clients, worker, client, &outcome);
            setup.inbox.send(completion(time, outcome));
            if shared.open.fetch_sub(1, Ordering::AcqRel) == 1 {
                // The thread may be waiting for its last operation in order to end.
                shared.notify.notify_one();
            }
        });
        None
    }
}

fn lock(clients: &Clients) -> MutexGuard<'_, Vec<Option<Box<dyn Client>>>> {
    clients.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the client for the worker's next operation, unless the outcome is unknown: its successor is another process and
/// gets a client of its own.
fn put_back(clients: &Clients, worker: usize, client: Option<Box<dyn Client>>, outcome: &Outcome) {
    if let (Some(client), Outcome::Ok(_) | Outcome::Fail(_)) = (client, outcome) {
        let mut clients = lock(clients);
        if clients.len() <= worker {
            clients.resize_with(worker + 1, || None);
        }
        clients[worker] = Some(client);
    }
}

/// One operation, with a fresh client where there is none. A panic of the client is an unknown outcome.
async fn attempt(
    setup: Arc<Setup>,
    worker: usize,
    client: Option<Box<dyn Client>>,
    op: Op,
) -> (Option<Box<dyn Client>>, Outcome) {
    let target = worker % setup.targets.len();
    let connect = || match client {
        Some(client) => client,
        None => setup.connector.client(setup.targets[target].clone()),
    };
    let mut client = match catch_unwind(AssertUnwindSafe(connect)) {
        Ok(client) => client,
        Err(panic) => return (None, Outcome::Fail(format!("never sent: {}", describe(&*panic)))),
    };
    let outcome = {
        let (lent, op) = (&mut client, &op);
        let invoke = move || {
            let client = lent;
            client.invoke(op)
        };
        let mut invocation = match catch_unwind(AssertUnwindSafe(invoke)) {
            Ok(invocation) => invocation,
            Err(panic) => return (None, Outcome::Info(describe(&*panic))),
        };
        guarded(&mut invocation).await
    };
    match outcome {
        Ok(outcome) => (Some(client), outcome),
        Err(reason) => (None, Outcome::Info(reason)),
    }
}

/// Polls a future to its end; a panic becomes an error that says so.
pub(super) async fn guarded<T>(
    future: &mut Pin<Box<dyn Future<Output = T> + Send + '_>>,
) -> Result<T, String> {
    std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(describe(&*panic))),
    })
    .await
}

fn describe(panic: &(dyn std::any::Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    format!("it panicked: {message}")
}
