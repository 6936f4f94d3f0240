//! Quantities with units, as people write them in a test file: `1m 30s`, `1000/s`, `2n`.
//!
//! Each type parses with [`std::str::FromStr`], prints itself back in the shortest form that parses to the same value,
//! serialises as that text, and describes itself to the JSON Schema with a `format` of its own, so that a validator
//! can call the same parser and give the same message.

mod concurrency;
mod rate;
mod size;
mod span;

pub use concurrency::Concurrency;
pub use rate::Rate;
pub use size::Size;
pub use span::Span;

/// `1 node`, `3 nodes`.
pub fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Why a quantity does not parse: what was expected, with an example.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(pub String);

/// The parser behind a JSON Schema `format`, for validators: `duration`, `rate`, `size` and `concurrency`.
///
/// `None` where the format is not one of ours.
pub fn check_format(format: &str, text: &str) -> Option<Result<(), UnitError>> {
    match format {
        "duration" => Some(text.parse::<Span>().map(|_| ())),
        "rate" => Some(text.parse::<Rate>().map(|_| ())),
        "size" => Some(text.parse::<Size>().map(|_| ())),
        "concurrency" => Some(text.parse::<Concurrency>().map(|_| ())),
        _ => None,
    }
}

/// Serialises through `Display`, deserialises through `FromStr`, describes itself as a string of that `format`.
macro_rules! textual {
    ($type:ty, $format:literal, $description:literal, $pattern:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string", "format": $format, "description": $description, "pattern": $pattern
                })
            }
        }
    };
}
pub(crate) use textual;
