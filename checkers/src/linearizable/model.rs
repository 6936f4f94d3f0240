//! The names of the models that come with the checker.

use std::fmt;
use std::str::FromStr;

/// A model that comes with the checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Model {
    /// `read` returns what the last `write` wrote.
    Register,
    /// A register with `cas`: its value `[expected, new]` writes `new` if the register holds `expected`.
    CasRegister,
    /// A register whose store numbers its versions, as etcd and Consul do.
    VersionedRegister,
    /// Several registers, read and written together.
    MultiRegister,
    /// A map; each key by itself.
    KeyValue,
    /// A mutex that anybody may release.
    Mutex,
    /// A lock that only its owner may release.
    OwnerLock,
    /// A lock that its owner may acquire again.
    ReentrantLock,
    /// A lock whose owners get ever higher tokens.
    FencedLock,
    /// A lock whose owners get ever higher tokens and may acquire it again, as Hazelcast has it.
    ReentrantFencedLock,
    /// A counter that starts at 0.
    Counter,
    /// A set.
    Set,
    /// A queue: first in, first out.
    FifoQueue,
    /// A queue that hands out its elements in any order.
    UnorderedQueue,
    /// A stack: last in, first out.
    Stack,
    /// A log to which elements are appended.
    Log,
}

impl Model {
    /// Every model, in the order in which to list them.
    pub const ALL: [Model; 16] = [
        Model::Register,
        Model::CasRegister,
        Model::VersionedRegister,
        Model::MultiRegister,
        Model::KeyValue,
        Model::Mutex,
        Model::OwnerLock,
        Model::ReentrantLock,
        Model::FencedLock,
        Model::ReentrantFencedLock,
        Model::Counter,
        Model::Set,
        Model::FifoQueue,
        Model::UnorderedQueue,
        Model::Stack,
        Model::Log,
    ];

    /// The name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Model::Register => "register",
            Model::CasRegister => "cas-register",
            Model::VersionedRegister => "versioned-register",
            Model::MultiRegister => "multi-register",
            Model::KeyValue => "key-value",
            Model::Mutex => "mutex",
            Model::OwnerLock => "owner-lock",
            Model::ReentrantLock => "reentrant-lock",
            Model::FencedLock => "fenced-lock",
            Model::ReentrantFencedLock => "reentrant-fenced-lock",
            Model::Counter => "counter",
            Model::Set => "set",
            Model::FifoQueue => "fifo-queue",
            Model::UnorderedQueue => "unordered-queue",
            Model::Stack => "stack",
            Model::Log => "log",
        }
    }

    /// What it is, in a sentence.
    pub fn describe(self) -> &'static str {
        match self {
            Model::Register => "`read` returns what the last `write` wrote.",
            Model::CasRegister => {
                "A register with `cas`: its value `[expected, new]` writes `new` if the register holds `expected`."
            }
            Model::VersionedRegister => "A register whose store numbers its versions, as etcd and Consul do.",
            Model::MultiRegister => "Several registers, read and written together.",
            Model::KeyValue => "A map; each key by itself.",
            Model::Mutex => "A mutex that anybody may release.",
            Model::OwnerLock => "A lock that only its owner may release.",
            Model::ReentrantLock => "A lock that its owner may acquire again.",
            Model::FencedLock => "A lock whose owners get ever higher tokens.",
            Model::ReentrantFencedLock => {
                "A lock whose owners get ever higher tokens and may acquire it again, as Hazelcast has it."
            }
            Model::Counter => "A counter that starts at 0.",
            Model::Set => "A set.",
            Model::FifoQueue => "A queue: first in, first out.",
            Model::UnorderedQueue => "A queue that hands out its elements in any order.",
            Model::Stack => "A stack: last in, first out.",
            Model::Log => "A log to which elements are appended.",
        }
    }

    /// The names of its operations.
    pub fn operations(self) -> &'static [&'static str] {
        match self {
            Model::Register => &["read", "write"],
            Model::CasRegister => &["read", "write", "cas"],
            Model::VersionedRegister => &["read", "write", "cas", "cas-version", "delete"],
            Model::MultiRegister => &["txn", "read", "write"],
            Model::KeyValue => &["get", "put", "append", "delete", "cas", "read", "write"],
            Model::Mutex => &["acquire", "release"],
            Model::OwnerLock => &["acquire", "release"],
            Model::ReentrantLock => &["acquire", "release"],
            Model::FencedLock => &["acquire", "release"],
            Model::ReentrantFencedLock => &["acquire", "release"],
            Model::Counter => &[
                "read",
                "add",
                "increment",
                "inc",
                "decrement",
                "dec",
                "add-and-get",
                "get-and-add",
                "increment-and-get",
                "get-and-increment",
            ],
            Model::Set => &["read", "add", "insert", "remove", "delete", "contains"],
            Model::FifoQueue => &["enqueue", "dequeue"],
            Model::UnorderedQueue => &["enqueue", "dequeue"],
            Model::Stack => &["push", "pop", "peek"],
            Model::Log => &["append", "read"],
        }
    }
}

impl Model {
    /// What its operations are and in which shapes their values come, as Markdown.
    pub fn manual(self) -> String {
        let source = match self {
            Model::Register | Model::CasRegister => include_str!("models/register.rs"),
            Model::VersionedRegister => include_str!("models/versioned_register.rs"),
            Model::MultiRegister => include_str!("models/multi_register.rs"),
            Model::KeyValue => include_str!("models/key_value.rs"),
            Model::Mutex => include_str!("models/mutex.rs"),
            Model::OwnerLock | Model::ReentrantLock => include_str!("models/owner_lock.rs"),
            Model::FencedLock | Model::ReentrantFencedLock => include_str!("models/fenced_lock.rs"),
            Model::Counter => include_str!("models/counter.rs"),
            Model::Set => include_str!("models/set.rs"),
            Model::FifoQueue => include_str!("models/fifo_queue.rs"),
            Model::UnorderedQueue => include_str!("models/unordered_queue.rs"),
            Model::Stack => include_str!("models/stack.rs"),
            Model::Log => include_str!("models/log.rs"),
        };
        let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
        let text: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        // Headings belong to the page, and links to the code.
        let text: Vec<&str> = text.into_iter().filter(|line| !line.starts_with("# ")).collect();
        text.join("\n")
            .replace("[`", "`")
            .replace("`]", "`")
            .replace("For users: the", "The")
            .trim()
            .to_owned()
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No model has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no model is called `{0}`; there are {names}", names = names())]
pub struct UnknownModel(pub String);

fn names() -> String {
    let names: Vec<String> = Model::ALL.iter().map(|model| format!("`{model}`")).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

impl FromStr for Model {
    type Err = UnknownModel;

    fn from_str(name: &str) -> Result<Self, UnknownModel> {
        Model::ALL.into_iter().find(|model| model.name() == name).ok_or_else(|| UnknownModel(name.to_owned()))
    }
}
