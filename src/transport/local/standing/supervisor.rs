//! The process that holds a standing cluster: its controller, for as long as nobody takes it down.

use std::fs::File;
use std::future::pending;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::unistd::{dup2_stdout, setsid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use super::super::control::Channel;
use super::super::{LocalCluster, LocalOptions, Transport, TransportError, failed, up};
use super::control::{self, Listener, Question};
use super::directory::{Directory, Holder, LOGS, SSH_CONFIG, boot};
use super::down::{self, MARK};
use super::sshd::{Order, SSHD_COMMAND};
use super::{Report, Standing, identity};

/// The hidden subcommand that runs [`supervisor_main`].
pub const SUPERVISOR_COMMAND: &str = "nodes-supervisor";
const HOLD: &str = "hold the directory";
/// Where `sshd` answers.
const SSH_PORT: u16 = 22;
const SSHD_LOG: &str = "sshd.log";
/// A node's `sshd` answers within milliseconds; one that has not after this long never will.
const SSHD_WITHIN: Duration = Duration::from_secs(20);
/// Between two looks whether `sshd` answers.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Before an `sshd` that ended is started again.
const RESTART_AFTER: Duration = Duration::from_millis(100);

/// `schism nodes-supervisor`: brings a standing cluster up, says so on stdout, and holds it until it is told to let go.
/// `made` says that the directory was made for it.
pub fn supervisor_main(directory: &Path, nodes: usize, made: bool) -> ExitCode {
    let mut said = None;
    let result = detach().map_err(failed("detach from the terminal")).and_then(|reporter| {
        let reporter = said.insert(reporter);
        hold(directory, nodes, made, reporter)
    });
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("{error}");
    if let Some(reporter) = &mut said {
        // Where nobody listens any more, the log has it.
        let _ = reporter.say(&Err((error.step, error.reason)));
    }
    ExitCode::FAILURE
}

/// Says once what became of the cluster.
struct Reporter(Option<File>);

impl Reporter {
    /// Says it, unless something was said before.
    fn say(&mut self, report: &Report) -> io::Result<()> {
        let Some(mut to) = self.0.take() else { return Ok(()) };
        to.write_all(&serde_json::to_vec(report)?)
    }
}

/// Leaves the session of whoever started this process; what stdout was is for one report only.
fn detach() -> io::Result<Reporter> {
    // Refused only to the leader of a group, which is out of the terminal's reach already.
    let _ = setsid();
    std::env::set_current_dir("/")?;
    let stdout = io::stdout().as_fd().try_clone_to_owned()?;
    dup2_stdout(File::options().write(true).open("/dev/null")?)?;
    Ok(Reporter(Some(File::from(stdout))))
}

/// Holds the directory while there is a cluster, and leaves nothing in it.
fn hold(path: &Path, nodes: usize, made: bool, reporter: &mut Reporter) -> Result<(), TransportError> {
    let directory = Directory::open(path)?;
    let Some(held) = directory.hold().map_err(failed(HOLD))? else {
        return Err(TransportError {
            step: HOLD.to_owned(),
            reason: format!(
                "local nodes are up in {0} already; take them down with `schism nodes down --dir {0}`, or choose another \
                 directory with --dir",
                directory.path().display()
            ),
        });
    };
    let before = Holder::read(&held).map_err(failed(HOLD))?;
    let holder = Holder {
        pid: std::process::id().cast_signed(),
        boot: boot().map_err(failed(HOLD))?,
        mark: std::env::var(MARK).unwrap_or_default(),
        made: made || before.as_ref().is_some_and(|before| before.made),
    };
    holder.write(&held).map_err(failed(HOLD))?;
    if let Some(before) = &before {
        down::wait_for_processes(&before.mark)?;
    }
    directory.clear().map_err(failed(HOLD))?;
    let found = before.map(|before| before.gone().to_owned());
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(failed(HOLD))?;
    let stood = runtime.block_on(stand(&directory, nodes, found, reporter));
    runtime.shutdown_background();
    directory.remove(held, holder.made).map_err(failed("clean up the directory"))?;
    // After the last trace is gone, so that whoever asked finds none.
    if let Some(asker) = stood? {
        // One that does not wait for the answer does not need it.
        let _ = control::answer(&asker, Ok(Vec::new()));
    }
    Ok(())
}

/// Brings the cluster up and down again. Returns who asked for its end, if somebody did.
async fn stand(
    directory: &Directory,
    nodes: usize,
    found: Option<String>,
    reporter: &mut Reporter,
) -> Result<Option<Channel>, TransportError> {
    const SIGNALS: &str = "listen to signals";
    // From here on a signal ends the cluster in good order.
    let mut terminate = signal(SignalKind::terminate()).map_err(failed(SIGNALS))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed(SIGNALS))?;
    let names: Vec<String> = (1..=nodes).map(|number| format!("n{number}")).collect();
    let orders = identity::make(directory, &names)?;
    let mut options = LocalOptions::new(nodes);
    options.agent_log_dir = Some(directory.file(LOGS));
    let cluster = Arc::new(up(options).await?);
    let (ends, mut asked_to_end) = mpsc::channel(1);
    let begun = begin(directory, &cluster, orders, ends).await;
    let standing = Standing { nodes: names, config: directory.file(SSH_CONFIG), found };
    let asker = match begun {
        // Whoever wanted it has gone before it was up: then nobody wants it.
        Ok(()) if reporter.say(&Ok(standing)).is_err() => Ok(None),
        Ok(()) => Ok(tokio::select! {
            asker = asked_to_end.recv() => asker,
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
            why = cluster.died() => {
                eprintln!("{why}");
                None
            }
        }),
        Err(error) => Err(error),
    };
    cluster.close().await?;
    asker
}

/// Starts `sshd` on every node, waits until each answers, and then listens to commands.
async fn begin(
    directory: &Directory,
    cluster: &Arc<LocalCluster>,
    orders: Vec<Order>,
    ends: mpsc::Sender<Channel>,
) -> Result<(), TransportError> {
    const LISTEN: &str = "listen to commands";
    for (node, order) in orders.into_iter().enumerate() {
        tokio::spawn(keep_sshd(Arc::clone(cluster), node, order));
    }
    for node in 0..cluster.nodes().len() {
        answers(cluster, node).await.map_err(|reason| {
            let log = directory.file(LOGS).join(&*cluster.nodes()[node].name).join(SSHD_LOG);
            let said = std::fs::read_to_string(log).unwrap_or_default();
            TransportError {
                step: format!("start sshd on {}", cluster.nodes()[node].name),
                reason: format!("{reason}. It said: {}", said.trim_end()),
            }
        })?;
    }
    let listener = Listener::bind(directory).map_err(failed(LISTEN))?;
    let (cluster, runtime) = (Arc::clone(cluster), Handle::current());
    let listen = move || {
        loop {
            match listener.accept() {
                Ok(channel) => {
                    let (cluster, runtime, ends) = (Arc::clone(&cluster), runtime.clone(), ends.clone());
                    // A question may take as long as a node's boot, and the next one must not wait for it.
                    let serve = move || serve(channel, &cluster, &runtime, &ends);
                    if let Err(error) = thread::Builder::new().spawn(serve) {
                        eprintln!("cannot answer a command: {error}");
                    }
                }
                Err(error) => {
                    eprintln!("cannot listen to commands any more: {error}");
                    return;
                }
            }
        }
    };
    thread::Builder::new().spawn(listen).map(drop).map_err(failed(LISTEN))
}

/// Answers one command.
fn serve(channel: Channel, cluster: &LocalCluster, runtime: &Handle, ends: &mpsc::Sender<Channel>) {
    let question = match channel.receive::<Question>() {
        Ok(Some((question, _))) => question,
        // It ended before it asked, or it is of another version.
        Ok(None) => return,
        Err(error) => {
            let _ = control::answer(&channel, Err(format!("cannot understand the question: {error}")));
            return;
        }
    };
    let result = match question {
        Question::Down => {
            // Answered when it is down. Where somebody has asked already, the end of this process is the answer.
            let _ = ends.blocking_send(channel);
            return;
        }
        Question::Connect { node, port } => runtime.block_on(connect(cluster, &node, port)),
        Question::Reboot { node } => runtime.block_on(reboot(cluster, &node)).map(|()| Vec::new()),
    };
    if let Err(error) = control::answer(&channel, result) {
        eprintln!("cannot answer a command: {error}");
    }
}

async fn connect(cluster: &LocalCluster, node: &str, port: u16) -> Result<Vec<OwnedFd>, String> {
    let connect = async {
        let stream = cluster.dialer().dial(node, port).await?.into_std()?;
        stream.set_nonblocking(false)?;
        Ok(vec![OwnedFd::from(stream)])
    };
    connect.await.map_err(|error: io::Error| error.to_string())
}

async fn reboot(cluster: &LocalCluster, name: &str) -> Result<(), String> {
    let node = cluster.nodes().iter().position(|node| &*node.name == name);
    let node = node.ok_or_else(|| format!("the cluster has no node {name:?}"))?;
    cluster.power_cycle(node).await.map_err(|error| error.to_string())?;
    answers(cluster, node).await
}

/// Keeps an `sshd` running on a node, also after the node lost its power, until this process ends.
async fn keep_sshd(cluster: Arc<LocalCluster>, node: usize, order: Order) {
    let Ok(order) = serde_json::to_vec(&order) else { return pending().await };
    loop {
        if let Err(error) = run_sshd(&cluster, node, &order).await {
            eprintln!("sshd on n{}: {error}", node + 1);
        }
        sleep(RESTART_AFTER).await;
    }
}

/// Starts `sshd` and returns when it has ended.
async fn run_sshd(cluster: &LocalCluster, node: usize, order: &[u8]) -> Result<(), TransportError> {
    let step = || format!("run sshd on n{}", node + 1);
    let mut pipe = cluster.start_own(node, &[SSHD_COMMAND], SSHD_LOG).await?;
    pipe.stdin.write_all(order).await.map_err(failed(step()))?;
    drop(pipe.stdin);
    pipe.stdout.read_to_end(&mut Vec::new()).await.map(drop).map_err(failed(step()))
}

/// Waits until a node's `sshd` answers.
async fn answers(cluster: &LocalCluster, node: usize) -> Result<(), String> {
    let deadline = Instant::now() + SSHD_WITHIN;
    let name = &cluster.nodes()[node].name;
    let mut why = String::from("it accepts connections and says nothing");
    loop {
        match timeout_at(deadline, greet(cluster, name)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) if Instant::now() < deadline => why = error.to_string(),
            _ => return Err(format!("it does not answer after {} s: {why}", SSHD_WITHIN.as_secs())),
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn greet(cluster: &LocalCluster, name: &str) -> io::Result<()> {
    const GREETING: &[u8] = b"SSH-";
    let mut stream = cluster.dialer().dial(name, SSH_PORT).await?;
    let mut said = [0; GREETING.len()];
    stream.read_exact(&mut said).await?;
    if said == GREETING { Ok(()) } else { Err(io::Error::other("what answers is not sshd")) }
}
