//! All objects of a model, judged as their operations complete.

use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use schism_history::{Kind, Outcome, ValueId, View};

use super::super::budget::Budget;
use super::super::call::{Call, NEVER};
use super::super::checker::Checker;
use super::super::select::Engine;
use super::super::specification::{Misfit, Specification};
use super::super::{CheckError, Options};
use super::Pace;
use super::object::{Object, Pending, Standing};

/// An object that violates the model: key, part, and the position at which that is certain.
pub(super) type Violating = (ValueId, ValueId, u32);

/// A model's judge, whichever the model is.
pub(super) trait Judge {
    /// An operation in this row was begun or has completed; `index` is the event's own.
    fn see(&mut self, row: usize, view: &View<'_>, kind: Kind, index: u64);
    /// Decides what is due; objects that are violated for the first time.
    fn look(&mut self, now: Duration) -> Vec<Violating>;
    /// Decides everything, however long it may take by the options. What violates the model, and what is undecided.
    fn finish(&mut self) -> Result<(Vec<Violating>, Vec<ValueId>), CheckError>;
    /// Calls kept.
    fn kept(&self) -> usize;
}

/// An open operation.
struct Open<A> {
    object: u32,
    pending: Pending<A>,
    /// The event's own number of the invocation.
    index: u64,
}

/// The judge of one model.
pub(super) struct Typed<'c, S: Specification> {
    checker: &'c Checker<'c, S>,
    engine: Engine,
    time: Option<Duration>,
    bytes: usize,
    pace: Pace,
    objects: Vec<Object<S>>,
    known: FxHashMap<(ValueId, ValueId), u32>,
    /// By row.
    open: Vec<Option<Open<S::Action>>>,
    /// Objects that may have something to do.
    listed: Vec<u32>,
    /// The earliest operation that does not fit the model: its position, and what to say.
    unfit: Option<(u32, CheckError)>,
    kept: usize,
}

impl<'c, S: Specification> Typed<'c, S> {
    pub fn new(checker: &'c Checker<'c, S>, options: &Options, pace: &Pace) -> Self {
        Self {
            checker,
            engine: options.engine,
            time: options.time_budget,
            bytes: options.memory_budget.unwrap_or(usize::MAX),
            pace: pace.clone(),
            objects: Vec::new(),
            known: FxHashMap::default(),
            open: Vec::new(),
            listed: Vec::new(),
            unfit: None,
            kept: 0,
        }
    }

    fn object(&mut self, view: &View<'_>) -> u32 {
        let name = (view.row.key, self.checker.specification.part(view));
        let (objects, specification) = (&mut self.objects, self.checker.specification);
        *self.known.entry(name).or_insert_with(|| {
            objects.push(Object::new(specification, name));
            objects.len() as u32 - 1
        })
    }

    fn call(&self, view: &View<'_>, returned: u32) -> Result<Option<Call<S::Action>>, Misfit> {
        let action = self.checker.specification.action(view)?;
        // Rows are used again, so they would say nothing.
        Ok(action.map(|action| Call { action, invoked: view.row.invoked, returned, source: 0 }))
    }

    fn refuse(&mut self, position: u32, error: CheckError) {
        if self.unfit.as_ref().is_none_or(|(earliest, _)| position < *earliest) {
            self.unfit = Some((position, error));
        }
    }

    fn list(&mut self, object: u32) {
        let entry = &mut self.objects[object as usize];
        if !std::mem::replace(&mut entry.listed, true) {
            self.listed.push(object);
        }
    }

    /// Decides one object; `Some` if it is violated now.
    fn decide(&mut self, object: u32, now: Duration, budget: Budget) -> Option<Violating> {
        let entry = &mut self.objects[object as usize];
        let mut pending = Vec::new();
        if entry.open > 0 {
            for open in self.open.iter().flatten().filter(|open| open.object == object) {
                match &open.pending {
                    Pending::Call(call) => pending.push(call.clone()),
                    Pending::Nothing => {}
                    // What it did is not known before it has ended, and then it may have failed.
                    Pending::Misfit(..) => return None,
                }
            }
        }
        let before = entry.kept();
        entry.decide(self.checker, self.engine, pending.into_iter(), now, budget, self.pace.sabotage);
        self.kept = self.kept + entry.kept() - before;
        match entry.standing {
            Standing::Violates(position) => Some((entry.name.0, entry.name.1, position)),
            Standing::Fits | Standing::Unknown => None,
        }
    }

    fn forget(&mut self, object: u32, now: Duration, pressed: bool) {
        let entry = &mut self.objects[object as usize];
        let before = entry.kept();
        entry.drop_past(self.checker.specification, now, &self.pace, pressed);
        self.kept = self.kept + entry.kept() - before;
    }
}

impl<S: Specification> Judge for Typed<'_, S> {
    fn see(&mut self, row: usize, view: &View<'_>, kind: Kind, index: u64) {
        if kind == Kind::Invoke {
            let object = self.object(view);
            let pending = match self.call(view, NEVER) {
                Ok(Some(call)) => Pending::Call(call),
                Ok(None) => Pending::Nothing,
                Err(misfit) => {
                    let error = CheckError::of(&misfit, index, view.f(), self.checker.name);
                    Pending::Misfit(view.row.invoked, error)
                }
            };
            self.objects[object as usize].open += 1;
            self.open.resize_with(self.open.len().max(row + 1), || None);
            self.open[row] = Some(Open { object, pending, index });
            return;
        }
        let Some(Open { object, index, .. }) = self.open.get_mut(row).and_then(Option::take) else { return };
        let returned = if view.outcome() == Outcome::Ok { view.row.completed } else { NEVER };
        let call = match view.outcome() {
            Outcome::Fail => None,
            Outcome::Ok | Outcome::Unknown => match self.call(view, returned) {
                Ok(call) => call,
                Err(misfit) => {
                    let error = CheckError::of(&misfit, index, view.f(), self.checker.name);
                    self.refuse(view.row.invoked, error);
                    None
                }
            },
        };
        let entry = &mut self.objects[object as usize];
        let before = entry.kept();
        entry.complete(call);
        self.kept = self.kept + entry.kept() - before;
        self.list(object);
    }

    fn look(&mut self, now: Duration) -> Vec<Violating> {
        let mut found = Vec::new();
        // Nothing is judged of a history of which an operation is not understood.
        if self.unfit.is_some() {
            return found;
        }
        let begun = Instant::now();
        let mut listed = std::mem::take(&mut self.listed);
        // Those that could not have their turn the last time come first.
        for place in 0..listed.len() {
            if begun.elapsed() > self.pace.look {
                // Small ones stay quick to decide; what is left over begins the next look.
                listed.rotate_left(place);
                break;
            }
            let object = listed[place];
            if self.objects[object as usize].is_due(now, &self.pace) {
                let deadline = Instant::now().checked_add(self.pace.look).map(|end| (end, self.pace.look));
                let budget = Budget { deadline, bytes: self.bytes, ..Budget::UNLIMITED };
                found.extend(self.decide(object, now, budget));
            }
            let pressed = self.kept > self.pace.keep;
            self.forget(object, now, pressed);
        }
        let Self { objects, pace, .. } = self;
        listed.retain(|object| {
            let entry = &mut objects[*object as usize];
            entry.listed = !entry.is_idle(now, pace);
            entry.listed
        });
        self.listed = listed;
        found.sort_unstable_by_key(|(_, _, position)| *position);
        found
    }

    fn finish(&mut self) -> Result<(Vec<Violating>, Vec<ValueId>), CheckError> {
        let open = self.open.iter().flatten().filter_map(|open| match &open.pending {
            Pending::Misfit(position, error) => Some((*position, error.clone())),
            Pending::Call(_) | Pending::Nothing => None,
        });
        let unfit = open.chain(self.unfit.clone()).min_by_key(|(position, _)| *position);
        if let Some((_, error)) = unfit {
            return Err(error);
        }
        let deadline = self.time.and_then(|time| Some((Instant::now().checked_add(time)?, time)));
        let budget = Budget { deadline, bytes: self.bytes, ..Budget::UNLIMITED };
        let (mut violating, mut unknown) = (Vec::new(), Vec::new());
        for object in 0..self.objects.len() as u32 {
            let Object { changed, standing, .. } = self.objects[object as usize];
            if !matches!(standing, Standing::Violates(_)) && (changed || standing == Standing::Unknown) {
                self.decide(object, Duration::MAX, budget.clone());
            }
            let Object { name, standing, .. } = self.objects[object as usize];
            match standing {
                Standing::Fits => {}
                Standing::Unknown => unknown.push(name.0),
                Standing::Violates(position) => violating.push((name.0, name.1, position)),
            }
        }
        Ok((violating, unknown))
    }

    fn kept(&self) -> usize {
        self.kept
    }
}
