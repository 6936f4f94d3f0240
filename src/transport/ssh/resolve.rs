//! What the name of a host means: user, address, port, keys and the way there.
//!
//! `ssh -G` is asked, since nobody reads SSH's configuration as SSH does: Include, Match, tokens, defaults of the
//! distribution. It is started with arguments of its own, never through a shell. Without an `ssh` program the name is taken
//! as it stands, with SSH's usual defaults.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::error::{Failure, Step, shown};
use crate::spec::{HostKeys, SshHost};

/// Longer than any configuration takes to be read; `Match exec` runs commands.
const PATIENCE: Duration = Duration::from_secs(20);
/// The identities that SSH tries when it is told nothing.
const DEFAULT_KEYS: [&str; 3] = ["id_rsa", "id_ecdsa", "id_ed25519"];

/// What the test says about every host.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    pub(super) user: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) key: Option<PathBuf>,
    pub(super) config: Option<PathBuf>,
    pub(super) host_keys: Option<HostKeys>,
}

/// The way to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Direct,
    /// Through these hosts, in their order.
    Jump(Vec<SshHost>),
    /// Through the standard input and output of this command, for a shell.
    Command(String),
}

/// A host, resolved.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// The name it was asked for by.
    pub(super) name: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    /// The key of the test file: tried first.
    pub(super) key: Option<PathBuf>,
    /// The keys of the configuration.
    pub(super) identities: Vec<PathBuf>,
    /// Whether keys of the agent count only if they are among those.
    pub(super) identities_only: bool,
    /// The SSH agent's socket.
    pub(super) agent: Option<PathBuf>,
    pub(super) way: Way,
    /// Where known hosts are written down; new ones go to the first.
    pub(super) known_hosts: Vec<PathBuf>,
    /// More files that are only read.
    pub(super) known_hosts_of_machine: Vec<PathBuf>,
    /// The name under which the host's key is known, where that is another.
    pub(super) host_key_alias: Option<String>,
    pub(super) host_keys: HostKeys,
    /// How long connecting may take.
    pub(super) patience: Option<Duration>,
}

impl Endpoint {
    /// For messages.
    pub(super) fn place(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Asks what a host's name means.
pub(super) async fn resolve(host: &SshHost, wishes: &Wishes) -> Result<Endpoint, Failure> {
    let mut command = Command::new("ssh");
    command.arg("-G");
    if let Some(config) = &wishes.config {
        command.arg("-F").arg(config);
    }
    if let Some(port) = host.port.or(wishes.port) {
        command.arg("-p").arg(port.to_string());
    }
    if let Some(user) = host.user.as_ref().or(wishes.user.as_ref()) {
        command.arg("-l").arg(user);
    }
    command.arg("--").arg(&host.host);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let failed = |what: String| {
        Failure::new(
            Step::Resolve,
            format!("`ssh -G {}` {what}", host.host),
            "Correct SSH's configuration; `ssh -G` with the same name says what it understands",
        )
    };
    let text = match timeout(PATIENCE, command.output()).await {
        Err(_) => return Err(failed(format!("does not end within {} s", PATIENCE.as_secs()))),
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound => match &wishes.config {
            None => String::new(),
            Some(config) => {
                return Err(Failure::new(
                    Step::Resolve,
                    format!("{} cannot be read without OpenSSH's `ssh` program", config.display()),
                    "Install openssh-client, or write user, port, key and address into the test file",
                ));
            }
        },
        Ok(Err(error)) => return Err(failed(format!("cannot be started: {error}"))),
        Ok(Ok(output)) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(Ok(output)) => {
            return Err(failed(format!("says: {}", shown(&String::from_utf8_lossy(&output.stderr)))));
        }
    };
    understand(&text, host, wishes)
}

/// Reads what `ssh -G` printed: a key and its value on each line. Nothing at all stands for SSH's defaults.
fn understand(text: &str, asked: &SshHost, wishes: &Wishes) -> Result<Endpoint, Failure> {
    let mut said: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in text.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        said.entry(key).or_default().push(value.trim());
    }
    let one = |key: &str| {
        said.get(key)
            .and_then(|values| values.first())
            .copied()
            .filter(|value| !value.is_empty() && *value != "none")
    };
    let home = std::env::var("HOME").unwrap_or_default();
    let local_user =
        std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "root".to_owned());
    let asked_user = asked.user.clone().or_else(|| wishes.user.clone());
    let user = one("user").map(str::to_owned).or(asked_user).unwrap_or_else(|| local_user.clone());
    let host = one("hostname").unwrap_or(&asked.host).to_owned();
    let port = one("port").and_then(|port| port.parse().ok()).or(asked.port).or(wishes.port).unwrap_or(22);
    let tokens = Tokens {
        host: &host,
        asked: &asked.host,
        alias: one("hostkeyalias"),
        port,
        user: &user,
        local_user: &local_user,
        home: &home,
    };
    let paths = |value: &str| tokens.path(value);
    let identities = match said.get("identityfile") {
        Some(files) => files.iter().filter(|file| **file != "none").map(|file| paths(file)).collect(),
        None if said.is_empty() => {
            DEFAULT_KEYS.iter().map(|name| Path::new(&home).join(".ssh").join(name)).collect()
        }
        None => Vec::new(),
    };
    let files = |key: &str, default: &[&str]| -> Vec<PathBuf> {
        let listed: Vec<PathBuf> =
            one(key).into_iter().flat_map(file_names).map(|file| paths(&file)).collect();
        if listed.is_empty() && said.is_empty() {
            return default.iter().map(|file| paths(file)).collect();
        }
        listed
    };
    let agent = match one("identityagent") {
        None if said.get("identityagent").is_some_and(|values| values.contains(&"none")) => None,
        None | Some("SSH_AUTH_SOCK") => std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from),
        Some(variable) if variable.starts_with('$') => {
            std::env::var_os(variable.trim_start_matches('$').trim_matches(['{', '}'])).map(PathBuf::from)
        }
        Some(path) => Some(paths(path)),
    };
    let way = match (one("proxycommand"), one("proxyjump")) {
        (Some(command), _) => Way::Command(tokens.command(command)?),
        (None, Some(jumps)) => Way::Jump(jumps_of(jumps)?),
        (None, None) => Way::Direct,
    };
    let host_keys = wishes.host_keys.unwrap_or(match one("stricthostkeychecking") {
        // As OpenSSH's `no`, except that a key that changed is refused all the same.
        Some("accept-new" | "no" | "off" | "false") => HostKeys::AcceptNew,
        _ => HostKeys::Strict,
    });
    Ok(Endpoint {
        name: asked.host.clone(),
        key: wishes.key.clone(),
        identities,
        identities_only: one("identitiesonly") == Some("yes"),
        agent: agent.filter(|path| !path.as_os_str().is_empty()),
        way,
        known_hosts: files("userknownhostsfile", &["~/.ssh/known_hosts"]),
        known_hosts_of_machine: files("globalknownhostsfile", &["/etc/ssh/ssh_known_hosts"]),
        host_key_alias: one("hostkeyalias").map(str::to_owned),
        host_keys,
        patience: one("connecttimeout").and_then(|value| value.parse().ok()).map(Duration::from_secs),
        host,
        port,
        user,
    })
}

/// The words of a value, of which some may be quoted.
fn words(value: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = value.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

/// The names of files in a value. `ssh -G` prints names with a space in them without quotes, but every name from its root; so
/// a word that begins otherwise goes on with the one before it.
fn file_names(value: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for word in words(value) {
        match names.last_mut() {
            Some(name) if !value.contains('"') && !word.starts_with(['/', '~', '%', '$']) => {
                name.push(' ');
                name.push_str(&word);
            }
            _ => names.push(word),
        }
    }
    names
}

fn jumps_of(jumps: &str) -> Result<Vec<SshHost>, Failure> {
    let read = |jump: &str| {
        let jump = jump.trim();
        let jump = jump.strip_prefix("ssh://").map_or(jump, |rest| rest.trim_end_matches('/'));
        SshHost::parse(jump).map_err(|why| {
            Failure::new(Step::Resolve, format!("ProxyJump: {why}"), "Correct it in SSH's configuration")
        })
    };
    jumps.split(',').map(read).collect()
}

/// What the tokens of SSH's configuration stand for.
struct Tokens<'a> {
    host: &'a str,
    asked: &'a str,
    alias: Option<&'a str>,
    port: u16,
    user: &'a str,
    local_user: &'a str,
    home: &'a str,
}

impl Tokens<'_> {
    fn expand(&self, text: &str) -> String {
        let mut expanded = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                expanded.push(c);
                continue;
            }
            match chars.next() {
                Some('%') => expanded.push('%'),
                Some('h') => expanded.push_str(self.host),
                Some('n') => expanded.push_str(self.asked),
                Some('k') => expanded.push_str(self.alias.unwrap_or(self.asked)),
                Some('p') => expanded.push_str(&self.port.to_string()),
                Some('r') => expanded.push_str(self.user),
                Some('u') => expanded.push_str(self.local_user),
                Some('d') => expanded.push_str(self.home),
                // What is not known stays as it stands, and whoever reads it says so.
                Some(other) => expanded.extend(['%', other]),
                None => expanded.push('%'),
            }
        }
        expanded
    }

    fn path(&self, text: &str) -> PathBuf {
        let text = self.expand(text);
        match text.strip_prefix("~/") {
            Some(rest) => Path::new(self.home).join(rest),
            None => PathBuf::from(text),
        }
    }

    /// A command for a shell. What the configuration puts in must not be more than words, as OpenSSH has it.
    fn command(&self, command: &str) -> Result<String, Failure> {
        let harmless = |text: &str| text.chars().all(|c| c.is_alphanumeric() || "._-:%@+\\".contains(c));
        for (what, text) in [("host", self.host), ("host", self.asked), ("user", self.user)] {
            if !harmless(text) || text.starts_with('-') {
                return Err(Failure::new(
                    Step::Resolve,
                    format!(
                        "the {what} `{}` would go into ProxyCommand, where a shell reads it",
                        shown(text)
                    ),
                    "Correct it in SSH's configuration",
                ));
            }
        }
        Ok(self.expand(command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn understood(text: &str) -> Endpoint {
        understand(text, &SshHost::parse("n1").unwrap(), &Wishes::default()).unwrap()
    }

    #[test]
    fn names_of_files_may_have_spaces() {
        for (value, names) in [
            ("/tmp/my nodes/known ~/.ssh/known", &["/tmp/my nodes/known", "~/.ssh/known"][..]),
            ("\"/a b/known\" c", &["/a b/known", "c"]),
            ("/a /b", &["/a", "/b"]),
            ("known", &["known"]),
            ("", &[]),
        ] {
            assert_eq!(file_names(value), names, "{value}");
        }
    }

    #[test]
    fn what_ssh_says_is_understood() {
        let endpoint = understood(
            "user admin\nhostname 10.0.0.3\nport 2222\nidentityfile /k/%r@%h\nidentityfile none\nidentitiesonly yes\n\
             userknownhostsfile \"/a b/known\" /c\nstricthostkeychecking accept-new\nproxyjump me@j1:7,ssh://j2/\nconnecttimeout 3\n",
        );
        assert_eq!(
            (endpoint.host.as_str(), endpoint.port, endpoint.user.as_str()),
            ("10.0.0.3", 2222, "admin")
        );
        assert_eq!(endpoint.identities, [PathBuf::from("/k/admin@10.0.0.3")]);
        assert!(endpoint.identities_only);
        assert_eq!(endpoint.known_hosts, [PathBuf::from("/a b/known"), PathBuf::from("/c")]);
        assert_eq!(endpoint.host_keys, HostKeys::AcceptNew);
        let jumps = ["me@j1:7", "j2"].map(|jump| SshHost::parse(jump).unwrap()).to_vec();
        assert_eq!(endpoint.way, Way::Jump(jumps));
        assert_eq!(endpoint.patience, Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_command_gets_its_tokens_but_nothing_for_a_shell() {
        let endpoint = understood("hostname h\nport 7\nuser u\nproxycommand nc -x %% %h %p %r %n\n");
        assert_eq!(endpoint.way, Way::Command("nc -x % h 7 u n1".to_owned()));
        let text = "hostname h;reboot\nuser u\nproxycommand nc %h %p\n";
        let failure = understand(text, &SshHost::parse("n1").unwrap(), &Wishes::default()).unwrap_err();
        assert!(failure.what.contains("h;reboot"), "{failure:?}");
        assert_eq!(understood("hostname h\nproxycommand none\nproxyjump none\n").way, Way::Direct);
    }

    #[test]
    fn without_ssh_its_defaults_hold() {
        let endpoint = understood("");
        assert_eq!((endpoint.host.as_str(), endpoint.port), ("n1", 22));
        assert_eq!(endpoint.identities.len(), DEFAULT_KEYS.len());
        assert_eq!(endpoint.host_keys, HostKeys::Strict);
        assert!(endpoint.known_hosts[0].ends_with(".ssh/known_hosts"));
    }
}
