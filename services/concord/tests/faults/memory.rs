//! The peak memory of a process, from `/proc`.

use std::fs;

use crate::replica::Replica;

/// The peak resident memory of the process in bytes, since the last reset.
pub(crate) fn peak(replica: &Replica) -> i64 {
    let status = fs::read_to_string(format!("/proc/{}/status", replica.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: i64 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kilobytes * 1_024
}

/// Resets the peak to the current resident memory.
pub(crate) fn reset_peak(replica: &Replica) {
    fs::write(format!("/proc/{}/clear_refs", replica.id()), "5").unwrap();
}
