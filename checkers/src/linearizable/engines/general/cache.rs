//! The configurations from which nothing leads to the end.

use super::index::tag;
use super::reductions::{Reductions, Sabotage};
use super::sets::Sets;

/// One way the past can have gone: 16 bytes, whatever the length of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Configuration {
    /// The rank of the call that returns next and has not taken effect.
    pub at: u32,
    /// The state of the object.
    pub state: u32,
    /// Which of the open calls have taken effect: a bit for each slot, or the number of a set where there are more slots than bits.
    pub open: u32,
    /// Which calls of unknown outcome have taken effect: the number of a set.
    pub crashed: u32,
}

/// The rank that marks an empty place.
const EMPTY: Configuration = Configuration { at: u32::MAX, state: 0, open: 0, crashed: 0 };

/// Returns that share a table. Small tables are near in memory to what the search does next, grow without a large copy, and can
/// be given back one by one.
const RETURNS_A_TABLE: u32 = 1024;

/// So many configurations that differ in `crashed` only are compared with each other; more are only recognised when equal.
const COMPARED: usize = 32;

/// Lowe's cache, of dead ends only: a configuration enters when everything after it has failed. (It could not be met
/// again earlier: whatever follows it has more calls behind it.) So what succeeds at once leaves nothing.
///
/// To forget an entry never changes an answer, it only costs time if the configuration is met again.
pub(super) struct DeadEnds {
    tables: Vec<Table>,
    reductions: Reductions,
    bytes: usize,
}

#[derive(Default)]
struct Table {
    places: Vec<Configuration>,
    len: usize,
}

/// Where a configuration is, or where it belongs.
enum Place {
    Known,
    Free(usize),
}

impl DeadEnds {
    pub fn new(returns: u32, reductions: Reductions) -> Self {
        let tables = (0..returns.div_ceil(RETURNS_A_TABLE)).map(|_| Table::default()).collect();
        Self { tables, reductions, bytes: 0 }
    }

    /// Whether the configuration is a dead end for certain.
    ///
    /// Dominance: so is one that is equal up to `crashed` and has used up more than a known dead end. (Whatever it can still do, that one
    /// could do too, and no call of unknown outcome is a duty.)
    pub fn holds(&self, configuration: &Configuration, sets: &Sets) -> bool {
        let table = &self.tables[(configuration.at / RETURNS_A_TABLE) as usize];
        table.len > 0 && matches!(table.find(configuration, sets, &self.reductions), Place::Known)
    }

    pub fn insert(&mut self, configuration: Configuration, sets: &Sets) {
        let table = &mut self.tables[(configuration.at / RETURNS_A_TABLE) as usize];
        if (table.len + 1) * 4 > table.places.len() * 3 {
            self.bytes -= table.bytes();
            table.rebuild((table.places.len() * 2).max(8), |_| true, sets, &self.reductions);
            self.bytes += table.bytes();
        }
        if let Place::Free(place) = table.find(&configuration, sets, &self.reductions) {
            table.places[place] = configuration;
            table.len += 1;
        }
    }

    /// Forgets what lies between quiescent cuts, except near `keep`. What lies at the cuts stays, so that no stretch between two
    /// cuts is searched twice from the same configuration at its start.
    pub fn trim(&mut self, keep: Option<u32>, sets: &Sets, is_cut: impl Fn(u32) -> bool) {
        let near = |number: u32| keep.is_some_and(|at| number.abs_diff(at / RETURNS_A_TABLE) <= 1);
        for (number, table) in (0_u32..).zip(&mut self.tables) {
            let ranks = number * RETURNS_A_TABLE..(number + 1).saturating_mul(RETURNS_A_TABLE);
            if !near(number) && table.len > 0 && ranks.clone().any(&is_cut) {
                let kept = table.places.iter().filter(|entry| **entry != EMPTY && is_cut(entry.at)).count();
                self.bytes -= table.bytes();
                let places = if kept == 0 { 0 } else { (kept * 2).next_power_of_two() };
                table.rebuild(places, |entry| is_cut(entry.at), sets, &self.reductions);
                self.bytes += table.bytes();
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.tables.iter_mut().for_each(|table| *table = Table::default());
        self.bytes = 0;
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes + self.tables.capacity() * size_of::<Table>()
    }
}

impl Table {
    fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<Configuration>()
    }

    fn find(&self, wanted: &Configuration, sets: &Sets, reductions: &Reductions) -> Place {
        let mask = self.places.len() - 1;
        let common = u64::from(wanted.open)
            ^ u64::from(wanted.at).wrapping_mul(0xa076_1d64_78bd_642f)
            ^ u64::from(wanted.state).wrapping_mul(0xe703_7ed1_a0b4_28db);
        let mut place = tag(common) as usize & mask;
        let mut left = if reductions.dominance { COMPARED } else { 0 };
        while left > 0 {
            let entry = &self.places[place];
            if *entry == EMPTY {
                return Place::Free(place);
            }
            let same_open = entry.open == wanted.open || reductions.sabotaged(Sabotage::CacheForgetsOpen);
            if entry.at == wanted.at && entry.state == wanted.state && same_open {
                let (less, more) = if reductions.sabotaged(Sabotage::DominanceReversed) {
                    (wanted.crashed, entry.crashed)
                } else {
                    (entry.crashed, wanted.crashed)
                };
                if sets.is_subset(less, more) || reductions.sabotaged(Sabotage::CacheForgetsCrashed) {
                    return Place::Known;
                }
                left -= 1;
            }
            place = (place + 1) & mask;
        }
        place = tag(common ^ u64::from(wanted.crashed).wrapping_mul(0xd6e8_feb8_6659_fd93)) as usize & mask;
        loop {
            let entry = &self.places[place];
            if *entry == EMPTY {
                return Place::Free(place);
            }
            if entry == wanted {
                return Place::Known;
            }
            place = (place + 1) & mask;
        }
    }

    /// Moves what is kept into a table of so many places.
    fn rebuild(
        &mut self,
        places: usize,
        keep: impl Fn(&Configuration) -> bool,
        sets: &Sets,
        reductions: &Reductions,
    ) {
        let old = std::mem::replace(&mut self.places, vec![EMPTY; places]);
        self.len = 0;
        for mut entry in old.into_iter().filter(|entry| *entry != EMPTY && keep(entry)) {
            if reductions.sabotaged(Sabotage::CutForgetsCrashed) {
                entry.crashed = super::sets::EMPTY;
            }
            if let Place::Free(place) = self.find(&entry, sets, reductions) {
                self.places[place] = entry;
                self.len += 1;
            }
        }
    }
}
