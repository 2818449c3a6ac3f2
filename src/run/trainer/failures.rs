//! Failures that a run goes on after, up to a number in a row.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How many failures of one kind came one after another.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct InARow(u32);

impl InARow {
    /// Counts a failure, and gives it back if it is one more in a row than `tolerated`.
    pub fn add(&mut self, failure: Error, tolerated: u32) -> Result<()> {
        tracing::warn!(%failure, in_a_row = self.0.saturating_add(1));
        if self.0 >= tolerated {
            // Who calls again begins to count anew.
            self.end();
            return Err(failure);
        }
        self.0 += 1;
        Ok(())
    }

    /// Counts a failure; whether no more than `tolerated` came in a row.
    pub fn goes_on(&mut self, tolerated: u32) -> bool {
        self.0 = self.0.saturating_add(1);
        self.0 <= tolerated
    }

    /// Something has not failed.
    pub fn end(&mut self) {
        self.0 = 0;
    }
}
