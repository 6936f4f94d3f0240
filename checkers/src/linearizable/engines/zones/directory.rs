//! Which cluster a value has.

use schism_history::ValueId;

use super::super::super::call::Call;
use super::super::super::models::register::Action;
use super::clusters::NONE;

/// Which cluster a value has. A table of all values where they lie close together, as the numbers of a counter do: then neighbours in
/// time are neighbours in memory. Otherwise open addressing with linear probing, at most half full.
#[derive(Default)]
pub(super) struct Directory {
    pub slots: Vec<(ValueId, u32)>,
    /// The lowest value, in a table of all values.
    base: Option<u32>,
    shift: u32,
}

impl Directory {
    /// No value has a cluster. Makes room for those of some calls, of which so many produce one.
    pub fn reset(&mut self, calls: &[Call<Action<ValueId>>]) {
        let (mut least, mut most, mut products) = (u32::MAX, 0, 0);
        for call in calls {
            products += usize::from(call.action.produces().is_some());
            for value in [call.action.observes(), call.action.produces()].into_iter().flatten() {
                if value != ValueId::NULL {
                    (least, most) = (least.min(value.raw()), most.max(value.raw()));
                }
            }
        }
        let span = most.saturating_sub(least) as usize + 1;
        self.base = (span <= 4 * calls.len()).then_some(least);
        self.clear(if self.base.is_some() { span } else { (2 * products).next_power_of_two().max(16) });
    }

    fn clear(&mut self, size: usize) {
        self.slots.clear();
        self.slots.resize(size, (ValueId::ABSENT, NONE));
        self.shift = 64 - size.trailing_zeros();
    }

    /// Sized for what is produced; what is observed without that comes on top.
    pub fn grow_for(&mut self, values: usize) {
        if self.base.is_some() || values * 2 <= self.slots.len() {
            return;
        }
        let old = std::mem::take(&mut self.slots);
        self.clear(2 * old.len());
        for slot in old.into_iter().filter(|slot| slot.1 != NONE) {
            let place = self.place(slot.0);
            self.slots[place] = slot;
        }
    }

    /// The place of the value, or of where it belongs.
    #[inline]
    pub fn place(&self, value: ValueId) -> usize {
        if let Some(base) = self.base {
            return (value.raw() - base) as usize;
        }
        // Multiplying by 2^64 divided by the golden ratio spreads evenly whatever goes up in equal steps.
        let mut place = (u64::from(value.raw()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize;
        while self.slots[place].1 != NONE && self.slots[place].0 != value {
            place = (place + 1) & (self.slots.len() - 1);
        }
        place
    }
}
