//! Takes the values off from the outside.

use super::super::collection::cover::chain;
use super::super::collection::{AddTree, LeastTree, Mistake, Span, sorted};

/// Where a value that was taken off stood: around all that was inside for certain in the gaps `from..to`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub from: u32,
    pub to: u32,
    /// How many values are around it.
    pub depth: u32,
}

/// What came of it.
pub(super) struct Layout {
    /// For each value where it stood; of no meaning for those without a core.
    pub places: Vec<Place>,
    /// For each component without a value that could be around the others: values that show it, by the returns of their pushes.
    pub failures: Vec<Vec<u32>>,
}

/// A component: consecutive values, in the order of the returns of their pushes.
struct Component {
    first: usize,
    end: usize,
    /// The first gap that is covered, and the one after the last.
    from: u32,
    to: u32,
    depth: u32,
}

struct Peeling<'s> {
    values: &'s [Span],
    /// The values that have a core, by the return of the push.
    order: Vec<u32>,
    /// The next place in `order` whose value is still there, or one on the way to it.
    next: Vec<u32>,
    /// What only components of several values need.
    trees: Option<Trees>,
}

struct Trees {
    /// Starts and ends of cores, ascending.
    bounds: Vec<u32>,
    /// For each place in `order`, which bounds its core's start and end are.
    starts: Vec<u32>,
    ends: Vec<u32>,
    /// How many cores cover the gaps from one bound to the next.
    covers: AddTree,
    /// The invocation of each push, as long as it is not before the component.
    early: LeastTree,
    /// How late each pop returned, inverted, once the push was before the component.
    late: LeastTree,
}

impl Layout {
    pub fn new(values: &[Span], mistake: Mistake) -> Self {
        let order: Vec<u32> = sorted(values.len(), |at| values[at].in_to)
            .into_iter()
            .filter(|at| values[*at as usize].is_solid())
            .collect();
        let next = (0..=order.len() as u32).collect();
        let mut layout = Self { places: vec![Place::default(); values.len()], failures: Vec::new() };
        let mut peeling = Peeling { values, order, next, trees: None };
        let mut waiting = peeling.roots();
        while let Some(component) = waiting.pop() {
            let Some(place) = peeling.outermost(&component, mistake) else {
                layout.failures.push(peeling.evidence(&component));
                continue;
            };
            let Component { from, to, depth, .. } = component;
            layout.places[peeling.order[place] as usize] = Place { from, to, depth };
            peeling.next[place] = place as u32 + 1;
            if !mistake.is(Mistake::OutermostOnly) {
                peeling.split(&component, place, mistake, &mut waiting);
            }
        }
        layout
    }
}

impl<'s> Peeling<'s> {
    fn span(&self, place: usize) -> &'s Span {
        &self.values[self.order[place] as usize]
    }

    /// The components at first, by one sweep.
    fn roots(&self) -> Vec<Component> {
        let mut roots: Vec<Component> = Vec::new();
        for place in 0..self.order.len() {
            let span = self.span(place);
            match roots.last_mut().filter(|last| span.in_to <= last.to) {
                Some(last) => {
                    last.end = place + 1;
                    last.to = last.to.max(span.out_from);
                }
                None => roots.push(Component {
                    first: place,
                    end: place + 1,
                    from: span.in_to,
                    to: span.out_from,
                    depth: 0,
                }),
            }
        }
        roots
    }

    /// The first value from `place` on that is still there.
    fn alive(&mut self, mut place: usize) -> usize {
        while self.next[place] as usize != place {
            // Halving the path keeps later ones short.
            self.next[place] = self.next[self.next[place] as usize];
            place = self.next[place] as usize;
        }
        place
    }

    /// A value that can be around all others of the component.
    fn outermost(&mut self, component: &Component, mistake: Mistake) -> Option<usize> {
        let first = self.alive(component.first);
        if self.alive(first + 1) >= component.end {
            return Some(first);
        }
        let (values, order) = (self.values, &self.order);
        let trees = self.trees.get_or_insert_with(|| Trees::new(values, order));
        let before = if mistake.is(Mistake::IgnoreLeft) { u32::MAX } else { component.from };
        while let Some(place) = trees.early.first_below(component.first, component.end, before) {
            // What is before its component stays so, since components only shrink.
            trees.early.set(place, u32::MAX);
            trees.late.set(place, u32::MAX - values[order[place] as usize].out_to);
        }
        let after = if mistake.is(Mistake::IgnoreRight) { 0 } else { component.to };
        trees.late.first_below(component.first, component.end, u32::MAX - after)
    }

    /// Adds the components that are left of one without its outermost value.
    fn split(
        &mut self,
        component: &Component,
        removed: usize,
        mistake: Mistake,
        waiting: &mut Vec<Component>,
    ) {
        let mut place = self.alive(component.first);
        if place >= component.end {
            return;
        }
        let depth = component.depth + 1;
        if mistake.is(Mistake::NeverSplit) {
            let rest = self.rest(component);
            let to = rest.iter().map(|at| self.span(*at).out_from).max().unwrap_or(component.to);
            waiting.push(Component { from: self.span(place).in_to, to, depth, ..*component });
            if let Some(trees) = &mut self.trees {
                trees.late.set(removed, u32::MAX);
            }
            return;
        }
        let Some(trees) = &mut self.trees else { return };
        trees.late.set(removed, u32::MAX);
        trees.covers.add(trees.starts[removed] as usize, trees.ends[removed] as usize, -1);
        while place < component.end {
            let from = self.span(place).in_to;
            let Some(trees) = &mut self.trees else { return };
            let end = trees.covers.first_at_most(trees.starts[place] as usize, 0);
            let to = end.and_then(|end| trees.bounds.get(end).copied()).unwrap_or(component.to);
            let inside = |at: &u32| self.values[*at as usize].in_to < to;
            let end = place + self.order[place..component.end].partition_point(inside);
            waiting.push(Component { first: place, end, from, to, depth });
            place = self.alive(end);
        }
    }

    /// What is left of a component.
    fn rest(&mut self, component: &Component) -> Vec<usize> {
        let mut rest = Vec::new();
        let mut place = self.alive(component.first);
        while place < component.end {
            rest.push(place);
            place = self.alive(place + 1);
        }
        rest
    }

    fn evidence(&mut self, component: &Component) -> Vec<u32> {
        let rest = self.rest(component);
        let stretches = rest.iter().map(|place| {
            let span = self.span(*place);
            (self.order[*place], (span.in_to, span.out_from))
        });
        let few = chain(stretches, component.from, component.to);
        if few.is_empty() { rest.iter().map(|place| self.order[*place]).collect() } else { few }
    }
}

impl Trees {
    fn new(values: &[Span], order: &[u32]) -> Self {
        let span = |place: usize| &values[order[place] as usize];
        let by_end = sorted(order.len(), |place| span(place).out_from);
        let mut bounds: Vec<u32> = Vec::with_capacity(2 * order.len());
        let (mut starts, mut ends) = (vec![0; order.len()], vec![0; order.len()]);
        let mut row: Vec<i32> = Vec::with_capacity(2 * order.len());
        let (mut start, mut end, mut open) = (0, 0, 0);
        while end < by_end.len() {
            let next_end = span(by_end[end] as usize).out_from;
            let is_start = start < order.len() && span(start).in_to < next_end;
            let bound = if is_start { span(start).in_to } else { next_end };
            if bounds.last() != Some(&bound) {
                bounds.push(bound);
                row.push(open);
            }
            let number = bounds.len() - 1;
            if is_start {
                starts[start] = number as u32;
                start += 1;
                open += 1;
            } else {
                ends[by_end[end] as usize] = number as u32;
                end += 1;
                open -= 1;
            }
            row[number] = open;
        }
        Self {
            covers: AddTree::new(&row),
            early: LeastTree::new(order.len(), |place| span(place).in_from),
            late: LeastTree::new(order.len(), |_| u32::MAX),
            bounds,
            starts,
            ends,
        }
    }
}
