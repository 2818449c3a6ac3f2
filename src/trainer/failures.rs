//! Failures that a run goes on after, up to a number in a row.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What failed and was passed over.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Failures {
    pub count: u64,
    pub in_a_row: u32,
}

impl Failures {
    /// Counts a failure, and gives it back where it is one more in a row than `tolerated`.
    pub fn add(&mut self, failure: Error, tolerated: u32) -> Result<()> {
        tracing::warn!(%failure, in_a_row = self.in_a_row + 1);
        self.count = self.count.saturating_add(1);
        if self.in_a_row >= tolerated {
            // Who calls again begins to count anew.
            self.in_a_row = 0;
            return Err(failure);
        }
        self.in_a_row += 1;
        Ok(())
    }
}
