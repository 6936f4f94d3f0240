//! What a person writes.

use std::num::{NonZeroU64, NonZeroUsize};

use schemars::JsonSchema;
use schism_units::{Concurrency, Rate, Span};
use serde::{Deserialize, Serialize};

use super::OPERATIONS;

/// Reads, writes of unique values and compare-and-set on independent keys that rotate. Promise: each key is a
/// linearizable register.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RegisterSpec {
    /// How many keys are in use at once.
    pub keys: NonZeroUsize,
    /// Operations on a key before it is left for a fresh one. Short histories are checked fast.
    pub ops_per_key: NonZeroU64,
    /// Operations per time over all workers together, on average.
    pub rate: Rate,
    /// How many workers, and so how many operations can be open at once: `10`, or `2n` for two a node.
    pub concurrency: Concurrency,
    /// How long one operation may take before its outcome counts as unknown.
    pub deadline: Span,
    /// The consistency that reads ask the system for, by the client's name for it (etcd: `linearizable`,
    /// `serializable`). Absent: the client's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reads: Option<String>,
    /// How often each operation is chosen, relative to the others. Absent: two reads for a write and a
    /// compare-and-set, as far as the client supports them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mix: Option<RegisterMix>,
}

/// Weights of the operations; an absent one is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RegisterMix {
    /// Weight of reads.
    pub read: u32,
    /// Weight of writes.
    pub write: u32,
    /// Weight of compare-and-set, `cas` in the history.
    pub cas: u32,
}

impl RegisterMix {
    /// The weights in the order of [`OPERATIONS`].
    pub(super) fn weights(self) -> [u64; 3] {
        [self.read, self.write, self.cas].map(u64::from)
    }
}

const KEYS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9);
const OPS_PER_KEY: NonZeroU64 = NonZeroU64::MIN.saturating_add(199);
const DEFAULT_MIX: RegisterMix = RegisterMix { read: 2, write: 1, cas: 1 };

impl Default for RegisterSpec {
    fn default() -> Self {
        Self {
            keys: KEYS,
            ops_per_key: OPS_PER_KEY,
            rate: Rate::whole(200),
            concurrency: Concurrency::PerNode(2),
            deadline: Span::seconds(5),
            reads: None,
            mix: None,
        }
    }
}

impl RegisterSpec {
    /// Whether a client that supports `operations` can run this: what is wrong otherwise, for the key `mix`.
    ///
    /// # Errors
    /// A sentence for the person who wrote the spec.
    pub fn check(&self, operations: &[&str]) -> Result<(), String> {
        let Some(mix) = self.mix else {
            return Ok(());
        };
        if mix.weights() == [0; 3] {
            return Err("all weights are 0, so there would be no operation; give one a weight, \
                        like mix: { read: 2, write: 1 }"
                .to_owned());
        }
        match OPERATIONS.iter().zip(mix.weights()).find(|(f, weight)| *weight > 0 && !operations.contains(f))
        {
            Some((f, _)) => Err(format!(
                "this client does not support `{f}`, only {}; leave `{f}` out of the mix",
                operations.join(", ")
            )),
            None => Ok(()),
        }
    }

    /// The weights of [`OPERATIONS`] for a client that supports `operations`.
    pub(super) fn weights(&self, operations: &[&str]) -> [u64; 3] {
        let mut weights = self.mix.unwrap_or(DEFAULT_MIX).weights();
        for (f, weight) in OPERATIONS.iter().zip(&mut weights) {
            if !operations.contains(f) {
                *weight = 0;
            }
        }
        weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_spec_is_the_default_and_prints_back() {
        let spec: RegisterSpec = serde_json::from_str("{}").unwrap();
        assert_eq!(spec, RegisterSpec::default());
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<RegisterSpec>(&text).unwrap(), spec, "{text}");
    }

    #[test]
    fn reads_what_people_write_and_refuses_the_rest() {
        let spec: RegisterSpec = serde_json::from_str(
            r#"{"keys": 3, "ops-per-key": 50, "rate": "1000/s", "concurrency": "4n", "deadline": "2s",
                "reads": "serializable", "mix": {"read": 3, "write": 1}}"#,
        )
        .unwrap();
        assert_eq!((spec.keys.get(), spec.ops_per_key.get(), spec.concurrency.workers(5)), (3, 50, 20));
        assert_eq!(spec.mix, Some(RegisterMix { read: 3, write: 1, cas: 0 }));
        for (text, part) in [
            (r#"{"keys": 0}"#, "nonzero"),
            (r#"{"ops-per-key": 0}"#, "nonzero"),
            (r#"{"key": 1}"#, "unknown field `key`"),
            (r#"{"mix": {"reed": 1}}"#, "unknown field `reed`"),
            (r#"{"rate": "5"}"#, "not a rate"),
        ] {
            let error = serde_json::from_str::<RegisterSpec>(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_mix_must_be_possible() {
        let spec = |mix| RegisterSpec { mix: Some(mix), ..RegisterSpec::default() };
        let none = RegisterMix::default();
        assert!(spec(none).check(&OPERATIONS).unwrap_err().contains("all weights are 0"));
        let cas = RegisterMix { cas: 1, read: 1, ..none };
        assert_eq!(spec(cas).check(&OPERATIONS), Ok(()));
        assert!(spec(cas).check(&["read", "write"]).unwrap_err().contains("does not support `cas`"));
        assert_eq!(RegisterSpec::default().weights(&["read", "write"]), [2, 1, 0]);
    }
}
