//! Keys to which texts are appended, as registers.
//!
//! If none of the texts that are put or appended is the beginning of another one, then a text that was
//! read says what it is made of and in which order. So it says of every append in it what the key held before: the append is a
//! compare-and-set of that. Where a text is appended more than once, any of those appends can be the one that a read
//! shows: each choice is a register, and the map is linearizable if one of them is. An append that no read shows leaves something that nobody ever reads, until the next put: it is a
//! write of a value of its own.
//!
//! Proof that the answer is the same. In a legal order of the map, what an append finds is what each read that shows it says, so it
//! is legal as a compare-and-set; an append that no read shows leaves what no read shows (each text is appended once, so what it leaves
//! contains it), as its write does. In a legal order of the register, by induction, the register holds the number of what the key
//! holds, or a value of its own where no read shows what the key holds. A text that is appended once can stand in one place only: if two
//! reads show it in different ones, every choice makes one of them a read of what was never written.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use schism_history::ValueId;

use super::super::super::call::Call;
use super::super::super::numbers::Numbers;
use super::super::register;
use super::pieces::{NOTHING, Piece, Pieces, Place};
use super::said::{Said, Seen, ValueKind};

type RegisterAction = register::Action<ValueId>;

/// Choices that are worth trying.
const CHOICES_MAX: usize = 1024;

/// Contents that can be told apart: as many as there are small integers above 0.
const CONTENTS_MAX: u32 = (1 << 30) - 1;

/// Marks what was read and is no single piece.
const JOINED: u32 = 1 << 31;

/// The calls as those of registers that start as null, one of which has to be linearizable; `None` if the texts do not say enough.
/// `text` says what the text of a call and of a number is.
pub(super) fn as_registers<'t>(
    calls: &[Call<Said>],
    text: impl Fn(usize, ValueId) -> &'t str,
) -> Option<Vec<Vec<Call<RegisterAction>>>> {
    as_registers_with(calls, text, Mistake::None)
}

pub(super) fn as_registers_with<'t>(
    calls: &[Call<Said>],
    text: impl Fn(usize, ValueId) -> &'t str,
    mistake: Mistake,
) -> Option<Vec<Vec<Call<RegisterAction>>>> {
    let pieces = Pieces::of(calls, &text, mistake)?;
    let mut contents =
        Contents { pieces, next: NOTHING + 1, children: Numbers::default(), places: Vec::new() };
    // What the reads say comes first, so that every append knows its place.
    for (index, call) in calls.iter().enumerate() {
        if let Said::Get(seen) = call.action {
            contents.pieces.of_call[index] = contents.read(seen, || text(index, seen.id))?;
        }
    }
    contents.settle(mistake);
    let choices = contents.choices(calls)?;
    choices.iter().map(|choice| register(calls, &mut contents, choice)).collect()
}

/// Plausible mistakes, each of which the tests have to notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code))]
pub(super) enum Mistake {
    None,
    /// What a put can have written is taken for what the append of the same text made.
    PutIsForgotten,
    /// Of equal appends the first one made what was read.
    FirstAppendTookIt,
    /// Texts are told apart by their first eight bytes.
    OnlyTheHeads,
    /// Texts that begin with another one are taken to say what they are made of.
    BeginningsAreFine,
    /// A read of two texts is a read of the last of them.
    ReadShowsTheLast,
}

impl Mistake {
    /// Whether this is `mistake`; never, outside the tests of this crate.
    #[inline]
    pub fn is(self, mistake: Mistake) -> bool {
        cfg!(test) && self == mistake
    }
}

/// Which append took which place, by the append, where that is not certain.
type Choice = FxHashMap<usize, Place>;

fn register(
    calls: &[Call<Said>],
    contents: &mut Contents<'_>,
    choice: &Choice,
) -> Option<Vec<Call<RegisterAction>>> {
    let mut register = Vec::with_capacity(calls.len());
    for (index, call) in calls.iter().enumerate() {
        let number = contents.pieces.of_call[index];
        let action = match call.action {
            Said::Get(_) => register::Action::Read(value(number)?),
            Said::Put(Seen { kind: ValueKind::Text, .. }) => {
                register::Action::Write(value(contents.root(number)?)?)
            }
            Said::Put(_) | Said::Delete => register::Action::Write(ValueId::NULL),
            Said::Append(_) => {
                let piece = &contents.pieces.all[number as usize];
                let place = if piece.is_certain { Some(piece.place) } else { choice.get(&index).copied() };
                match place {
                    Some(place) => register::Action::Cas(value(place.before)?, value(place.after)?),
                    None => register::Action::Write(value(contents.fresh()?)?),
                }
            }
            Said::Cas(..) => return None,
        };
        register.push(Call { action, invoked: call.invoked, returned: call.returned, source: call.source });
    }
    Some(register)
}

#[inline]
fn value(content: u32) -> Option<ValueId> {
    match content {
        NOTHING => Some(ValueId::NULL),
        content => ValueId::small(i64::from(content)),
    }
}

/// What a key can hold according to the reads: a tree, in which the child of a content is that with one more text at its
/// end.
struct Contents<'t> {
    pieces: Pieces<'t>,
    next: u32,
    /// By parent and piece: the contents of two pieces and more.
    children: Numbers,
    /// The places that reads show, by the number of the piece.
    places: Vec<(u32, Place)>,
}

impl Contents<'_> {
    fn fresh(&mut self) -> Option<u32> {
        self.next += 1;
        (self.next <= CONTENTS_MAX).then_some(self.next - 1)
    }

    /// The content of one piece alone. What no put or append can have made is a content all the same: it is read and
    /// never written.
    fn root(&mut self, piece: u32) -> Option<u32> {
        if self.pieces.all[piece as usize].root == NOTHING {
            self.pieces.all[piece as usize].root = self.fresh()?;
        }
        Some(self.pieces.all[piece as usize].root)
    }

    /// The content with one more piece at its end, as a read shows it.
    fn child(&mut self, before: u32, piece: u32) -> Option<u32> {
        let next = self.next;
        let after = match before {
            NOTHING => self.root(piece)?,
            _ => {
                let child = self.children.of(u64::from(before) << 32 | u64::from(piece), next);
                if child == next {
                    self.fresh()?;
                }
                child
            }
        };
        if after == next {
            let place = Place { before, after };
            let entry = &mut self.pieces.all[piece as usize];
            entry.places += 1;
            entry.place = place;
            self.places.push((piece, place));
        }
        Some(after)
    }

    /// What a read showed; something that nobody ever writes if that cannot be. `None` if it is no text.
    #[inline]
    fn read<'t>(&mut self, seen: Seen, text: impl FnOnce() -> &'t str) -> Option<u32> {
        match seen.kind {
            ValueKind::Absent => return Some(NOTHING),
            ValueKind::Text => {}
            ValueKind::List | ValueKind::Null | ValueKind::Other => return None,
        }
        match self.pieces.known(seen.id) {
            Some(joined) if joined & JOINED != 0 => Some(joined & !JOINED),
            Some(piece) => self.child(NOTHING, piece),
            None => {
                let held = self.follow(text())?;
                self.pieces.know(seen.id, held | JOINED);
                Some(held)
            }
        }
    }

    fn follow(&mut self, text: &str) -> Option<u32> {
        let (mut held, mut rest) = (NOTHING, text);
        while !rest.is_empty() {
            let Some((piece, more)) = self.pieces.first(rest) else { return self.fresh() };
            let lazy = self.pieces.mistake.is(Mistake::ReadShowsTheLast);
            held = self.child(if lazy { NOTHING } else { held }, piece)?;
            rest = more;
        }
        if held == NOTHING { self.fresh() } else { Some(held) }
    }

    /// Notes which append certainly took which place: the only one of its text took the only place where that was read, unless a put
    /// can have written what was read.
    fn settle(&mut self, mistake: Mistake) {
        for piece in &mut self.pieces.all {
            let by_put = piece.by_put(&piece.place) && !mistake.is(Mistake::PutIsForgotten);
            let single = piece.appends == 1 || mistake.is(Mistake::FirstAppendTookIt);
            piece.is_certain = single && piece.appends > 0 && piece.places == 1 && !by_put;
        }
    }

    /// Every way to say which append took which place, where that is not certain; `None` if there are too many. Equal
    /// appends can take the same place, one after a delete or a put that came after the other.
    fn choices(&self, calls: &[Call<Said>]) -> Option<Vec<Choice>> {
        let mut choices = vec![Choice::default()];
        let is_open = |piece: &Piece| piece.appends > 0 && piece.places > 0 && !piece.is_certain;
        if !self.pieces.all.iter().any(is_open) {
            return Some(choices);
        }
        let mut open: BTreeMap<u32, (Vec<usize>, Vec<Place>)> = BTreeMap::new();
        for (index, call) in calls.iter().enumerate() {
            let piece = self.pieces.of_call[index];
            if matches!(call.action, Said::Append(_)) && is_open(&self.pieces.all[piece as usize]) {
                open.entry(piece).or_default().0.push(index);
            }
        }
        for (piece, place) in &self.places {
            if let Some((_, places)) = open.get_mut(piece) {
                places.push(*place);
            }
        }
        for (piece, (appends, places)) in &open {
            let piece = &self.pieces.all[*piece as usize];
            // Every way for the appends of this text alone …
            let mut ways: Vec<Vec<(usize, usize)>> = vec![Vec::new()];
            for append in appends {
                let taken =
                    |place: usize| ways.iter().map(move |way| [&way[..], &[(*append, place)]].concat());
                let more: Vec<_> = (0..places.len()).flat_map(taken).collect();
                ways.extend(more);
                if ways.len() > CHOICES_MAX {
                    return None;
                }
            }
            // … that leaves no place which was read and that nobody took: that is impossible anyway.
            ways.retain(|way| {
                let covered = |place: usize| way.iter().any(|(_, taken)| *taken == place);
                (0..places.len()).all(|place| piece.by_put(&places[place]) || covered(place))
            });
            if ways.is_empty() {
                ways.push(Vec::new());
            }
            if ways.len() * choices.len() > CHOICES_MAX {
                return None;
            }
            choices = ways
                .iter()
                .flat_map(|way| {
                    choices.iter().map(|choice| {
                        let mut choice = choice.clone();
                        choice.extend(way.iter().map(|(append, place)| (*append, places[*place])));
                        choice
                    })
                })
                .collect();
        }
        Some(choices)
    }
}
