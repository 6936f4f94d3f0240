//! Passwords and passphrases: where they come from, and that they go nowhere else.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// The longest answer that is taken from a terminal.
const ANSWER_LEN_MAX: usize = 4096;

/// The environment variable with the passphrase of encrypted keys.
pub const PASSPHRASE_VARIABLE: &str = "SCHISM_SSH_PASSPHRASE";
/// The environment variable with the password of the login.
pub const PASSWORD_VARIABLE: &str = "SCHISM_SSH_PASSWORD";
/// The environment variable with the password that `sudo` asks for.
pub const SUDO_VARIABLE: &str = "SCHISM_SUDO_PASSWORD";
/// The variables that no program which is started on the way may see.
pub(super) const VARIABLES: [&str; 3] = [PASSPHRASE_VARIABLE, PASSWORD_VARIABLE, SUDO_VARIABLE];

/// A text that is overwritten when it is dropped, and never shown.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Keeps a text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// What is known of passwords and passphrases, and who may be asked for more.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// The passphrase of encrypted keys.
    pub passphrase: Option<Secret>,
    /// The password of the login.
    pub password: Option<Secret>,
    /// The password that `sudo` asks for.
    pub sudo: Option<Secret>,
    /// Whether the person at the terminal may be asked.
    pub ask: bool,
}

impl Secrets {
    /// What the environment says; who sits at the terminal is asked for the rest.
    pub fn of_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok().map(Secret::new);
        Self {
            passphrase: variable(PASSPHRASE_VARIABLE),
            password: variable(PASSWORD_VARIABLE),
            sudo: variable(SUDO_VARIABLE),
            ask: true,
        }
    }
}

/// What a secret is for. Each is asked for once, however many nodes want it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// To decrypt this key.
    Key(PathBuf),
    /// To log in as this user.
    Login(String),
    /// To become root as this user.
    Sudo(String),
}

impl Purpose {
    fn question(&self) -> String {
        match self {
            Self::Key(path) => format!("Passphrase of {}: ", path.display()),
            Self::Login(user) => format!("Password of {user}: "),
            Self::Sudo(user) => format!("Password for sudo as {user}: "),
        }
    }
}

/// Gives out secrets.
#[derive(Debug)]
pub(super) struct Keyring {
    secrets: Secrets,
    /// The answers given, also that there is none. Whoever holds the lock may ask.
    answers: Mutex<BTreeMap<Purpose, Option<Secret>>>,
}

impl Keyring {
    pub(super) fn new(secrets: Secrets) -> Self {
        Self { secrets, answers: Mutex::default() }
    }

    /// The secret for a purpose: from the environment, else from the person at the terminal, who is asked once.
    pub(super) async fn get(&self, purpose: Purpose) -> Option<Secret> {
        let known = match &purpose {
            Purpose::Key(_) => &self.secrets.passphrase,
            Purpose::Login(_) => &self.secrets.password,
            Purpose::Sudo(_) => &self.secrets.sudo,
        };
        if known.is_some() || !self.secrets.ask {
            return known.clone();
        }
        let mut answers = self.answers.lock().await;
        if let Some(answer) = answers.get(&purpose) {
            return answer.clone();
        }
        let answer = ask(&purpose.question()).await;
        answers.insert(purpose, answer.clone());
        answer
    }
}

/// Asks the person at the terminal, without showing what is typed; `None` where there is none, or no answer.
async fn ask(question: &str) -> Option<Secret> {
    let terminal = Silent::open(Path::new("/dev/tty")).ok()?;
    let terminal = Arc::new(terminal);
    // The terminal shows again what is typed when this is dropped, also when nobody waits for the answer any more.
    let _shown_again = Loud(Arc::clone(&terminal));
    let question = question.to_owned();
    let answer = tokio::task::spawn_blocking(move || terminal.ask(&question)).await.ok()?.ok()?;
    (!answer.reveal().is_empty()).then_some(answer)
}

/// A terminal that shows nothing of what is typed.
struct Silent {
    file: File,
    before: libc::termios,
}

impl Silent {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        let before = tcgetattr(file.as_fd())?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(file.as_fd(), SetArg::TCSAFLUSH, &silent)?;
        Ok(Self { file, before: before.into() })
    }

    /// Byte by byte, so that nothing of it stays behind in a buffer.
    fn ask(&self, question: &str) -> io::Result<Secret> {
        let mut file = &self.file;
        file.write_all(question.as_bytes())?;
        let mut answer = Zeroizing::new(Vec::with_capacity(ANSWER_LEN_MAX));
        let mut byte = [0];
        while answer.len() < ANSWER_LEN_MAX && io::Read::read(&mut file, &mut byte)? > 0 && byte != *b"\n" {
            answer.push(byte[0]);
        }
        file.write_all(b"\n")?;
        let text = std::str::from_utf8(&answer).map_err(io::Error::other)?;
        Ok(Secret::new(text.trim_end_matches('\r').to_owned()))
    }
}

/// Undoes the silence.
struct Loud(Arc<Silent>);

impl Drop for Loud {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing anyway.
        let _ = tcsetattr(self.0.file.as_fd(), SetArg::TCSANOW, &Termios::from(self.0.before));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn secrets_are_given_out_but_never_shown() {
        let secrets = Secrets { sudo: Some(Secret::new("hunter2".to_owned())), ..Secrets::default() };
        let keyring = Keyring::new(secrets);
        let shown = format!("{keyring:?}");
        assert!(!shown.contains("hunter2") && shown.contains("[secret]"), "{shown}");
        let sudo = keyring.get(Purpose::Sudo("me".to_owned())).await.unwrap();
        assert_eq!(sudo.reveal(), "hunter2");
        assert!(keyring.get(Purpose::Login("me".to_owned())).await.is_none(), "nobody may be asked");
    }
}
