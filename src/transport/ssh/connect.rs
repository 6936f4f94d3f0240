//! The connection to a host: directly, through other hosts, or through a command; and whether the host is the right one.

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use russh::client::{self, Handle};
use russh::keys::{Algorithm, HashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Disconnect, Preferred};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::auth::authenticate;
use super::error::{Failure, Step, shown};
use super::known_hosts::{self, Known, Opinion};
use super::resolve::{Endpoint, Way, Wishes, resolve};
use super::secret::{Keyring, VARIABLES};
use crate::spec::{HostKeys, SshHost};

/// How long a TCP connection may take, where the configuration does not say.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long the first exchange of keys may take after it: a few round trips.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(20);
/// A silent server is asked for a sign of life this often, and given up after [`KEEPALIVE_MAX`] questions.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEPALIVE_MAX: usize = 3;
/// Hosts on the way to a host that each are reached through others.
const DEPTH_MAX: usize = 8;
/// What is kept of a proxy command's complaints.
const COMPLAINT_LEN_MAX: usize = 4096;

/// A connection that is authenticated.
pub(super) struct Connection {
    pub(super) handle: Handle<Client>,
    /// Whether it goes straight to the host.
    pub(super) direct: bool,
    pub(super) user: String,
    /// What it goes through has to live as long.
    _via: Option<Box<Connection>>,
}

impl Connection {
    pub(super) async fn close(&self) {
        // Whoever does not listen any more has closed it, too.
        let _ = self.handle.disconnect(Disconnect::ByApplication, "done", "").await;
    }
}

/// Connects to a host and logs in.
pub(super) async fn connect(
    host: &SshHost,
    wishes: &Wishes,
    keyring: &Keyring,
) -> Result<Connection, Failure> {
    let endpoint = resolve(host, wishes).await?;
    connect_to(endpoint, wishes, keyring, 0).await
}

fn connect_to<'a>(
    endpoint: Endpoint,
    wishes: &'a Wishes,
    keyring: &'a Keyring,
    depth: usize,
) -> Pin<Box<dyn Future<Output = Result<Connection, Failure>> + Send + 'a>> {
    Box::pin(async move {
        match endpoint.way.clone() {
            Way::Direct => {
                let stream = dial(&endpoint).await?;
                begin(endpoint, stream, None, None, keyring).await
            }
            Way::Command(command) => {
                let (stream, complaint) = Proxy::start(&command)?;
                begin(endpoint, stream, None, Some((command, complaint)), keyring).await
            }
            Way::Jump(jumps) => {
                let via = jump(&jumps, wishes, keyring, depth).await?;
                let channel = via.handle.channel_open_direct_tcpip(
                    endpoint.host.clone(),
                    u32::from(endpoint.port),
                    "127.0.0.1",
                    0,
                );
                let patience = endpoint.patience.unwrap_or(CONNECT_PATIENCE);
                let place = endpoint.place();
                let failed = |why: String| {
                    let through: Vec<String> = jumps.iter().map(SshHost::target).collect();
                    let what = format!("{place} cannot be reached through {}: {why}", through.join(", "));
                    Failure::new(
                        Step::Connect,
                        what,
                        "Is the host up, and may the host in between forward to it (AllowTcpForwarding)?",
                    )
                };
                let channel = match timeout(patience, channel).await {
                    Ok(Ok(channel)) => channel,
                    Ok(Err(error)) => return Err(failed(error.to_string())),
                    Err(_) => return Err(failed(format!("no answer within {} s", patience.as_secs()))),
                };
                begin(endpoint, channel.into_stream(), Some(Box::new(via)), None, keyring).await
            }
        }
    })
}

/// The connection to the last of several hosts, each reached through the one before.
async fn jump(
    jumps: &[SshHost],
    wishes: &Wishes,
    keyring: &Keyring,
    depth: usize,
) -> Result<Connection, Failure> {
    let Some((last, before)) = jumps.split_last().filter(|_| depth < DEPTH_MAX) else {
        return Err(Failure::new(
            Step::Resolve,
            format!("the way leads through more than {DEPTH_MAX} hosts, or in a circle"),
            "Correct ProxyJump in SSH's configuration",
        ));
    };
    // What the test says of its nodes does not hold for hosts on the way to them.
    let own = Wishes { config: wishes.config.clone(), host_keys: wishes.host_keys, ..Wishes::default() };
    let mut endpoint = resolve(last, &own).await?;
    // As OpenSSH does: the first of a list goes its own way, the others go through those before them.
    if !before.is_empty() {
        endpoint.way = Way::Jump(before.to_vec());
    }
    connect_to(endpoint, &own, keyring, depth + 1).await
}

async fn dial(endpoint: &Endpoint) -> Result<TcpStream, Failure> {
    let patience = endpoint.patience.unwrap_or(CONNECT_PATIENCE);
    let place = endpoint.place();
    let addresses =
        match timeout(patience, tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port))).await {
            Ok(Ok(addresses)) => addresses.collect::<Vec<_>>(),
            Ok(Err(error)) => {
                return Err(Failure::new(
                    Step::Resolve,
                    format!("`{}` is no host that is known here: {error}", endpoint.host),
                    "Correct the name in the test file, or give its HostName in SSH's configuration",
                ));
            }
            Err(_) => {
                return Err(Failure::new(
                    Step::Resolve,
                    format!("no answer about `{}` within {} s", endpoint.host, patience.as_secs()),
                    "Does name resolution work on this machine?",
                ));
            }
        };
    let mut why = "it has no address".to_owned();
    for address in addresses {
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => why = format!("no answer within {} s", patience.as_secs()),
        }
    }
    let advice =
        "Is the host up, does an SSH server listen on that port, and does a firewall let us through?";
    Err(Failure::new(Step::Connect, format!("{place} cannot be reached: {why}"), advice))
}

type Complaint = Arc<Mutex<Vec<u8>>>;

/// Agrees on keys, checks the host's, and logs in.
async fn begin(
    endpoint: Endpoint,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    via: Option<Box<Connection>>,
    command: Option<(String, Complaint)>,
    keyring: &Keyring,
) -> Result<Connection, Failure> {
    let name = known_hosts::name_of(&endpoint.host, endpoint.port, endpoint.host_key_alias.as_deref());
    let files = [endpoint.known_hosts.as_slice(), &endpoint.known_hosts_of_machine].concat();
    let known = Known::read(&files, &name).map_err(|error| {
        Failure::new(Step::HostKey, format!("known hosts cannot be read: {error}"), "Make that file readable")
    })?;
    let mut preferred = Preferred::default();
    preferred.key = ordered(&preferred.key, &known.algorithms()).into();
    let config = client::Config {
        nodelay: true,
        keepalive_interval: Some(KEEPALIVE_EVERY),
        keepalive_max: KEEPALIVE_MAX,
        preferred,
        ..client::Config::default()
    };
    let refusal = Arc::new(Mutex::new(None));
    let client = Client { endpoint: endpoint.clone(), name, known, refusal: Arc::clone(&refusal) };
    let begun = timeout(HANDSHAKE_PATIENCE, client::connect_stream(Arc::new(config), stream, client)).await;
    if let Some(refusal) = refusal.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(refusal);
    }
    let place = endpoint.place();
    let mut handle = match begun {
        Ok(Ok(handle)) => handle,
        other => {
            let mut why = match other {
                Ok(Err(error)) => error.to_string(),
                _ => format!("no agreement within {} s", HANDSHAKE_PATIENCE.as_secs()),
            };
            if let Some((command, complaint)) = command {
                let said = shown(&String::from_utf8_lossy(
                    &complaint.lock().unwrap_or_else(PoisonError::into_inner),
                ));
                why = format!("{why}; ProxyCommand `{}` says: {said}", shown(&command));
            }
            let advice =
                "Is that an SSH server, and does it take connections from here (MaxStartups, TCP wrappers)?";
            return Err(Failure::new(
                Step::Connect,
                format!("{place} does not speak SSH with us: {why}"),
                advice,
            ));
        }
    };
    authenticate(&mut handle, &endpoint, keyring).await?;
    let direct = via.is_none() && matches!(endpoint.way, Way::Direct);
    Ok(Connection { handle, direct, user: endpoint.user, _via: via })
}

/// The algorithms in their usual order, but those of known keys first: a server shows the first that it has.
fn ordered(usual: &[Algorithm], known: &[Algorithm]) -> Vec<Algorithm> {
    let is_known = |algorithm: &Algorithm| match algorithm {
        Algorithm::Rsa { .. } => known.iter().any(|key| matches!(key, Algorithm::Rsa { .. })),
        other => known.contains(other),
    };
    let (mut first, others): (Vec<_>, Vec<_>) = usual.iter().cloned().partition(is_known);
    first.extend(others);
    first
}

/// Our side of a connection, which has a say in one thing only: the host's key.
pub(super) struct Client {
    endpoint: Endpoint,
    name: String,
    known: Known,
    refusal: Arc<Mutex<Option<Failure>>>,
}

impl Client {
    fn refuse(&self, what: String, advice: String) -> bool {
        let failure = Failure::new(Step::HostKey, what, advice);
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        false
    }

    fn accepts(&self, key: &PublicKey) -> bool {
        let (name, place) = (&self.name, self.endpoint.place());
        let shown = format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256));
        match self.known.opinion(key) {
            Opinion::Right => true,
            Opinion::Revoked(at) => self.refuse(
                format!("{place} shows the key {shown}, which {at} marks as revoked"),
                "Somebody may be in between, or the host needs a new key".to_owned(),
            ),
            Opinion::Changed(at) => self.refuse(
                format!("{place} shows the key {shown}, but {at} knows another"),
                format!(
                    "Either the host was set up anew, or somebody is in between. If you know that it was: ssh-keygen -R '{name}'{}",
                    self.endpoint.known_hosts.first().map_or_else(String::new, |file| format!(" -f {}", file.display()))
                ),
            ),
            Opinion::Unknown if self.endpoint.host_keys == HostKeys::Strict => self.refuse(
                format!("the key of {place} is not known: {shown}"),
                format!(
                    "If that is its fingerprint, connect once with `ssh {}`, or say `host-keys: accept-new` in the test file",
                    self.endpoint.name
                ),
            ),
            Opinion::Unknown => {
                tracing::info!(event = "host key accepted", host = %name, key = %shown);
                if let Some(file) = self.endpoint.known_hosts.first()
                    && let Err(error) = known_hosts::record(file, name, key)
                {
                    tracing::warn!(event = "host key not written down", host = %name, file = %file.display(), %error);
                }
                true
            }
        }
    }
}

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.accepts(key),
            // None was asked for.
            PublicKeyOrCertificate::Certificate(_) => false,
        })
    }
}

/// A command whose standard input and output lead to a server.
struct Proxy {
    stdin: ChildStdin,
    stdout: ChildStdout,
    /// Killed when this is dropped.
    _child: Child,
}

impl Proxy {
    /// Starts the command with the user's shell, as OpenSSH does.
    fn start(command: &str) -> Result<(Self, Complaint), Failure> {
        let failed = |why: String| {
            let what = format!("ProxyCommand `{}` cannot be started: {why}", shown(command));
            Failure::new(Step::Connect, what, "Correct it in SSH's configuration")
        };
        let shell =
            std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into());
        let mut proxy = Command::new(shell);
        proxy.arg("-c").arg(format!("exec {command}"));
        for variable in VARIABLES {
            proxy.env_remove(variable);
        }
        // Out of reach of the terminal's Ctrl-C: healing needs the connection.
        proxy.process_group(0);
        proxy.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = proxy.spawn().map_err(|error| failed(error.to_string()))?;
        let (Some(stdin), Some(stdout), Some(mut stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed("it has no pipes".to_owned()));
        };
        let complaint = Complaint::default();
        let kept = Arc::clone(&complaint);
        tokio::spawn(async move {
            let mut bytes = [0; 512];
            while let Ok(count @ 1..) = stderr.read(&mut bytes).await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let room = COMPLAINT_LEN_MAX.saturating_sub(kept.len());
                kept.extend_from_slice(&bytes[..count.min(room)]);
            }
        });
        Ok((Self { stdin, stdout, _child: child }, complaint))
    }
}

impl AsyncRead for Proxy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdout).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Proxy {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stdin).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_asked_for_a_known_key_first() {
        let usual = Preferred::default().key;
        let rsa = ordered(&usual, &[Algorithm::Rsa { hash: None }]);
        let is_rsa = |key: &Algorithm| matches!(key, Algorithm::Rsa { .. });
        assert!(is_rsa(&rsa[0]) && is_rsa(&rsa[1]) && rsa.len() == usual.len(), "{rsa:?}");
        assert_eq!(ordered(&usual, &[])[..], usual[..]);
    }
}
