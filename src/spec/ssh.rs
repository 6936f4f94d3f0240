//! `cluster: { ssh: … }`: hosts that SSH reaches, as people write them.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Hosts that SSH reaches. What is not said here comes from SSH's own configuration (`~/.ssh/config`), as for `ssh HOST`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SshCluster {
    /// The nodes: a list, or a file with one host a line.
    pub hosts: SshHosts,
    /// The user to log in as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub user: Option<String>,
    /// The port of the SSH servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// The private key to log in with, relative to the test file. Tried before those of the configuration and of the SSH agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), example = &"~/.ssh/id_ed25519")]
    pub key: Option<String>,
    /// Whether to become root with `sudo`. Default: unless the user is root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sudo: Option<bool>,
    /// An SSH configuration in place of `~/.ssh/config` (as `ssh -F`), relative to the test file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub config: Option<String>,
    /// What becomes of the key of a host that is not known yet. Default: what the configuration says, else `strict`. A key that
    /// changed is always refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_keys: Option<HostKeys>,
    /// How clients reach the ports of the nodes.
    #[serde(default)]
    pub reach: Reach,
    /// Says that faults may be made on these hosts, without the marker that `schism nodes allow` puts on them. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disposable: bool,
}

/// What becomes of the key of a host that is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeys {
    /// It is refused.
    Strict,
    /// It is written down and trusted from then on.
    AcceptNew,
}

/// How clients reach the ports of the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Directly; through the SSH connection where that is made through another host or command, or where the node knows
    /// itself by another address than the one that SSH reached it at.
    #[default]
    Auto,
    /// Directly, whatever the way SSH takes.
    Direct,
    /// Through the SSH connection.
    Ssh,
}

/// The nodes of an SSH cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SshHosts {
    /// As they are listed.
    List(Vec<SshHost>),
    /// One a line in this file, relative to the test file.
    File(String),
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
/// A file of hosts. A line is `[user@]host[:port]`, then if need be `name=NAME` and `address=ADDRESS`; `#` begins a comment.
struct SshHostsFile {
    /// The file, relative to the test file.
    #[schemars(length(min = 1), example = &"hosts.txt")]
    file: String,
}

/// A host of an SSH cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshHost {
    /// The host as for `ssh HOST`: a name of the configuration or of DNS, or an address.
    pub host: String,
    /// The user to log in as.
    pub user: Option<String>,
    /// The port of its SSH server.
    pub port: Option<u16>,
    /// The node's name in the test and its reports. Default: the host.
    pub name: Option<String>,
    /// The address other nodes know it by. Default: found on the node.
    pub address: Option<IpAddr>,
}

/// A host with what the test says about it.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct SshHostDetails {
    /// The host as for `ssh HOST`, `[user@]host[:port]`.
    #[schemars(length(min = 1), example = &"admin@10.0.0.3:2222")]
    host: String,
    /// The node's name in the test and its reports. Default: the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    name: Option<String>,
    /// The IP address other nodes know it by. Default: the one SSH reached it at if the node has that, else that of its default
    /// route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    address: Option<IpAddr>,
}

impl SshHost {
    /// Reads `[user@]host[:port]`; an IPv6 address with a port needs brackets.
    ///
    /// # Errors
    /// What is wrong with it, and how it should look.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("`{text}` is no host: {why}; write [user@]host[:port]"));
        let (user, rest) = match text.rsplit_once('@') {
            Some(("", _)) => return wrong("the user before @ is missing"),
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, text),
        };
        let (host, port) = if let Some(inner) = rest.strip_prefix('[') {
            match inner.split_once(']') {
                Some((host, "")) => (host, None),
                Some((host, after)) => match after.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None => return wrong("after ] only :port can stand"),
                },
                None => return wrong("the ] is missing"),
            }
        } else if rest.matches(':').count() > 1 {
            (rest, None)
        } else {
            rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)))
        };
        let port = match port.map(str::parse::<u16>) {
            None => None,
            Some(Ok(port)) if port > 0 => Some(port),
            Some(_) => return wrong("the port is no number from 1 to 65535"),
        };
        // The name goes to ssh's own configuration and from there into commands: what a shell would act on is no host.
        let harmless = |text: &str, more: &str| {
            !text.is_empty()
                && !text.starts_with('-')
                && text.chars().all(|c| c.is_alphanumeric() || more.contains(c))
        };
        if !harmless(host, "._-:%") {
            return wrong("a host has letters, digits, dots and hyphens, and does not begin with a hyphen");
        }
        if user.as_deref().is_some_and(|user| !harmless(user, "._-+@\\")) {
            return wrong("a user has letters, digits, dots and hyphens, and does not begin with a hyphen");
        }
        Ok(Self { host: host.to_owned(), user, port, name: None, address: None })
    }

    /// The node's name.
    pub fn node(&self) -> String {
        // A colon means a port, or ends a name, in too many systems.
        self.name.clone().unwrap_or_else(|| self.host.replace([':', '%'], "-"))
    }

    /// The address other nodes know it by, as far as the test file says.
    pub fn known_address(&self) -> Option<IpAddr> {
        self.address.or_else(|| self.host.parse().ok())
    }

    /// `[user@]host[:port]`.
    pub fn target(&self) -> String {
        let user = self.user.as_ref().map_or_else(String::new, |user| format!("{user}@"));
        match self.port {
            Some(port) if self.host.contains(':') => format!("{user}[{}]:{port}", self.host),
            Some(port) => format!("{user}{}:{port}", self.host),
            None => format!("{user}{}", self.host),
        }
    }

    fn with(self, name: Option<String>, address: Option<IpAddr>) -> Result<Self, String> {
        if let Some(name) = &name {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if name.is_empty() || name.starts_with(['.', '-']) || !name.chars().all(plain) {
                return Err(format!(
                    "`{name}` is no name of a node: letters, digits, dots and hyphens, please"
                ));
            }
        }
        Ok(Self { name, address, ..self })
    }
}

/// Reads a line of a hosts file; `None` where it has none.
///
/// # Errors
/// What is wrong with it.
pub fn host_of_line(line: &str) -> Result<Option<SshHost>, String> {
    let line = line.split('#').next().unwrap_or_default();
    let mut words = line.split_whitespace();
    let Some(host) = words.next() else { return Ok(None) };
    let (mut name, mut address) = (None, None);
    for word in words {
        match word.split_once('=') {
            Some(("name", value)) => name = Some(value.to_owned()),
            Some(("address", value)) => {
                address = Some(value.parse().map_err(|_| format!("`{value}` is no IP address"))?);
            }
            _ => {
                return Err(format!(
                    "`{word}` is neither name=NAME nor address=ADDRESS; one host stands on a line"
                ));
            }
        }
    }
    SshHost::parse(host)?.with(name, address).map(Some)
}

impl Serialize for SshHost {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.name.is_none() && self.address.is_none() {
            return serializer.serialize_str(&self.target());
        }
        SshHostDetails { host: self.target(), name: self.name.clone(), address: self.address }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SshHost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HostOrDetails)
    }
}

struct HostOrDetails;

impl<'de> Visitor<'de> for HostOrDetails {
    type Value = SshHost;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[user@]host[:port], or a mapping with `host`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<SshHost, E> {
        SshHost::parse(text).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SshHost, A::Error> {
        let SshHostDetails { host, name, address } =
            SshHostDetails::deserialize(MapAccessDeserializer::new(map))?;
        SshHost::parse(&host).and_then(|host| host.with(name, address)).map_err(A::Error::custom)
    }
}

impl JsonSchema for SshHost {
    fn schema_name() -> Cow<'static, str> {
        "SshHost".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let details = generator.subschema_for::<SshHostDetails>();
        json_schema!({
            "description": "A host: `[user@]host[:port]` as for `ssh`, or a mapping with `host` and more.",
            "anyOf": [{ "type": "string", "minLength": 1 }, details],
            "examples": ["n1", { "host": "n3", "name": "c", "address": "10.0.0.7" }]
        })
    }
}

impl Serialize for SshHosts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::List(hosts) => hosts.serialize(serializer),
            Self::File(file) => SshHostsFile { file: file.clone() }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for SshHosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListOrFile)
    }
}

struct ListOrFile;

impl<'de> Visitor<'de> for ListOrFile {
    type Value = SshHosts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of hosts, or a mapping with `file`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<SshHosts, A::Error> {
        let mut hosts = Vec::new();
        while let Some(host) = items.next_element()? {
            hosts.push(host);
        }
        Ok(SshHosts::List(hosts))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SshHosts, A::Error> {
        SshHostsFile::deserialize(MapAccessDeserializer::new(map))
            .map(|SshHostsFile { file }| SshHosts::File(file))
    }
}

impl JsonSchema for SshHosts {
    fn schema_name() -> Cow<'static, str> {
        "SshHosts".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let host = generator.subschema_for::<SshHost>();
        let file = generator.subschema_for::<SshHostsFile>();
        json_schema!({
            "description": "The nodes: a list of hosts, or a file with one host a line.",
            "anyOf": [{ "type": "array", "items": host, "minItems": 1, "maxItems": HOSTS_MAX }, file],
            "examples": [["n1", "n2", "admin@10.0.0.3:2222"], { "file": "hosts.txt" }]
        })
    }
}

/// The most nodes an SSH cluster can have.
pub const HOSTS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_ssh_would() {
        for (text, host, user, port) in [
            ("n1", "n1", None, None),
            ("admin@10.0.0.3:2222", "10.0.0.3", Some("admin"), Some(2222)),
            ("[fe80::1%eth0]:22", "fe80::1%eth0", None, Some(22)),
            ("root@::1", "::1", Some("root"), None),
            ("me@corp@n1", "n1", Some("me@corp"), None),
        ] {
            let read = SshHost::parse(text).unwrap();
            assert_eq!((read.host.as_str(), read.user.as_deref(), read.port), (host, user, port), "{text}");
            assert_eq!(SshHost::parse(&read.target()), Ok(read), "{text} survives being written");
        }
        for text in [
            "",
            "-oProxyCommand=x",
            "a b",
            "n1:",
            "n1:0",
            "n1:70000",
            "@n1",
            "-u@n1",
            "$(x)",
            "[::1",
            "[::1]22",
        ] {
            assert!(SshHost::parse(text).is_err(), "{text}");
        }
        assert_eq!(SshHost::parse("fe80::1").unwrap().node(), "fe80--1");
    }

    #[test]
    fn a_line_of_a_hosts_file_names_a_host() {
        assert_eq!(host_of_line("  # nothing"), Ok(None));
        let host = host_of_line("admin@h1:7 name=a address=10.0.0.1 # first").unwrap().unwrap();
        assert_eq!((host.node().as_str(), host.known_address()), ("a", "10.0.0.1".parse().ok()));
        for line in ["h1 h2", "h1 address=x", "h1 name=../x", "h1 name="] {
            assert!(host_of_line(line).is_err(), "{line}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = r#"{"hosts":["n1",{"host":"me@n3:7","name":"c","address":"10.0.0.7"}],"reach":"ssh","disposable":true}"#;
        let cluster: SshCluster = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&cluster).unwrap(), text);
        let file: SshHosts = serde_json::from_str(r#"{"file":"hosts.txt"}"#).unwrap();
        assert_eq!(file, SshHosts::File("hosts.txt".to_owned()));
    }
}
