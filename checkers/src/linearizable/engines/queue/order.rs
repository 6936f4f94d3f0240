//! A linearization of a queue's calls, built as in the proof.

use super::super::super::call::{Call, NEVER};
use super::super::super::models::collection::Action;
use super::super::collection::{Earliest, FOREVER, Mistake, NONE, Spans, empties};

/// Something that goes in and comes out, or an empty queue, which counts as something that goes in and comes out in one gap. Times are
/// doubled, so that gaps have odd ones.
struct Item {
    in_from: u64,
    in_to: u64,
    out_from: u64,
    out_to: u64,
    /// [`NONE`] for an empty queue.
    insert: u32,
    remove: u32,
}

/// A linearization, if there is one.
pub(super) fn build(calls: &[Call<Action>]) -> Option<Vec<usize>> {
    let items = items(calls)?;
    let sequence = sequence(&items)?;
    // Each goes in and comes out as early as those before it allow.
    let (mut entered, mut result) = (0, Vec::with_capacity(calls.len()));
    let mut entries: Vec<u64> = Vec::with_capacity(items.len());
    let mut latest = 0;
    for at in &sequence {
        latest = items[*at as usize].in_from.max(latest);
        entries.push(latest);
    }
    let mut leave = 0;
    for (place, at) in sequence.iter().enumerate() {
        let item = &items[*at as usize];
        if item.remove == NONE {
            continue;
        }
        leave = item.out_from.max(entries[place]).max(leave);
        while entered < sequence.len() && (entered <= place || entries[entered] < leave) {
            let insert = items[sequence[entered] as usize].insert;
            if insert != NONE {
                result.push(insert as usize);
            }
            entered += 1;
        }
        result.push(item.remove as usize);
    }
    let rest = sequence[entered..].iter().map(|at| items[*at as usize].insert);
    result.extend(rest.filter(|insert| *insert != NONE).map(|insert| insert as usize));
    Some(result)
}

fn items(calls: &[Call<Action>]) -> Option<Vec<Item>> {
    let mut earliest = Earliest::default();
    let spans = Spans::new(calls, &mut earliest)?;
    if !earliest.is_none() {
        return None;
    }
    let leftovers = empties::leftovers(&spans);
    let cover = empties::cover(calls, &spans, &leftovers, Mistake::None);
    let twice = |position: u32| 2 * u64::from(position);
    let mut items = Vec::with_capacity(spans.values.len() + spans.empties.len());
    items.extend(spans.values.iter().map(|span| Item {
        in_from: twice(span.in_from),
        in_to: twice(span.in_to),
        out_from: twice(span.out_from),
        out_to: twice(span.out_to),
        insert: span.insert,
        remove: span.remove,
    }));
    for (leftover, removal) in leftovers.iter().zip(&spans.unknown) {
        let item: &mut Item = &mut items[*leftover as usize];
        item.remove = *removal;
        item.out_from = twice(calls[*removal as usize].invoked).max(item.in_from);
        // Whenever it likes, but before what is never taken out.
        item.out_to = twice(FOREVER) - 1;
    }
    debug_assert!(twice(FOREVER) < twice(NEVER));
    for empty in &spans.empties {
        let call = &calls[*empty as usize];
        let gap = twice(cover.free(call.invoked, call.returned)?) + 1;
        items.push(Item {
            in_from: gap,
            in_to: gap,
            out_from: gap,
            out_to: gap,
            insert: NONE,
            remove: *empty,
        });
    }
    Some(items)
}

/// All items in an order that keeps with both interval orders: again and again one before which none of the others has to come, which is
/// seen from the earliest end of those left.
fn sequence(items: &[Item]) -> Option<Vec<u32>> {
    let sorted = |key: &dyn Fn(&Item) -> u64| {
        let mut order: Vec<u32> = (0..items.len() as u32).collect();
        order.sort_unstable_by_key(|at| key(&items[*at as usize]));
        order
    };
    let kinds: [(Vec<u32>, Vec<u32>); 2] = [
        (sorted(&|item| item.in_from), sorted(&|item| item.in_to)),
        (sorted(&|item| item.out_from), sorted(&|item| item.out_to)),
    ];
    let start = |kind: usize, at: u32| {
        let item = &items[at as usize];
        if kind == 0 { item.in_from } else { item.out_from }
    };
    let end = |kind: usize, at: u32| {
        let item = &items[at as usize];
        if kind == 0 { item.in_to } else { item.out_to }
    };
    let mut placed = vec![false; items.len()];
    let mut free_in = vec![0_u8; items.len()];
    let (mut started, mut ended) = ([0; 2], [0; 2]);
    let (mut ready, mut sequence) = (Vec::new(), Vec::with_capacity(items.len()));
    loop {
        for (kind, (by_start, by_end)) in kinds.iter().enumerate() {
            while by_end.get(ended[kind]).is_some_and(|at| placed[*at as usize]) {
                ended[kind] += 1;
            }
            let Some(first_end) = by_end.get(ended[kind]).map(|at| end(kind, *at)) else { continue };
            while let Some(at) =
                by_start.get(started[kind]).copied().filter(|at| start(kind, *at) <= first_end)
            {
                started[kind] += 1;
                free_in[at as usize] += 1;
                if free_in[at as usize] == 2 {
                    ready.push(at);
                }
            }
        }
        let Some(at) = ready.pop() else { break };
        placed[at as usize] = true;
        sequence.push(at);
    }
    (sequence.len() == items.len()).then_some(sequence)
}
