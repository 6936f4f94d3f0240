//! Getting in: which keys are tried, in which order, and what the server says to each.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use russh::{MethodKind, SendError, Signer};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::connect::Client;
use super::error::{Failure, Step, shown};
use super::resolve::Endpoint;
use super::secret::{Keyring, PASSPHRASE_VARIABLE, PASSWORD_VARIABLE, Purpose};

/// How long the SSH agent may take to list its keys. A signature may wait for a person.
const AGENT_PATIENCE: Duration = Duration::from_secs(10);
/// Questions of one keyboard-interactive login.
const ROUNDS_MAX: usize = 5;

/// Logs in.
pub(super) async fn authenticate(
    handle: &mut Handle<Client>,
    endpoint: &Endpoint,
    keyring: &Keyring,
) -> Result<(), Failure> {
    let mut login = Login { handle, endpoint, keyring, tried: Vec::new(), methods: Vec::new(), rsa: None };
    login.run().await
}

struct Login<'a> {
    handle: &'a mut Handle<Client>,
    endpoint: &'a Endpoint,
    keyring: &'a Keyring,
    /// What was tried, with what became of it.
    tried: Vec<String>,
    /// What the server takes.
    methods: Vec<MethodKind>,
    /// How RSA keys sign here, once that is known.
    rsa: Option<Option<HashAlg>>,
}

impl Login<'_> {
    async fn run(&mut self) -> Result<(), Failure> {
        let mut files: Vec<PathBuf> = self.endpoint.key.iter().cloned().collect();
        if let Some(key) = files.first().cloned()
            && self.file(&key, true).await?
        {
            return Ok(());
        }
        files.extend(
            self.endpoint.identities.iter().filter(|file| Some(*file) != self.endpoint.key.as_ref()).cloned(),
        );
        let from_agent = self.agent(&files).await?;
        let Some(tried) = from_agent else { return Ok(()) };
        for file in &files {
            let named = self.endpoint.key.as_ref() == Some(file);
            let in_agent = public_key(file)
                .is_some_and(|key| tried.iter().any(|other| other.key_data() == key.key_data()));
            if !named && !in_agent && self.file(file, false).await? {
                return Ok(());
            }
        }
        if self.password().await? { Ok(()) } else { Err(self.refused()) }
    }

    /// Takes note of the server's answer; whether it is yes.
    fn answered(&mut self, what: &str, answer: Result<AuthResult, String>) -> Result<bool, Failure> {
        match answer {
            Ok(AuthResult::Success) => return Ok(true),
            Ok(AuthResult::Failure { remaining_methods, partial_success }) => {
                self.methods = remaining_methods.to_vec();
                let and = if partial_success { "taken, but more is wanted" } else { "refused" };
                self.tried.push(format!("{what} ({and})"));
            }
            Err(why) => self.tried.push(format!("{what} ({})", shown(&why))),
        }
        if self.handle.is_closed() {
            return Err(self.hung_up());
        }
        Ok(false)
    }

    fn account(&self) -> String {
        let tried =
            if self.tried.is_empty() { "nothing: there is no key".to_owned() } else { self.tried.join(", ") };
        let methods: Vec<&str> = self.methods.iter().map(<&str>::from).collect();
        let takes = if methods.is_empty() {
            String::new()
        } else {
            format!("; the server takes {}", methods.join(", "))
        };
        format!("{} does not let {} in; tried {tried}{takes}", self.endpoint.place(), self.endpoint.user)
    }

    fn refused(&self) -> Failure {
        let advice = format!(
            "Does `ssh {}` work? Name the user and the key in the test file (`user`, `key`) or in SSH's configuration, put the key \
             into the node's authorized_keys, or give a password in {PASSWORD_VARIABLE}",
            self.endpoint.name
        );
        Failure::new(Step::Authentication, self.account(), advice)
    }

    fn hung_up(&self) -> Failure {
        let what = format!("{}; then the server hung up", self.account());
        let advice = "Servers take a few attempts only (MaxAuthTries): name the one key to use with `key` in the test file, or with \
                      IdentityFile and IdentitiesOnly in SSH's configuration";
        Failure::new(Step::Authentication, what, advice)
    }

    async fn rsa(&mut self, key: &PublicKey) -> Option<HashAlg> {
        if !matches!(key.algorithm(), Algorithm::Rsa { .. }) {
            return None;
        }
        if self.rsa.is_none() {
            // Where the server does not say, it is too old for anything but hope; SHA-1 is tried by nobody any more.
            let best = self.handle.best_supported_rsa_hash().await.ok().flatten().flatten();
            self.rsa = Some(best.or(Some(HashAlg::Sha256)));
        }
        self.rsa.flatten()
    }

    /// Tries a key file; one that is not there says so only where the test file `named` it.
    async fn file(&mut self, path: &Path, named: bool) -> Result<bool, Failure> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => zeroize::Zeroizing::new(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => return Ok(false),
            Err(error) if named => {
                return Err(Failure::new(
                    Step::Authentication,
                    format!("the key {} cannot be read: {error}", path.display()),
                    "Correct `key` in the test file",
                ));
            }
            Err(error) => {
                self.tried.push(format!("{} (cannot be read: {error})", path.display()));
                return Ok(false);
            }
        };
        let name = path.display().to_string();
        let key = match russh::keys::decode_secret_key(&text, None) {
            Ok(key) => key,
            Err(russh::keys::Error::KeyIsEncrypted) => match self.decrypt(path, &text).await? {
                Some(key) => key,
                None => return Ok(false),
            },
            Err(error) => {
                self.tried.push(format!("{name} (cannot be used: {})", shown(&error.to_string())));
                return Ok(false);
            }
        };
        let hash = self.rsa(key.public_key()).await;
        let kind = key.algorithm().to_string();
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
        let answer = self.handle.authenticate_publickey(&self.endpoint.user, key).await;
        self.answered(&format!("{kind} {name}"), answer.map_err(|error| error.to_string()))
    }

    /// Decrypts a key, if the server would take it at all: nobody is asked for a passphrase in vain.
    async fn decrypt(&mut self, path: &Path, text: &str) -> Result<Option<PrivateKey>, Failure> {
        let name = path.display().to_string();
        if let Some(public) = public_key(path) {
            let hash = self.rsa(&public).await;
            let mut wanted = Wanted(false);
            let user = self.endpoint.user.clone();
            let answer = self.handle.authenticate_publickey_with(user, public, hash, &mut wanted).await;
            if !wanted.0 {
                let answer = answer.map_err(|_| "the connection broke".to_owned());
                self.answered(&name, answer)?;
                return Ok(None);
            }
        }
        let Some(passphrase) = self.keyring.get(Purpose::Key(path.to_owned())).await else {
            self.tried.push(format!(
                "{name} (encrypted; give its passphrase in {PASSPHRASE_VARIABLE}, or add it to the SSH agent)"
            ));
            return Ok(None);
        };
        let text = zeroize::Zeroizing::new(text.to_owned());
        // The key is derived slowly on purpose.
        let decoded = tokio::task::spawn_blocking(move || {
            russh::keys::decode_secret_key(&text, Some(passphrase.reveal()))
        });
        match decoded.await {
            Ok(Ok(key)) => Ok(Some(key)),
            _ => {
                self.tried.push(format!("{name} (the passphrase is wrong)"));
                Ok(None)
            }
        }
    }

    /// Tries the keys of the SSH agent: those with files first, the others only if the configuration lets us. `None` when one
    /// got us in, else the keys tried.
    async fn agent(&mut self, files: &[PathBuf]) -> Result<Option<Vec<PublicKey>>, Failure> {
        let Some(socket) = self.endpoint.agent.clone() else { return Ok(Some(Vec::new())) };
        let listed = async {
            let mut agent = AgentClient::connect(UnixStream::connect(&socket).await?);
            let identities = agent.request_identities().await?;
            Ok::<_, russh::keys::Error>((agent, identities))
        };
        let (mut agent, identities) = match timeout(AGENT_PATIENCE, listed).await {
            Ok(Ok(listed)) => listed,
            Ok(Err(error)) => {
                self.tried.push(format!("the SSH agent (does not answer: {})", shown(&error.to_string())));
                return Ok(Some(Vec::new()));
            }
            Err(_) => {
                self.tried.push("the SSH agent (does not answer)".to_owned());
                return Ok(Some(Vec::new()));
            }
        };
        let known: Vec<PublicKey> = files.iter().filter_map(|file| public_key(file)).collect();
        let is_known = |identity: &AgentIdentity| {
            known.iter().any(|key| key.key_data() == identity.public_key().key_data())
        };
        let (mut first, others): (Vec<_>, Vec<_>) = identities.into_iter().partition(is_known);
        if !self.endpoint.identities_only {
            first.extend(others);
        }
        let mut tried = Vec::new();
        for identity in first {
            let key = identity.public_key().into_owned();
            let hash = self.rsa(&key).await;
            let user = self.endpoint.user.clone();
            let what = format!("{} {} of the SSH agent", key.algorithm(), identity.comment());
            let answer = match identity {
                AgentIdentity::PublicKey { key, .. } => {
                    self.handle.authenticate_publickey_with(user, key, hash, &mut agent).await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    self.handle.authenticate_certificate_with(user, certificate, hash, &mut agent).await
                }
            };
            if self.answered(&what, answer.map_err(|error| error.to_string()))? {
                return Ok(None);
            }
            tried.push(key);
        }
        Ok(Some(tried))
    }

    /// Tries a password, if there is one and the server may take it.
    async fn password(&mut self) -> Result<bool, Failure> {
        let takes = |methods: &[MethodKind], kind| methods.is_empty() || methods.contains(&kind);
        let plain = takes(&self.methods, MethodKind::Password);
        let interactive = takes(&self.methods, MethodKind::KeyboardInteractive);
        if !plain && !interactive {
            return Ok(false);
        }
        let login = format!("{}@{}", self.endpoint.user, self.endpoint.host);
        let Some(password) = self.keyring.get(Purpose::Login(login)).await else { return Ok(false) };
        if plain {
            let answer = self.handle.authenticate_password(&self.endpoint.user, password.reveal()).await;
            if self.answered("a password", answer.map_err(|error| error.to_string()))? {
                return Ok(true);
            }
        }
        if !takes(&self.methods, MethodKind::KeyboardInteractive) {
            return Ok(false);
        }
        let user = self.endpoint.user.clone();
        let mut response = self.handle.authenticate_keyboard_interactive_start(user, None).await;
        for _ in 0..ROUNDS_MAX {
            match response {
                Ok(KeyboardInteractiveAuthResponse::Success) => return Ok(true),
                Ok(KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. }) => {
                    // One hidden question is for the password; whatever else is asked, nobody can answer here.
                    let answers = prompts
                        .iter()
                        .map(|prompt| if prompt.echo { String::new() } else { password.reveal().to_owned() })
                        .collect();
                    response = self.handle.authenticate_keyboard_interactive_respond(answers).await;
                }
                Ok(KeyboardInteractiveAuthResponse::Failure { remaining_methods, partial_success }) => {
                    let answer = Ok(AuthResult::Failure { remaining_methods, partial_success });
                    return self.answered("keyboard-interactive with the password", answer);
                }
                Err(error) => return self.answered("keyboard-interactive", Err(error.to_string())),
            }
        }
        self.answered("keyboard-interactive", Err("it asks and asks".to_owned()))
    }
}

/// The public half of a key file: from the file beside it, or from the file itself, which has it in plain text in OpenSSH's
/// format.
fn public_key(file: &Path) -> Option<PublicKey> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".pub");
    if let Ok(text) = std::fs::read_to_string(&beside)
        && let Ok(key) = PublicKey::from_openssh(text.trim())
    {
        return Some(key);
    }
    let text = zeroize::Zeroizing::new(std::fs::read_to_string(file).ok()?);
    PrivateKey::from_openssh(text.as_str()).ok().map(|key| key.public_key().clone())
}

/// Learns whether the server would take a signature, and makes none.
struct Wanted(bool);

/// There is no signature.
struct NotSigned;

impl From<SendError> for NotSigned {
    fn from(_: SendError) -> Self {
        Self
    }
}

impl Signer for Wanted {
    type Error = NotSigned;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        _: Option<HashAlg>,
        _: Vec<u8>,
    ) -> Result<Vec<u8>, NotSigned> {
        self.0 = true;
        Err(NotSigned)
    }
}
