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

use rustc_hash::FxHashMap;
use schism_history::ValueId;

use super::super::super::call::Call;
use super::super::register;
use super::{Action, Content, State};

type RegisterAction = register::Action<ValueId>;

/// What a key holds at first, and once it is deleted.
const NOTHING: u32 = 0;

/// Choices that are worth trying.
const CHOICES_MAX: usize = 1024;

/// The calls as those of registers that start as null, one of which has to be linearizable; `None` if the texts do not say enough.
pub(super) fn as_registers(calls: &[Call<Action>]) -> Option<Vec<Vec<Call<RegisterAction>>>> {
    let pieces = Pieces::of(calls)?;
    let mut contents = Contents { next: NOTHING + 1, ..Contents::default() };
    // What the reads say comes first, so that every append knows its place.
    let mut held = Vec::with_capacity(calls.len());
    for call in calls {
        held.push(match &call.action {
            Action::Get(content) => contents.read(&pieces, content)?,
            _ => NOTHING,
        });
    }
    let (certain, choices) = contents.choices(&pieces)?;
    let place = |choice: &Choice, append: &usize| choice.get(append).or(certain.get(append)).copied();
    choices
        .iter()
        .map(|choice| register(calls, &pieces, &held, &mut contents, |append| place(choice, &append)))
        .collect()
}

/// Which append took which place, by the append.
type Choice = FxHashMap<usize, (u32, u32)>;

fn register(
    calls: &[Call<Action>],
    pieces: &Pieces<'_>,
    held: &[u32],
    contents: &mut Contents,
    place: impl Fn(usize) -> Option<(u32, u32)>,
) -> Option<Vec<Call<RegisterAction>>> {
    let mut register = Vec::with_capacity(calls.len());
    for (index, call) in calls.iter().enumerate() {
        let action = match &call.action {
            Action::Get(_) => register::Action::Read(number(held[index])?),
            Action::Put(content) => match pieces.number(content) {
                Some(piece) => register::Action::Write(number(contents.child(NOTHING, piece))?),
                None => register::Action::Write(ValueId::NULL),
            },
            Action::Delete => register::Action::Write(ValueId::NULL),
            Action::Append(_) => match place(index) {
                Some((before, after)) => register::Action::Cas(number(before)?, number(after)?),
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

/// The texts that are put or appended, sorted and each once.
struct Pieces<'c> {
    texts: Vec<&'c str>,
    /// Per text: the appends of it.
    appends: Vec<Vec<usize>>,
    /// Per text: whether it is put.
    put: Vec<bool>,
}

impl<'c> Pieces<'c> {
    fn of(calls: &'c [Call<Action>]) -> Option<Self> {
        let mut texts = Vec::new();
        for call in calls {
            match &call.action {
                Action::Put(content) | Action::Append(content) => match &content.value {
                    State::Text(text) if !text.is_empty() => texts.push(&**text),
                    State::Absent if matches!(call.action, Action::Put(_)) => {}
                    State::Text(_) | State::Absent | State::List(_) | State::Other(_) => return None,
                },
                Action::Get(_) | Action::Delete => {}
                Action::Cas(_) => return None,
            }
        }
        texts.sort_unstable();
        texts.dedup();
        let clear = texts.windows(2).all(|pair| !pair[1].starts_with(pair[0]));
        let (appends, put) = (vec![Vec::new(); texts.len()], vec![false; texts.len()]);
        let mut pieces = Self { texts, appends, put };
        for (index, call) in calls.iter().enumerate() {
            let (Action::Append(content) | Action::Put(content)) = &call.action else { continue };
            let Some(piece) = pieces.number(content) else { continue };
            match call.action {
                Action::Append(_) => pieces.appends[piece].push(index),
                _ => pieces.put[piece] = true,
            }
        }
        clear.then_some(pieces)
    }

    /// The number of a text that is put or appended.
    fn number(&self, content: &Content) -> Option<usize> {
        match &content.value {
            State::Text(text) => self.texts.binary_search(&&**text).ok(),
            State::Absent | State::List(_) | State::Other(_) => None,
        }
    }

    /// The piece that `text` begins with, and the rest of it. There is one at most, since none begins with another.
    fn first<'t>(&self, text: &'t str) -> Option<(usize, &'t str)> {
        let place = self.texts.partition_point(|piece| *piece <= text).checked_sub(1)?;
        Some((place, text.strip_prefix(self.texts[place])?))
    }
}

/// What a key can hold according to the reads: a tree, in which the child of a content is that with one more text at its
/// end.
#[derive(Default)]
struct Contents {
    next: u32,
    children: FxHashMap<(u32, usize), u32>,
    /// The places that reads show: the piece, what its append found and what it left.
    places: Vec<(usize, u32, u32)>,
    /// By the number of the text: what was read.
    known: FxHashMap<ValueId, u32>,
}

impl Contents {
    fn fresh(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    /// The content with one more piece at its end. What no append can have made is a content all the same: it is read and
    /// never written.
    fn child(&mut self, parent: u32, piece: usize) -> u32 {
        if let Some(child) = self.children.get(&(parent, piece)) {
            return *child;
        }
        let child = self.fresh();
        self.children.insert((parent, piece), child);
        child
    }

    /// What a read showed; something that nobody ever writes if that cannot be. `None` if it is no text.
    fn read(&mut self, pieces: &Pieces<'_>, content: &Content) -> Option<u32> {
        let text = match &content.value {
            State::Absent => return Some(NOTHING),
            State::Text(text) => text,
            State::List(_) | State::Other(_) => return None,
        };
        if let Some(known) = self.known.get(&content.id) {
            return Some(*known);
        }
        let held = self.follow(pieces, text).unwrap_or_else(|| self.fresh());
        self.known.insert(content.id, held);
        Some(held)
    }

    fn follow(&mut self, pieces: &Pieces<'_>, text: &str) -> Option<u32> {
        let mut held = NOTHING;
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, more) = pieces.first(rest)?;
            let before = held;
            let known = self.children.len();
            held = self.child(before, piece);
            if self.children.len() > known {
                self.places.push((piece, before, held));
            }
            rest = more;
        }
        (held != NOTHING).then_some(held)
    }

    /// Which append certainly took which place, and every way to say so of the others; `None` if there are too many. Equal
    /// appends can take the same place, one after a delete or a put that came after the other.
    fn choices(&self, pieces: &Pieces<'_>) -> Option<(Choice, Vec<Choice>)> {
        let mut places: Vec<Vec<(u32, u32)>> = vec![Vec::new(); pieces.texts.len()];
        for (piece, before, after) in &self.places {
            places[*piece].push((*before, *after));
        }
        let mut certain = Choice::default();
        let mut choices = vec![Choice::default()];
        for (piece, places) in places.iter().enumerate() {
            let appends = &pieces.appends[piece];
            if let ([append], [place]) = (&appends[..], &places[..])
                // Nobody else can have written what was read.
                && !(place.0 == NOTHING && pieces.put[piece])
            {
                certain.insert(*append, *place);
                continue;
            }
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
            let by_put = |place: &(u32, u32)| place.0 == NOTHING && pieces.put[piece];
            ways.retain(|way| {
                let covered = |place: usize| way.iter().any(|(_, taken)| *taken == place);
                (0..places.len()).all(|place| by_put(&places[place]) || covered(place))
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
        Some((certain, choices))
    }
}
