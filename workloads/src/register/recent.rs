//! Which keys the run used last: those that the final reads are about.

use std::collections::BTreeMap;

use schism_history::{Event, Kind};
use serde_json::Value;

/// Remembers when each key was last used. Feed it every event of the main phase.
#[derive(Clone, Debug, Default)]
pub struct RecentKeys {
    /// Index of the last invocation on each key.
    last_use: BTreeMap<u64, u64>,
}

impl RecentKeys {
    /// Takes note of an event.
    pub fn observe(&mut self, event: &Event) {
        if event.kind == Kind::Invoke
            && let Some(key) = event.key.as_ref().and_then(Value::as_u64)
        {
            self.last_use.insert(key, event.index);
        }
    }

    /// The `count` keys used last, in ascending order.
    pub fn latest(&self, count: usize) -> Vec<Value> {
        let mut by_use: Vec<_> = self.last_use.iter().map(|(key, index)| (*index, *key)).collect();
        by_use.sort_unstable_by(|a, b| b.cmp(a));
        let mut keys: Vec<u64> = by_use.into_iter().take(count).map(|(_, key)| key).collect();
        keys.sort_unstable();
        keys.into_iter().map(Value::from).collect()
    }
}
