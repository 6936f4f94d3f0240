//! Splits the operations of a history into independent objects.

use std::cmp::Reverse;

use rayon::prelude::*;
use rustc_hash::FxHashMap;
use schism_history::{Outcome, Table, ValueId, View};

use super::call::{Call, NEVER};
use super::specification::{Misfit, Specification};

/// Rows that are fetched from memory together.
const TOUCHED: usize = 32;

/// Objects that one thread takes on at once.
const TOGETHER: usize = 16;

/// Which rows of a table concern which object. An object is one key of the history, or one part of it where the
/// specification has parts.
pub(crate) struct Objects {
    /// Key and part, in the order in which the objects first appear.
    names: Vec<(ValueId, ValueId)>,
    /// Rows, object by object, ascending within each.
    rows: Vec<u32>,
    /// Where each object's rows begin, and the end of the last.
    starts: Vec<u32>,
}

/// An operation that does not fit the specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unfit {
    pub row: u32,
    pub misfit: Misfit,
}

impl Objects {
    /// Operations without a key concern an object of their own.
    pub fn of<S: Specification>(specification: &S, table: &Table) -> Self {
        let mut names = Vec::new();
        let mut known: FxHashMap<(ValueId, ValueId), u32> = FxHashMap::default();
        let mut counts: Vec<u32> = Vec::new();
        let mut last = None;
        let mut places = Vec::with_capacity(table.rows().len());
        for view in table.views() {
            let name = (view.row.key, specification.part(&view));
            let place = match last {
                Some((last, place)) if last == name => place,
                _ => *known.entry(name).or_insert_with(|| {
                    names.push(name);
                    counts.push(0);
                    names.len() as u32 - 1
                }),
            };
            last = Some((name, place));
            counts[place as usize] += 1;
            places.push(place);
        }
        let mut starts = Vec::with_capacity(counts.len() + 1);
        let mut next = 0;
        for count in &counts {
            starts.push(next);
            next += count;
        }
        starts.push(next);
        let mut free = starts.clone();
        let mut rows = vec![0; places.len()];
        for (row, place) in places.into_iter().enumerate() {
            let at = &mut free[place as usize];
            rows[*at as usize] = row as u32;
            *at += 1;
        }
        Self { names, rows, starts }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// Key and part of an object; [`ValueId::ABSENT`] where there is none.
    pub fn name(&self, object: usize) -> (ValueId, ValueId) {
        self.names[object]
    }

    /// The rows of an object.
    pub fn rows(&self, object: usize) -> &[u32] {
        &self.rows[self.starts[object] as usize..self.starts[object + 1] as usize]
    }

    /// Works on every object, on all threads of the pool this is called in. Large objects come first, so that none of them is left
    /// for the end. The results are in the order of the objects.
    pub fn map<T: Send>(&self, work: impl Fn(usize) -> T + Send + Sync) -> Vec<T> {
        let mut order: Vec<u32> = (0..self.count() as u32).collect();
        order.sort_by_key(|object| Reverse(self.rows(*object as usize).len()));
        // Few at a time: left to itself, rayon hands out a large part of all objects together with the largest one.
        let order = order.par_iter().with_max_len(TOGETHER);
        let mut done: Vec<(u32, T)> = order.map(|object| (*object, work(*object as usize))).collect();
        done.sort_unstable_by_key(|(object, _)| *object);
        done.into_iter().map(|(_, result)| result).collect()
    }
}

/// The calls that these rows are.
pub(crate) fn calls<S: Specification>(
    specification: &S,
    table: &Table,
    rows: &[u32],
) -> Result<Vec<Call<S::Action>>, Unfit> {
    calls_by(table, rows, |view| specification.action(view))
}

/// The calls that these rows are, if `understand` says what a row does. It is asked for rows that did not fail.
pub(crate) fn calls_by<A>(
    table: &Table,
    rows: &[u32],
    understand: impl Fn(&View<'_>) -> Result<Option<A>, Misfit>,
) -> Result<Vec<Call<A>>, Unfit> {
    let mut calls = Vec::with_capacity(rows.len());
    // The rows of one of a thousand keys lie far apart, so that nearly every one of them has to be fetched from memory. Touching some at
    // once lets the processor fetch them at once; one by one, it would wait for each.
    for some in rows.chunks(TOUCHED) {
        let touched = some.iter().fold(0, |sum, row| sum ^ table.rows()[*row as usize].invoked);
        std::hint::black_box(touched);
        for row in some {
            let view = table.view(*row as usize);
            if view.outcome() == Outcome::Fail {
                continue;
            }
            let action = understand(&view).map_err(|misfit| Unfit { row: *row, misfit })?;
            let Some(action) = action else { continue };
            let returned = if view.outcome() == Outcome::Ok { view.row.completed } else { NEVER };
            calls.push(Call { action, invoked: view.row.invoked, returned, source: *row });
        }
    }
    Ok(calls)
}
