//! Chance that comes again with the same seed.

use std::{env, str::FromStr, time::Duration};

/// The variable with the seed of a test; a new one each time without it.
const SEED: &str = "CONCORD_SEED";

/// Random numbers (`SplitMix64`).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// With the seed that the environment gives, or a new one. It is printed: the
    /// output of a test that fails is shown.
    pub(crate) fn of_this_run() -> Self {
        let [.., a, b, c, d] = *shared::ids::new_uuid().as_bytes();
        let seed = setting(SEED, u64::from(u32::from_be_bytes([a, b, c, d])));
        eprintln!("{SEED}={seed} makes the same choices again");
        Self(seed)
    }

    /// Dice for another task.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap();
        usize::try_from(self.next() % end).unwrap()
    }

    /// Whether something happens that happens so often in a hundred times.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A time of less than so many milliseconds.
    pub(crate) fn millis(&mut self, end: usize) -> Duration {
        Duration::from_millis(u64::try_from(self.below(end)).unwrap())
    }
}

/// A number that the environment may set.
pub(crate) fn setting<T: FromStr>(name: &str, otherwise: T) -> T {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => otherwise,
    }
}
