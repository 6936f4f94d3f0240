//! The format of a system under test. The doc comments are the reference that people read, and go into the JSON Schema.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use schism_units::Span;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A system under test: how to install, configure, start, stop and ask it.
///
/// Texts marked *template* are Tera templates (<https://keats.github.io/tera/>). They see:
///
/// | name | what |
/// |---|---|
/// | `node.name`, `node.index`, `node.address` | this node; `index` counts from 0 |
/// | `nodes` | all nodes, in order, each with `name`, `index`, `address` |
/// | `peers` | all nodes but this one |
/// | `ports.NAME` | the ports declared below |
/// | `settings.NAME` | the settings declared below, as the test file has them |
/// | `data`, `log_dir` | directories of the system's own on the node, made before it starts |
/// | `bin.NAME` | the path of a binary declared under `install`; `-` in its name becomes `_` |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "Schism system")]
pub struct SystemDef {
    /// The system's name, used in directories: small letters, digits and hyphens.
    #[schemars(length(min = 1, max = 40), example = &"etcd")]
    pub name: String,
    /// One line about it, for `schism list systems`.
    #[schemars(length(min = 1))]
    pub description: String,
    /// The versions this description was written for and tried with. A note for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
    /// Where its programs come from.
    pub install: Install,
    /// What a test file may choose under `system.settings`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, Setting>,
    /// The TCP ports it listens on, by a name of your choice. The same on every node.
    pub ports: BTreeMap<String, Port>,
    /// Files to write on each node before its processes start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileDef>,
    /// The processes of each node, in the order in which they start. The first one is what kill and pause faults hit.
    #[schemars(length(min = 1))]
    pub processes: Vec<ProcessDef>,
    /// How to stop its processes in an orderly way.
    #[serde(default)]
    pub stop: Stop,
    /// How to tell that a node is ready for load.
    pub health: Health,
    /// Who plays which part now.
    #[serde(default, skip_serializing_if = "Roles::is_empty")]
    pub roles: Roles,
    /// The clients that can talk to it. A workload uses the first one that it knows.
    #[schemars(length(min = 1))]
    pub clients: Vec<ClientDef>,
}

/// A TCP port.
pub type Port = std::num::NonZeroU16;

/// Where a system's programs come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Install {
    /// The programs that must be there. Looked for in `PATH`, then in the packages. `schism` is this program itself.
    #[schemars(length(min = 1), example = ["etcd"])]
    pub binaries: Vec<String>,
    /// Debian packages that have them. They are downloaded and unpacked into a cache, without root, where the programs
    /// are not installed. `version` and `package` in a test file are about the first one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = ["etcd-server"])]
    pub packages: Vec<String>,
    /// A command that prints the version: the first thing like `3.4` or `1.2.3-rc1` in its output is taken. Templates that
    /// see `bin` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = ["{{ bin.etcd }}", "--version"])]
    pub version_command: Option<Vec<String>>,
}

/// Something a test file may choose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Setting {
    /// What it does.
    #[schemars(length(min = 1))]
    pub description: String,
    /// What kind of value it takes. Default: text.
    #[serde(default)]
    pub kind: SettingKind,
    /// The only values it takes. Absent: any of its kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Value>,
    /// Its value where the test file says nothing. Absent: the test file must say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
}

/// What kind of value a setting takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SettingKind {
    /// Text.
    #[default]
    Text,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A duration such as `500ms`.
    Duration,
}

/// A file on each node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FileDef {
    /// Its absolute path. A template.
    #[schemars(example = &"{{ data }}/zoo.cfg")]
    pub path: String,
    /// Its content. A template.
    pub template: String,
    /// Its permissions. Default: `"0644"`.
    #[serde(default)]
    pub mode: FileMode,
}

/// Permissions of a file, in octal and in quotes: `"0644"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl Default for FileMode {
    fn default() -> Self {
        Self(0o644)
    }
}

impl Serialize for FileMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:04o}", self.0))
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        let mode = if digits { u32::from_str_radix(&text, 8).ok() } else { None };
        mode.map(Self).ok_or_else(|| {
            D::Error::custom(format!("`{text}` is not a file mode; write it in octal, like \"0644\""))
        })
    }
}

impl JsonSchema for FileMode {
    fn schema_name() -> Cow<'static, str> {
        "FileMode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Permissions of a file, in octal and in quotes.",
            "type": "string", "pattern": "^[0-7]{3,4}$", "examples": ["0644", "0755"]
        })
    }
}

/// A process to supervise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProcessDef {
    /// Its name, unique in the system.
    #[schemars(length(min = 1, max = 40), example = &"etcd")]
    pub name: String,
    /// The program and its arguments.
    #[schemars(length(min = 1))]
    pub command: Vec<Argument>,
    /// Environment variables. Templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Its working directory. A template. Default: `{{ data }}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// The file its output is appended to. A template. Default: `{{ log_dir }}/NAME.log`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

/// An argument of a command: a template, or a group of templates repeated for each node.
///
/// A template that renders to nothing is left out.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    /// One argument. A template.
    One(String),
    /// Several arguments for each of some nodes.
    Each(Repeat),
}

/// Arguments repeated for each of some nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Repeat {
    /// For whom: `peers`, all nodes but this one; `nodes`, all of them.
    pub each: Over,
    /// The arguments. Templates that also see `item`, the node in turn, with `name`, `index` and `address`.
    #[schemars(length(min = 1), example = ["--peer", "{{ item.name }}={{ item.address }}:{{ ports.peer }}"])]
    pub arguments: Vec<String>,
}

/// The nodes that [`Repeat`] goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Over {
    /// All nodes but this one.
    Peers,
    /// All nodes.
    Nodes,
}

impl Serialize for Argument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(text) => serializer.serialize_str(text),
            Self::Each(repeat) => repeat.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Argument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrRepeat)
    }
}

struct TextOrRepeat;

impl<'de> Visitor<'de> for TextOrRepeat {
    type Value = Argument;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an argument, or a mapping with `each` and `arguments`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Argument, E> {
        Ok(Argument::One(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Argument, A::Error> {
        Repeat::deserialize(MapAccessDeserializer::new(map)).map(Argument::Each)
    }
}

impl JsonSchema for Argument {
    fn schema_name() -> Cow<'static, str> {
        "Argument".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let repeat = generator.subschema_for::<Repeat>();
        json_schema!({
            "description": "An argument (a template), or a mapping with `each` and `arguments`.",
            "anyOf": [{ "type": "string" }, repeat]
        })
    }
}

/// How to stop a system's processes in an orderly way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Stop {
    /// The signal that asks. Default: TERM.
    #[serde(default)]
    pub signal: Signal,
    /// How long to wait before whatever is left is killed. Default: 5s.
    #[serde(default = "default_grace")]
    pub grace: Span,
}

fn default_grace() -> Span {
    Span::seconds(5)
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: Signal::default(), grace: default_grace() }
    }
}

/// A signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    /// Please end.
    #[default]
    Term,
    /// As Ctrl-C does.
    Int,
    /// End and dump.
    Quit,
    /// The terminal is gone.
    Hup,
    /// End now.
    Kill,
}

impl Signal {
    /// Its number on Linux.
    pub fn number(self) -> i32 {
        match self {
            Self::Term => libc::SIGTERM,
            Self::Int => libc::SIGINT,
            Self::Quit => libc::SIGQUIT,
            Self::Hup => libc::SIGHUP,
            Self::Kill => libc::SIGKILL,
        }
    }
}

/// How to tell that a node is ready for load. The cluster is healthy when every node is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Health {
    /// How to ask a node.
    pub probe: HealthProbe,
    /// How long a node may take from its start until it is healthy. Default: 30s.
    #[serde(default = "default_health_deadline")]
    pub deadline: Span,
    /// How long to wait between two questions. Default: 100ms.
    #[serde(default = "default_health_every")]
    pub every: Span,
}

fn default_health_deadline() -> Span {
    Span::seconds(30)
}

fn default_health_every() -> Span {
    Span::millis(100)
}

/// How to ask a node whether it is ready.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum HealthProbe {
    /// By an HTTP request.
    Http(HttpProbe),
}

/// An HTTP request, and the answer that means yes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HttpProbe {
    /// What to ask.
    pub request: HttpRequest,
    /// The status that means yes. Default: 200.
    #[serde(default = "default_status")]
    #[schemars(range(min = 100, max = 599))]
    pub status: u16,
    /// A Tera expression over `status` (a number) and `body` (parsed where it is JSON, text otherwise) that must hold as well.
    /// One that asks for what the answer has not does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"body.health == \"true\"")]
    pub when: Option<String>,
}

fn default_status() -> u16 {
    200
}

/// An HTTP request to a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HttpRequest {
    /// The name of a port declared under `ports`.
    #[schemars(example = &"client")]
    pub port: String,
    /// The method. Default: GET.
    #[serde(default)]
    pub method: Method,
    /// The path, with the query if there is one. A template.
    #[schemars(example = &"/health")]
    pub path: String,
    /// Header fields. Templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body. A template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// How long to wait for the answer. Default: 1s.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
}

fn default_timeout() -> Span {
    Span::seconds(1)
}

/// An HTTP method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// GET.
    #[default]
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
}

impl Method {
    /// As it is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }
}

/// Who plays which part now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Roles {
    /// How to find the leader. Absent: the system has none, and faults that aim at the leader are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<LeaderRole>,
}

impl Roles {
    fn is_empty(&self) -> bool {
        self.leader.is_none()
    }
}

/// How to find the leader. Every node is asked; of those that say yes, the one with the highest term leads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LeaderRole {
    /// How to ask a node whether it leads.
    pub probe: LeaderProbe,
    /// A Tera expression over `status` and `body` for the term of its leadership: a number that grows with every election.
    /// Absent: all terms are equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"body.raftTerm")]
    pub term: Option<String>,
}

/// How to ask a node whether it leads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum LeaderProbe {
    /// By an HTTP request.
    Http(HttpProbe),
}

/// A client that can talk to the system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ClientDef {
    /// The client's name: one that comes with Schism: `demo` or `etcd`.
    #[schemars(example = &"etcd")]
    pub client: String,
    /// The name of the port it connects to.
    #[schemars(example = &"client")]
    pub port: String,
}

impl SystemDef {
    /// Every binary under its bare name, for plans: where it is on a node is known once it is installed.
    pub fn binary_names(&self) -> BTreeMap<String, String> {
        self.install.binaries.iter().map(|name| (name.clone(), name.clone())).collect()
    }
}
