//! A seeded random number generator, so that a failed run can be reproduced.

use std::{env, str::FromStr, time::Duration};

/// Environment variable with the seed. Without it each run takes a new seed.
const SEED: &str = "CONCORD_SEED";

/// A random number generator (`SplitMix64`).
#[derive(Debug)]
pub struct SeededRng(u64);

impl SeededRng {
    /// Creates a generator with the seed from the environment, or with a new one.
    /// Prints the seed, because the output of a failed test is shown.
    pub fn from_env() -> Self {
        let [.., a, b, c, d] = *concord_core::ids::new_uuid().as_bytes();
        let seed = setting(SEED, u64::from(u32::from_be_bytes([a, b, c, d])));
        eprintln!("{SEED}={seed} reproduces this run");
        Self(seed)
    }

    /// Creates an independent generator for another task.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap();
        usize::try_from(self.next() % end).unwrap()
    }

    /// Returns true with a probability of `percent` in 100.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Picks one element.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Returns a duration below `end` milliseconds.
    pub fn millis(&mut self, end: usize) -> Duration {
        Duration::from_millis(u64::try_from(self.below(end)).unwrap())
    }
}

/// Reads a number from an environment variable, with a default.
pub fn setting<T: FromStr>(name: &str, default: T) -> T {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => default,
    }
}
