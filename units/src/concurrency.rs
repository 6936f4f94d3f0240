//! How many workers.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::UnitError;

/// A number of workers: `10`, or `2n` for two a node. Always at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// This many in all.
    Total(usize),
    /// This many a node.
    PerNode(usize),
}

impl Concurrency {
    /// The number of workers on a cluster of `nodes`.
    pub fn workers(self, nodes: usize) -> usize {
        match self {
            Self::Total(workers) => workers,
            Self::PerNode(workers) => workers.saturating_mul(nodes),
        }
    }
}

impl FromStr for Concurrency {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let trimmed = text.trim();
        let (number, per_node) = match trimmed.strip_suffix('n') {
            Some(number) => (if number.is_empty() { "1" } else { number }, true),
            None => (trimmed, false),
        };
        let count: usize = number.trim().parse().map_err(|_| {
            UnitError(format!("`{text}` is not a number of workers; write 10, or 2n for two workers a node"))
        })?;
        match count {
            0 => Err(UnitError("at least one worker is needed".to_owned())),
            _ if per_node => Ok(Self::PerNode(count)),
            _ => Ok(Self::Total(count)),
        }
    }
}

impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Total(workers) => write!(f, "{workers}"),
            Self::PerNode(workers) => write!(f, "{workers}n"),
        }
    }
}

impl Serialize for Concurrency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Total(workers) => serializer.serialize_u64(*workers as u64),
            Self::PerNode(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Concurrency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Concurrency {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Concurrency".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of workers: 10, or 2n for two a node.",
            "type": ["integer", "string"], "format": "concurrency", "minimum": 1, "pattern": r"^\s*[0-9]*n?\s*$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, workers) in [("10", 10), ("2n", 10), ("n", 5), (" 3n ", 15)] {
            assert_eq!(text.parse::<Concurrency>().map(|c| c.workers(5)), Ok(workers), "{text}");
        }
        for text in ["0", "0n", "x", "-1", ""] {
            assert!(text.parse::<Concurrency>().is_err(), "{text}");
        }
    }
}
