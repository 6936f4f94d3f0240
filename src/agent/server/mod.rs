//! `schism agent`: carries out what the controller asks, and heals by itself when the controller is gone.
//!
//! One task reads frames, one writes them; every request is a task of its own, and whatever may block runs on a thread for
//! that, so a heartbeat is never late. The agent knows no more of a fault than its data and its mechanism.

mod children;
mod facts;
mod files;
mod leases;
mod log;
mod names;
mod pidfd;
mod poke;
mod presence;
mod proc;
mod reach;
mod run;
mod session;
mod ssh;
mod state;
mod supervisor;
mod watchdog;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use schism_nemesis::node::{Mechanism, NodeFault};
use tokio::signal::unix::{SignalKind, signal};

pub use session::{ServeError, serve};
pub use state::TAKEN;
pub use watchdog::{WATCHDOG_COMMAND, main as watchdog_main};

/// Where the agent keeps what has to outlive it, unless told otherwise.
pub const STATE_DIRECTORY: &str = "/var/lib/schism";

/// How each fault is made on this node, from its id and its data.
pub type Mechanisms = Arc<dyn Fn(&str, &NodeFault) -> Box<dyn Mechanism> + Send + Sync>;

/// What of ours the kernel of this node holds, one line each, whoever made it. Blocks.
pub type Kernel = Arc<dyn Fn() -> std::io::Result<Vec<String>> + Send + Sync>;

/// Removes what of ours the kernel of this node holds, whoever made it. Blocks.
pub type Purge = Arc<dyn Fn() -> std::io::Result<()> + Send + Sync>;

/// What an agent is started with.
#[derive(Clone)]
pub struct Options {
    /// The directory for what has to outlive the agent. One agent at a time uses it.
    pub state: PathBuf,
    /// How each fault is made.
    pub mechanisms: Mechanisms,
    /// What is left of faults, also of those that no journal knows.
    pub kernel: Kernel,
    /// Removes that, when asked to.
    pub purge: Purge,
    /// The `schism` executable, which is started once more as the watchdog before the first fault. Without one, nobody heals
    /// what an agent that was killed leaves until the next one starts: for mechanisms that only this process knows.
    pub watchdog: Option<PathBuf>,
}

/// Runs the agent on this process's stdin and stdout, with its log as JSON lines on stderr, until the controller says bye,
/// the pipe closes or a signal comes. Exits with 0, with 5 when it could not serve, or with 6 when something could not be
/// healed.
pub fn main(options: Options) -> ExitCode {
    log::start();
    // A terminal's Ctrl-C is for the controller, which decides what becomes of its agents. Fails for who leads a session.
    let _ = nix::unistd::setsid();
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        tracing::warn!(%error, "orphans of what runs here go to the node's first process");
    }
    // One thread for everything that does not block: the kernel ties commands to the thread that started them, and this one
    // lives as long as the agent.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start");
            log::flush();
            return ExitCode::from(5);
        }
    };
    let result = runtime.block_on(async {
        tokio::spawn(reap());
        serve(tokio::io::stdin(), tokio::io::stdout(), options, end_signal()).await
    });
    // A thread may still wait in a read from stdin: nobody needs it.
    runtime.shutdown_background();
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the agent ends");
            ExitCode::from(if matches!(error, ServeError::Residue(_)) { 6 } else { 5 })
        }
    };
    log::flush();
    code
}

/// Waits for a signal that asks to end.
async fn end_signal() {
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let mut waits = tokio::task::JoinSet::new();
    for kind in kinds {
        match signal(kind) {
            Ok(mut stream) => {
                waits.spawn(async move { stream.recv().await });
            }
            Err(error) => tracing::warn!(%error, ?kind, "the agent does not notice this signal"),
        }
    }
    if waits.join_next().await.is_none() {
        std::future::pending().await
    }
}

/// Reaps the orphans that the kernel gives us, at most once a second.
async fn reap() {
    let Ok(mut ended) = signal(SignalKind::child()) else { return };
    while ended.recv().await.is_some() {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        if let Ok(Err(error)) = tokio::task::spawn_blocking(children::reap_orphans).await {
            tracing::warn!(%error, "orphans could not be reaped");
        }
    }
}
