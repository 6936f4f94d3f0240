//! Brings the system up on the nodes, and down again.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use schism_workloads::Dialer;

use super::ask::ask;
use super::fleet::{Fleet, last_lines};
use crate::agent::Handle;
use crate::agent::protocol::ProcessStatus;
use crate::system::{NodeSetup, ProcessSetup};

/// Lines of a log shown when the system does not come up.
const TAIL_LINES: usize = 15;
/// Bytes of a log read for them.
const TAIL_BYTES: u64 = 8 << 10;
/// How often a start is tried.
const TRIES: u32 = 2;

/// Makes directories, writes files and starts every process, on all nodes at once.
///
/// # Errors
/// The first node on which something failed.
pub async fn start(fleet: &Arc<Fleet>, setups: &Arc<Vec<NodeSetup>>) -> Result<(), String> {
    let setups = Arc::clone(setups);
    let started = fleet.each(move |fleet, node| {
        let setup = setups[node].clone();
        async move { start_node(&fleet, node, &setup).await }
    });
    started.await.into_iter().collect()
}

async fn start_node(fleet: &Fleet, node: usize, setup: &NodeSetup) -> Result<(), String> {
    let agent = fleet.agent(node).await.map_err(|error| error.to_string())?;
    // On a host of its own an earlier run may have left data, which would look like a violation.
    remove(&agent, setup).await?;
    let mkdir = crate::agent::protocol::Command {
        argv: ["mkdir", "-p", &setup.data, &setup.log_dir].map(str::to_owned).to_vec(),
        ..Default::default()
    };
    let made =
        agent.run(&mkdir, None, Duration::from_secs(10), 4096).await.map_err(|error| error.to_string())?;
    if !made.success() {
        return Err(format!("{}: cannot make {}: {}", setup.node, setup.data, made.stderr.trim()));
    }
    for file in &setup.files {
        agent
            .write_file(&file.path, file.mode, file.content.as_bytes())
            .await
            .map_err(|error| format!("write {}: {error}", file.path))?;
    }
    for process in &setup.processes {
        let mut tries = 1;
        loop {
            match agent.start(&process.name, &process.command, &process.log).await {
                Ok(pid) => {
                    tracing::info!(event = "started", node = %setup.node, process = %process.name, pid);
                    break;
                }
                Err(error) if tries < TRIES => {
                    tracing::warn!(event = "start failed", node = %setup.node, process = %process.name, %error, tries);
                    tries += 1;
                }
                Err(error) => {
                    return Err(format!(
                        "{}: cannot start {} (`{}`): {error}",
                        setup.node,
                        process.name,
                        process.command.argv.join(" ")
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Waits until every node is healthy.
///
/// # Errors
/// Which node is not, what it last answered, whether its process lives, and the tail of its log.
pub async fn healthy(
    fleet: &Arc<Fleet>,
    dialer: &Arc<dyn Dialer>,
    setups: &Arc<Vec<NodeSetup>>,
) -> Result<(), String> {
    let begun = Instant::now();
    let dialer = Arc::clone(dialer);
    let setups = Arc::clone(setups);
    let healthy = fleet.each(move |fleet, node| {
        let dialer = Arc::clone(&dialer);
        let setup = setups[node].clone();
        async move { node_healthy(&fleet, &*dialer, node, &setup).await }
    });
    let mut failures = healthy.await.into_iter().filter_map(Result::err);
    let Some(mut message) = failures.next() else {
        tracing::info!(event = "healthy", seconds = begun.elapsed().as_secs_f64());
        return Ok(());
    };
    // One log is enough to read; those of the other nodes are in the run directory.
    for failure in failures {
        let _ = write!(message, "\n{}", failure.lines().next().unwrap_or_default());
    }
    Err(message)
}

async fn node_healthy(
    fleet: &Fleet,
    dialer: &dyn Dialer,
    node: usize,
    setup: &NodeSetup,
) -> Result<(), String> {
    let deadline = Instant::now() + setup.health.deadline.0;
    let mut message;
    loop {
        let last = match ask(dialer, &setup.node, &setup.health.http).await {
            Ok((status, body)) => match setup.health.http.holds(status, &body) {
                Ok(()) => return Ok(()),
                Err(why) => why,
            },
            Err(why) => why,
        };
        // Asked also at the end of the time: a process that ended says more than that nobody answers.
        if let Some(ended) = ended(fleet, node, setup).await {
            message = format!("On {} {ended} before it was healthy.", setup.node);
            break;
        }
        if Instant::now() >= deadline {
            let within = setup.health.deadline;
            message = format!("{} did not become healthy within {within}: {last}.", setup.node);
            break;
        }
        tokio::time::sleep(setup.health.every.0).await;
    }
    for process in &setup.processes {
        let tail = log_tail(fleet, node, process).await;
        let _ = write!(message, "\nThe end of the log of {} on {}:\n", process.name, setup.node);
        for line in tail.lines() {
            let _ = writeln!(message, "  {line}");
        }
    }
    Err(message.trim_end().to_owned())
}

/// Says that a process of the node has ended; `None` while all run, and when nobody can tell.
async fn ended(fleet: &Fleet, node: usize, setup: &NodeSetup) -> Option<String> {
    let agent = fleet.agent(node).await.ok()?;
    for process in &setup.processes {
        if let Ok(ProcessStatus::Exited { code, signal }) = agent.status(&process.name).await {
            let how = match (code, signal) {
                (Some(code), _) => format!("with code {code}"),
                (None, Some(signal)) => format!("by signal {signal}"),
                (None, None) => "unexpectedly".to_owned(),
            };
            return Some(format!("{} ended {how}", process.name));
        }
    }
    None
}

async fn log_tail(fleet: &Fleet, node: usize, process: &ProcessSetup) -> String {
    let read = match fleet.agent(node).await {
        Ok(agent) => agent
            .read_file(&process.log, -(TAIL_BYTES as i64), TAIL_BYTES)
            .await
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match read {
        Ok(bytes) if bytes.is_empty() => "(empty)".to_owned(),
        Ok(bytes) => last_lines(&String::from_utf8_lossy(&bytes), TAIL_LINES),
        Err(error) => format!("(cannot be read: {error})"),
    }
}

/// Stops every process in reverse order, on all nodes at once. Returns what could not be stopped.
pub async fn stop(fleet: &Arc<Fleet>, setups: &Arc<Vec<NodeSetup>>) -> Vec<String> {
    let setups = Arc::clone(setups);
    let stopped = fleet.each(move |fleet, node| {
        let setup = setups[node].clone();
        async move {
            let agent = fleet.agent(node).await.map_err(|error| error.to_string())?;
            for process in setup.processes.iter().rev() {
                agent
                    .stop(&process.name, setup.stop_signal, setup.stop_grace.0)
                    .await
                    .map_err(|error| error.to_string())?;
            }
            Ok::<(), String>(())
        }
    });
    stopped.await.into_iter().filter_map(Result::err).collect()
}

/// How long it may take to remove the files of a system.
const REMOVE_PATIENCE: Duration = Duration::from_secs(60);

async fn remove(agent: &Handle, setup: &NodeSetup) -> Result<(), String> {
    let rm = crate::agent::protocol::Command {
        argv: ["rm", "-rf", "--", &setup.data, &setup.log_dir].map(str::to_owned).to_vec(),
        ..Default::default()
    };
    let removed = agent.run(&rm, None, REMOVE_PATIENCE, 4096).await.map_err(|error| error.to_string())?;
    match removed.success() {
        true => Ok(()),
        false => Err(format!("{}: cannot remove {}: {}", setup.node, setup.data, removed.stderr.trim())),
    }
}

/// Removes data and logs of the system on all nodes at once. Returns what could not be removed.
pub async fn remove_files(fleet: &Arc<Fleet>, setups: &Arc<Vec<NodeSetup>>) -> Vec<String> {
    let setups = Arc::clone(setups);
    let removed = fleet.each(move |fleet, node| {
        let setup = setups[node].clone();
        async move {
            let agent = fleet.agent(node).await.map_err(|error| error.to_string())?;
            remove(&agent, &setup).await
        }
    });
    removed.await.into_iter().filter_map(Result::err).collect()
}
