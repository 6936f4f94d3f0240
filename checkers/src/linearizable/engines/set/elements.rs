//! One element of a set: a bit, which is looked at, put to a value, or flipped by who says that it changed something.
//!
//! The just-in-time search (Lowe, 2017) over the events of the element: a configuration is a bit and what became of the open operations, and
//! operations take effect only at a return that needs it. Few configurations are left of the many there are in general,
//! because of these rules:
//!
//! - A look, or a put, is *met* once the bit stood at its value while it was open: there it can take effect and change nothing. So
//!   nothing ever has to be done for it again. But a met put can still be used to change the bit until it returns.
//! - Of puts to one value that could change the bit, that with the earliest return is used: the others can do later whatever it could
//!   have done, and all that are open are met thereby. So it is with flips. Those of unknown outcome never
//!   return and come last; of them only the number is known.
//! - At a return that needs something at most two changes are made: one to the other value, if the returning operation has to change
//!   the bit that already stands where it would put it, and the change itself. Two changes before that, there and back,
//!   can be made right after it as well, back and there; and whatever follows a met look can wait.
//! - A configuration is dropped if another one with the same bit and the same flips done has met all that it has met and has left
//!   all that it has left.

use schism_history::ValueId;

use super::super::super::budget::{Budget, Meter};
use super::super::super::call::{Answer, Call, NEVER};
use super::super::super::models::set::SetAction;
use super::{Sabotage, contradiction};

/// What a call does to one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Saw it there, or not.
    Look(bool),
    /// Leaves it there, or not, however it was.
    Put(bool),
    /// Changes it to this.
    Flip(bool),
}

/// A call and an element it concerns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub element: ValueId,
    pub call: u32,
    pub deed: Deed,
}

/// What the calls say that concern one element only.
pub(super) fn single(calls: &[Call<SetAction>]) -> Vec<Part> {
    let part = |(index, call): (usize, &Call<SetAction>)| {
        let change = |bit: bool, changed: Option<bool>| match changed {
            None => Deed::Put(bit),
            Some(true) => Deed::Flip(bit),
            Some(false) => Deed::Look(bit),
        };
        let (element, deed) = match call.action {
            SetAction::Add(element, changed) => (element, change(true, changed)),
            SetAction::Remove(element, changed) => (element, change(false, changed)),
            SetAction::Contains(element, present) => (element, Deed::Look(present)),
            SetAction::Read(_) => return None,
        };
        Some(Part { element, call: index as u32, deed })
    };
    calls.iter().enumerate().filter_map(part).collect()
}

/// Decides each element by itself; `None` if more operations are open on one than a configuration holds.
pub(super) fn decide(
    calls: &[Call<SetAction>],
    mut parts: Vec<Part>,
    budget: Budget,
    sabotage: Sabotage,
) -> Option<Answer> {
    parts.sort_unstable_by_key(|part| (part.element, part.call));
    let mut meter = Meter::new(budget);
    let mut bit = Bit::new(calls, sabotage);
    let mut impossible: Option<(usize, &[Part], u32)> = None;
    let mut unknown = None;
    for group in parts.chunk_by(|one, other| one.element == other.element) {
        match bit.run(group, &mut meter) {
            Verdict::Fits => {}
            Verdict::TooWide => return None,
            Verdict::Impossible { returned } => {
                let culprit = culprit(calls, group, returned);
                if impossible.is_none_or(|(other, ..)| calls[culprit].returned < calls[other].returned) {
                    impossible = Some((culprit, group, returned));
                }
            }
            Verdict::Exhausted(limit, at) => {
                unknown = Some((limit, at));
                break;
            }
        }
    }
    if let Some((culprit, group, returned)) = impossible {
        let involved = group.iter().map(|part| part.call as usize);
        let pattern = involved.filter(|call| calls[*call].invoked < returned).collect();
        return Some(Answer::Impossible(contradiction(culprit, pattern)));
    }
    Some(match unknown {
        None => Answer::Linearizable,
        Some((limit, at)) => Answer::Unknown(limit, calls.iter().filter(|call| call.returned < at).count()),
    })
}

/// The call at whose return it is certain that nothing fits, if it did not fit at the return `returned`, where the results of
/// what was still open were taken for known.
fn culprit(calls: &[Call<SetAction>], group: &[Part], returned: u32) -> usize {
    let call = |part: &Part| part.call as usize;
    let known_later = |index: &usize| {
        let call = &calls[*index];
        let says = matches!(call.action, SetAction::Add(_, Some(_)) | SetAction::Remove(_, Some(_)));
        call.returned == returned || says && call.invoked < returned && returned < call.returned
    };
    let known = group.iter().map(call).filter(known_later).filter(|index| calls[*index].returned != NEVER);
    known.max_by_key(|index| calls[*index].returned).unwrap_or(0)
}

enum Verdict {
    Fits,
    Impossible { returned: u32 },
    TooWide,
    Exhausted(super::super::super::budget::Exhausted, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Configuration {
    bit: bool,
    /// Open operations for which nothing has to be done any more.
    met: u128,
    /// Open operations that have changed the bit.
    spent: u128,
    /// How many puts of unknown outcome have changed the bit to false, and to true.
    unknown: [u32; 2],
}

/// Configurations up to which each is compared with each.
const COMPARED: usize = 64;

struct Bit<'c> {
    calls: &'c [Call<SetAction>],
    sabotage: Sabotage,
    now: Vec<Configuration>,
    next: Vec<Configuration>,
    events: Vec<(u32, u32)>,
    /// By the part's place: where the open operation stands in a configuration.
    slots: Vec<u32>,
    open: Open,
}

/// The open operations.
struct Open {
    free: u128,
    looks: [u128; 2],
    puts: [u128; 2],
    flips: [u128; 2],
    returns: [u32; 128],
    /// How many puts of unknown outcome there are, to false and to true.
    unknown: [u32; 2],
    latest_first: bool,
}

impl Open {
    fn first_to_return(&self, among: u128) -> Option<u128> {
        let slots = (0..128_u32).filter(|slot| among >> slot & 1 == 1);
        let returns = |slot: &u32| self.returns[*slot as usize];
        let found = if self.latest_first { slots.max_by_key(returns) } else { slots.min_by_key(returns) };
        found.map(|slot| 1 << slot)
    }

    fn change(&self, from: &Configuration, spent: u128) -> Configuration {
        let bit = !from.bit;
        let to = usize::from(bit);
        let met = from.met | self.looks[to] | self.puts[to] | spent;
        Configuration { bit, met, spent: from.spent | spent, unknown: from.unknown }
    }

    /// The configurations that one change of the bit leads to.
    fn changes(&self, from: &Configuration) -> impl Iterator<Item = Configuration> {
        let to = usize::from(!from.bit);
        let put = match self.first_to_return(self.puts[to] & !from.spent) {
            Some(put) => Some(self.change(from, put)),
            None if from.unknown[to] < self.unknown[to] => {
                let mut changed = self.change(from, 0);
                changed.unknown[to] += 1;
                Some(changed)
            }
            None => None,
        };
        let flip = self.first_to_return(self.flips[to] & !from.spent).map(|flip| self.change(from, flip));
        put.into_iter().chain(flip)
    }
}

impl<'c> Bit<'c> {
    fn new(calls: &'c [Call<SetAction>], sabotage: Sabotage) -> Self {
        Self {
            calls,
            sabotage,
            now: Vec::new(),
            next: Vec::new(),
            events: Vec::new(),
            slots: Vec::new(),
            open: Open {
                free: u128::MAX,
                looks: [0; 2],
                puts: [0; 2],
                flips: [0; 2],
                returns: [0; 128],
                unknown: [0; 2],
                latest_first: sabotage == Sabotage::LatestFirst,
            },
        }
    }

    fn run(&mut self, parts: &[Part], meter: &mut Meter) -> Verdict {
        let Open { free, looks, puts, flips, unknown, .. } = &mut self.open;
        *free = u128::MAX;
        (*looks, *puts, *flips, *unknown) = ([0; 2], [0; 2], [0; 2], [0; 2]);
        self.now.clear();
        self.now.push(Configuration { bit: false, met: 0, spent: 0, unknown: [0; 2] });
        self.slots.clear();
        self.slots.resize(parts.len(), 0);
        self.events.clear();
        for (place, part) in parts.iter().enumerate() {
            let call = &self.calls[part.call as usize];
            self.events.push((call.invoked, (place as u32) << 1));
            if call.returned != NEVER {
                self.events.push((call.returned, (place as u32) << 1 | 1));
            }
        }
        self.events.sort_unstable();
        for place in 0..self.events.len() {
            let (at, event) = self.events[place];
            let part = (event >> 1) as usize;
            if event & 1 == 0 {
                if !self.invoke(part, parts[part]) {
                    return Verdict::TooWide;
                }
            } else {
                self.complete(1 << self.slots[part], parts[part].deed);
                if self.now.is_empty() {
                    return Verdict::Impossible { returned: at };
                }
                let bytes = (self.now.capacity() + self.next.capacity()) * size_of::<Configuration>();
                if let Err(limit) = meter.spend(self.now.len(), bytes) {
                    return Verdict::Exhausted(limit, at);
                }
            }
        }
        Verdict::Fits
    }

    fn deed(&self, deed: Deed) -> Deed {
        match deed {
            Deed::Flip(bit) if self.sabotage == Sabotage::ChangedIsBlind => Deed::Put(bit),
            _ => deed,
        }
    }

    fn invoke(&mut self, place: usize, part: Part) -> bool {
        let call = &self.calls[part.call as usize];
        let deed = self.deed(part.deed);
        if call.returned == NEVER {
            // Only a put is of unknown outcome: what says more has returned.
            if let Deed::Put(bit) | Deed::Flip(bit) = deed
                && self.sabotage != Sabotage::UnknownIsNever
            {
                self.open.unknown[usize::from(bit)] += 1;
            }
            return true;
        }
        if self.open.free == 0 {
            return false;
        }
        let slot = self.open.free.trailing_zeros();
        let mask = 1_u128 << slot;
        self.open.free &= !mask;
        self.open.returns[slot as usize] = call.returned;
        self.slots[place] = slot;
        match deed {
            Deed::Look(bit) => self.open.looks[usize::from(bit)] |= mask,
            Deed::Put(bit) => self.open.puts[usize::from(bit)] |= mask,
            Deed::Flip(bit) => self.open.flips[usize::from(bit)] |= mask,
        }
        if let Deed::Look(bit) | Deed::Put(bit) = deed {
            self.now.iter_mut().filter(|now| now.bit == bit).for_each(|now| now.met |= mask);
        }
        if self.sabotage == Sabotage::MetIsSpent {
            self.now.iter_mut().for_each(|now| now.spent |= now.met);
        }
        true
    }

    fn complete(&mut self, slot: u128, deed: Deed) {
        let Self { now, next, open, sabotage, .. } = self;
        let deed = match deed {
            Deed::Flip(bit) if *sabotage == Sabotage::ChangedIsBlind => Deed::Put(bit),
            _ => deed,
        };
        next.clear();
        for from in now.iter() {
            let (is_met, is_spent) = (from.met & slot != 0, from.spent & slot != 0);
            if is_met {
                next.push(*from);
            }
            let changes_itself = match deed {
                Deed::Look(_) => false,
                Deed::Put(_) => is_met && !is_spent && *sabotage != Sabotage::NoLastChance,
                Deed::Flip(_) => !is_spent,
            };
            let (Deed::Look(bit) | Deed::Put(bit) | Deed::Flip(bit)) = deed;
            if !changes_itself {
                // It waits for the other value: had the bit been at its own while it was open, it would be met.
                if !is_met {
                    next.extend(open.changes(from));
                }
            } else if from.bit != bit {
                next.push(open.change(from, slot));
            } else {
                next.extend(open.changes(from).map(|between| open.change(&between, slot)));
            }
        }
        if *sabotage == Sabotage::MetIsSpent {
            next.iter_mut().for_each(|to| to.spent |= to.met);
        }
        for mask in open.looks.iter_mut().chain(&mut open.puts).chain(&mut open.flips) {
            *mask &= !slot;
        }
        open.free |= slot;
        for to in next.iter_mut() {
            to.met &= !slot;
            to.spent &= !slot;
        }
        let flips = open.flips[0] | open.flips[1];
        let careless = *sabotage == Sabotage::CarelessDominance;
        prune(next, flips, careless);
        std::mem::swap(now, next);
    }
}

/// Drops configurations that others make needless.
fn prune(all: &mut Vec<Configuration>, flips: u128, careless: bool) {
    all.sort_unstable();
    all.dedup();
    if all.len() > COMPARED {
        return;
    }
    let dominates = |one: &Configuration, other: &Configuration| {
        one.bit == other.bit
            && (one.spent ^ other.spent) & flips == 0
            && one.spent & !other.spent == 0
            && (other.met & !one.met == 0 || careless)
            && one.unknown[0] <= other.unknown[0]
            && one.unknown[1] <= other.unknown[1]
    };
    let mut place = 0;
    while place < all.len() {
        let this = all[place];
        let needless = all.iter().enumerate().any(|(other, that)| other != place && dominates(that, &this));
        if needless {
            all.swap_remove(place);
        } else {
            place += 1;
        }
    }
}
