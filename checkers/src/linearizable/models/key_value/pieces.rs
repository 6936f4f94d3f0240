//! The texts that are put into a key or appended to it.

use schism_history::ValueId;

use super::super::super::call::Call;
use super::super::super::numbers::Numbers;
use super::appends::Mistake;
use super::said::{Said, ValueKind};

/// What a key holds at first, and once it is deleted.
pub(super) const NOTHING: u32 = 0;

/// Where a read shows a piece: what its append found and what it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub before: u32,
    pub after: u32,
}

/// A text that is put or appended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// How often it is appended.
    pub appends: u32,
    pub is_put: bool,
    /// The content that is this piece alone; [`NOTHING`] if there is none yet.
    pub root: u32,
    /// In how many places reads show it, and the last that was found.
    pub places: u32,
    pub place: Place,
    /// Whether its only append took its only place for certain.
    pub is_certain: bool,
}

impl Piece {
    const NEW: Self = Self {
        appends: 0,
        is_put: false,
        root: NOTHING,
        places: 0,
        place: Place { before: NOTHING, after: NOTHING },
        is_certain: false,
    };

    /// Whether a put can have written what was read here.
    pub fn by_put(&self, place: &Place) -> bool {
        self.is_put && place.before == NOTHING
    }
}

/// The texts that are put or appended, each once; none is the beginning of another one.
pub(super) struct Pieces<'t> {
    pub all: Vec<Piece>,
    texts: Vec<&'t str>,
    /// In the order of the texts: the head of each, and its number.
    sorted: Vec<(u64, u32)>,
    /// By the number of the text.
    known: Numbers,
    /// Of each call that puts or appends a text, which one that is.
    pub of_call: Vec<u32>,
    pub mistake: Mistake,
}

/// The first eight bytes, or zeros where there are less. Texts with different heads are in the order of their heads: the first byte in
/// which these differ decides, and where it is one of the zeros that were added, that text is the beginning of the other.
#[inline]
fn head(text: &str) -> u64 {
    if let Some(first) = text.as_bytes().first_chunk::<8>() {
        return u64::from_be_bytes(*first);
    }
    let bytes = text.bytes().fold(0, |head, byte| head << 8 | u64::from(byte));
    if text.is_empty() { 0 } else { bytes << (64 - 8 * text.len()) }
}

impl<'t> Pieces<'t> {
    pub fn of(
        calls: &[Call<Said>],
        text: impl Fn(usize, ValueId) -> &'t str,
        mistake: Mistake,
    ) -> Option<Self> {
        let mut pieces = Self {
            all: Vec::with_capacity(calls.len() / 2),
            texts: Vec::with_capacity(calls.len() / 2),
            sorted: Vec::with_capacity(calls.len() / 2),
            known: Numbers::for_some(calls.len() / 2),
            of_call: Vec::with_capacity(calls.len()),
            mistake,
        };
        for (index, call) in calls.iter().enumerate() {
            let (seen, append) = match call.action {
                Said::Append(seen) => (seen, true),
                Said::Put(seen) if seen.kind != ValueKind::Absent => (seen, false),
                Said::Get(_) | Said::Put(_) | Said::Delete => {
                    pieces.of_call.push(NOTHING);
                    continue;
                }
                Said::Cas(..) => return None,
            };
            if seen.kind != ValueKind::Text {
                return None;
            }
            let new = pieces.all.len() as u32;
            let number = pieces.known.of(u64::from(seen.id.raw()), new);
            if number == new {
                let text = text(index, seen.id);
                if text.is_empty() {
                    return None;
                }
                pieces.all.push(Piece::NEW);
                pieces.texts.push(text);
                pieces.sorted.push((head(text), number));
            }
            let piece = &mut pieces.all[number as usize];
            piece.appends += u32::from(append);
            piece.is_put |= !append;
            pieces.of_call.push(number);
        }
        pieces.sort();
        (pieces.are_clear() || mistake.is(Mistake::BeginningsAreFine)).then_some(pieces)
    }

    fn sort(&mut self) {
        let Self { texts, sorted, mistake, .. } = self;
        let text = |number: u32| texts[number as usize];
        sorted.sort_unstable_by(|one, other| {
            let heads = one.0.cmp(&other.0);
            if mistake.is(Mistake::OnlyTheHeads) {
                return heads.then(one.1.cmp(&other.1));
            }
            heads.then_with(|| text(one.1).cmp(text(other.1)))
        });
    }

    /// Whether none is the beginning of another one. If one is, then it is that of the next one in the order.
    fn are_clear(&self) -> bool {
        self.sorted.array_windows::<2>().all(|[one, other]| {
            let begin = self.texts[one.1 as usize];
            let shift = 64 - 8 * begin.len().min(8);
            let heads_differ = (one.0 ^ other.0) >> shift != 0;
            heads_differ || !self.texts[other.1 as usize].starts_with(begin)
        })
    }

    /// What is known about the text of this number.
    #[inline]
    pub fn known(&self, id: ValueId) -> Option<u32> {
        self.known.get(u64::from(id.raw()))
    }

    /// Notes something about a text that is no piece.
    pub fn know(&mut self, id: ValueId, what: u32) {
        self.known.of(u64::from(id.raw()), what);
    }

    /// The piece that `text` begins with, and the rest of it. There is one at most, since none begins with another.
    pub fn first<'s>(&self, text: &'s str) -> Option<(u32, &'s str)> {
        let wanted = head(text);
        let after = self.sorted.partition_point(|(head, number)| {
            *head < wanted || (*head == wanted && self.texts[*number as usize] <= text)
        });
        let (_, number) = self.sorted[after.checked_sub(1)?];
        Some((number, text.strip_prefix(self.texts[number as usize])?))
    }
}
