//! A node: its one connection, what kind of machine it is, and its agent.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::AsyncWriteExt;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::binary::{Binary, Machine, fitting};
use super::connect::{Connection, connect};
use super::error::{Failure, Step};
use super::exec::{Output, Rights, Running, Said, start};
use super::log::Log;
use super::resolve::Wishes;
use super::secret::Keyring;
use super::upload;
use crate::spec::SshHost;
use crate::transport::{AgentPipe, DISPOSABLE};

/// Commands at a time on one connection, the agent included. OpenSSH lets 10 be open (MaxSessions), and closes them a little later
/// than it says.
const COMMANDS_MAX: usize = 6;
/// How long looking at a node may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(30);
/// Bytes on their way between the agent's pipe and its channel.
const PIPE_LEN: usize = 64 << 10;

/// What is the same for all nodes.
pub(super) struct Common {
    pub(super) wishes: Wishes,
    pub(super) keyring: Keyring,
    /// What the test says of sudo.
    pub(super) sudo: Option<bool>,
    /// The directory of everything of ours on a node.
    pub(super) base: String,
    /// Where the agent's executable may be, in the order of preference.
    pub(super) directories: Vec<String>,
    /// Executables that can be an agent.
    pub(super) binaries: Vec<Binary>,
    pub(super) logs: Option<PathBuf>,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Facts {
    pub(super) machine: Machine,
    pub(super) root: bool,
    /// The address other nodes know it by.
    pub(super) address: IpAddr,
    /// Whether that is where SSH reached it.
    pub(super) is_where_ssh_goes: bool,
    /// Whether faults may be made on it.
    pub(super) marked: bool,
    /// By how much its clock is ahead of ours, in seconds; the way there and back is within it.
    pub(super) clock_ahead: Option<f64>,
    /// The environment variable `SSH_CONNECTION`.
    connection: String,
}

/// A connection to a node, with what is known of the node.
pub(super) struct Link {
    name: Arc<str>,
    connection: Connection,
    commands: Arc<Semaphore>,
    /// Set as soon as nobody is to use it any more: the other end learns of it later.
    given_up: AtomicBool,
    found_broken: AtomicBool,
}

impl Link {
    /// A place for one more command; `None` when the connection is closed.
    pub(super) async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.commands).acquire_owned().await.ok()
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_closed(&self) -> bool {
        self.given_up.load(Ordering::Acquire) || self.connection.handle.is_closed()
    }

    /// Takes note that the connection was broken before a command could be started on it.
    pub(super) async fn found_broken(&self) {
        self.found_broken.store(true, Ordering::Release);
        self.give_up().await;
    }

    /// Whether it was broken before the last command was started.
    fn never_started(&self) -> bool {
        self.found_broken.load(Ordering::Acquire)
    }

    pub(super) async fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        self.connection.close().await;
    }

    /// Runs a command to its end. Past its time the connection is given up, since nobody can tell what became of it.
    pub(super) async fn run(
        &self,
        keyring: &Keyring,
        (rights, step): (Rights, Step),
        argv: &[&str],
        input: impl tokio::io::AsyncRead + Unpin + Send,
        patience: Duration,
    ) -> Result<Output, Failure> {
        let running = start(self, keyring, rights, step, argv).await?;
        match timeout(patience, running.finish(input)).await {
            Ok(output) => Ok(output),
            Err(_) => {
                self.give_up().await;
                let what = format!("`{}` does not end within {} s", argv.join(" "), patience.as_secs());
                Err(Failure::new(step, what, "Is the node overloaded, or the way to it slow?"))
            }
        }
    }
}

/// A node that is up.
#[derive(Clone)]
pub(super) struct Up {
    pub(super) link: Arc<Link>,
    pub(super) facts: Facts,
    rights: Rights,
    /// Where the agent's executable is.
    agent: String,
}

/// A host of the cluster and the way to it.
pub(super) struct Node {
    pub(super) name: Arc<str>,
    pub(super) host: SshHost,
    pub(super) common: Arc<Common>,
    up: StdMutex<Option<Up>>,
    /// Whoever holds the lock may connect.
    turn: Mutex<()>,
}

impl Node {
    pub(super) fn new(host: SshHost, common: Arc<Common>) -> Self {
        Self { name: host.node().into(), host, common, up: StdMutex::default(), turn: Mutex::default() }
    }

    /// The node with its connection; one that broke is made again, and the executable looked after.
    pub(super) async fn up(&self) -> Result<Up, Failure> {
        let _turn = self.turn.lock().await;
        if let Some(up) = self.connected() {
            return Ok(up);
        }
        let up = self.connect().await?;
        *self.slot() = Some(up.clone());
        Ok(up)
    }

    /// The node if its connection is there; nobody waits for one.
    pub(super) fn connected(&self) -> Option<Up> {
        self.slot().as_ref().filter(|up| !up.link.is_closed()).cloned()
    }

    fn slot(&self) -> MutexGuard<'_, Option<Up>> {
        // What is in it is replaced as a whole.
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<Up, Failure> {
        let common = &self.common;
        let connection = connect(&self.host, &common.wishes, &common.keyring).await?;
        let commands = Arc::new(Semaphore::new(COMMANDS_MAX));
        let link = Arc::new(Link {
            name: Arc::clone(&self.name),
            connection,
            commands,
            given_up: AtomicBool::new(false),
            found_broken: AtomicBool::new(false),
        });
        let made = self.make_ready(&link).await;
        if made.is_err() {
            link.give_up().await;
        }
        made
    }

    async fn make_ready(&self, link: &Arc<Link>) -> Result<Up, Failure> {
        let common = &self.common;
        let facts = look(link, &common.keyring, self.host.known_address()).await?;
        let rights = match facts.root || common.sudo == Some(false) {
            true => Rights::Login,
            false => Rights::Sudo,
        };
        if let Some(ahead) = facts.clock_ahead {
            tracing::info!(event = "node reached", node = %self.name, address = %facts.address, clock_ahead_seconds = ahead);
        }
        let binary = fitting(&common.binaries, &facts.machine)?;
        let agent =
            upload::provide(link, &common.keyring, rights, &common.directories, binary, &facts.machine)
                .await?;
        Ok(Up { link: Arc::clone(link), facts, rights, agent })
    }

    /// Does something with the node. Where the connection turns out to be broken before anything was started, once more with
    /// another.
    pub(super) async fn with<T, F>(&self, act: impl Fn(Up) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let known = self.connected();
        let up = self.up().await?;
        let failure = match act(up.clone()).await {
            Err(failure) if known.is_some() && up.link.never_started() => failure,
            other => return other,
        };
        tracing::info!(event = "connection was broken", node = %self.name, what = %failure.what);
        act(self.up().await?).await
    }

    /// Starts an agent.
    pub(super) async fn agent(&self) -> Result<AgentPipe, Failure> {
        let running = self.with(|up| async move { self.start_agent(&up).await }).await?;
        Ok(pipe(running, Log::open(self.common.logs.as_deref(), &self.name)))
    }

    async fn start_agent(&self, up: &Up) -> Result<Running, Failure> {
        let common = &self.common;
        // What sudo takes out of the environment: where the controller is must not be cut off.
        let connection = format!("SSH_CONNECTION={}", up.facts.connection);
        let argv = ["env", connection.as_str(), up.agent.as_str(), "agent", "--state", common.base.as_str()];
        start(&up.link, &common.keyring, up.rights, Step::AgentStart, &argv).await
    }

    pub(super) async fn close(&self) {
        let _turn = self.turn.lock().await;
        let up = self.slot().take();
        if let Some(up) = up {
            up.link.give_up().await;
        }
    }
}

/// Makes a pipe of a running program: bytes go both ways, its complaints go to the log.
fn pipe(running: Running, mut log: Log) -> AgentPipe {
    let (stdin, mut to_program) = tokio::io::duplex(PIPE_LEN);
    let (mut from_program, stdout) = tokio::io::duplex(PIPE_LEN);
    let Running { input, mut says } = running;
    tokio::spawn(async move {
        let mut writer = input.make_writer();
        // A channel that is gone shows at the other end, too.
        let _ = tokio::io::copy(&mut to_program, &mut writer).await;
        let _ = input.eof().await;
    });
    tokio::spawn(async move {
        while let Some(said) = says.recv().await {
            match said {
                Said::Stdout(bytes) => {
                    if from_program.write_all(&bytes).await.is_err() {
                        // Nobody reads any more; the rest is read nevertheless, for the sake of the connection.
                        continue;
                    }
                }
                Said::Stderr(bytes) => log.write(&bytes),
                Said::Ended(Some(0)) => break,
                Said::Ended(Some(code)) => {
                    log.write(format!("the agent ended with code {code}\n").as_bytes());
                    break;
                }
                Said::Ended(None) => {
                    log.write(b"the agent was killed, or the connection broke\n");
                    break;
                }
            }
        }
    });
    AgentPipe { stdin: Box::new(stdin), stdout: Box::new(stdout) }
}

/// Asks the node about itself. For any `sh`; every program may be missing.
const QUESTIONS: &str = r#"
echo "kernel=$(uname -s)"
echo "machine=$(uname -m)"
echo "uid=$(id -u)"
libc=$(getconf GNU_LIBC_VERSION 2>/dev/null)
[ -n "$libc" ] || libc=$(ls /lib/ld-musl-* /lib/ld-linux* /lib64/ld-linux* 2>/dev/null | head -n 1)
echo "libc=$libc"
echo "connection=$SSH_CONNECTION"
[ -e MARKER ] && echo "marked=yes"
echo "route=$(ip -o route get 192.0.2.1 2>/dev/null)"
echo "addresses=$(hostname -I 2>/dev/null)"
echo "clock=$(date +%s.%N)"
exit 0
"#;

async fn look(link: &Link, keyring: &Keyring, address: Option<IpAddr>) -> Result<Facts, Failure> {
    let script = QUESTIONS.replace("MARKER", DISPOSABLE);
    let asked = now();
    let what = (Rights::Login, Step::Look);
    let output = link.run(keyring, what, &["/bin/sh", "-s"], script.as_bytes(), LOOK_PATIENCE).await?;
    let between = f64::midpoint(asked, now());
    understand(&output, address, between)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Reads the answers. `now` is the controller's time when they were given.
fn understand(output: &Output, address: Option<IpAddr>, now: f64) -> Result<Facts, Failure> {
    let answer = |key: &str| {
        let line = output.stdout.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().trim()
    };
    let wrong = |what: String, advice: &str| Err(Failure::new(Step::Look, what, advice));
    if answer("kernel") != "Linux" {
        let what = match answer("kernel") {
            "" => format!("it does not answer as a Unix would: {}", output.complaint()),
            other => format!("it runs {other}"),
        };
        return wrong(what, "Nodes have to run Linux");
    }
    let reached: Option<IpAddr> =
        answer("connection").split_whitespace().nth(2).and_then(|address| address.parse().ok()).map(plain);
    let Some(found) = address.or_else(|| found(reached, answer("route"), answer("addresses"))) else {
        return wrong(
            "it does not say by which address other nodes reach it".to_owned(),
            "Give it in the test file: { host: …, address: 10.0.0.7 }",
        );
    };
    Ok(Facts {
        machine: Machine {
            machine: answer("machine").to_owned(),
            libc: match answer("libc") {
                "" => "a C library that it does not tell".to_owned(),
                libc => libc.to_owned(),
            },
        },
        root: answer("uid") == "0",
        address: found,
        is_where_ssh_goes: reached == Some(found),
        marked: answer("marked") == "yes",
        clock_ahead: answer("clock")
            .parse::<f64>()
            .ok()
            .map(|clock| ((clock - now) * 1000.0).round() / 1000.0),
        connection: answer("connection").to_owned(),
    })
}

/// IPv4 as IPv4.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        v4 => v4,
    }
}

/// The address that SSH reached the node at, if other nodes can reach it there too; else that of the default route; else the
/// first it has.
fn found(reached: Option<IpAddr>, route: &str, addresses: &str) -> Option<IpAddr> {
    let usable = |address: &IpAddr| match address {
        IpAddr::V4(v4) => *v4 != Ipv4Addr::UNSPECIFIED && !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unspecified() && !v6.is_unicast_link_local(),
    };
    let after_src = route.split_whitespace().skip_while(|word| *word != "src").nth(1);
    let others = after_src.into_iter().chain(addresses.split_whitespace());
    reached.into_iter().chain(others.filter_map(|address| address.parse().ok())).find(usable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(answers: &str, address: Option<IpAddr>) -> Result<Facts, Failure> {
        let output = Output { code: Some(0), stdout: answers.to_owned(), stderr: String::new() };
        understand(&output, address, 1000.0)
    }

    #[test]
    fn a_node_tells_what_it_is() {
        let answers = "kernel=Linux\nmachine=aarch64\nuid=1000\nlibc=glibc 2.36\nconnection=10.0.0.9 4000 ::ffff:10.0.0.3 22\n\
                       marked=yes\nclock=1300.5\n";
        let facts = facts(answers, None).unwrap();
        assert_eq!(facts.address.to_string(), "10.0.0.3");
        assert!(facts.is_where_ssh_goes && facts.marked && !facts.root);
        assert_eq!(facts.clock_ahead, Some(300.5));
        assert_eq!(facts.machine.machine, "aarch64");
    }

    #[test]
    fn its_address_is_one_that_others_can_use() {
        let local = "kernel=Linux\nconnection=127.0.0.1 4000 127.0.0.1 22\n";
        assert_eq!(facts(local, None).unwrap_err().step, Step::Look);
        let route = format!("{local}route=192.0.2.1 via 10.0.0.1 dev eth0 src 10.0.0.7 uid 0 \\    cache\n");
        let routed = facts(&route, None).unwrap();
        assert_eq!((routed.address.to_string().as_str(), routed.is_where_ssh_goes), ("10.0.0.7", false));
        let only = facts(&format!("{local}addresses=fe80::1 fd00::7\n"), None).unwrap();
        assert_eq!(only.address.to_string(), "fd00::7");
        let given = facts(local, "10.9.9.9".parse().ok()).unwrap();
        assert_eq!(given.address.to_string(), "10.9.9.9");
    }

    #[test]
    fn another_system_is_named() {
        assert!(facts("kernel=FreeBSD\n", None).unwrap_err().what.contains("FreeBSD"));
        assert!(facts("% Unknown command\n", None).unwrap_err().what.contains("does not answer"));
    }
}
