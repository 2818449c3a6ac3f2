//! How much memory a replay takes once it is full, and whether the machine has that much.

use std::fs::read_to_string;

use super::ReplayBuffer;

pub(super) const ACCEPTED: &str = "a replay that fits into the machine's memory once it is full";

impl ReplayBuffer {
    /// The bytes that the steps of a full replay of this capacity take, for observations and actions of these
    /// sizes; `u64::MAX` if there are more. It starts with none of them, and grows with what is stored.
    ///
    /// ```
    /// // A million observations of 17 numbers, actions of 6 components.
    /// assert_eq!(mpo::ReplayBuffer::bytes_at_capacity(1_000_000, 17, 6), 105_000_000);
    /// ```
    pub fn bytes_at_capacity(capacity: usize, observation_size: usize, action_size: usize) -> u64 {
        // Observation and action, reward, log-probability, link and kind.
        let row = (observation_size as u64).saturating_add(action_size as u64);
        (capacity as u64).saturating_mul(row.saturating_mul(4).saturating_add(13))
    }
}

/// Whether a replay fits into the machine's memory; if not, what it lacks.
pub(super) fn fits(capacity: usize, observation_size: usize, action_size: usize) -> Result<(), String> {
    let needed = ReplayBuffer::bytes_at_capacity(capacity, observation_size, action_size);
    match of_the_machine() {
        Some(there) if needed > there => Err(format!(
            "{capacity}, which takes {needed} bytes once it is full, of the {there} bytes that this machine has"
        )),
        _ => Ok(()),
    }
}

/// The bytes of memory of this machine, or of the container that this process runs in. Linux tells, and ends
/// a process that takes more without a word; elsewhere they are not known.
fn of_the_machine() -> Option<u64> {
    let of_container = |file| read_to_string(file).ok()?.trim().parse().ok();
    let limits =
        ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"].map(of_container);
    let meminfo = read_to_string("/proc/meminfo").ok();
    let total = meminfo.as_deref().and_then(total_of);
    limits.into_iter().chain([total]).flatten().min()
}

/// The bytes of `MemTotal:       24683520 kB`.
fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_in_bytes() {
        let meminfo = "MemTotal:       24683520 kB\nMemFree:        20139352 kB\n";
        assert_eq!(total_of(meminfo), Some(24_683_520 * 1024));
        for other in
            ["", "MemFree: 1 kB", "MemTotal: kB", "MemTotal: 7 MB", "MemTotal: 18446744073709551615 kB"]
        {
            assert_eq!(total_of(other), None, "{other}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_replay_as_large_as_the_memory_is_the_largest() {
        let most = of_the_machine().unwrap() / ReplayBuffer::bytes_at_capacity(1, 3, 2);
        assert_eq!(fits(most as usize, 3, 2), Ok(()));
        assert!(fits(most as usize + 1, 3, 2).is_err());
    }
}
