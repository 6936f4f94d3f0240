//! A standing cluster: local nodes that outlive the command that made them, each with a real OpenSSH `sshd` of its own.
//!
//! `schism nodes up --ssh N` starts a supervisor in a session of its own. It is to the cluster what a controller is to that
//! of a run: it brings the cluster up, keeps an `sshd` running on every node, and everything ends with it. Commands find it by
//! its directory, in which it listens on a socket; it hands out connections to the nodes' ports, so that `ssh -F
//! DIR/ssh_config n1` works although the nodes are in a network of their own.
//!
//! | file | what |
//! |---|---|
//! | `directory` | what is in the directory, who holds it, what of it is left of a cluster that is gone |
//! | `identity` | keys, and the files by which `ssh` knows the nodes |
//! | `control` | what commands ask of the supervisor |
//! | `supervisor` | the process that holds the cluster |
//! | `sshd` | how `sshd` gets onto a node (`seccomp`: with one user only) |
//! | `down` | the end, and the proof that nothing is left |

mod control;
mod directory;
mod down;
mod identity;
mod seccomp;
mod sshd;
mod supervisor;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use serde::{Deserialize, Serialize};

use self::control::Question;
use self::directory::Directory;
pub use self::down::{Ended, down};
pub use self::sshd::{SSHD_COMMAND, node_sshd_main};
pub use self::supervisor::{SUPERVISOR_COMMAND, supervisor_main};
use super::{NODES_MAX, OWN_EXECUTABLE, TransportError, failed};

/// A standing cluster that is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The nodes' names, which are also the hosts of the configuration.
    pub nodes: Vec<String>,
    /// The configuration for `ssh -F`.
    pub config: PathBuf,
    /// What was found in the directory of a cluster that is gone, and was removed.
    pub found: Option<String>,
}

impl Standing {
    /// The `cluster:` of a test file that runs on these nodes.
    pub fn block(&self) -> String {
        format!(
            "cluster:\n  ssh:\n    hosts: [{}]\n    config: {}\n",
            self.nodes.join(", "),
            yaml(&self.config.display().to_string())
        )
    }
}

/// A text as a YAML scalar, quoted where it has to be.
fn yaml(text: &str) -> String {
    let plain =
        text.starts_with('/') && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+@".contains(c));
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

/// What the supervisor says to the command that started it, once.
type Report = Result<Standing, (String, String)>;

/// Brings a standing cluster up in `directory`, which is made if it is not there, and returns when every node's `sshd` answers.
///
/// # Errors
/// There is a cluster in the directory already, or something that is not ours; OpenSSH is not installed; the machine
/// does not allow a local cluster. Nothing is left then.
pub fn up(directory: &Path, nodes: usize) -> Result<Standing, TransportError> {
    const STEP: &str = "bring up local nodes";
    if !(1..=NODES_MAX).contains(&nodes) {
        return Err(TransportError {
            step: STEP.to_owned(),
            reason: format!("{nodes} nodes do not make a cluster: it has 1 to {NODES_MAX} nodes"),
        });
    }
    identity::look_for_openssh()?;
    let (directory, made) = Directory::make(directory)?;
    let started = start(&directory, nodes, made).map_err(failed(STEP));
    let (mut child, said) = started.inspect_err(|_| directory.unmake(made))?;
    match serde_json::from_slice::<Report>(&said) {
        Ok(report) => report.map_err(|(step, reason)| {
            // It is on its way out; its directory is ours again when it has ended.
            let _ = child.wait();
            TransportError { step, reason }
        }),
        Err(_) => {
            let ended = child.wait().map_err(failed(STEP))?;
            let log = directory.path().join(directory::LOG);
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let reason = format!("the supervisor of the nodes ended ({ended}): {}", said.trim_end());
            Err(TransportError { step: STEP.to_owned(), reason })
        }
    }
}

/// Starts the supervisor and hears what became of it.
fn start(directory: &Directory, nodes: usize, made: bool) -> io::Result<(std::process::Child, Vec<u8>)> {
    let mut command = Command::new(OWN_EXECUTABLE);
    command.arg0("schism").arg(SUPERVISOR_COMMAND).arg("--dir").arg(directory.path());
    command.arg("--nodes").arg(nodes.to_string());
    if made {
        command.arg("--made");
    }
    command.env(down::MARK, down::new_mark());
    let log = File::options().append(true).create(true).open(directory.path().join(directory::LOG))?;
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
    let mut said = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_end(&mut said)?;
    }
    Ok((child, said))
}

/// Connects a port of a node to this process's stdin and stdout, until the node closes the connection.
///
/// # Errors
/// No cluster is up in the directory, it has no such node, or nothing listens there.
pub fn connect(directory: &Path, node: &str, port: u16) -> Result<(), TransportError> {
    let step = || format!("connect to {node}:{port}");
    let directory = Directory::open(directory)?;
    let fds = control::ask(&directory, &Question::Connect { node: node.to_owned(), port })
        .map_err(|reason| TransportError { step: step(), reason })?;
    let Some(stream) = fds.into_iter().next() else {
        return Err(TransportError { step: step(), reason: "no connection came".to_owned() });
    };
    relay(TcpStream::from(stream)).map_err(failed(step()))
}

fn relay(mut stream: TcpStream) -> io::Result<()> {
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut to_node = stream.try_clone()?;
    thread::spawn(move || {
        // Whatever ended it, the node has to hear that no more comes; an answer may still be on its way.
        let _ = pass_on(&mut input, &mut to_node);
        let _ = to_node.shutdown(Shutdown::Write);
    });
    match pass_on(&mut stream, &mut output) {
        // Whoever listened has gone, or the node has lost its power: the connection has ended, and that is all.
        Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
            Ok(())
        }
        result => result,
    }
}

/// Copies to the end, each piece as soon as it is there. `io::copy` has the kernel do it, which holds a short piece back
/// because it expects more.
fn pass_on(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => to.write_all(&buffer[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Kills everything on the nodes as if their power had failed, boots them again and returns when their `sshd` answers.
/// Their disks keep what they had, except for `/tmp` and `/run`.
///
/// # Errors
/// No cluster is up in the directory, or it has no such node.
pub fn reboot(directory: &Path, nodes: &[String]) -> Result<(), TransportError> {
    let directory = Directory::open(directory)?;
    for node in nodes {
        control::ask(&directory, &Question::Reboot { node: node.clone() })
            .map_err(|reason| TransportError { step: format!("reboot {node}"), reason })?;
    }
    Ok(())
}
