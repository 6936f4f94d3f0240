//! In which order holds can come.
//!
//! Hold c must come before hold d if some call of c returns before some call of d is invoked: `c.first < d.last`. A hold is *forward* if
//! `first < last`: all through that zone it is held for certain. Else it is *backward*, and can be as short as one moment between `last`
//! and `first`. Holds can be put in order just if no two must each come before the other (Gibbons and Korach, 1997): take a cycle, and
//! in it the d with the greatest `last`; all others in it must come before d, and d before one of them. Such a pair is either two forward holds with
//! overlapping zones, or a backward one within a forward one.
//!
//! Known tokens order their holds. A hold with a token must come before everything that a hold with a higher token must come before, so
//! that its `first` becomes the least `first` from it on, and its `last` the greatest `last` up to it. Then it must be that no hold must come
//! before one with a lower token, `first` of one hold is never less than `last` of the one before; and the same pairs as above decide the rest: in a
//! cycle the step from a token to a higher one goes together with the step after it.
//!
//! If the holds can be put in order, this is one: forward holds by their zones; a backward hold at `last`, or, if that is
//! within a forward zone, right after that. Of several at one moment, those with tokens in the order of tokens.

use super::holds::{Conflict, Hold, Holds};
use super::sabotage::Sabotage;
use crate::linearizable::call::NEVER;

#[derive(Clone, Copy, Debug)]
struct Zone {
    first: u32,
    last: u32,
    /// The hold.
    hold: u32,
    /// Whose `first` and `last` these are.
    because: (u32, u32),
}

/// Holds that cannot be put in order, and the position of a return by which it shows.
#[derive(Debug)]
pub(super) struct Clash {
    pub holds: Vec<u32>,
    pub position: u32,
}

impl Clash {
    /// The calls of these holds, if all of them are `certain`.
    pub fn conflict(self, holds: &Holds, certain: impl Fn(&Hold) -> bool) -> Conflict {
        let chosen = self.holds.iter().filter_map(|hold| holds.holds.get(*hold as usize));
        let mut pattern: Vec<usize> = Vec::new();
        for hold in chosen {
            if !certain(hold) {
                return Conflict { position: self.position, pattern: Vec::new() };
            }
            pattern.extend(holds.members(hold).iter().map(|index| *index as usize));
        }
        pattern.sort_unstable();
        pattern.dedup();
        Conflict { position: self.position, pattern }
    }
}

/// Puts those holds in order that `include` names.
///
/// # Errors
/// There is no order.
pub(super) fn arrange(
    holds: &[Hold],
    include: impl Fn(&Hold) -> bool,
    sabotage: Sabotage,
) -> Result<Vec<u32>, Clash> {
    let mut zones: Vec<Zone> = Vec::with_capacity(holds.len());
    for (number, hold) in holds.iter().enumerate() {
        if include(hold) {
            let hold_number = number as u32;
            let because = (hold_number, hold_number);
            zones.push(Zone { first: hold.first, last: hold.last, hold: hold_number, because });
        }
    }
    tokens(holds, &mut zones, sabotage)?;
    // What is sorted here consists of runs in order, one an owner, which a stable sort only merges.
    zones.sort_by_key(|zone| (zone.first, zone.hold));
    let mut forward: Vec<Zone> = Vec::new();
    for zone in &zones {
        let is_forward = zone.first < zone.last;
        // Forward holds so far do not overlap, so the last one reaches farthest.
        if let Some(held) = forward.last()
            && held.first < zone.first.min(zone.last)
            && zone.first < held.last
            && !(is_forward && sabotage == Sabotage::NoOverlap)
            && (is_forward || sabotage != Sabotage::NoContainment)
        {
            let mut involved =
                vec![held.hold, held.because.0, held.because.1, zone.hold, zone.because.0, zone.because.1];
            involved.sort_unstable();
            involved.dedup();
            return Err(Clash { holds: involved, position: zone.first });
        }
        if is_forward {
            forward.push(*zone);
        }
    }
    let mut order: Vec<(u32, Option<i64>, u32)> = zones
        .iter()
        .map(|zone| {
            let moment = if zone.first < zone.last {
                zone.first
            } else {
                let before = forward.partition_point(|forward| forward.first < zone.last);
                let within = before.checked_sub(1).map(|place| forward[place].last);
                within.filter(|end| *end > zone.last && *end != NEVER).unwrap_or(zone.last)
            };
            (moment, holds[zone.hold as usize].token, zone.hold)
        })
        .collect();
    order.sort();
    Ok(order.into_iter().map(|(_, _, hold)| hold).collect())
}

/// Lets the order of tokens narrow the zones.
fn tokens(holds: &[Hold], zones: &mut [Zone], sabotage: Sabotage) -> Result<(), Clash> {
    if sabotage == Sabotage::NoTokens {
        return Ok(());
    }
    let token = |zone: &Zone| holds[zone.hold as usize].token;
    let mut chain: Vec<(i64, u32)> = zones
        .iter()
        .enumerate()
        .filter_map(|(place, zone)| token(zone).map(|token| (token, place as u32)))
        .collect();
    chain.sort();
    for pair in chain.windows(2) {
        if pair[0].0 == pair[1].0 && sabotage != Sabotage::EqualTokens {
            let (one, other) = (zones[pair[0].1 as usize], zones[pair[1].1 as usize]);
            return Err(Clash { holds: vec![one.hold, other.hold], position: one.first.max(other.first) });
        }
    }
    let places = chain.iter().map(|(_, place)| *place as usize);
    let (mut last, mut first) = ((0, u32::MAX), (NEVER, u32::MAX));
    for place in places.clone() {
        let zone = &mut zones[place];
        if zone.last > last.0 {
            last = (zone.last, zone.hold);
        } else if sabotage != Sabotage::NeighbouringTokens {
            (zone.last, zone.because.1) = last;
        }
    }
    for place in places.rev() {
        let zone = &mut zones[place];
        if zone.first < first.0 {
            first = (zone.first, zone.hold);
        } else if sabotage != Sabotage::NeighbouringTokens {
            (zone.first, zone.because.0) = first;
        }
    }
    for pair in chain.windows(2) {
        let (lower, higher) = (zones[pair[0].1 as usize], zones[pair[1].1 as usize]);
        if higher.first < lower.last {
            let clashing = vec![higher.because.0, lower.because.1];
            let position = clashing.iter().map(|hold| holds[*hold as usize].first).max().unwrap_or(0);
            return Err(Clash { holds: clashing, position });
        }
    }
    Ok(())
}
