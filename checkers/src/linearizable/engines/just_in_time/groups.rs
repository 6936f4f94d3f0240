//! The open operations by the values that they concern.

use super::Number;
use super::configuration::Slots;

/// The open operations that concern one value.
#[derive(Clone)]
pub(super) struct Group<const W: usize> {
    pub reads: Slots<W>,
    pub writes: Slots<W>,
    /// Compare-and-sets that expect it.
    pub compares: Slots<W>,
}

impl<const W: usize> Group<W> {
    const EMPTY: Self = Self { reads: Slots::EMPTY, writes: Slots::EMPTY, compares: Slots::EMPTY };

    fn is_empty(&self) -> bool {
        self.reads.is_empty() && self.writes.is_empty() && self.compares.is_empty()
    }
}

/// The groups of the values that open operations concern. There may be many values, but few are concerned at once; and with many slots a group is
/// large.
pub(super) struct Groups<const W: usize> {
    /// By value: the place of its group plus one, or 0.
    places: Vec<u32>,
    groups: Vec<Group<W>>,
    free: Vec<u32>,
}

impl<const W: usize> Groups<W> {
    /// No groups of values below `values`.
    pub fn new(values: usize) -> Self {
        Self { places: vec![0; values], groups: Vec::new(), free: Vec::new() }
    }

    /// The group of a value, if there is one.
    #[inline]
    pub fn get(&self, value: Number) -> Option<&Group<W>> {
        let place = self.places.get(value as usize)?.checked_sub(1)?;
        self.groups.get(place as usize)
    }

    /// The group of a value, which is an empty one if there was none.
    #[inline]
    pub fn of(&mut self, value: Number) -> &mut Group<W> {
        let place = &mut self.places[value as usize];
        if *place == 0 {
            *place = self.free.pop().unwrap_or_else(|| {
                self.groups.push(Group::EMPTY);
                self.groups.len() as u32
            });
        }
        &mut self.groups[*place as usize - 1]
    }

    /// The operation in this slot concerns the value no longer.
    #[inline]
    pub fn leave(&mut self, value: Number, slot: usize) {
        let place = self.places[value as usize];
        let Some(group) = (place as usize).checked_sub(1).and_then(|at| self.groups.get_mut(at)) else {
            return;
        };
        group.reads.remove(slot);
        group.writes.remove(slot);
        group.compares.remove(slot);
        if group.is_empty() {
            self.places[value as usize] = 0;
            self.free.push(place);
        }
    }
}
