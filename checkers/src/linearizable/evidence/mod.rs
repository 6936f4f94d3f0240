use schism_history::Operation;
use serde_json::Value;

use super::Finding;
use super::model::Action;
use crate::Violation;

pub(super) fn explain<'h>(
    key: Option<&'h Value>,
    operations: &[Operation<'h>],
    members: &[(usize, Option<Action<&'h Value>>)],
    finding: &Finding<'h>,
) -> Violation {
    let _ = (members, &finding.calls, &finding.values, operations);
    Violation {
        key: key.cloned(),
        summary: String::new(),
        explanation: vec![],
        operations: vec![],
        window: (0, 0),
    }
}
