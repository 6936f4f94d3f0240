//! The watchdog's own process: waits for the agent's end, heals, goes.

use std::io::{self, Write};
use std::os::fd::{AsFd, RawFd};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{FOR_EVER, Guard, READY, WORD_LEN, Word, keep_healed};
use crate::agent::server::leases::Leases;
use crate::agent::server::proc::Identity;
use crate::agent::server::state::{State, journal_is_empty};
use crate::agent::server::supervisor::Supervisor;
use crate::agent::server::{Mechanisms, Options, log};

/// How often to ask for the state directory while somebody else has it.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// The pause after a try that left something; it doubles.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// What could not be healed for this long is left to the next agent, or to a person.
const GIVE_UP_AFTER: Duration = Duration::from_secs(3600);
/// Words read at once.
const WORDS: usize = 256;

/// Runs the watchdog of the agent with the process id `agent`, which holds the other end of stdin. Exits with 0 once the
/// journal names nothing any more, with 5 when it could not start, with 6 when it gave up.
pub fn main(options: Options, agent: i32) -> ExitCode {
    close_what_was_inherited();
    log::start();
    // Shown by `ps`; nothing depends on it.
    let _ = nix::sys::prctl::set_name(c"schism-watchdog");
    // Before it is ready, so that the number is still the agent's.
    let agent = Identity::of(agent).filter(|_| nix::unistd::getppid().as_raw() == agent);
    let code = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(guard(&options, agent)).unwrap_or_else(|error| {
                tracing::error!(%error, "the watchdog cannot work");
                ExitCode::from(5)
            });
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            tracing::error!(%error, "cannot start");
            ExitCode::from(5)
        }
    };
    log::flush();
    code
}

async fn guard(options: &Options, agent: Option<Identity>) -> io::Result<ExitCode> {
    let mut words = pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)?;
    // What ends the agent is not to end this: it goes when the agent has gone, and nothing is left. A handler, since what
    // is ignored stays so in the programs that are started.
    let mut handlers = Vec::new();
    for kind in [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate()] {
        handlers.push(signal(kind)?);
    }
    {
        let mut stdout = io::stdout();
        // Fails when the agent is dead already: then there may be something to heal.
        let _ = stdout.write_all(&[READY]).and_then(|()| stdout.flush());
    }
    if !until_gone(&mut words).await {
        tracing::warn!(event = "agent is silent", pid = agent.map(|agent| agent.pid));
        if let Some(Err(error)) = agent.map(|agent| agent.signal(libc::SIGKILL)) {
            tracing::error!(%error, "the agent cannot be killed");
        }
    }
    heal(&options.state, &options.mechanisms).await
}

/// Waits for the end of the pipe (`true`) or for a silence that is longer than the agent said (`false`).
async fn until_gone(words: &mut pipe::Receiver) -> bool {
    let mut buffer = [0; WORDS * WORD_LEN];
    let mut end: Option<Instant> = None;
    loop {
        let read = async {
            // Words are written whole.
            match words.read(&mut buffer).await {
                Ok(length @ 1..) => buffer[..length].chunks_exact(WORD_LEN).next_back().map(<[u8]>::to_vec),
                _ => None,
            }
        };
        let silence = async {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            word = read => match word.and_then(|word| word.try_into().ok()).map(Word::from_le_bytes) {
                None => return true,
                Some(FOR_EVER) => end = None,
                Some(millis) => end = Some(Instant::now() + Duration::from_millis(millis)),
            },
            () = silence => return false,
        }
    }
}

/// Heals until the journal names nothing that can be healed.
async fn heal(directory: &Path, mechanisms: &Mechanisms) -> io::Result<ExitCode> {
    let give_up = Instant::now() + GIVE_UP_AFTER;
    let mut pause = PAUSE;
    loop {
        if journal_is_empty(directory)? {
            return Ok(ExitCode::SUCCESS);
        }
        let state = match State::open_now(directory).map_err(io::Error::other)? {
            Ok(state) => state,
            Err(_) => {
                // The agent, which is dying, or the next one, which heals as well.
                tokio::time::sleep(ASK_EVERY).await;
                continue;
            }
        };
        match replay(state, mechanisms).await {
            Ok(true) => return Ok(ExitCode::SUCCESS),
            Ok(false) => tracing::error!(event = "not healed", "will be tried again"),
            Err(error) => tracing::error!(event = "not healed", error, "will be tried again"),
        }
        if Instant::now() + pause > give_up {
            return Ok(ExitCode::from(6));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Does what an agent does first, and says whether all of it succeeded that can. What a process's end means is the next
/// agent's to tell.
async fn replay(state: State, mechanisms: &Mechanisms) -> Result<bool, String> {
    let state = Arc::new(state);
    let (events, _) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Handle::current();
    let adopting = Arc::clone(&state);
    let told = events.clone();
    let supervisor = tokio::task::spawn_blocking(move || Supervisor::adopt(adopting, told, runtime)).await;
    let supervisor = supervisor.map_err(|error| error.to_string())??;
    let guard = Arc::new(Guard::new(None, Path::new("")));
    let (leases, healed) =
        Leases::replay(Arc::clone(&state), supervisor, Arc::clone(mechanisms), events, guard).await?;
    tracing::warn!(event = "healed for an agent that is gone", ?healed);
    keep_healed(&state, &healed);
    Ok(leases.is_healed())
}

/// Closes what the agent was started with, its controller's pipes for one: others wait for their end.
fn close_what_was_inherited() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in open {
        // One of them was the directory itself, which is closed already.
        let _ = nix::unistd::close(number);
    }
}
