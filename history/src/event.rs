//! One event of a history, with the field's own names.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{Error as _, MapAccess};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// Who acted. A client process is single-threaded: it has at most one open operation, and never acts again after
/// an `info` completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Process {
    /// A client process. After an unknown outcome its worker goes on under a fresh number.
    Client(u64),
    /// The nemesis. All its events are of kind [`Kind::Info`].
    Nemesis,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Process::Client(number) => write!(f, "{number}"),
            Process::Nemesis => f.write_str("nemesis"),
        }
    }
}

impl Serialize for Process {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Process::Client(number) => serializer.serialize_u64(*number),
            Process::Nemesis => serializer.serialize_str("nemesis"),
        }
    }
}

impl<'de> Deserialize<'de> for Process {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Process;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a process number or \"nemesis\"")
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Process, E> {
                Ok(Process::Client(number))
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Process, E> {
                match name {
                    "nemesis" => Ok(Process::Nemesis),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(name), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// What an event says about its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The operation is about to be sent.
    Invoke,
    /// It happened.
    Ok,
    /// It certainly did not happen and never will.
    Fail,
    /// Unknown: it may happen at any later time, or never.
    Info,
}

impl Kind {
    /// The name in the file: `invoke`, `ok`, `fail` or `info`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Invoke => "invoke",
            Kind::Ok => "ok",
            Kind::Fail => "fail",
            Kind::Info => "info",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Position in the history, from 0.
    pub index: u64,
    /// Nanoseconds since the start of the run, monotonic, read on the controller.
    pub time: u64,
    /// Who acted.
    pub process: Process,
    /// What this event says.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The name of the operation: `read`, `write`, `cas`, `txn`, `partition`, …
    pub f: Cow<'static, str>,
    /// The independent key, where the workload has keys. A null key in a file is read as none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Value>,
    /// The operation's argument or result: for `read` null on invocation and the value read on completion, for
    /// `write` the value written, for `cas` the pair `[expected, new]`.
    pub value: Value,
    /// The node the client is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Arc<str>>,
    /// Why the completion is `fail` or `info`. A null error in a file is read as none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    /// Fields this version does not know; they are kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let PartialEvent { index, time, mut event } = PartialEvent::deserialize(deserializer)?;
        event.index = index.ok_or_else(|| D::Error::missing_field("index"))?;
        event.time = time.ok_or_else(|| D::Error::missing_field("time"))?;
        Ok(event)
    }
}

/// An event that may lack `index` and `time`, as the histories of other tools do. `event.index` and `event.time` are
/// 0 until somebody fills them in.
///
/// Written by hand because `flatten` buffers every field before it looks at any: it costs most of the time of reading
/// a history, and its errors have no column.
pub struct PartialEvent {
    /// Its index, if it names one.
    pub index: Option<u64>,
    /// Its time, if it names one.
    pub time: Option<u64>,
    /// Everything else.
    pub event: Event,
}

impl<'de> Deserialize<'de> for PartialEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = PartialEvent;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event: an object with \"process\", \"type\" and \"f\"")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PartialEvent, A::Error> {
                visit_event(map)
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

fn visit_event<'de, A: MapAccess<'de>>(mut map: A) -> Result<PartialEvent, A::Error> {
    let (mut index, mut time, mut process, mut kind, mut f) = (None, None, None, None, None);
    // The outer level says whether the field was there at all, so that a second one is noticed.
    let (mut key, mut value, mut node, mut error) = (None, None, None, None);
    let mut extra = Map::new();
    while let Some(name) = map.next_key::<Field>()? {
        match name {
            Field::Index => fill(&mut index, "index", map.next_value::<u64>()?)?,
            Field::Time => fill(&mut time, "time", map.next_value::<u64>()?)?,
            Field::Process => fill(&mut process, "process", map.next_value::<Process>()?)?,
            Field::Type => fill(&mut kind, "type", map.next_value::<Kind>()?)?,
            Field::F => fill(&mut f, "f", map.next_value::<Name>()?.0)?,
            Field::Key => fill(&mut key, "key", map.next_value::<Option<Value>>()?)?,
            Field::Value => fill(&mut value, "value", map.next_value::<Value>()?)?,
            Field::Node => fill(&mut node, "node", map.next_value::<Option<Arc<str>>>()?)?,
            Field::Error => fill(&mut error, "error", map.next_value::<Option<Value>>()?)?,
            Field::Other(name) => {
                let field = map.next_value::<Value>()?;
                if extra.contains_key(&name) {
                    return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
                }
                extra.insert(name, field);
            }
        }
    }
    let event = Event {
        index: 0,
        time: 0,
        process: process.ok_or_else(|| A::Error::missing_field("process"))?,
        kind: kind.ok_or_else(|| A::Error::missing_field("type"))?,
        f: f.ok_or_else(|| A::Error::missing_field("f"))?,
        key: key.flatten(),
        value: value.unwrap_or(Value::Null),
        node: node.flatten(),
        error: error.flatten(),
        extra,
    };
    Ok(PartialEvent { index, time, event })
}

fn fill<T, E: serde::de::Error>(slot: &mut Option<T>, name: &'static str, found: T) -> Result<(), E> {
    match slot.replace(found) {
        None => Ok(()),
        Some(_) => Err(E::duplicate_field(name)),
    }
}

enum Field {
    Index,
    Time,
    Process,
    Type,
    F,
    Key,
    Value,
    Node,
    Error,
    Other(String),
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Field;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Field, E> {
                Ok(match name {
                    "index" => Field::Index,
                    "time" => Field::Time,
                    "process" => Field::Process,
                    "type" => Field::Type,
                    "f" => Field::F,
                    "key" => Field::Key,
                    "value" => Field::Value,
                    "node" => Field::Node,
                    "error" => Field::Error,
                    other => Field::Other(other.to_owned()),
                })
            }
        }
        deserializer.deserialize_identifier(Visitor)
    }
}

/// The name of an operation, without an allocation for the common ones.
struct Name(Cow<'static, str>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an operation")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Name, E> {
                const COMMON: [&str; 4] = ["read", "write", "cas", "txn"];
                Ok(Name(match COMMON.iter().find(|common| **common == name) {
                    Some(common) => Cow::Borrowed(common),
                    None => Cow::Owned(name.to_owned()),
                }))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_keeps_unknown_fields() {
        let line = r#"{"index":4,"time":9,"process":2,"type":"ok","f":"cas","key":"x","value":[1,2],"node":"n1","error":"e","later":{"b":1,"a":2}}"#;
        let event: Event = serde_json::from_str(line).unwrap();
        assert_eq!(event.extra["later"]["a"], 2);
        assert_eq!(serde_json::to_string(&event).unwrap(), line);
    }

    #[test]
    fn a_missing_value_is_null_and_other_missing_fields_are_named() {
        let event: Event =
            serde_json::from_str(r#"{"index":0,"time":0,"process":"nemesis","type":"info","f":"kill"}"#)
                .unwrap();
        assert_eq!((event.process, event.value), (Process::Nemesis, Value::Null));
        for (line, missing) in [
            (r#"{"time":0,"process":1,"type":"ok","f":"read"}"#, "index"),
            (r#"{"index":0,"process":1,"type":"ok","f":"read"}"#, "time"),
            (r#"{"index":0,"time":0,"type":"ok","f":"read"}"#, "process"),
            (r#"{"index":0,"time":0,"process":1,"f":"read"}"#, "type"),
            (r#"{"index":0,"time":0,"process":1,"type":"ok"}"#, "f"),
        ] {
            let error = serde_json::from_str::<Event>(line).unwrap_err().to_string();
            assert!(error.contains(&format!("missing field `{missing}`")), "{error}");
        }
    }

    #[test]
    fn a_field_that_comes_twice_is_an_error() {
        for line in [
            r#"{"index":0,"time":0,"process":1,"type":"ok","f":"read","value":1,"value":2}"#,
            r#"{"index":0,"time":0,"process":1,"type":"ok","f":"read","key":null,"key":2}"#,
            r#"{"index":0,"time":0,"process":1,"type":"ok","f":"read","zone":1,"zone":2}"#,
        ] {
            let error = serde_json::from_str::<Event>(line).unwrap_err().to_string();
            assert!(error.contains("duplicate field"), "{error}");
        }
    }
}
