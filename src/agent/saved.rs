use super::MpoAgent;
use crate::error::Result;
use crate::networks::{Actor, Critic};
use std::path::Path;
impl<A: Actor, C: Critic> MpoAgent<A, C> {
    pub fn save(&self, _path: impl AsRef<Path>) -> Result<()> { todo!() }
    pub fn restore(&mut self, _path: impl AsRef<Path>) -> Result<()> { todo!() }
    pub(crate) fn restored(&self, _path: &Path) -> Result<Self> { todo!() }
}
