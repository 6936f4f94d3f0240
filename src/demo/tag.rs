//! Tags order the values of a register.

use serde::{Deserialize, Serialize};

/// The version of a value. Tags are compared field by field, in this order, and no two writes ever share one.
///
/// The counter alone orders writes that do not overlap. The rest makes the tag unique: `node` among nodes, `sequence`
/// among the writes of one node, and `incarnation` across restarts. Without the incarnation a node that crashes after its
/// value reached one other node, but before it reached its own disk, would afterwards ask a majority that does not
/// include that other node, find the same counter and give the same tag to a different value: two nodes would then hold
/// two values that nobody can tell apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tag {
    /// One more than the highest counter that the writer saw at a majority.
    pub counter: u64,
    /// The writer.
    pub node: String,
    /// How often the writer has been started; on disk before it serves anybody.
    pub incarnation: u64,
    /// The number of the write within the incarnation.
    pub sequence: u64,
}
