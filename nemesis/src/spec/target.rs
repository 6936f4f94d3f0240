//! Whom a fault hits, as a person writes it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Whom a fault hits: a role, a number of nodes drawn by the seed, or nodes by name.
///
/// As text: `one`, `minority`, `majority`, `all`, `leader`, `followers`, a number, a node's name, or several names joined
/// by `+`. The words win over nodes of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One node.
    One,
    /// As many nodes as can fail while a majority is left.
    Minority,
    /// The smallest majority.
    Majority,
    /// Every node.
    All,
    /// Whoever leads when the fault starts.
    Leader,
    /// Everybody but the leader.
    Followers,
    /// This many nodes.
    Count(u64),
    /// These nodes together.
    Nodes(Vec<String>),
}

impl Target {
    /// The words that are not names of nodes.
    pub const WORDS: [&'static str; 6] = ["one", "minority", "majority", "all", "leader", "followers"];
}

/// Why a text is not a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a target; write one, minority, majority, all, leader, followers, a number, or nodes like n1 or n1+n2"
)]
pub struct TargetError(String);

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let refused = || TargetError(text.to_owned());
        Ok(match text.trim() {
            "one" => Self::One,
            "minority" => Self::Minority,
            "majority" => Self::Majority,
            "all" => Self::All,
            "leader" => Self::Leader,
            "followers" => Self::Followers,
            digits if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Self::Count(digits.parse().map_err(|_| refused())?)
            }
            names => {
                let names: Vec<String> = names.split('+').map(|name| name.trim().to_owned()).collect();
                if names.iter().any(|name| name.is_empty() || name.contains(char::is_whitespace)) {
                    return Err(refused());
                }
                Self::Nodes(names)
            }
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => f.write_str("one"),
            Self::Minority => f.write_str("minority"),
            Self::Majority => f.write_str("majority"),
            Self::All => f.write_str("all"),
            Self::Leader => f.write_str("leader"),
            Self::Followers => f.write_str("followers"),
            Self::Count(count) => write!(f, "{count}"),
            Self::Nodes(names) => f.write_str(&names.join("+")),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u64(*count),
            other => serializer.collect_str(other),
        }
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrText)
    }
}

struct NumberOrText;

impl Visitor<'_> for NumberOrText {
    type Value = Target;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a target: one, minority, majority, all, leader, followers, a number, or nodes like n1 or n1+n2",
        )
    }

    fn visit_u64<E: Error>(self, count: u64) -> Result<Target, E> {
        Ok(Target::Count(count))
    }

    fn visit_i64<E: Error>(self, count: i64) -> Result<Target, E> {
        u64::try_from(count)
            .map(Target::Count)
            .map_err(|_| E::invalid_value(Unexpected::Signed(count), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Target, E> {
        text.parse().map_err(E::custom)
    }
}

impl JsonSchema for Target {
    fn schema_name() -> Cow<'static, str> {
        "Target".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Whom a fault hits: one, minority, majority, all, leader, followers, a number of nodes, a \
                            node's name (n1), or several names joined by + (n1+n2).",
            "type": ["integer", "string"],
            "minimum": 1,
            "minLength": 1,
            "examples": ["one", "minority", "majority", "all", "leader", "followers", 2, "n1", "n1+n2"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_every_form() {
        for text in ["one", "minority", "majority", "all", "leader", "followers", "2", "n1", "n1+n2"] {
            let target: Target = text.parse().unwrap();
            assert_eq!(target.to_string(), text);
        }
        assert_eq!(" n1 + n2 ".parse(), Ok(Target::Nodes(vec!["n1".into(), "n2".into()])));
        assert_eq!("2".parse(), Ok(Target::Count(2)));
    }

    #[test]
    fn refuses_what_names_nobody() {
        for text in ["", "+", "n1+", "n1, n2", "two nodes", "99999999999999999999"] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains("is not a target"), "{text}: {error}");
        }
        assert!(serde_json::from_str::<Target>("-1").unwrap_err().to_string().contains("-1"));
        assert!(serde_json::from_str::<Target>("1.5").is_err());
        assert!(serde_json::from_str::<Target>("true").is_err());
    }
}
