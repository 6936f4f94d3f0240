//! The shape of a test file. The doc comments are the reference that people read, and go into the JSON Schema.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use schism_nemesis::spec::NemesisSpec;
use schism_units::{Size, Span};
use schism_workloads::register::RegisterSpec;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::ssh::SshCluster;

/// A test: which system on which cluster, under which load and which faults, for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "Schism test file", example = Test::example())]
pub struct Test {
    /// What the test is called in reports and in `runs/`. Default: the file's name without its extension.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(min = 1, max = 100), example = &"etcd survives partitions")]
    pub name: String,
    /// The system under test: a name from `schism list systems`, the path of a YAML file of your own (it contains a `/` or
    /// ends with `.yaml`, and is relative to the test file), or a mapping with `name` and more.
    pub system: SystemChoice,
    /// Where the system's nodes come from.
    pub cluster: Cluster,
    /// What the clients do.
    pub workload: Workload,
    /// Which faults to make, and when. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nemesis: Option<NemesisSpec>,
    /// How long load and faults go on. Default: 60s.
    #[serde(default = "default_time_limit")]
    pub time_limit: Span,
    /// Rest between the last heal and the final reads, for the system to recover. Default: 2s.
    #[serde(default = "default_settle")]
    pub settle: Span,
    /// Fixes everything random: operations and the fault schedule. Absent: drawn, printed and recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 42)]
    pub seed: Option<u64>,
    /// Limits of the checkers. Which checkers apply follows from the workload.
    #[serde(default)]
    pub checks: Checks,
    /// What a run must have done before `pass` means anything. A run that did less is `void`.
    #[serde(default)]
    pub power: Power,
}

fn default_time_limit() -> Span {
    Span::seconds(60)
}

fn default_settle() -> Span {
    Span::seconds(2)
}

impl Test {
    fn example() -> Value {
        serde_json::json!({
            "name": "etcd survives partitions",
            "system": "etcd",
            "cluster": { "local": 5 },
            "workload": { "register": { "keys": 10, "rate": "1000/s", "concurrency": "2n" } },
            "nemesis": { "every": "10s", "faults": [{ "partition": { "shape": ["halves", "one"] } }] },
            "time-limit": "60s"
        })
    }
}

/// The system under test.
///
/// Written as a bare name or path where nothing else is to be said.
#[derive(Clone, Debug, PartialEq)]
pub struct SystemChoice {
    /// A name from `schism list systems`, or the path of a YAML file.
    pub name: String,
    /// The version wanted. Absent: whatever is installed, else the newest on offer.
    pub version: Option<String>,
    /// A Debian package file to take the system from, relative to the test file.
    pub package: Option<String>,
    /// Values for the settings that the system declares.
    pub settings: BTreeMap<String, Value>,
}

/// A system with what the test says about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct SystemDetails {
    /// A name from `schism list systems`, or the path of a YAML file.
    #[schemars(example = &"etcd")]
    name: String,
    /// The version wanted, in quotes. A prefix will do: `"3.4"` takes any 3.4. Absent: whatever is installed, else the newest
    /// on offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"3.4")]
    version: Option<String>,
    /// A Debian package file to take the system from, relative to the test file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"./etcd-server_3.4.23-4_amd64.deb")]
    package: Option<String>,
    /// Values for the settings that the system declares.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    settings: BTreeMap<String, Value>,
}

impl SystemChoice {
    /// The system of this name or path, and nothing said about it.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), version: None, package: None, settings: BTreeMap::new() }
    }

    fn is_bare(&self) -> bool {
        self.version.is_none() && self.package.is_none() && self.settings.is_empty()
    }
}

impl From<SystemDetails> for SystemChoice {
    fn from(details: SystemDetails) -> Self {
        let SystemDetails { name, version, package, settings } = details;
        Self { name, version, package, settings }
    }
}

impl From<SystemChoice> for SystemDetails {
    fn from(choice: SystemChoice) -> Self {
        let SystemChoice { name, version, package, settings } = choice;
        Self { name, version, package, settings }
    }
}

impl Serialize for SystemChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_bare() {
            serializer.serialize_str(&self.name)
        } else {
            SystemDetails::from(self.clone()).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for SystemChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrDetails)
    }
}

struct NameOrDetails;

impl<'de> Visitor<'de> for NameOrDetails {
    type Value = SystemChoice;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a system's name, or a mapping with `name`")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<SystemChoice, E> {
        Ok(SystemChoice::named(name))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SystemChoice, A::Error> {
        SystemDetails::deserialize(MapAccessDeserializer::new(map)).map(SystemChoice::from)
    }
}

impl JsonSchema for SystemChoice {
    fn schema_name() -> Cow<'static, str> {
        "SystemChoice".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let details = generator.subschema_for::<SystemDetails>();
        json_schema!({
            "description": "The system under test: a name, a path, or a mapping with `name` and more.",
            "anyOf": [{ "type": "string", "minLength": 1 }, details],
            "examples": ["etcd", { "name": "demo", "settings": { "mode": "local-reads" } }]
        })
    }
}

/// Where the nodes come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Cluster {
    /// This many nodes on this machine, in Linux namespaces of their own. Needs neither root nor Docker.
    Local(LocalNodes),
    /// Hosts that SSH reaches; see docs/ssh.md.
    Ssh(SshCluster),
}

/// A number of nodes on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16")]
pub struct LocalNodes(u16);

impl JsonSchema for LocalNodes {
    fn schema_name() -> Cow<'static, str> {
        "LocalNodes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of nodes on this machine.",
            "type": "integer", "minimum": 1, "maximum": Self::MAX, "examples": [5]
        })
    }
}

impl LocalNodes {
    /// The most nodes a local cluster can have.
    pub const MAX: u16 = 32;

    /// How many.
    pub fn count(self) -> usize {
        usize::from(self.0)
    }
}

impl TryFrom<u16> for LocalNodes {
    type Error = String;

    fn try_from(nodes: u16) -> Result<Self, String> {
        match nodes {
            1..=Self::MAX => Ok(Self(nodes)),
            _ => Err(format!("a local cluster has from 1 to {} nodes, not {nodes}", Self::MAX)),
        }
    }
}

/// What the clients do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Workload {
    /// Reads, writes and compare-and-set on independent registers, checked for linearizability.
    Register(RegisterSpec),
}

impl Workload {
    /// Its name, as in the test file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Register(_) => "register",
        }
    }
}

/// Limits of the checkers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Checks {
    /// The linearizability checker.
    #[serde(default)]
    pub linearizable: LinearizableCheck,
}

/// What the linearizability checker may use. Beyond it the verdict is `unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LinearizableCheck {
    /// Time for the check. Default: 60s.
    #[serde(default = "default_check_time")]
    pub time_limit: Span,
    /// Memory for the check. Default: 1GiB.
    #[serde(default = "default_check_memory")]
    pub memory_limit: Size,
}

fn default_check_time() -> Span {
    Span::seconds(60)
}

fn default_check_memory() -> Size {
    Size(1 << 30)
}

impl Default for LinearizableCheck {
    fn default() -> Self {
        Self { time_limit: default_check_time(), memory_limit: default_check_memory() }
    }
}

/// What a run must have done before `pass` means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Power {
    /// At least this many operations were acknowledged (`ok`). Default: 100.
    #[serde(default = "default_ok")]
    #[schemars(range(min = 1))]
    pub ok: u64,
}

fn default_ok() -> u64 {
    100
}

impl Default for Power {
    fn default() -> Self {
        Self { ok: default_ok() }
    }
}
