//! A linearization of a stack's calls, built as in the proof.

use super::super::super::budget::{Budget, Meter};
use super::super::super::call::Call;
use super::super::super::models::collection::Action;
use super::super::collection::cover::Cover;
use super::super::collection::{Earliest, Mistake, NONE, Spans};
use super::peel::Layout;
use super::{Solution, solve};

/// Where a call stands within its gap: what comes out, then what needs no more than one moment, then what goes in.
const OUT: u8 = 0;
const MOMENT: u8 = 1;
const IN: u8 = 2;

/// A linearization, if there is one.
pub(super) fn build(calls: &[Call<Action>]) -> Option<Vec<usize>> {
    let mut earliest = Earliest::default();
    let spans = Spans::new(calls, &mut earliest)?;
    let budget = Budget::UNLIMITED;
    let solution = solve(calls, &spans, earliest, &mut Meter::new(budget), Mistake::None);
    let Ok(Some(Solution::Fits(values))) = solution else { return None };
    let layout = Layout::new(&values, Mistake::None);
    // By gap, part of the gap, and depth: those further outside are pushed first and popped last.
    let mut points: Vec<(u32, u8, u32, u32, u32)> = Vec::with_capacity(calls.len());
    for (span, place) in values.iter().zip(&layout.places) {
        if !span.is_solid() {
            points.push((span.out_from, MOMENT, 0, span.insert, span.remove));
            continue;
        }
        points.push((place.from - 1, IN, place.depth, span.insert, NONE));
        if span.is_removed() {
            points.push((place.to, OUT, u32::MAX - place.depth, span.remove, NONE));
        }
    }
    let solid = values.iter().filter(|span| span.is_solid());
    let cover = Cover::new(solid.map(|span| (span.in_to, span.out_from)).collect());
    for empty in &spans.empties {
        let call = &calls[*empty as usize];
        points.push((cover.free(call.invoked, call.returned)?, MOMENT, 0, *empty, NONE));
    }
    points.sort_unstable();
    let both = |point: (u32, u8, u32, u32, u32)| [point.3, point.4].into_iter().filter(|call| *call != NONE);
    Some(points.into_iter().flat_map(both).map(|call| call as usize).collect())
}
