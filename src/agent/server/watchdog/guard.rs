//! The agent's end: starting a watchdog, keeping it informed, letting it go.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{FOR_EVER, READY, WATCHDOG_COMMAND, Word};
use crate::agent::server::proc::MARK;

/// How long a watchdog may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// How long one that has nothing to do may take to go.
const GONE_WITHIN: Duration = Duration::from_secs(2);
/// A longer log begins anew.
const LOG_LEN_MAX: u64 = 256 << 10;

/// The watchdog of one agent.
pub struct Guard {
    /// What is started; nothing when absent.
    program: Option<PathBuf>,
    state: PathBuf,
    running: Mutex<Option<Running>>,
}

struct Running {
    child: Child,
    /// Never blocks: a watchdog that is slow to read knows enough.
    pipe: ChildStdin,
}

impl Guard {
    /// A guard that starts `program` as its watchdog once it is needed.
    pub fn new(program: Option<PathBuf>, state: &Path) -> Self {
        Self { program, state: state.to_owned(), running: Mutex::new(None) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that a watchdog lives and has heard that it should wait for this long, for ever if `None`. Blocks. How long
    /// is asked when nobody else can say anything, so that the last word is the latest.
    ///
    /// # Errors
    /// There is none, so no fault may be made: a sentence.
    pub fn ensure(&self, wait: impl Fn() -> Option<Duration>) -> Result<(), String> {
        self.say(self.lock(), wait)
    }

    fn say(
        &self,
        mut running: MutexGuard<'_, Option<Running>>,
        wait: impl Fn() -> Option<Duration>,
    ) -> Result<(), String> {
        let Some(program) = &self.program else { return Ok(()) };
        if let Some(living) = running.as_mut()
            && living.say(wait())
        {
            return Ok(());
        }
        if let Some(mut dead) = running.take() {
            tracing::warn!(event = "watchdog lost", pid = dead.child.id());
            // Whoever collects orphans here may have collected it.
            let _ = dead.child.try_wait();
        }
        let mut fresh = Running::start(program, &self.state).map_err(|error| {
            format!(
                "the watchdog, which heals this node if the agent dies, could not be started ({error}); its log is {}",
                log_path(&self.state).display()
            )
        })?;
        if !fresh.say(wait()) {
            return Err("the watchdog, which heals this node if the agent dies, ended at once".to_owned());
        }
        tracing::info!(event = "watchdog started", pid = fresh.child.id());
        *running = Some(fresh);
        Ok(())
    }

    /// Tells the watchdog how long to wait, if there is one; starts another one in place of one that died while there are
    /// faults. Blocks.
    ///
    /// # Errors
    /// There is none any more: a sentence.
    pub fn feed(&self, wait: impl Fn() -> Option<Duration>) -> Result<(), String> {
        let mut running = self.lock();
        let Some(living) = running.as_mut() else { return Ok(()) };
        let word = wait();
        if living.say(word) || word.is_none() { Ok(()) } else { self.say(running, wait) }
    }

    /// Lets the watchdog go. It heals what is left once the agent has given up the state directory. `clean` says that nothing
    /// is, and then this waits for its end, for a bounded time.
    pub fn dismiss(&self, clean: bool) {
        let Some(Running { mut child, pipe }) = self.lock().take() else { return };
        drop(pipe);
        let end = Instant::now() + GONE_WITHIN;
        while clean && matches!(child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Running {
    fn start(program: &Path, state: &Path) -> io::Result<Self> {
        let mut command = Command::new(program);
        command
            .args([WATCHDOG_COMMAND, "--agent", &std::process::id().to_string(), "--state"])
            .arg(state)
            .env_remove(MARK)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Not the agent's: it would keep the controller's pipe open.
            .stderr(log(state)?);
        // SAFETY: between fork and exec only async-signal-safe calls are allowed: setsid is, and nothing allocates.
        unsafe {
            command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(io::Error::from));
        }
        let mut child = command.spawn()?;
        let (Some(pipe), Some(mut answer)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("it has no pipe"));
        };
        let ready = await_ready(&mut answer)
            .and_then(|()| fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(io::Error::from));
        if let Err(error) = ready {
            // It has not said that it is there, so nobody may count on it.
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        Ok(Self { child, pipe })
    }

    /// Whether the watchdog lives and will read this.
    fn say(&mut self, wait: Option<Duration>) -> bool {
        let word: Word = wait
            .map_or(FOR_EVER, |wait| Word::try_from(wait.as_millis()).unwrap_or(FOR_EVER).min(FOR_EVER - 1));
        match self.pipe.write_all(&word.to_le_bytes()) {
            Ok(()) => true,
            // Its pipe is full: it lives, and has been told often.
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

/// Waits for the word that the watchdog is ready.
fn await_ready(answer: &mut (impl Read + AsFd)) -> io::Result<()> {
    let patience = PollTimeout::try_from(READY_WITHIN).map_err(io::Error::other)?;
    if poll(&mut [PollFd::new(answer.as_fd(), PollFlags::POLLIN)], patience)? == 0 {
        return Err(io::Error::other(format!("it was not ready within {} s", READY_WITHIN.as_secs())));
    }
    let mut said = [0];
    match answer.read(&mut said)? {
        1 if said == [READY] => Ok(()),
        _ => Err(io::Error::other("it ended before it was ready")),
    }
}

fn log_path(state: &Path) -> PathBuf {
    state.join("watchdog.log")
}

fn log(state: &Path) -> io::Result<std::fs::File> {
    let path = log_path(state);
    let long = std::fs::metadata(&path).is_ok_and(|file| file.len() > LOG_LEN_MAX);
    if long {
        std::fs::remove_file(&path)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}
