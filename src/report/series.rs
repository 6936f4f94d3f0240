//! Rates and latencies over time.

use std::collections::BTreeMap;

use schism_history::Kind;
use serde::Serialize;

use super::Digest;

/// Buckets in a series; their width is the first nice one that needs no more.
const BUCKETS_MAX: u64 = 150;
/// Nice widths, nanoseconds: what a person expects on an axis.
const WIDTHS: [u64; 20] = [
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
    120_000_000_000,
    300_000_000_000,
    600_000_000_000,
    1_800_000_000_000,
    3_600_000_000_000,
];
/// Columns and rows of the grid that latency points are put into; one point is drawn for each cell.
const GRID: (u64, u64) = (480, 120);
/// Points drawn of each outcome.
const POINTS_MAX: usize = 20_000;

/// Rates and latencies in buckets of equal width. Rates count completions by the time of completion; latencies are
/// those of successful operations by the time of invocation, so that an operation which a fault held up shows where the
/// fault began.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// The width of a bucket, nanoseconds. The last one goes on to the end and may be half as wide again, or half as wide.
    pub width: u64,
    /// Operations that happened.
    pub ok: Vec<u64>,
    /// Operations that certainly did not happen.
    pub fail: Vec<u64>,
    /// Operations of unknown outcome.
    pub info: Vec<u64>,
    /// Median latency, nanoseconds; none where nothing succeeded.
    pub p50: Vec<Option<u64>>,
    /// 95th percentile.
    pub p95: Vec<Option<u64>>,
    /// 99th percentile.
    pub p99: Vec<Option<u64>>,
    /// Single operations for a scatter plot, thinned out to one for each visible spot.
    pub points: Points,
}

/// Operations as points: invocation and latency, both in nanoseconds since the start.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Points {
    /// Operations that happened.
    pub ok: Vec<(u64, u64)>,
    /// Operations that certainly did not happen.
    pub fail: Vec<(u64, u64)>,
    /// Operations of unknown outcome.
    pub info: Vec<(u64, u64)>,
    /// Points that fell on an occupied spot, or were too many.
    pub left_out: u64,
}

impl Series {
    /// Counts and sorts all operations once.
    pub(super) fn of(digest: &Digest<'_>) -> Self {
        let duration = (digest.end - digest.start).max(1);
        let width = width(duration);
        // The last bucket takes a remainder of less than half a bucket: a rate over a sliver would be noise.
        let buckets = (duration.saturating_add(width / 2) / width).max(1) as usize;
        let bucket = |time: u64| (((time.saturating_sub(digest.start)) / width) as usize).min(buckets - 1);
        let mut rates = [vec![0; buckets], vec![0; buckets], vec![0; buckets]];
        let mut latencies: Vec<Vec<u64>> = vec![Vec::new(); buckets];
        for operation in &digest.operations {
            let Some(completion) = digest.completion(*operation) else { continue };
            rates[outcome(completion.kind)][bucket(completion.time)] += 1;
            if completion.kind == Kind::Ok {
                let invoked = digest.invocation(*operation).time;
                latencies[bucket(invoked)].push(completion.time.saturating_sub(invoked));
            }
        }
        latencies.iter_mut().for_each(|bucket| bucket.sort_unstable());
        let quantile =
            |percent: usize| latencies.iter().map(|sorted| nearest_rank(sorted, percent)).collect::<Vec<_>>();
        let [ok, fail, info] = rates;
        Self {
            width,
            ok,
            fail,
            info,
            p50: quantile(50),
            p95: quantile(95),
            p99: quantile(99),
            points: Points::of(digest, duration),
        }
    }
}

impl Series {
    /// Beginning and end of a bucket in a series that ends after `duration` nanoseconds, both since the start.
    pub(super) fn bounds(&self, bucket: usize, duration: u64) -> (u64, u64) {
        let from = bucket as u64 * self.width;
        let last = bucket + 1 == self.ok.len();
        (from, if last { duration.max(from + 1) } else { from + self.width })
    }
}

fn outcome(kind: Kind) -> usize {
    match kind {
        Kind::Ok => 0,
        Kind::Fail => 1,
        Kind::Info | Kind::Invoke => 2,
    }
}

fn width(duration: u64) -> u64 {
    let enough = |width: &u64| duration.div_ceil(*width) <= BUCKETS_MAX;
    WIDTHS.into_iter().find(enough).unwrap_or_else(|| duration.div_ceil(BUCKETS_MAX))
}

/// The smallest value that at least `percent` of 100 do not exceed.
fn nearest_rank(sorted: &[u64], percent: usize) -> Option<u64> {
    sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied()
}

impl Points {
    fn of(digest: &Digest<'_>, duration: u64) -> Self {
        let mut grids = [BTreeMap::new(), BTreeMap::new(), BTreeMap::new()];
        let mut left_out = 0;
        for operation in &digest.operations {
            let Some(completion) = digest.completion(*operation) else { continue };
            let time = digest.invocation(*operation).time.saturating_sub(digest.start);
            let latency = completion.time.saturating_sub(digest.invocation(*operation).time).max(1);
            let column = u128::from(time) * u128::from(GRID.0) / u128::from(duration);
            // Twelve decades, from a nanosecond to a thousand seconds.
            let row = ((latency as f64).log10() / 12.0 * GRID.1 as f64) as u64;
            let grid = &mut grids[outcome(completion.kind)];
            if grid.len() < POINTS_MAX {
                left_out += u64::from(grid.insert((column, row), (time, latency)).is_some());
            } else {
                left_out += 1;
            }
        }
        let [ok, fail, info] = grids.map(|grid| grid.into_values().collect());
        Self { ok, fail, info, left_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_nice_and_buckets_few() {
        assert_eq!(width(60_000_000_000), 500_000_000);
        assert_eq!(width(1), 1_000_000);
        for duration in [1, 999, 1_000_000_000, 3_600_000_000_000, u64::MAX] {
            assert!(duration.div_ceil(width(duration)) <= BUCKETS_MAX, "{duration}");
        }
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let sorted: Vec<u64> = (1..=100).collect();
        assert_eq!(
            [50, 95, 99].map(|percent| nearest_rank(&sorted, percent)),
            [Some(50), Some(95), Some(99)]
        );
        assert_eq!([50, 99].map(|percent| nearest_rank(&[7], percent)), [Some(7), Some(7)]);
        assert_eq!(nearest_rank(&[], 50), None);
    }
}
