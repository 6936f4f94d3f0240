//! When something was certainly inside.

/// Gaps, as disjoint stretches that do not touch, ascending.
pub(in crate::linearizable::engines) struct Cover {
    /// From the first gap of each to the one after its last.
    stretches: Vec<(u32, u32)>,
}

impl Cover {
    /// The union of stretches.
    pub fn new(mut stretches: Vec<(u32, u32)>) -> Self {
        stretches.sort_unstable();
        let mut kept = 0;
        for at in 0..stretches.len() {
            let (from, to) = stretches[at];
            if from >= to {
                continue;
            }
            if kept > 0 && stretches[kept - 1].1 >= from {
                stretches[kept - 1].1 = stretches[kept - 1].1.max(to);
            } else {
                stretches[kept] = (from, to);
                kept += 1;
            }
        }
        stretches.truncate(kept);
        Self { stretches }
    }

    /// The first gap in `from..to` that is not covered.
    pub fn free(&self, from: u32, to: u32) -> Option<u32> {
        let next = self.stretches.partition_point(|stretch| stretch.0 <= from);
        let end = next.checked_sub(1).map_or(from, |at| self.stretches[at].1.max(from));
        (end < to).then_some(end)
    }
}

/// A few stretches, by number, of which the union covers `from..to`; empty if those given do not. As few as possible. The stretches must
/// be sorted by their first gap.
pub(in crate::linearizable::engines) fn chain(
    stretches: impl Iterator<Item = (u32, (u32, u32))>,
    from: u32,
    to: u32,
) -> Vec<u32> {
    let mut chosen = Vec::new();
    let (mut covered, mut best) = (from, (from, u32::MAX));
    for (number, (first, end)) in stretches {
        if first > covered {
            if best.0 <= covered {
                return Vec::new();
            }
            chosen.push(best.1);
            covered = best.0;
            if covered >= to {
                return chosen;
            }
            if first > covered {
                return Vec::new();
            }
        }
        if end > best.0 {
            best = (end, number);
        }
    }
    if best.0 > covered {
        chosen.push(best.1);
        covered = best.0;
    }
    if covered >= to { chosen } else { Vec::new() }
}
