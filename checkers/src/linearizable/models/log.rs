//! A log, to which elements are appended and of which nothing is ever changed.
//!
//! | operation | argument | result |
//! |---|---|---|
//! | `append` | an element | nothing, the element again, `{"offset": n}` or `{"length": n}` |
//! | `read` | – | all elements, as a list in their order |
//!
//! An element is any value but null. The offset is the place of the element, the first one's is 0; the length is that after the append.
//! (A bare number would not say whether it is the element or its place.) The log starts empty. Checking is fast if no element
//! is appended twice.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, PoisonError, RwLock};

use rustc_hash::FxHashMap;
use schism_history::{Datum, ValueId, View};

use super::super::specification::{Misfit, Specification};

/// The model of a log that starts empty.
#[derive(Clone, Debug, Default)]
pub struct Log {
    lists: Lists,
}

/// What an operation on a log does and saw.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogAction {
    /// Puts the element at the end; and where that was, if it is known.
    Append(ValueId, Option<u32>),
    /// Saw the whole log.
    Read(List),
}

/// All lists that were read. They are nearly always beginnings of each other, so they are a tree in which each node is a list: that of its
/// parent and one element more. It is as large as the longest list, however many are read.
#[derive(Clone, Debug, Default)]
pub struct Lists(Arc<RwLock<Tree>>);

/// A list that was read, as a node of a tree: lists of one model are equal if their nodes are.
#[derive(Clone, Debug)]
pub struct List {
    /// Its node.
    pub node: u32,
    /// Its length.
    pub length: u32,
    hash: u64,
    lists: Lists,
}

/// The lists themselves. Node 0 is the empty list.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    /// Children that do not directly follow their parent.
    branches: FxHashMap<(u32, ValueId), u32>,
    /// Lists that were read before.
    known: FxHashMap<ValueId, u32>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    parent: u32,
    length: u32,
    last: ValueId,
    hash: u64,
}

impl Default for Tree {
    fn default() -> Self {
        let root = Node { parent: 0, length: 0, last: ValueId::ABSENT, hash: 0 };
        Self { nodes: vec![root], branches: FxHashMap::default(), known: FxHashMap::default() }
    }
}

/// The hash of a list and one more element.
fn extend(hash: u64, element: ValueId) -> u64 {
    (hash.rotate_left(23) ^ u64::from(element.raw())).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Tree {
    /// The list of the parent, and what it lacks.
    pub fn parent(&self, node: u32) -> Option<(u32, ValueId)> {
        let found = self.nodes.get(node as usize).filter(|_| node != 0)?;
        Some((found.parent, found.last))
    }

    /// How many nodes there are.
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    fn insert(&mut self, list: &[ValueId]) -> Option<u32> {
        let mut at = 0_u32;
        for element in list {
            // The first list through a node has its nodes one after the other, and most lists go on like the first.
            let follower = at + 1;
            if self
                .nodes
                .get(follower as usize)
                .is_some_and(|node| node.parent == at && node.last == *element)
            {
                at = follower;
                continue;
            }
            if let Some(child) = self.branches.get(&(at, *element)) {
                at = *child;
                continue;
            }
            let child = u32::try_from(self.nodes.len()).ok().filter(|child| *child < u32::MAX)?;
            let parent = self.nodes[at as usize];
            self.nodes.push(Node {
                parent: at,
                length: parent.length + 1,
                last: *element,
                hash: extend(parent.hash, *element),
            });
            if child != follower {
                self.branches.insert((at, *element), child);
            }
            at = child;
        }
        Some(at)
    }
}

impl Lists {
    /// The lists; they are not to be held while the model takes operations.
    pub fn with<T>(&self, look: impl FnOnce(&Tree) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The list in the tree. `name` stands for it; `None` if there are more than can be numbered.
    pub fn list(&self, name: ValueId, items: &[ValueId]) -> Option<List> {
        let mut tree = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let node = match tree.known.get(&name) {
            Some(node) => *node,
            None => {
                let node = tree.insert(items)?;
                tree.known.insert(name, node);
                node
            }
        };
        let Node { length, hash, .. } = tree.nodes[node as usize];
        Some(List { node, length, hash, lists: self.clone() })
    }
}

impl List {
    /// All lists of its model.
    pub fn lists(&self) -> &Lists {
        &self.lists
    }
}

impl PartialEq for List {
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node
    }
}

impl Eq for List {}

impl Hash for List {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

/// The elements of a log, the last one first. States of one search share their beginnings.
#[derive(Clone, Debug, Default)]
pub struct Elements(Option<Arc<Link>>);

#[derive(Debug)]
struct Link {
    last: ValueId,
    length: u32,
    hash: u64,
    before: Elements,
}

impl Elements {
    fn length(&self) -> u32 {
        self.0.as_ref().map_or(0, |link| link.length)
    }

    fn hash(&self) -> u64 {
        self.0.as_ref().map_or(0, |link| link.hash)
    }

    fn with(&self, element: ValueId) -> Self {
        let (length, hash) = (self.length().saturating_add(1), extend(self.hash(), element));
        Self(Some(Arc::new(Link { last: element, length, hash, before: self.clone() })))
    }

    fn is(&self, list: &List) -> bool {
        if self.length() != list.length || self.hash() != list.hash {
            return false;
        }
        list.lists.with(|tree| {
            let (mut here, mut there) = (self, list.node);
            while let (Some(link), Some((parent, last))) = (&here.0, tree.parent(there)) {
                if link.last != last {
                    return false;
                }
                (here, there) = (&link.before, parent);
            }
            true
        })
    }
}

impl Drop for Link {
    /// Without recursion: a log can be long.
    fn drop(&mut self) {
        let mut before = self.before.0.take();
        while let Some(mut link) = before.and_then(Arc::into_inner) {
            before = link.before.0.take();
        }
    }
}

impl PartialEq for Elements {
    fn eq(&self, other: &Self) -> bool {
        let (mut here, mut there) = (self, other);
        if here.length() != there.length() || here.hash() != there.hash() {
            return false;
        }
        while let (Some(one), Some(two)) = (&here.0, &there.0) {
            if Arc::ptr_eq(one, two) {
                return true;
            }
            if one.last != two.last {
                return false;
            }
            (here, there) = (&one.before, &two.before);
        }
        true
    }
}

impl Eq for Elements {}

impl Hash for Elements {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Elements::hash(self).hash(state);
    }
}

impl Specification for Log {
    type Action = LogAction;
    type State = Elements;

    fn initial(&self) -> Elements {
        Elements::default()
    }

    fn action(&self, operation: &View<'_>) -> Result<Option<LogAction>, Misfit> {
        let values = operation.values();
        let need = |need: &str, value: ValueId| {
            let shown = values.show(value);
            Misfit::malformed(format!("{} needs {need}, not {shown}", operation.f()))
        };
        match operation.f() {
            "append" => {
                let element = operation.argument();
                if element == ValueId::NULL || !element.is_present() {
                    return Err(need("an element as its argument", element));
                }
                if values.is_inexact(element) {
                    return Err(need("an element that was read without loss of digits", element));
                }
                Ok(Some(LogAction::Append(element, offset(operation)?)))
            }
            "read" => {
                let Some(result) = operation.result() else { return Ok(None) };
                let Some(items) = values.as_array(result) else {
                    return Err(need("the list of all elements as its result", result));
                };
                if values.is_inexact(result) {
                    return Err(need("elements that were read without loss of digits", result));
                }
                if items.contains(&ValueId::NULL) {
                    return Err(need("elements that are not null", result));
                }
                let list = self.lists.list(result, items);
                let too_many = || Misfit::malformed("more elements are read than can be numbered");
                Ok(Some(LogAction::Read(list.ok_or_else(too_many)?)))
            }
            _ => Err(Misfit::Unknown { hint: "; the model `log` has append and read" }),
        }
    }

    fn step(&self, state: &Elements, action: &LogAction) -> Option<Elements> {
        match action {
            LogAction::Append(element, offset) => {
                offset.is_none_or(|offset| offset == state.length()).then(|| state.with(*element))
            }
            LogAction::Read(list) => state.is(list).then(|| state.clone()),
        }
    }

    fn rebuild(&self, state: &Elements) -> Option<Vec<LogAction>> {
        let mut actions = Vec::with_capacity(state.length() as usize);
        let mut here = state;
        while let Some(link) = &here.0 {
            actions.push(LogAction::Append(link.last, None));
            here = &link.before;
        }
        actions.reverse();
        Some(actions)
    }

    fn observes(&self, action: &LogAction) -> bool {
        matches!(action, LogAction::Read(_))
    }
}

/// Where an element was put, if the acknowledgement says so.
fn offset(operation: &View<'_>) -> Result<Option<u32>, Misfit> {
    let values = operation.values();
    let Some(result) = operation.result() else { return Ok(None) };
    if result == operation.argument() || !result.is_present() {
        return Ok(None);
    }
    let problem = || {
        Misfit::malformed(format!(
            "append is acknowledged with nothing, the element again, {{\"offset\": n}} or {{\"length\": n}}, not {}",
            values.show(result)
        ))
    };
    match values.get(result) {
        Datum::Null => Ok(None),
        Datum::Object([_, _]) => {
            let number = |name| Some(values.as_int(values.field(result, name)?));
            let offset = match (number("offset"), number("length")) {
                (Some(offset), _) => offset,
                (_, Some(length)) => length.and_then(|length| length.checked_sub(1)),
                _ => None,
            };
            // Nothing can be that far behind; where exactly makes no difference.
            let offset = offset.filter(|offset| *offset >= 0).ok_or_else(problem)?;
            Ok(Some(u32::try_from(offset).unwrap_or(u32::MAX).min(u32::MAX - 2)))
        }
        _ => Err(problem()),
    }
}

#[cfg(test)]
mod tests {
    use schism_history::Values;

    use super::super::counter::tests::one;
    use super::*;

    fn parse(f: &str, argument: &str, kind: &str, result: &str) -> Result<Option<LogAction>, Misfit> {
        Log::default().action(&one(f, argument, kind, result).view(0))
    }

    #[test]
    fn takes_the_shapes_it_says() {
        let seven = Values::new().int(7).unwrap();
        for (kind, result, offset) in [
            ("ok", "null", None),
            ("ok", "7", None),
            ("info", "null", None),
            ("ok", "{\"offset\":0}", Some(0)),
            ("ok", "{\"length\":1}", Some(0)),
            ("ok", "{\"offset\":9000000000}", Some(u32::MAX - 2)),
        ] {
            let action = Ok(Some(LogAction::Append(seven, offset)));
            assert_eq!(parse("append", "7", kind, result), action, "{kind} {result}");
        }
        assert_eq!(parse("read", "null", "info", "null"), Ok(None));
        assert!(matches!(parse("read", "null", "ok", "[7,7]"), Ok(Some(LogAction::Read(_)))));
    }

    #[test]
    fn refuses_other_shapes() {
        for (f, argument, result) in [
            ("append", "null", "null"),
            ("append", "7", "8"),
            ("append", "7", "{\"offset\":-1}"),
            ("append", "7", "{\"length\":0}"),
            ("append", "7", "{\"offset\":1,\"length\":2}"),
            ("append", "7", "{\"place\":1}"),
            ("append", "18446744073709551617", "null"),
            ("read", "null", "null"),
            ("read", "null", "[null]"),
            ("read", "null", "7"),
        ] {
            let answer = parse(f, argument, "ok", result);
            assert!(matches!(answer, Err(Misfit::Malformed(_))), "{f} {argument} {result}: {answer:?}");
        }
        assert!(matches!(parse("add", "1", "ok", "1"), Err(Misfit::Unknown { .. })));
    }

    #[test]
    fn equal_lists_are_one_node_and_beginnings_are_ancestors() {
        let mut values = Values::new();
        let elements: Vec<ValueId> = (0..6).map(|n| values.int(n).unwrap()).collect();
        let model = Log::default();
        let mut read = |items: &[usize]| {
            let items: Vec<ValueId> = items.iter().map(|item| elements[*item]).collect();
            let name = values.array(&items).unwrap();
            let mut state = model.initial();
            for item in &items {
                state = model.step(&state, &LogAction::Append(*item, None)).unwrap();
            }
            (model.lists.list(name, &items).unwrap(), state)
        };
        let all = [
            read(&[]),
            read(&[0, 1, 2]),
            read(&[0, 1]),
            read(&[0, 2]),
            read(&[0, 2, 1]),
            read(&[0, 1, 2, 3]),
            read(&[0, 2, 1, 4]),
            read(&[1]),
        ];
        for (place, (list, _)) in all.iter().enumerate() {
            for (other, (_, state)) in all.iter().enumerate() {
                let action = LogAction::Read(list.clone());
                assert_eq!(model.step(state, &action).is_some(), place == other, "{place} {other}");
                assert_eq!(*state == all[place].1, place == other, "{place} {other}");
            }
        }
        assert_eq!(read(&[0, 2, 1]).0, all[4].0);
        model.lists.with(|tree| {
            assert_eq!(tree.size(), 9);
            assert_eq!(tree.parent(all[5].0.node), Some((all[1].0.node, elements[3])));
            assert_eq!(tree.parent(0), None);
        });
    }

    #[test]
    fn a_long_state_is_dropped_without_recursion() {
        let model = Log::default();
        let element = Values::new().int(1).unwrap();
        let mut state = model.initial();
        for _ in 0..1_000_000 {
            state = model.step(&state, &LogAction::Append(element, None)).unwrap();
        }
        let other = state.clone();
        drop(state);
        assert_eq!(other.length(), 1_000_000);
    }
}
