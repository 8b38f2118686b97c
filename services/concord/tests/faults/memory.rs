//! The memory of a process, as Linux counts it.

use std::fs;

use crate::replica::Replica;

/// The most memory that the process has held since its peak was forgotten.
pub(crate) fn peak(replica: &Replica) -> i64 {
    let status = fs::read_to_string(format!("/proc/{}/status", replica.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: i64 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kilobytes * 1_024
}

/// From now on the peak is what the process holds now.
pub(crate) fn forget_peak(replica: &Replica) {
    fs::write(format!("/proc/{}/clear_refs", replica.id()), "5").unwrap();
}
