//! Keys to which texts are appended, as registers.
//!
//! If every text that is put or appended is another one, and none of them is the beginning of another one, then a text that was
//! read says what it is made of and in which order. So it says of every append in it what the key held before: the append is a
//! compare-and-set of that. An append that no read shows leaves something that nobody ever reads, until the next put: it is a
//! write of a value of its own.
//!
//! Proof that the answer is the same. In a legal order of the map, what an append finds is what each read that shows it says, so it
//! is legal as a compare-and-set; an append that no read shows leaves what no read shows (each text is appended once, so what it leaves
//! contains it), as its write does. In a legal order of the register, by induction, the register holds the number of what the key
//! holds, or a value of its own where no read shows what the key holds. An append can stand in one place only: if two reads show it in
//! different ones, both cannot be right, and one of them becomes a read of what was never written.

use rustc_hash::FxHashMap;
use schism_history::ValueId;

use super::super::super::call::Call;
use super::super::register;
use super::{Action, Content, State};

type RegisterAction = register::Action<ValueId>;

/// What a key holds at first, and once it is deleted.
const NOTHING: u32 = 0;

/// The calls as those of a register that starts as null; `None` if the texts do not say enough.
pub(super) fn as_register(calls: &[Call<Action>]) -> Option<Vec<Call<RegisterAction>>> {
    let pieces = Pieces::of(calls)?;
    let mut contents = Contents { next: NOTHING + 1, ..Contents::default() };
    // What the reads say comes first, so that every append knows its place.
    let mut held = Vec::with_capacity(calls.len());
    for call in calls {
        held.push(match &call.action {
            Action::Get(content) => contents.read(&pieces, calls, content)?,
            _ => NOTHING,
        });
    }
    let mut register = Vec::with_capacity(calls.len());
    for (index, call) in calls.iter().enumerate() {
        let action = match &call.action {
            Action::Get(_) => register::Action::Read(number(held[index])?),
            Action::Put(content) if content.value == State::Absent => register::Action::Write(ValueId::NULL),
            Action::Delete => register::Action::Write(ValueId::NULL),
            Action::Put(_) => register::Action::Write(number(contents.child(NOTHING, index))?),
            Action::Append(_) => match contents.places.get(&index) {
                Some((before, after)) => register::Action::Cas(number(*before)?, number(*after)?),
                None => register::Action::Write(number(contents.fresh())?),
            },
            Action::Cas(_) => return None,
        };
        register.push(Call { action, invoked: call.invoked, returned: call.returned, source: call.source });
    }
    Some(register)
}

fn number(content: u32) -> Option<ValueId> {
    match content {
        NOTHING => Some(ValueId::NULL),
        content => ValueId::small(i64::from(content)),
    }
}

/// The texts that are put or appended, sorted, and which call each belongs to.
struct Pieces<'c> {
    sorted: Vec<(&'c str, usize)>,
}

impl<'c> Pieces<'c> {
    fn of(calls: &'c [Call<Action>]) -> Option<Self> {
        let mut sorted = Vec::new();
        for (index, call) in calls.iter().enumerate() {
            match &call.action {
                Action::Put(content) | Action::Append(content) => match &content.value {
                    State::Text(text) if !text.is_empty() => sorted.push((&**text, index)),
                    State::Absent if matches!(call.action, Action::Put(_)) => {}
                    State::Text(_) | State::Absent | State::List(_) | State::Other(_) => return None,
                },
                Action::Get(_) | Action::Delete => {}
                Action::Cas(_) => return None,
            }
        }
        sorted.sort_unstable();
        let clear = sorted.windows(2).all(|pair| !pair[1].0.starts_with(pair[0].0));
        clear.then_some(Self { sorted })
    }

    /// The call whose text `text` begins with, and the rest of it. There is one at most, since none begins with another.
    fn first<'t>(&self, text: &'t str) -> Option<(usize, &'t str)> {
        let place = self.sorted.partition_point(|(piece, _)| *piece <= text).checked_sub(1)?;
        let (piece, call) = self.sorted.get(place)?;
        Some((*call, text.strip_prefix(piece)?))
    }
}

/// What a key can hold according to the reads: a tree, in which the child of a content is that with one more text at its
/// end.
#[derive(Default)]
struct Contents {
    next: u32,
    children: FxHashMap<(u32, usize), u32>,
    /// Per append that is shown: what it found and what it left.
    places: FxHashMap<usize, (u32, u32)>,
    /// By the number of the text: what was read.
    known: FxHashMap<ValueId, u32>,
}

impl Contents {
    fn fresh(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    fn child(&mut self, parent: u32, call: usize) -> u32 {
        if let Some(child) = self.children.get(&(parent, call)) {
            return *child;
        }
        let child = self.fresh();
        self.children.insert((parent, call), child);
        child
    }

    /// What a read showed; something that nobody ever writes if that cannot be. `None` if it is no text.
    fn read(&mut self, pieces: &Pieces<'_>, calls: &[Call<Action>], content: &Content) -> Option<u32> {
        let text = match &content.value {
            State::Absent => return Some(NOTHING),
            State::Text(text) => text,
            State::List(_) | State::Other(_) => return None,
        };
        if let Some(known) = self.known.get(&content.id) {
            return Some(*known);
        }
        let held = self.follow(pieces, calls, text).unwrap_or_else(|| self.fresh());
        self.known.insert(content.id, held);
        Some(held)
    }

    fn follow(&mut self, pieces: &Pieces<'_>, calls: &[Call<Action>], text: &str) -> Option<u32> {
        let mut held = NOTHING;
        let mut rest = text;
        while !rest.is_empty() {
            let (call, more) = pieces.first(rest)?;
            let before = held;
            held = self.child(before, call);
            // Where another read shows it elsewhere, or where a put is not at the beginning, no call leads here: this is
            // read and never written.
            if matches!(calls[call].action, Action::Append(_)) {
                self.places.entry(call).or_insert((before, held));
            }
            rest = more;
        }
        (held != NOTHING).then_some(held)
    }
}
