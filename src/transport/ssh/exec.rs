//! Commands on a node.
//!
//! What runs is always `/bin/sh -c … MARK program arguments`: it prints a mark on a line of its own and becomes the program. So
//! whatever a login shell's start files print comes before the mark, and is skipped; and whatever shell that is only has to
//! split words. To become root the same goes through `sudo`, inside of which the mark says that it let us.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::Duration;

use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelWriteHalf, Error};
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout_at};

use super::error::{Failure, Step, shown};
use super::node::Link;
use super::secret::{Keyring, Purpose, SUDO_VARIABLE};

/// How long a server may take to open a channel and start a shell in it.
const OPEN_PATIENCE: Duration = Duration::from_secs(20);
/// The pause before a server that refused a session is asked again.
const REFUSED_PAUSE: Duration = Duration::from_millis(25);
/// How long start files and `sudo` may take before the program runs.
const MARK_PATIENCE: Duration = Duration::from_secs(30);
/// A login that prints more than this before the program runs is taken for one that never will.
const NOISE_LEN_MAX: usize = 1 << 20;
/// What is kept of each of a command's outputs.
const OUTPUT_LEN_MAX: usize = 1 << 20;
/// Messages of a channel that wait to be read.
const QUEUE_LEN: usize = 16;
/// The standard error of a channel (RFC 4254, 5.2).
const STDERR: u32 = 1;

/// How a command gets its rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    /// Those of the login.
    Login,
    /// Root's, through `sudo`.
    Sudo,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(super) struct Output {
    /// Absent when a signal ended it, or nobody knows.
    pub(super) code: Option<u32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Output {
    /// What it complains about, else how it ended.
    pub(super) fn complaint(&self) -> String {
        match (shown(&self.stderr), self.code) {
            (said, _) if !said.is_empty() => said,
            (_, Some(code)) => format!("it ended with code {code}"),
            (_, None) => "it was killed, or the connection broke".to_owned(),
        }
    }
}

/// What a running program writes.
#[derive(Debug)]
pub(super) enum Said {
    Stdout(Bytes),
    Stderr(Bytes),
    /// It ended, with this code.
    Ended(Option<u32>),
}

/// A program that runs.
pub(super) struct Running {
    /// What it reads.
    pub(super) input: ChannelWriteHalf<Msg>,
    /// What it says; the end of the channel comes after the last.
    pub(super) says: mpsc::Receiver<Said>,
}

/// A program and its arguments as a login shell would take them: words, and nothing that any shell would act on.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A login's PATH often lacks the directories where administration has its programs. The mark is `$0`.
const LAUNCH: &str =
    r#"PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"; export PATH; printf "\n%s\n" "$0"; exec "$@""#;

fn command_line(rights: Rights, prompt: &str, mark: &str, argv: &[&str]) -> String {
    let sudo = match rights {
        Rights::Login => Vec::new(),
        Rights::Sudo => vec!["sudo", "-S", "-p", prompt, "--"],
    };
    let launch = ["/bin/sh", "-c", LAUNCH, mark];
    let words = sudo.iter().chain(&launch).chain(argv);
    words.map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// Something that no start file prints.
fn fresh(what: &str) -> String {
    format!("schism-{what}-{:016x}", RandomState::new().hash_one(what))
}

/// Starts a program and waits until it runs.
pub(super) async fn start(
    link: &Link,
    keyring: &Keyring,
    rights: Rights,
    step: Step,
    argv: &[&str],
) -> Result<Running, Failure> {
    let (mark, prompt) = (fresh("mark"), fresh("password"));
    let command = command_line(rights, &prompt, &mark, argv);
    let (channel, slot) = open(link, &command).await.map_err(|why| {
        let advice =
            "Does `ssh` with a command work there, and does its server allow several sessions (MaxSessions)?";
        Failure::new(step, format!("a command cannot be started: {why}"), advice)
    })?;
    let (reader, input) = channel.split();
    let (sender, says) = mpsc::channel(QUEUE_LEN);
    tokio::spawn(pump(reader, sender, slot));
    let mut running = Running { input, says };
    running.launched(link, keyring, rights, step, &mark, &prompt).await?;
    Ok(running)
}

/// Opens a channel and starts the command in it. A server that has too many sessions open is asked again: it says so
/// before it starts anything.
async fn open(link: &Link, command: &str) -> Result<(Channel<Msg>, OwnedSemaphorePermit), String> {
    let deadline = Instant::now() + OPEN_PATIENCE;
    let slot = link.slot().await.ok_or("the connection is closed")?;
    loop {
        match timeout_at(deadline, link.connection().handle.channel_open_session()).await {
            Ok(Ok(channel)) => {
                channel.exec(true, command).await.map_err(|error| error.to_string())?;
                return Ok((channel, slot));
            }
            Ok(Err(Error::ChannelOpenFailure(_))) if Instant::now() + REFUSED_PAUSE < deadline => {
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
            Ok(Err(error @ Error::ChannelOpenFailure(_))) => return Err(error.to_string()),
            Ok(Err(error)) => {
                link.found_broken().await;
                return Err(error.to_string());
            }
            Err(_) => {
                link.give_up().await;
                return Err(format!("no answer within {} s", OPEN_PATIENCE.as_secs()));
            }
        }
    }
}

/// Passes on what comes from the channel, until it ends.
async fn pump(mut reader: russh::ChannelReadHalf, sender: mpsc::Sender<Said>, _slot: OwnedSemaphorePermit) {
    let mut code = None;
    // Everything is read to its end, also where nobody listens: one full channel would hold up the connection.
    while let Some(message) = reader.wait().await {
        let said = match message {
            ChannelMsg::Data { data } => Said::Stdout(data),
            ChannelMsg::ExtendedData { data, ext: STDERR } => Said::Stderr(data),
            ChannelMsg::ExitStatus { exit_status } => {
                code = Some(exit_status);
                continue;
            }
            ChannelMsg::Failure => Said::Stderr(Bytes::from_static(b"the server refuses to run commands")),
            _ => continue,
        };
        let _ = sender.send(said).await;
    }
    let _ = sender.send(Said::Ended(code)).await;
}

impl Running {
    /// Skips what comes before the mark, and answers `sudo`.
    async fn launched(
        &mut self,
        link: &Link,
        keyring: &Keyring,
        rights: Rights,
        step: Step,
        mark: &str,
        prompt: &str,
    ) -> Result<(), Failure> {
        let mut deadline = Instant::now() + MARK_PATIENCE;
        let mark = format!("\n{mark}\n");
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut answered = false;
        loop {
            let said = match timeout_at(deadline, self.says.recv()).await {
                Ok(Some(said)) => said,
                Ok(None) => Said::Ended(None),
                Err(_) => {
                    let what = format!(
                        "nothing runs within {} s{}",
                        MARK_PATIENCE.as_secs(),
                        so_far(&stdout, &stderr)
                    );
                    return Err(Failure::new(
                        step,
                        what,
                        "Do the login shell's start files wait for something?",
                    ));
                }
            };
            match said {
                Said::Stdout(bytes) => {
                    let from = stdout.len().saturating_sub(mark.len());
                    stdout.extend_from_slice(&bytes);
                    if let Some(at) = find(&stdout[from..], mark.as_bytes()) {
                        let rest = Bytes::copy_from_slice(&stdout[from + at + mark.len()..]);
                        self.unread(rest);
                        return Ok(());
                    }
                }
                Said::Stderr(bytes) => {
                    stderr.extend_from_slice(&bytes);
                    if rights == Rights::Sudo && find(&stderr, prompt.as_bytes()).is_some() {
                        stderr.clear();
                        if answered {
                            return Err(wrong_password());
                        }
                        let login = format!("{}@{}", link.connection().user, link.name());
                        let Some(password) = keyring.get(Purpose::Sudo(login)).await else {
                            return Err(no_password(&link.connection().user));
                        };
                        let mut line = zeroize::Zeroizing::new(password.reveal().as_bytes().to_vec());
                        line.push(b'\n');
                        self.write(&line).await.map_err(|error| {
                            Failure::new(
                                Step::Sudo,
                                format!("its question cannot be answered: {error}"),
                                "Try again",
                            )
                        })?;
                        answered = true;
                        // The person may have taken their time.
                        deadline = Instant::now() + MARK_PATIENCE;
                    }
                }
                Said::Ended(code) => {
                    return Err(ended_early(link, rights, step, code, &stdout, &stderr, answered));
                }
            }
            if stdout.len() + stderr.len() > NOISE_LEN_MAX {
                return Err(Failure::new(
                    step,
                    format!(
                        "the login prints and prints{}",
                        so_far(&stdout[..NOISE_LEN_MAX.min(stdout.len())], b"")
                    ),
                    "Look at the login shell's start files",
                ));
            }
        }
    }

    /// Puts back what came after the mark in the same message.
    fn unread(&mut self, rest: Bytes) {
        if rest.is_empty() {
            return;
        }
        let (sender, says) = mpsc::channel(QUEUE_LEN);
        let mut later = std::mem::replace(&mut self.says, says);
        tokio::spawn(async move {
            let mut next = Some(Said::Stdout(rest));
            while let Some(said) = next {
                // The channel is read to its end, whoever listens.
                let _ = sender.send(said).await;
                next = later.recv().await;
            }
        });
    }

    pub(super) async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.input.make_writer().write_all(bytes).await
    }

    /// Gives it something to read, and waits for its end.
    pub(super) async fn finish(mut self, mut input: impl tokio::io::AsyncRead + Unpin + Send) -> Output {
        let mut output = Output { code: None, stdout: String::new(), stderr: String::new() };
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let fed = async {
            let mut writer = self.input.make_writer();
            // It may end without having read everything; how it ended says more.
            let _ = tokio::io::copy(&mut input, &mut writer).await;
            let _ = self.input.eof().await;
            std::future::pending::<()>().await;
        };
        let heard = async {
            while let Some(said) = self.says.recv().await {
                let (kept, bytes) = match said {
                    Said::Stdout(bytes) => (&mut stdout, bytes),
                    Said::Stderr(bytes) => (&mut stderr, bytes),
                    Said::Ended(code) => {
                        output.code = code;
                        break;
                    }
                };
                let room = OUTPUT_LEN_MAX.saturating_sub(kept.len());
                kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
        };
        tokio::select! {
            () = fed => {}
            () = heard => {}
        }
        output.stdout = String::from_utf8_lossy(&stdout).into_owned();
        output.stderr = String::from_utf8_lossy(&stderr).into_owned();
        output
    }
}

fn so_far(stdout: &[u8], stderr: &[u8]) -> String {
    let said = shown(&String::from_utf8_lossy(&[stdout, b" ", stderr].concat()));
    if said.is_empty() { String::new() } else { format!("; so far it says: {said}") }
}

fn ended_early(
    link: &Link,
    rights: Rights,
    step: Step,
    code: Option<u32>,
    stdout: &[u8],
    stderr: &[u8],
    answered: bool,
) -> Failure {
    let said = shown(&String::from_utf8_lossy(&[stdout, b" ", stderr].concat()));
    let how = match code {
        Some(code) => format!("ended with code {code}"),
        None => "ended with the connection".to_owned(),
    };
    let said = if said.is_empty() { how.clone() } else { said };
    if rights == Rights::Login {
        let advice = "Does `ssh` with a command work there, and is there a /bin/sh?";
        return Failure::new(step, format!("the login {how} before anything ran: {said}"), advice);
    }
    if answered {
        return wrong_password();
    }
    if code == Some(127) {
        let advice = "Install sudo there, or log in as root (`user: root`)";
        return Failure::new(Step::Sudo, format!("there is no sudo: {said}"), advice);
    }
    let user = &link.connection().user;
    let advice = format!(
        "Let {user} become root: `{user} ALL=(root) NOPASSWD: ALL` in a file of /etc/sudoers.d, or log in as root"
    );
    Failure::new(Step::Sudo, format!("{user} may not become root: {said}"), advice)
}

fn no_password(user: &str) -> Failure {
    let what = format!("sudo asks for the password of {user}, and there is none");
    let advice = format!(
        "Give it in {SUDO_VARIABLE}, or let {user} become root without one: `{user} ALL=(root) NOPASSWD: ALL` in a file of /etc/sudoers.d"
    );
    Failure::new(Step::Sudo, what, advice)
}

fn wrong_password() -> Failure {
    Failure::new(Step::Sudo, "sudo does not take the password", format!("Correct {SUDO_VARIABLE}"))
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_of_every_kind_get_words() {
        assert_eq!(quoted("/usr/bin/x-1"), "/usr/bin/x-1");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        let line = command_line(Rights::Sudo, "p", "m", &["a b", ""]);
        assert!(line.starts_with("sudo -S -p p -- /bin/sh -c '") && line.ends_with(" m 'a b' ''"), "{line}");
        // What csh or fish would act on even between single quotes.
        assert!(
            !LAUNCH.contains(['\'', '!']) && !LAUNCH.contains(r"\\") && !LAUNCH.contains('\u{a}'),
            "{LAUNCH}"
        );
    }

    #[test]
    fn marks_differ() {
        assert_ne!(fresh("mark"), fresh("mark"));
    }
}
