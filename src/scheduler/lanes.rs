//! The thread on which the nemesis' operations run, apart from the clients, so that no client can delay the healing of a
//! fault.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use schism_workloads::{BoxFuture, Op, Outcome};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::NemesisExecutor;
use super::clients::guarded;
use super::inbox::{Completion, Inbox};

/// The nemesis' thread, as the scheduler holds it. Dropped, the thread ends, open operations with it.
pub(super) struct Lanes {
    // At most one operation a lane is ever under way.
    jobs: UnboundedSender<(u64, Op)>,
}

impl Lanes {
    /// Starts the thread.
    pub(super) fn start(
        executor: Arc<dyn NemesisExecutor>,
        inbox: Arc<Inbox>,
        origin: Instant,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (jobs, incoming) = unbounded_channel();
        std::thread::Builder::new().name("schism-nemesis".to_owned()).spawn(move || {
            runtime.block_on(serve(incoming, executor, inbox, origin));
            runtime.shutdown_background();
        })?;
        Ok(Self { jobs })
    }

    /// Begins an operation.
    pub(super) fn dispatch(&self, ticket: u64, op: Op) {
        // The thread ends only after this sender is gone.
        let _ = self.jobs.send((ticket, op));
    }
}

async fn serve(
    mut incoming: UnboundedReceiver<(u64, Op)>,
    executor: Arc<dyn NemesisExecutor>,
    inbox: Arc<Inbox>,
    origin: Instant,
) {
    while let Some((ticket, op)) = incoming.recv().await {
        let (executor, inbox) = (Arc::clone(&executor), Arc::clone(&inbox));
        tokio::spawn(async move {
            let worker = op.worker;
            let value = carry_out(&*executor, op).await;
            let time = u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
            inbox.send(Completion { ticket, worker, time, outcome: Outcome::Ok(value) });
        });
    }
}

/// The operation's value; a panic becomes one that says so, since the run must go on and heal.
async fn carry_out(executor: &dyn NemesisExecutor, op: Op) -> Value {
    let invoke = AssertUnwindSafe(|| -> BoxFuture<'static, Value> { executor.invoke(op) });
    let ended = match catch_unwind(invoke) {
        Ok(mut invocation) => guarded(&mut invocation).await,
        Err(_) => Err("it panicked".to_owned()),
    };
    ended.unwrap_or_else(|error| json!({ "error": error }))
}
