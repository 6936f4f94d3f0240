//! What is left of ours on the node: looked for, and removed by name.

use std::sync::{Arc, PoisonError};

use super::{BYE_GRACE, Session, blocking};
use crate::agent::protocol::Response;
use crate::agent::server::Kernel;

impl Session {
    /// Everything of ours that is still on this node.
    pub(super) async fn residue(&self) -> Result<Response, String> {
        let mut found = self.leases.residue();
        let supervisor = Arc::clone(&self.supervisor);
        let marks: Vec<String> =
            self.marks.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let kernel = Arc::clone(&self.kernel);
        let more = blocking(move || {
            // What cannot be known is not clean.
            let mut found = kernel()
                .unwrap_or_else(|error| vec![format!("the kernel could not be asked for faults: {error}")]);
            found.extend(supervisor.residue(&marks));
            Ok(found)
        });
        found.extend(more.await?);
        Ok(Response::Residue { found })
    }

    /// Undoes what can be known by name, and says what there was.
    pub(super) async fn purge(&self, stop: bool) -> Result<Response, String> {
        if self.leases.is_any_in_force() {
            return Err(format!("this node is in use: {}", self.leases.residue().join("; ")));
        }
        let (supervisor, kernel, purge) =
            (Arc::clone(&self.supervisor), Arc::clone(&self.kernel), Arc::clone(&self.purge));
        let ask = |kernel: &Kernel| kernel().map_err(|error| format!("ask the kernel for faults: {error}"));
        let (mut found, mut left) = blocking(move || {
            let mut found = ask(&kernel)?;
            purge().map_err(|error| format!("remove what the kernel holds of faults: {error}"))?;
            found.extend(supervisor.continue_stopped()?);
            Ok((found, ask(&kernel)?))
        })
        .await?;
        // What could not be healed before may have been in the way of itself.
        self.leases.undo_all().await;
        found.extend(self.leases.continued());
        left.extend(self.leases.residue());
        if stop && let Err(reason) = Arc::clone(&self.supervisor).stop_all(BYE_GRACE).await {
            left.push(reason);
        }
        let supervisor = Arc::clone(&self.supervisor);
        let running = blocking(move || Ok(supervisor.residue(&[]))).await?;
        Ok(Response::Purged { found, left, running })
    }
}
