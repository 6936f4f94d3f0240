//! Jepsen's binary `test.jepsen`, versions 0 and 1.
//!
//! The file holds the whole test; only its history is read. That is a vector of operations, in one block or in many: version 0 and
//! early files of version 1 have maps there, later ones have records.

mod blocks;
mod fressian;

#[cfg(test)]
mod tests;

use rustc_hash::FxHashSet;
use schism_history::{BuildError, Builder, Datum, ValueId, Values};

use self::blocks::{Block, Blocks, Type as BlockType, bad, u32_at, u64_at};
use self::fressian::{Decoder, Item, REF, RawOp};
use crate::clojure::{Encoder, TXN, strip_heads};
use crate::operations::{Op, Operations, Refusal, Type, Who};
use crate::{ImportError, Keys};

/// Vectors of vectors of blocks are possible; Jepsen makes none.
const MAX_LEVELS: usize = 16;

/// Reads the history of a test.
///
/// # Errors
/// The file is damaged, has no history, or an operation contradicts the ones before.
pub(crate) fn read(
    bytes: &[u8],
    builder: &mut Builder,
    keys: Keys,
    notes: &mut Vec<String>,
) -> Result<(), ImportError> {
    let blocks = Blocks::open(bytes)?;
    let history = history(&blocks)?;
    if blocks.behind > 0 {
        notes.push(format!(
            "{} bytes at the end belong to nothing that was completed: the run may have been killed, and its last operations are left out",
            blocks.behind
        ));
    }
    let operations = Operations::new(builder);
    let mut reader = Reader {
        blocks,
        encoder: Encoder::default(),
        operations,
        builder,
        keys,
        seen: FxHashSet::default(),
        read: 0,
    };
    reader.block(history, 0)?;
    reader.operations.notes(reader.builder, "elements", notes);
    Ok(())
}

/// The number of the block with the history.
fn history(blocks: &Blocks<'_>) -> Result<u32, ImportError> {
    let mut number = blocks.root;
    if number == 0 {
        return bad(10, "the index names no test");
    }
    let mut seen = FxHashSet::default();
    while number != 0 && seen.insert(number) {
        let block = blocks.get(number)?;
        let (data, at, rest) = match block.kind {
            BlockType::Fressian => (block.data, block.at, 0),
            BlockType::PartialMap => match u32_at(block.data, 0) {
                Some(rest) => (&block.data[4..], block.at + 4, rest),
                None => return bad(block.at, "the block ends within its header"),
            },
            other => return bad(block.at, format!("the test is in a block of type {other:?}")),
        };
        // The test may hold anything; none of it belongs into the table.
        let (mut values, mut encoder) = (Values::new(), Encoder::default());
        encoder.lenient = true;
        let test = Decoder::new(data, at, &mut values, &mut encoder).item()?;
        let Item::Value(test, _) = test else { return bad(at, "the test is no map") };
        let history = values.field(test, ":history").filter(|history| *history != ValueId::NULL);
        let reference =
            history.and_then(|history| values.as_str(history)).and_then(|text| text.strip_prefix(REF));
        if let Some(number) = reference.and_then(|number| number.parse().ok()) {
            return Ok(number);
        }
        number = rest;
    }
    bad(10, "the test has no history")
}

struct Reader<'a, 'b> {
    blocks: Blocks<'a>,
    encoder: Encoder,
    operations: Operations,
    builder: &'b mut Builder,
    keys: Keys,
    /// Blocks that were read; each holds a part of its own.
    seen: FxHashSet<u32>,
    /// Elements so far.
    read: u64,
}

impl Reader<'_, '_> {
    fn block(&mut self, number: u32, level: usize) -> Result<(), ImportError> {
        let block = self.blocks.get(number)?;
        if !self.seen.insert(number) || level > MAX_LEVELS {
            return bad(block.at, format!("block {number} is a part of the history twice"));
        }
        match block.kind {
            BlockType::Fressian | BlockType::Stream => self.values(block),
            BlockType::BigVector => self.big_vector(block, level),
            other => bad(block.at, format!("a part of the history is in a block of type {other:?}")),
        }
    }

    fn big_vector(&mut self, block: Block<'_>, level: usize) -> Result<(), ImportError> {
        let begin = self.read;
        let Some(count) = u64_at(block.data, 0) else {
            return bad(block.at, "the block ends within its header");
        };
        let (chunks, rest) = block.data[8..].as_chunks::<12>();
        if !rest.is_empty() {
            return bad(block.at + block.data.len(), "the block ends within an entry");
        }
        for (place, chunk) in chunks.iter().enumerate() {
            let at = block.at + 8 + 12 * place;
            let (Some(first), Some(number)) = (u64_at(chunk, 0), u32_at(chunk, 8)) else { continue };
            if first != self.read - begin {
                return bad(
                    at,
                    format!(
                        "a chunk should begin with element {first}, but {} were before it",
                        self.read - begin
                    ),
                );
            }
            self.block(number, level + 1)?;
        }
        if self.read - begin != count {
            return bad(
                block.at,
                format!("{count} elements were expected, but there are {}", self.read - begin),
            );
        }
        Ok(())
    }

    /// Values one after the other, or a whole history in one value.
    fn values(&mut self, block: Block<'_>) -> Result<(), ImportError> {
        let mut decoder = Decoder::new(block.data, block.at, self.builder.values(), &mut self.encoder);
        let mut items = Vec::new();
        if block.kind == BlockType::Fressian {
            items = decoder.elements()?;
        } else {
            while !decoder.is_done() {
                let at = decoder.place();
                items.push((decoder.item()?, at));
            }
        }
        for (item, at) in items {
            self.element(item, at)?;
        }
        Ok(())
    }

    fn element(&mut self, item: Item, at: usize) -> Result<(), ImportError> {
        self.read += 1;
        let raw = match item {
            Item::Op(op) => Some(*op),
            Item::Value(map, _) => self.take_map(map),
            _ => None,
        };
        let number = self.read;
        let Some(raw) = raw else {
            self.operations.other(|| format!("number {number}"));
            return Ok(());
        };
        match self.take(&raw) {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.operations.other(|| format!("number {number}"));
                Ok(())
            }
            Err(Refusal::Build(source)) => Err(ImportError::Element { number, source }),
            Err(Refusal::Type(name)) => {
                bad(at, format!("the operation's :type is {name}; :invoke, :ok, :fail or :info was expected"))
            }
        }
    }

    /// An operation that is written as a map.
    fn take_map(&mut self, map: ValueId) -> Option<RawOp> {
        let values = self.builder.values();
        if !matches!(values.get(map), Datum::Object(_)) {
            return None;
        }
        let field = |name: &str| values.field(map, name);
        let integer = |name: &str| field(name).and_then(|id| values.as_int(id)).unwrap_or(-1);
        Some(RawOp {
            index: integer(":index"),
            time: integer(":time"),
            kind: field(":type").unwrap_or(ValueId::NULL),
            process: field(":process").unwrap_or(ValueId::NULL),
            f: field(":f").unwrap_or(ValueId::NULL),
            value: field(":value").unwrap_or(ValueId::ABSENT),
            others: map,
            depth: 0,
        })
    }

    fn take(&mut self, raw: &RawOp) -> Result<bool, Refusal> {
        let values = self.builder.values();
        let text = |id: ValueId| match values.as_str(id) {
            Some(text) => text.to_owned(),
            None => values.show(id),
        };
        let f = (raw.f != ValueId::NULL).then(|| {
            let f = text(raw.f);
            f.strip_prefix(':').map(str::to_owned).unwrap_or(f)
        });
        let name = text(raw.process);
        let process = match values.as_int(raw.process) {
            Some(number) => Who::Number(number),
            None if raw.process == ValueId::NULL => Who::Nobody,
            None => Who::Name(&name),
        };
        let kind = text(raw.kind);
        let kind = match kind.strip_prefix(':') {
            Some(kind) => Type::of(kind),
            None if raw.kind == ValueId::NULL => Type::Nothing,
            None => Type::of(&kind),
        };
        let other = |name: &str| values.field(raw.others, name).filter(|id| *id != ValueId::NULL);
        let node = other(":node").and_then(|node| values.as_str(node)).map(str::to_owned);
        let keyed = self.keys != Keys::None;
        let key = other(":key").filter(|_| keyed).unwrap_or(ValueId::ABSENT);
        let error = other(":error").unwrap_or(ValueId::ABSENT);
        let mut value = raw.value;
        if f.as_deref().is_none_or(|f| f == TXN) && value.is_present() {
            value = strip_heads(self.builder.values(), value)
                .map_err(|error| Refusal::Build(BuildError::TooMany(error)))?;
        }
        let op = Op {
            process,
            kind,
            f: f.as_deref(),
            key,
            value,
            error,
            time: Some(raw.time),
            index: Some(raw.index),
            node: node.as_deref(),
        };
        self.operations.push(self.builder, &op)
    }
}
