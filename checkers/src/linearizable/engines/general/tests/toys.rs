//! Small objects of different kinds, and random histories of them.

use std::collections::BTreeMap;
use std::hash::Hash;

use schism_history::{Random, View};

use super::super::super::super::call::Call;
use super::super::super::super::specification::{Edit, Misfit, Specification};
use super::super::super::super::testing::{Shape, Simulated, jolt, simulate};

/// A specification that can invent requests. A request is an action whose result nobody knows yet.
pub trait Toy: Specification {
    fn ask(&self, random: &mut Random) -> Self::Action;
    /// What a request did and saw, and the state it left; `None` if it is refused.
    fn answer(
        &self,
        random: &mut Random,
        state: &Self::State,
        request: &Self::Action,
    ) -> Option<(Self::Action, Self::State)>;
    /// The action of a request of unknown outcome.
    fn unknown(&self, request: &Self::Action) -> Option<Self::Action> {
        Some(request.clone())
    }
    fn lie(&self, random: &mut Random, action: Self::Action) -> Self::Action;
}

/// An object in one of its states.
pub struct Running<'t, T: Toy>(pub &'t T, pub T::State);

impl<T: Toy> Simulated<T> for Running<'_, T> {
    type Request = T::Action;
    fn request(&mut self, random: &mut Random, _: usize) -> T::Action {
        self.0.ask(random)
    }
    fn perform(&mut self, random: &mut Random, request: &T::Action) -> Option<T::Action> {
        let (action, state) = self.0.answer(random, &self.1, request)?;
        self.1 = state;
        Some(action)
    }
    fn crashed(&mut self, request: &T::Action) -> Option<T::Action> {
        self.0.unknown(request)
    }
    fn lie(&mut self, random: &mut Random, action: T::Action) -> T::Action {
        self.0.lie(random, action)
    }
}

pub fn history<T: Toy>(toy: &T, random: &mut Random, calls: usize) -> Vec<Call<T::Action>> {
    let shape = Shape::draw(random, calls);
    let mut calls = simulate(random, &mut Running(toy, toy.initial()), shape);
    if random.below(3) == 0 {
        jolt(random, &mut calls);
    }
    calls
}

macro_rules! no_history {
    () => {
        fn action(&self, _: &View<'_>) -> Result<Option<Self::Action>, Misfit> {
            Ok(None)
        }
    };
}

/// A register with compare-and-set.
pub struct Register;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegisterAction {
    Read(u32),
    Write(u32),
    Cas(u32, u32),
}

impl Specification for Register {
    type Action = RegisterAction;
    type State = u32;
    no_history!();
    fn initial(&self) -> u32 {
        0
    }
    fn step(&self, state: &u32, action: &RegisterAction) -> Option<u32> {
        match *action {
            RegisterAction::Read(value) => (*state == value).then_some(value),
            RegisterAction::Write(value) => Some(value),
            RegisterAction::Cas(expected, new) => (*state == expected).then_some(new),
        }
    }
}

impl Toy for Register {
    fn ask(&self, random: &mut Random) -> RegisterAction {
        let mut value = || random.below(3) as u32;
        let (one, other) = (value(), value());
        match random.below(3) {
            0 => RegisterAction::Read(9),
            1 => RegisterAction::Write(one),
            _ => RegisterAction::Cas(one, other),
        }
    }
    fn answer(&self, _: &mut Random, state: &u32, request: &RegisterAction) -> Option<(RegisterAction, u32)> {
        match *request {
            RegisterAction::Read(_) => Some((RegisterAction::Read(*state), *state)),
            other => Some((other, self.step(state, &other)?)),
        }
    }
    fn unknown(&self, request: &RegisterAction) -> Option<RegisterAction> {
        (!matches!(request, RegisterAction::Read(_))).then_some(*request)
    }
    fn lie(&self, random: &mut Random, action: RegisterAction) -> RegisterAction {
        match action {
            RegisterAction::Read(value) => RegisterAction::Read((value + 1 + random.below(2) as u32) % 3),
            RegisterAction::Cas(expected, new) => RegisterAction::Cas((expected + 1) % 3, new),
            other => other,
        }
    }
}

/// A queue, first in, first out.
pub struct Queue {
    pub values: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueAction {
    Enqueue(u32),
    /// `None`: nobody knows what.
    Dequeue(Option<u32>),
    Peek(u32),
    Empty,
}

impl Specification for Queue {
    type Action = QueueAction;
    type State = Vec<u32>;
    no_history!();
    fn initial(&self) -> Vec<u32> {
        Vec::new()
    }
    fn step(&self, state: &Vec<u32>, action: &QueueAction) -> Option<Vec<u32>> {
        match *action {
            QueueAction::Enqueue(value) => Some([&state[..], &[value]].concat()),
            QueueAction::Empty => state.is_empty().then(Vec::new),
            // A dequeue of unknown result may have found nothing.
            QueueAction::Dequeue(None) => Some(state.get(1..).unwrap_or_default().to_vec()),
            QueueAction::Dequeue(Some(value)) => (state.first() == Some(&value)).then(|| state[1..].to_vec()),
            QueueAction::Peek(value) => (state.first() == Some(&value)).then(|| state.clone()),
        }
    }
    fn bytes(&self, state: &Vec<u32>) -> usize {
        size_of_val(state) + state.capacity() * 4
    }
    fn edit(&self, action: &QueueAction) -> Option<Edit> {
        Some(match *action {
            QueueAction::Enqueue(value) => Edit::Push(value),
            QueueAction::Dequeue(Some(value)) => Edit::TakeOldest(value),
            QueueAction::Dequeue(None) => Edit::TakeOldestIfAny,
            QueueAction::Peek(value) => Edit::SeeOldest(value),
            QueueAction::Empty => Edit::SeeEmpty,
        })
    }
}

impl Toy for Queue {
    fn ask(&self, random: &mut Random) -> QueueAction {
        match random.below(3) {
            0 => QueueAction::Enqueue(random.below(self.values) as u32),
            1 if random.below(4) == 0 => QueueAction::Peek(0),
            _ => QueueAction::Dequeue(None),
        }
    }
    fn answer(
        &self,
        _: &mut Random,
        state: &Vec<u32>,
        request: &QueueAction,
    ) -> Option<(QueueAction, Vec<u32>)> {
        let action = match (*request, state.first()) {
            (QueueAction::Enqueue(value), _) => QueueAction::Enqueue(value),
            (_, None) => QueueAction::Empty,
            (QueueAction::Peek(_), Some(first)) => QueueAction::Peek(*first),
            (_, Some(first)) => QueueAction::Dequeue(Some(*first)),
        };
        Some((action, self.step(state, &action)?))
    }
    fn unknown(&self, request: &QueueAction) -> Option<QueueAction> {
        (!matches!(request, QueueAction::Peek(_))).then_some(*request)
    }
    fn lie(&self, random: &mut Random, action: QueueAction) -> QueueAction {
        match action {
            QueueAction::Enqueue(_) => action,
            QueueAction::Dequeue(_) if random.below(3) == 0 => QueueAction::Empty,
            QueueAction::Peek(_) => QueueAction::Peek(random.below(self.values) as u32),
            _ => QueueAction::Dequeue(Some(random.below(self.values) as u32)),
        }
    }
}

/// A stack, last in, first out.
pub struct Stack {
    pub values: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StackAction {
    Push(u32),
    /// `None`: nobody knows what.
    Pop(Option<u32>),
    Peek(u32),
    Empty,
}

impl Specification for Stack {
    type Action = StackAction;
    type State = Vec<u32>;
    no_history!();
    fn initial(&self) -> Vec<u32> {
        Vec::new()
    }
    fn step(&self, state: &Vec<u32>, action: &StackAction) -> Option<Vec<u32>> {
        let rest = || state[..state.len().saturating_sub(1)].to_vec();
        match *action {
            StackAction::Push(value) => Some([&state[..], &[value]].concat()),
            StackAction::Empty => state.is_empty().then(Vec::new),
            // A pop of unknown result may have found nothing.
            StackAction::Pop(None) => Some(rest()),
            StackAction::Pop(Some(value)) => (state.last() == Some(&value)).then(rest),
            StackAction::Peek(value) => (state.last() == Some(&value)).then(|| state.clone()),
        }
    }
    fn edit(&self, action: &StackAction) -> Option<Edit> {
        Some(match *action {
            StackAction::Push(value) => Edit::Push(value),
            StackAction::Pop(Some(value)) => Edit::TakeNewest(value),
            StackAction::Pop(None) => Edit::TakeNewestIfAny,
            StackAction::Peek(value) => Edit::SeeNewest(value),
            StackAction::Empty => Edit::SeeEmpty,
        })
    }
}

impl Toy for Stack {
    fn ask(&self, random: &mut Random) -> StackAction {
        match random.below(7) {
            0..3 => StackAction::Push(random.below(self.values) as u32),
            3 => StackAction::Peek(0),
            _ => StackAction::Pop(None),
        }
    }
    fn answer(
        &self,
        _: &mut Random,
        state: &Vec<u32>,
        request: &StackAction,
    ) -> Option<(StackAction, Vec<u32>)> {
        let action = match (*request, state.last()) {
            (StackAction::Push(value), _) => StackAction::Push(value),
            (_, None) => StackAction::Empty,
            (StackAction::Peek(_), Some(last)) => StackAction::Peek(*last),
            (_, Some(last)) => StackAction::Pop(Some(*last)),
        };
        Some((action, self.step(state, &action)?))
    }
    fn unknown(&self, request: &StackAction) -> Option<StackAction> {
        (!matches!(request, StackAction::Peek(_))).then_some(*request)
    }
    fn lie(&self, random: &mut Random, action: StackAction) -> StackAction {
        let value = random.below(self.values) as u32;
        match action {
            StackAction::Push(_) => action,
            StackAction::Pop(_) if random.below(3) == 0 => StackAction::Empty,
            StackAction::Peek(_) => StackAction::Peek(value),
            _ => StackAction::Pop(Some(value)),
        }
    }
}

/// A bag that hands out any of its elements, and some of whose operations leave open what they do.
pub struct Bag;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BagAction {
    Add(u32),
    /// Adds it, or not.
    TryAdd(u32),
    /// Takes any element; nobody knows which, if there is one.
    TakeAny,
    Take(u32),
    /// An element that is there.
    Peek(u32),
    Empty,
}

fn without(state: &[u32], value: u32) -> Option<Vec<u32>> {
    let place = state.iter().position(|other| *other == value)?;
    let mut state = state.to_vec();
    state.remove(place);
    Some(state)
}

fn with(state: &[u32], value: u32) -> Vec<u32> {
    let mut state = [state, &[value]].concat();
    state.sort_unstable();
    state
}

impl Specification for Bag {
    type Action = BagAction;
    /// Sorted.
    type State = Vec<u32>;
    no_history!();
    fn initial(&self) -> Vec<u32> {
        Vec::new()
    }
    fn step(&self, state: &Vec<u32>, action: &BagAction) -> Option<Vec<u32>> {
        match *action {
            BagAction::Add(value) | BagAction::TryAdd(value) => Some(with(state, value)),
            BagAction::Take(value) => without(state, value),
            BagAction::Peek(value) => state.contains(&value).then(|| state.clone()),
            BagAction::Empty | BagAction::TakeAny => state.is_empty().then(Vec::new),
        }
    }
    fn branch(&self, state: &Vec<u32>, action: &BagAction, next: &mut Vec<Vec<u32>>) {
        match *action {
            BagAction::TakeAny => {
                next.extend(state.iter().filter_map(|value| without(state, *value)));
                if state.is_empty() {
                    next.push(Vec::new());
                }
            }
            BagAction::TryAdd(value) => next.extend([state.clone(), with(state, value)]),
            _ => next.extend(self.step(state, action)),
        }
    }
}

impl Toy for Bag {
    fn ask(&self, random: &mut Random) -> BagAction {
        let value = random.below(3) as u32;
        match random.below(6) {
            0 | 1 => BagAction::Add(value),
            2 => BagAction::TryAdd(value),
            3 => BagAction::Peek(9),
            _ => BagAction::TakeAny,
        }
    }
    fn answer(
        &self,
        random: &mut Random,
        state: &Vec<u32>,
        request: &BagAction,
    ) -> Option<(BagAction, Vec<u32>)> {
        let any = random.pick(state).copied();
        let action = match (*request, any) {
            (BagAction::Peek(_), Some(value)) => BagAction::Peek(value),
            (BagAction::Peek(_) | BagAction::TakeAny, None) => BagAction::Empty,
            // The caller may not be told what it took.
            (BagAction::TakeAny, Some(_)) if random.below(3) == 0 => BagAction::TakeAny,
            (BagAction::TakeAny, Some(value)) => BagAction::Take(value),
            (other, _) => other,
        };
        let mut next = Vec::new();
        self.branch(state, &action, &mut next);
        Some((action, random.pick(&next)?.clone()))
    }
    fn unknown(&self, request: &BagAction) -> Option<BagAction> {
        (!matches!(request, BagAction::Peek(_))).then_some(*request)
    }
    fn lie(&self, random: &mut Random, action: BagAction) -> BagAction {
        let value = random.below(3) as u32;
        match action {
            BagAction::Take(_) | BagAction::TakeAny => BagAction::Take(value),
            BagAction::Peek(_) => BagAction::Peek(value),
            BagAction::Empty if random.below(2) == 0 => BagAction::Take(value),
            other => other,
        }
    }
}

/// A counter that stops at a limit.
pub struct Counter;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CounterAction {
    Add(i32),
    Read(i32),
}

const LIMIT: i32 = 4;

impl Specification for Counter {
    type Action = CounterAction;
    type State = i32;
    no_history!();
    fn initial(&self) -> i32 {
        0
    }
    fn step(&self, state: &i32, action: &CounterAction) -> Option<i32> {
        match *action {
            CounterAction::Add(amount) => Some((state + amount).clamp(0, LIMIT)),
            CounterAction::Read(value) => (*state == value).then_some(value),
        }
    }
    /// Promised here; with the other toys the search has to find out.
    fn observes(&self, action: &CounterAction) -> bool {
        matches!(action, CounterAction::Read(_))
    }
}

impl Toy for Counter {
    fn ask(&self, random: &mut Random) -> CounterAction {
        match random.below(5) {
            0 | 1 => CounterAction::Read(0),
            2 => CounterAction::Add(-1),
            3 => CounterAction::Add(1),
            _ => CounterAction::Add(random.below(3) as i32),
        }
    }
    fn answer(&self, _: &mut Random, state: &i32, request: &CounterAction) -> Option<(CounterAction, i32)> {
        match *request {
            CounterAction::Read(_) => Some((CounterAction::Read(*state), *state)),
            other => Some((other, self.step(state, &other)?)),
        }
    }
    fn unknown(&self, request: &CounterAction) -> Option<CounterAction> {
        (!matches!(request, CounterAction::Read(_))).then_some(*request)
    }
    fn lie(&self, random: &mut Random, action: CounterAction) -> CounterAction {
        match action {
            CounterAction::Read(value) => CounterAction::Read(value + 1 - 2 * random.below(2) as i32),
            other => other,
        }
    }
}

/// A map with operations that change nothing in most states: what looks like an observer and is none.
pub struct Map {
    /// Whether it says which actions are about one key.
    pub keys: bool,
    /// Of seven operations, how many clear it or ask for its size.
    pub whole: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapAction {
    Put(u32, u32),
    Remove(u32),
    Get(u32, Option<u32>),
    Clear,
    Size(usize),
}

impl Specification for Map {
    type Action = MapAction;
    type State = BTreeMap<u32, u32>;
    no_history!();
    fn initial(&self) -> Self::State {
        BTreeMap::new()
    }
    fn step(&self, state: &Self::State, action: &MapAction) -> Option<Self::State> {
        let mut next = state.clone();
        match *action {
            MapAction::Put(key, value) => drop(next.insert(key, value)),
            MapAction::Remove(key) => drop(next.remove(&key)),
            MapAction::Get(key, value) if state.get(&key) != value.as_ref() => return None,
            MapAction::Get(..) => {}
            MapAction::Clear => next.clear(),
            MapAction::Size(size) if state.len() != size => return None,
            MapAction::Size(_) => {}
        }
        Some(next)
    }
    fn observes(&self, action: &MapAction) -> bool {
        self.keys && matches!(action, MapAction::Get(..) | MapAction::Size(_))
    }
    fn component(&self, action: &MapAction) -> Option<u32> {
        match *action {
            MapAction::Put(key, _) | MapAction::Remove(key) | MapAction::Get(key, _) => {
                self.keys.then_some(key)
            }
            MapAction::Clear | MapAction::Size(_) => None,
        }
    }
}

impl Toy for Map {
    fn ask(&self, random: &mut Random) -> MapAction {
        let (key, value) = (random.below(3) as u32, random.below(2) as u32);
        if random.below(7) < self.whole {
            return [MapAction::Clear, MapAction::Size(0)][random.below(2) as usize];
        }
        match random.below(5) {
            0 | 1 => MapAction::Put(key, value),
            2 => MapAction::Remove(key),
            _ => MapAction::Get(key, None),
        }
    }
    fn answer(
        &self,
        _: &mut Random,
        state: &Self::State,
        request: &MapAction,
    ) -> Option<(MapAction, Self::State)> {
        let action = match *request {
            MapAction::Get(key, _) => MapAction::Get(key, state.get(&key).copied()),
            MapAction::Size(_) => MapAction::Size(state.len()),
            other => other,
        };
        Some((action, self.step(state, &action)?))
    }
    fn unknown(&self, request: &MapAction) -> Option<MapAction> {
        (!matches!(request, MapAction::Get(..) | MapAction::Size(_))).then_some(*request)
    }
    fn lie(&self, random: &mut Random, action: MapAction) -> MapAction {
        match action {
            MapAction::Get(key, _) => MapAction::Get(key, [None, Some(0), Some(1)][random.below(3) as usize]),
            MapAction::Size(_) => MapAction::Size(random.below(4) as usize),
            other => other,
        }
    }
}
