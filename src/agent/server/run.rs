//! Commands that run to their end, bounded in time and output.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::children::{self, Fate, Started};

use super::proc::kill_tree;
use crate::agent::protocol::{Command, OUTPUT_LEN_MAX, Response};

/// How long killing may take.
pub const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// How much is read from a pipe at once.
const READ_LEN: usize = 64 << 10;

/// The last bytes of a stream.
struct Tail {
    bytes: Vec<u8>,
    len_max: usize,
    truncated: bool,
}

impl Tail {
    fn new(len_max: usize) -> Self {
        Self { bytes: Vec::new(), len_max, truncated: false }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // Moving the bytes costs as much as keeping them, so it is done once for every `len_max` of them.
        if self.bytes.len() > self.len_max.saturating_mul(2).max(READ_LEN) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let excess = self.bytes.len().saturating_sub(self.len_max);
        if excess > 0 {
            self.bytes.drain(..excess);
            self.truncated = true;
        }
    }

    fn finish(mut self) -> (String, bool) {
        self.cut();
        if self.truncated {
            // Not in the middle of a character.
            let middle = self.bytes.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count();
            self.bytes.drain(..middle);
        }
        (String::from_utf8_lossy(&self.bytes).into_owned(), self.truncated)
    }
}

/// Runs `command`. It ends when its own process ends: what it leaves in the background lives on, and should have its output
/// redirected, since nobody reads it any more. At the deadline (or when `stopping` is set) the command is killed with
/// everything it started.
///
/// # Errors
/// It could not be started, or not be killed: a sentence.
pub async fn run(
    command: &Command,
    stdin: Option<String>,
    deadline: Duration,
    output_max: usize,
    mark: &str,
    stopping: &CancellationToken,
) -> Result<Response, String> {
    let begin = Instant::now();
    let mut prepared = children::prepare(command, mark, Fate::Shared)?;
    prepared.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    prepared.stdout(Stdio::piped()).stderr(Stdio::piped());
    let Started { mut child, identity, claim } = children::start(prepared)?;
    let mut out = child.stdout.take();
    let mut err = child.stderr.take();
    let input = child.stdin.take();
    let feed = async move {
        if let (Some(mut pipe), Some(text)) = (input, stdin) {
            // A command need not read what it is given.
            let _ = pipe.write_all(text.as_bytes()).await;
        }
    };
    tokio::pin!(feed);
    let mut fed = false;
    let output_max = output_max.min(OUTPUT_LEN_MAX);
    let (mut out_tail, mut err_tail) = (Tail::new(output_max), Tail::new(output_max));
    let (mut out_buffer, mut err_buffer) = (vec![0; READ_LEN], vec![0; READ_LEN]);
    let expired = tokio::time::sleep(deadline);
    tokio::pin!(expired);

    let ended: Option<io::Result<ExitStatus>> = loop {
        tokio::select! {
            status = child.wait() => break Some(status),
            () = &mut expired => break None,
            () = stopping.cancelled() => break None,
            () = &mut feed, if !fed => fed = true,
            more = read(&mut out, &mut out_buffer) => keep(more, &out_buffer, &mut out_tail, &mut out),
            more = read(&mut err, &mut err_buffer) => keep(more, &err_buffer, &mut err_tail, &mut err),
        }
    };
    let (status, timed_out) = match ended {
        Some(status) => (status, false),
        None => {
            let mark = mark.to_owned();
            let killed =
                tokio::task::spawn_blocking(move || kill_tree(Some(identity), &mark, KILL_PATIENCE)).await;
            let status = match tokio::time::timeout(KILL_PATIENCE, child.wait()).await {
                Ok(status) => status,
                Err(_) => Err(io::Error::other("it was killed, but did not end")),
            };
            killed.map_err(|error| error.to_string()).and_then(|killed| {
                killed.map_err(|error| {
                    format!("after its deadline of {:.1} s: {error}", deadline.as_secs_f64())
                })
            })?;
            (status, true)
        }
    };
    drop(claim);
    let status = status.map_err(|error| format!("waiting for `{}`: {error}", command.argv.join(" ")))?;
    // Whatever it wrote before it ended is in the pipes now; what others hold them open for is not waited for.
    if let Some(pipe) = &out {
        drain(pipe, &mut out_buffer, &mut out_tail);
    }
    if let Some(pipe) = &err {
        drain(pipe, &mut err_buffer, &mut err_tail);
    }
    let (stdout, out_truncated) = out_tail.finish();
    let (stderr, err_truncated) = err_tail.finish();
    Ok(Response::Ran {
        code: status.code(),
        signal: status.signal(),
        timed_out,
        stdout,
        stderr,
        truncated: out_truncated || err_truncated,
        millis: u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// The next bytes of a pipe that is still open; never ready otherwise.
async fn read(pipe: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> io::Result<usize> {
    match pipe {
        Some(pipe) => pipe.read(buffer).await,
        None => std::future::pending().await,
    }
}

fn keep<P>(more: io::Result<usize>, buffer: &[u8], tail: &mut Tail, pipe: &mut Option<P>) {
    match more {
        Ok(count) if count > 0 => tail.push(&buffer[..count]),
        _ => *pipe = None,
    }
}

/// Reads what is in the pipe now, and no more than a pipe can hold, in case somebody keeps on writing.
fn drain(pipe: &impl AsFd, buffer: &mut [u8], tail: &mut Tail) {
    const PIPE_LEN_MAX: usize = 1 << 20;
    let mut len = 0;
    while len < PIPE_LEN_MAX {
        // Our end does not block: an empty pipe is an error like any other, the end of reading.
        match nix::unistd::read(pipe, buffer) {
            Ok(count) if count > 0 => {
                tail.push(&buffer[..count]);
                len += count;
            }
            _ => break,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(len_max: usize, pieces: &[&str]) -> (String, bool) {
        let mut tail = Tail::new(len_max);
        for piece in pieces {
            tail.push(piece.as_bytes());
        }
        tail.finish()
    }

    #[test]
    fn keeps_the_end() {
        assert_eq!(tail(3, &["ab", "c"]), ("abc".to_owned(), false));
        assert_eq!(tail(3, &["ab", "cd"]), ("bcd".to_owned(), true));
        assert_eq!(tail(0, &["x"]), (String::new(), true));
        assert_eq!(tail(0, &[]), (String::new(), false));
        // `é` has two bytes: a cut in its middle drops it.
        assert_eq!(tail(2, &["aéb"]), ("b".to_owned(), true));
        let long = "x".repeat(READ_LEN);
        assert_eq!(tail(2, &[&long, &long, "yz"]), ("yz".to_owned(), true));
    }
}
