//! Sets from which nothing is removed.
//!
//! Each element x comes at one moment T(x), or never. Every call says of some elements that they were there (T is before its
//! return) or were not (T is after its invocation), and T(x) lies after the invocation of the first add that can have put it in: so for each
//! element an earliest and a latest moment. The reads of the whole set must be a chain, by inclusion; so elements which an earlier set
//! of the chain lacks come after all it has. Going through the chain and giving each element the earliest moment that its own
//! bounds and the elements before it leave is best for all that follow. A read fits between the last element it has and the
//! first it lacks, since these came before its return and those after its invocation. Every other call fits wherever its element
//! allows. Linear in the calls and in what they read, but for sorting.

use rustc_hash::FxHashMap;
use schism_history::ValueId;

use super::super::super::call::{Call, Contradiction, NEVER};
use super::super::super::models::set::{Elements, SetAction};
use super::{Sabotage, contradiction};

/// No call.
const NONE: u32 = u32::MAX;

/// What is known of one element.
#[derive(Clone, Copy)]
struct Element {
    /// Place in the chain of the first read that has it.
    level: u32,
    /// It came after this moment, and the call that says so.
    after: (u32, u32),
    /// It came before this moment, and the call that says so.
    before: (u32, u32),
    /// The first call that can have put it in, and its invocation.
    adder: (u32, u32),
    /// The add that says that it put it in.
    changer: u32,
    /// When it came, in the order found.
    came: u32,
}

const NEW: Element = Element {
    level: u32::MAX,
    after: (0, NONE),
    before: (NEVER, NONE),
    adder: (NEVER, NONE),
    changer: NONE,
    came: NEVER,
};

/// A linearization, or why there is none. Nothing may be removed.
pub(super) fn solve(calls: &[Call<SetAction>], sabotage: Sabotage) -> Result<Vec<usize>, Contradiction> {
    let mut solver = Solver { calls, numbers: FxHashMap::default(), elements: Vec::new(), sabotage };
    let reads = solver.chain()?;
    solver.singles()?;
    let floors = solver.place(&reads)?;
    Ok(solver.order(&reads, &floors))
}

struct Solver<'c> {
    calls: &'c [Call<SetAction>],
    numbers: FxHashMap<ValueId, u32>,
    elements: Vec<Element>,
    sabotage: Sabotage,
}

/// The reads of the whole set in the order of the chain: the call, and the place of its set in the chain.
type Chain = Vec<(u32, u32)>;

impl Solver<'_> {
    fn element(&mut self, element: ValueId) -> &mut Element {
        let next = self.elements.len() as u32;
        let number = *self.numbers.entry(element).or_insert(next);
        if number == next {
            self.elements.push(NEW);
        }
        &mut self.elements[number as usize]
    }

    fn read(&self, call: u32) -> Option<&Elements> {
        match &self.calls[call as usize].action {
            SetAction::Read(all) => Some(all),
            _ => None,
        }
    }

    fn returned(&self, call: u32) -> u32 {
        self.calls[call as usize].returned
    }

    /// Puts the reads in a chain, and gives each element its level and the bounds that the reads set.
    fn chain(&mut self) -> Result<Chain, Contradiction> {
        let mut reads: Vec<u32> =
            (0..self.calls.len() as u32).filter(|call| self.read(*call).is_some()).collect();
        reads.sort_by_key(|call| {
            let length = self.read(*call).map_or(0, |all| all.sorted().len());
            (length, self.calls[*call as usize].invoked)
        });
        let mut chain = Chain::with_capacity(reads.len());
        let mut level = 0;
        let mut last: Option<u32> = None;
        let empty = Elements::new(&[]);
        let mut fresh = Vec::new();
        for call in reads {
            let calls = self.calls;
            let here = match &calls[call as usize].action {
                SetAction::Read(all) => all,
                _ => &empty,
            };
            let before = match last.map(|last| &calls[last as usize].action) {
                Some(SetAction::Read(all)) => all,
                _ => &empty,
            };
            if here != before {
                level += 1;
                fresh.clear();
                if !added(before.sorted(), here.sorted(), &mut fresh) && self.sabotage != Sabotage::NoChain {
                    let pair = [last.unwrap_or(call), call];
                    let culprit =
                        if self.returned(pair[0]) > self.returned(pair[1]) { pair[0] } else { pair[1] };
                    return Err(contradiction(culprit as usize, pair.map(|call| call as usize).to_vec()));
                }
                for element in &fresh {
                    self.element(*element).level = level;
                }
            }
            chain.push((call, level));
            last = Some(call);
        }
        Ok(chain)
    }

    /// The bounds that calls on single elements set.
    fn singles(&mut self) -> Result<(), Contradiction> {
        for (index, call) in self.calls.iter().enumerate() {
            let number = index as u32;
            let (element, present) = match call.action {
                SetAction::Add(element, Some(true)) => {
                    let element = self.element(element);
                    let other = std::mem::replace(&mut element.changer, number);
                    element.adder = (call.invoked, number);
                    element.after = element.after.max((call.invoked, number));
                    element.before = element.before.min((call.returned, number));
                    if other != NONE {
                        let late = if self.returned(other) > call.returned { other } else { number };
                        return Err(contradiction(late as usize, vec![other as usize, index]));
                    }
                    continue;
                }
                SetAction::Add(element, changed) => {
                    let puts = changed.is_none() || self.sabotage == Sabotage::UnchangedPuts;
                    let puts = puts && (call.returned != NEVER || self.sabotage != Sabotage::UnknownIsNever);
                    let element = self.element(element);
                    if element.changer == NONE && puts {
                        element.adder = element.adder.min((call.invoked, number));
                    }
                    (element, true)
                }
                SetAction::Contains(element, present) => (self.element(element), present),
                SetAction::Remove(element, _) => (self.element(element), false),
                SetAction::Read(_) => continue,
            };
            match present {
                true if call.returned != NEVER => {
                    element.before = element.before.min((call.returned, number))
                }
                false if call.returned != NEVER => element.after = element.after.max((call.invoked, number)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Gives each element its moment; says when each set of the chain was complete.
    fn place(&mut self, chain: &Chain) -> Result<Vec<u32>, Contradiction> {
        let levels = chain.last().map_or(0, |read| read.1 as usize) + 1;
        // Of the reads at a level or above, the first to return; of those below a level, the last to be invoked.
        let mut before = vec![(NEVER, NONE); levels + 1];
        let mut after = vec![(0, NONE); levels + 1];
        for (call, level) in chain {
            let (at, Call { invoked, returned, .. }) = (*level as usize, &self.calls[*call as usize]);
            before[at] = before[at].min((*returned, *call));
            after[at + 1] = after[at + 1].max((*invoked, *call));
        }
        for at in 0..levels {
            after[at + 1] = after[at + 1].max(after[at]);
            let below = levels - 1 - at;
            before[below] = before[below].min(before[below + 1]);
        }
        let mut by_level: Vec<(u32, u32)> = Vec::with_capacity(self.elements.len());
        for (number, element) in self.elements.iter_mut().enumerate() {
            let at = (element.level as usize).min(levels);
            if at < levels {
                element.before = element.before.min(before[at]);
            }
            if self.sabotage != Sabotage::UnseenAnywhere || at < levels {
                element.after = element.after.max(after[at]);
            }
            // What nobody saw and nobody certainly put in never comes.
            if element.before.1 != NONE {
                by_level.push((at as u32, number as u32));
            }
        }
        by_level.sort_unstable();
        let misplaced = by_level.iter().map(|(_, number)| *number).filter_map(|number| {
            let element = &self.elements[number as usize];
            let from = element.after.0.max(element.adder.0);
            (from >= element.before.0).then(|| self.never(number))
        });
        if let Some(found) = misplaced.min_by_key(|found| self.calls[found.culprit].returned) {
            return Err(found);
        }
        let mut floors = vec![0; levels + 1];
        let (mut floor, mut highest) = (0, NONE);
        let mut rest = by_level.as_slice();
        for (level, end) in floors.iter_mut().enumerate() {
            let here = rest.iter().take_while(|(at, _)| *at as usize == level).count();
            let (now, later) = rest.split_at(here);
            rest = later;
            let (below, below_is) = (if self.sabotage == Sabotage::NoFloor { 0 } else { floor }, highest);
            for (_, number) in now {
                let element = &mut self.elements[*number as usize];
                element.came = element.after.0.max(element.adder.0).max(below);
                if element.came > element.before.0 {
                    return Err(self.overtaken(*number, below_is, chain));
                }
                if element.came > floor {
                    (floor, highest) = (element.came, *number);
                }
            }
            *end = floor;
        }
        Ok(floors)
    }

    /// All adds of an element.
    fn adds(&self, number: u32) -> Vec<usize> {
        let is = |element: &ValueId| self.numbers.get(element) == Some(&number);
        let adds =
            |index: &usize| matches!(&self.calls[*index].action, SetAction::Add(element, _) if is(element));
        (0..self.calls.len()).filter(adds).collect()
    }

    /// The calls that say that an element came after a moment.
    fn causes(&self, number: u32) -> Vec<usize> {
        let element = &self.elements[number as usize];
        if element.after.0 >= element.adder.0 && element.after.1 != NONE {
            vec![element.after.1 as usize]
        } else {
            self.adds(number)
        }
    }

    /// Of `claims` and what is known of `adds` once these returned, the last to return.
    fn culprit(&self, claims: &[u32], adds: &[usize]) -> usize {
        let last = claims.iter().copied().max_by_key(|call| self.returned(*call)).unwrap_or(0) as usize;
        // Until an add says that it changed nothing, it may have put the element in.
        let silent = adds.iter().copied().filter(|add| {
            let call = &self.calls[*add];
            matches!(call.action, SetAction::Add(_, Some(false))) && call.invoked < self.calls[last].returned
        });
        silent.chain([last]).max_by_key(|call| self.calls[*call].returned).unwrap_or(last)
    }

    /// Why an element has no moment.
    fn never(&self, number: u32) -> Contradiction {
        let element = &self.elements[number as usize];
        let causes = self.causes(number);
        let mut claims = vec![element.before.1];
        // An add that put it in rules all others out.
        claims.extend([element.changer].iter().filter(|call| **call != NONE));
        let mut pattern: Vec<usize> = claims.iter().map(|call| *call as usize).collect();
        pattern.extend(&causes);
        let silent: &[usize] = if element.after.0 >= element.adder.0 && element.after.1 != NONE {
            claims.push(element.after.1);
            &[]
        } else {
            &causes
        };
        contradiction(self.culprit(&claims, silent), pattern)
    }

    /// Why an element cannot come as late as after one of an earlier read, which this one's observer forbids.
    fn overtaken(&self, number: u32, earlier: u32, chain: &Chain) -> Contradiction {
        let (late, early) = (&self.elements[number as usize], &self.elements[earlier as usize]);
        let between = chain.iter().filter(|(_, level)| early.level <= *level && *level < late.level);
        let between = between.map(|(call, _)| *call).min_by_key(|call| self.returned(*call));
        let causes = self.causes(earlier);
        let mut claims: Vec<u32> = between.into_iter().chain([late.before.1]).collect();
        claims.extend([early.changer].iter().filter(|call| **call != NONE));
        let mut pattern: Vec<usize> = claims.iter().map(|call| *call as usize).collect();
        pattern.extend(&causes);
        let silent: &[usize] = if early.after.0 >= early.adder.0 && early.after.1 != NONE {
            claims.push(early.after.1);
            &[]
        } else {
            &causes
        };
        contradiction(self.culprit(&claims, silent), pattern)
    }

    fn order(&self, chain: &Chain, floors: &[u32]) -> Vec<usize> {
        // By moment; at one moment what an event allows comes in the order of the chain, and first of all what saw an element
        // absent, since that is what its moment had to wait for.
        let mut keys: Vec<(u32, u32, u8, u32)> = Vec::with_capacity(self.calls.len());
        for (call, level) in chain {
            let at = self.calls[*call as usize].invoked.max(floors[*level as usize]);
            keys.push((at, level + 1, 1, *call));
        }
        for (index, call) in self.calls.iter().enumerate() {
            let (element, present) = match call.action {
                SetAction::Add(element, _) => (element, true),
                SetAction::Contains(element, present) => (element, present),
                SetAction::Remove(element, _) => (element, false),
                SetAction::Read(_) => continue,
            };
            let Some(number) = self.numbers.get(&element) else { continue };
            let element = &self.elements[*number as usize];
            let level = (element.level as usize).min(floors.len() - 1) as u32 + 1;
            if !present {
                keys.push((call.invoked, 0, 0, index as u32));
            } else if index as u32 == element.adder.1 && element.came != NEVER {
                keys.push((element.came, level, 0, index as u32));
            } else if call.returned != NEVER {
                keys.push((call.invoked.max(element.came), level, 1, index as u32));
            }
        }
        keys.sort_unstable();
        keys.into_iter().map(|key| key.3 as usize).collect()
    }
}

/// Whether `more` has all of `less`; what else it has is appended to `fresh`. Both are ascending.
fn added(less: &[ValueId], more: &[ValueId], fresh: &mut Vec<ValueId>) -> bool {
    let mut less = less.iter().peekable();
    for element in more {
        if less.next_if_eq(&element).is_none() {
            fresh.push(*element);
        }
    }
    less.next().is_none()
}
