//! Recording packets while faults are in force.
//!
//! A recording that fails costs nothing but itself: it is said in the log, and the run goes on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::fleet::Fleet;
use crate::agent::Handle;
use crate::agent::capture::{COMMAND, HEADER_LEN};
use crate::agent::protocol::Command;
use crate::system::NodeSetup;

/// The recorder among a node's supervised processes. It is the agent's own executable.
const RECORDER: &str = "schism-capture";
const OWN_EXECUTABLE: &str = "/proc/self/exe";
/// How long a recorder may take to begin.
const BEGIN_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(10);
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Records on every node while at least one fault is in force.
pub struct Capture {
    fleet: Arc<Fleet>,
    setups: Arc<Vec<NodeSetup>>,
    /// How many faults are in force.
    faults: Mutex<usize>,
}

impl Capture {
    /// A recorder of these nodes. What it records goes below their logs, with which it is collected.
    pub fn new(fleet: Arc<Fleet>, setups: Arc<Vec<NodeSetup>>) -> Self {
        Self { fleet, setups, faults: Mutex::new(0) }
    }

    /// A fault is about to be made. Returns when every node is recorded, in a file of the fault's name where none was in force.
    pub async fn begin(&self, fault: &str) {
        let mut faults = self.faults.lock().await;
        *faults += 1;
        if *faults > 1 {
            return;
        }
        let (setups, fault) = (Arc::clone(&self.setups), fault.to_owned());
        self.on_each(move |agent, node| {
            let log_dir = setups[node].log_dir.clone();
            let path = format!("{log_dir}/faults/{fault}.pcap");
            async move {
                let argv = [OWN_EXECUTABLE, COMMAND, &path].map(str::to_owned).to_vec();
                let command = Command { argv, ..Command::default() };
                let log = format!("{log_dir}/faults/capture.log");
                agent.start(RECORDER, &command, &log).await.map_err(|error| error.to_string())?;
                let deadline = Instant::now() + BEGIN_WITHIN;
                loop {
                    match agent.read_file(&path, 0, HEADER_LEN).await {
                        Ok(header) if header.len() as u64 == HEADER_LEN => return Ok(()),
                        _ if Instant::now() < deadline => sleep(LOOK_EVERY).await,
                        Ok(_) => return Err(format!("nothing is recorded to {path}; see {log}")),
                        Err(error) => return Err(format!("nothing is recorded: {error}; see {log}")),
                    }
                }
            }
        })
        .await;
    }

    /// A fault is over.
    pub async fn end(&self) {
        let mut faults = self.faults.lock().await;
        *faults = faults.saturating_sub(1);
        if *faults > 0 {
            return;
        }
        self.on_each(|agent, _| async move {
            agent.stop(RECORDER, libc::SIGTERM, STOP_GRACE).await.map_err(|error| error.to_string())
        })
        .await;
    }

    async fn on_each<F, Fut>(&self, act: F)
    where
        F: Fn(Handle, usize) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        let done = self.fleet.each(move |fleet, node| {
            let act = act.clone();
            async move {
                let agent = fleet.agent(node).await.map_err(|error| error.to_string())?;
                act(agent, node).await
            }
        });
        for (node, result) in self.fleet.nodes().iter().zip(done.await) {
            if let Err(error) = result {
                tracing::warn!(event = "not captured", node = %node.name, %error);
            }
        }
    }
}
