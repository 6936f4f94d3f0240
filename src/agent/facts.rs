//! What a node is like, as its agent saw it: plain data, without any judgement.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use schism_nemesis::linux::{Features, Found};
use serde::{Deserialize, Serialize};

/// What an agent says of its node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Facts {
    /// The node's clock when the question came, in microseconds since 1970.
    pub asked_us: i64,
    /// The node's clock when the answer left.
    pub answered_us: i64,
    /// The user that the agent works as.
    pub uid: u32,
    /// Whether that is thanks to `sudo`.
    pub by_sudo: bool,
    /// The kernel's release.
    pub kernel: String,
    /// Its machine: `x86_64`.
    pub machine: String,
    /// Parts of the kernel.
    pub features: Features,
    /// The programs that were asked for, by name, with where they are.
    pub tools: BTreeMap<String, Option<String>>,
    /// The agent's executable.
    pub executable: String,
    /// The state directory.
    pub state: String,
    /// Bytes that are free there; absent where the file system does not say.
    pub free: Option<u64>,
    /// Whether it can be written to.
    pub writable: Found,
    /// Whether programs may run there.
    pub runs_programs: Found,
    /// TCP ports that no fault cuts, because the controller comes that way.
    pub spared_ports: Vec<u16>,
    /// Whether the node could make each of the faults that were asked for, in their order.
    pub prechecks: Vec<Found>,
}

/// By how much a node's clock is ahead of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClockDistance {
    /// In microseconds; negative where it is behind.
    pub ahead_us: i64,
    /// How far off that can be, in microseconds: half of the way there and back.
    pub within_us: i64,
}

impl ClockDistance {
    /// From four readings of a clock, in microseconds since 1970: ours when the question left, the node's when it came, the
    /// node's when the answer left, ours when that came. As in NTP (RFC 5905, section 8), what the node needed for the answer
    /// does not count.
    pub fn of(asked: i64, arrived: i64, answered: i64, came: i64) -> Self {
        let there = arrived.saturating_sub(asked);
        let back = answered.saturating_sub(came);
        // The clocks may be centuries apart.
        let ahead = (i128::from(there) + i128::from(back)) / 2;
        let on_the_way = came.saturating_sub(asked).saturating_sub(answered.saturating_sub(arrived));
        Self { ahead_us: i64::try_from(ahead).unwrap_or(i64::MAX), within_us: (on_the_way / 2).max(0) }
    }
}

/// This machine's clock in microseconds since 1970.
pub fn unix_micros() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_compared_across_the_way() {
        // 3 ms there, 7 ms of work, 1 ms back; the node is 60 s ahead.
        let distance = ClockDistance::of(0, 60_003_000, 60_010_000, 11_000);
        assert_eq!(distance, ClockDistance { ahead_us: 60_001_000, within_us: 2_000 });
        let error = distance.ahead_us - 60_000_000;
        assert!(error.abs() <= distance.within_us);
        let behind = ClockDistance::of(10_000_000, 5_001_000, 5_001_000, 10_002_000);
        assert_eq!(behind, ClockDistance { ahead_us: -5_000_000, within_us: 1_000 });
        // A clock that was set meanwhile is no reason to panic.
        assert_eq!(ClockDistance::of(10, 0, i64::MAX, 0).within_us, 0);
        ClockDistance::of(i64::MIN, i64::MAX, i64::MAX, i64::MIN);
    }
}
