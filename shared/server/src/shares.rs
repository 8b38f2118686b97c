//! Fair sharing of a bounded resource: bytes, streams, uploads.
//!
//! The limit of one user depends on the free amount (dynamic thresholds, Choudhury and
//! Hahne, 1998): a sole user may take most of the resource, each further user lowers the
//! limit of all, and a part stays free for new users. Fixed shares would either leave
//! capacity unused or add up to the whole resource.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, futures::OwnedNotified};

/// The maximum amount of one user relative to the free amount: `times` / `of` of it.
///
/// A sole user gets `times / (times + of)` of the resource.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    times: u64,
    of: u64,
}

impl Ratio {
    /// A user may take as much as stays free; a sole user gets half of the resource.
    pub const EQUAL: Self = Self::new(1, 1);

    /// `times` / `of`.
    pub const fn new(times: u64, of: u64) -> Self {
        Self { times, of }
    }

    /// The ratio of a group of users. A sole group leaves half of what a sole user leaves.
    #[must_use]
    pub(crate) const fn of_group(self) -> Self {
        Self::new(2 * self.times + self.of, self.of)
    }

    /// Returns `true` if a user with `own` may take `amount` of the `free` amount. A user
    /// without a share may, as long as the amount fits.
    pub(crate) const fn allows(self, own: u64, amount: u64, free: u64) -> bool {
        let fits = amount <= free;
        let wanted = own.saturating_add(amount).saturating_mul(self.of);
        // Counts the last unit as free, so that two of two can be taken.
        let left = free.saturating_sub(amount).saturating_add(1);
        fits && (own == 0 || wanted <= left.saturating_mul(self.times))
    }

    /// The amount that a sole user can take of `limit`, one unit at a time.
    pub const fn alone(self, limit: u64) -> u64 {
        let mut own = 0;
        while self.allows(own, 1, limit.saturating_sub(own)) {
            own += 1;
        }
        own
    }
}

/// A user of a shared resource, identified by its key.
pub trait Sharer: Clone + Eq + Hash {
    /// The groups of the user. A group is limited too, by the sum of its users.
    fn groups(&self) -> &[Self] {
        &[]
    }
}

/// A bounded resource that users share by their keys.
#[derive(Debug)]
pub struct Shares<K> {
    limit: u64,
    ratio: Ratio,
    taken: Mutex<Amounts<K>>,
    freed: Arc<Notify>,
}

#[derive(Debug)]
struct Amounts<K> {
    all: u64,
    /// By user and by group. Those without a share are absent.
    of: HashMap<K, u64>,
}

impl<K: Sharer> Shares<K> {
    /// A resource of `limit` units.
    pub fn new(limit: u64, ratio: Ratio) -> Self {
        let taken = Mutex::new(Amounts { all: 0, of: HashMap::new() });
        Self { limit, ratio, taken, freed: Arc::default() }
    }

    /// The units in use.
    pub fn taken(&self) -> u64 {
        self.lock().all
    }

    /// Takes `amount` units for a user; `None` if the free amount or the limit of the user
    /// does not allow it.
    pub fn try_take(self: &Arc<Self>, key: &K, amount: u64) -> Option<Share<K>> {
        let mut taken = self.lock();
        self.allows(&taken, key, amount).then(|| taken.add(key, amount))?;
        drop(taken);
        Some(self.share(key, amount))
    }

    /// Waits until the user may take `amount` units, capped at the size of the resource.
    pub(crate) async fn take(self: &Arc<Self>, key: &K, amount: u64) -> Share<K> {
        let amount = amount.min(self.limit);
        loop {
            // Registered before the attempt, so that no notification is missed.
            let freed = self.freed();
            if let Some(share) = self.try_take(key, amount) {
                return share;
            }
            freed.await;
        }
    }

    /// Takes `amount` units without a check, for bytes that exist already.
    pub(crate) fn force_take(self: &Arc<Self>, key: &K, amount: u64) -> Share<K> {
        self.lock().add(key, amount);
        self.share(key, amount)
    }

    /// Returns `true` if the user may take `amount` units now.
    pub(crate) fn may_take(&self, key: &K, amount: u64) -> bool {
        self.allows(&self.lock(), key, amount)
    }

    /// Completes when units are released.
    pub(crate) fn freed(&self) -> OwnedNotified {
        Arc::clone(&self.freed).notified_owned()
    }

    fn allows(&self, taken: &Amounts<K>, key: &K, amount: u64) -> bool {
        let free = self.limit.saturating_sub(taken.all);
        let allows = |ratio: Ratio, key| {
            ratio.allows(taken.of.get(key).copied().unwrap_or_default(), amount, free)
        };
        allows(self.ratio, key)
            && key.groups().iter().all(|group| allows(self.ratio.of_group(), group))
    }

    fn share(self: &Arc<Self>, key: &K, amount: u64) -> Share<K> {
        Share { shares: Arc::clone(self), key: key.clone(), amount }
    }

    fn release(&self, key: &K, amount: u64) {
        self.lock().remove(key, amount);
        self.freed.notify_waiters();
    }
}

impl<K> Shares<K> {
    /// No code panics while it holds the lock, so a poisoned state is still correct.
    fn lock(&self) -> MutexGuard<'_, Amounts<K>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Sharer> Amounts<K> {
    fn add(&mut self, key: &K, amount: u64) {
        self.all += amount;
        for key in [key].into_iter().chain(key.groups()) {
            match self.of.get_mut(key) {
                Some(own) => *own += amount,
                None => drop(self.of.insert(key.clone(), amount)),
            }
        }
    }

    fn remove(&mut self, key: &K, amount: u64) {
        self.all = self.all.saturating_sub(amount);
        for key in [key].into_iter().chain(key.groups()) {
            if let Some(own) = self.of.get_mut(key) {
                *own = own.saturating_sub(amount);
                if *own == 0 {
                    self.of.remove(key);
                }
            }
        }
    }
}

/// Units that a user has taken, released when this is dropped.
#[derive(Debug)]
pub struct Share<K: Sharer> {
    shares: Arc<Shares<K>>,
    key: K,
    amount: u64,
}

impl<K: Sharer> Share<K> {
    /// Grows the share to `amount` units if the user may; returns `true` if it has them.
    pub(crate) fn grow_to(&mut self, amount: u64) -> bool {
        let more = amount.saturating_sub(self.amount);
        let mut taken = self.shares.lock();
        let grows = more == 0 || self.shares.allows(&taken, &self.key, more);
        if grows {
            taken.add(&self.key, more);
            drop(taken);
            self.amount += more;
        }
        grows
    }
}

impl<K: Sharer> Drop for Share<K> {
    fn drop(&mut self) {
        self.shares.release(&self.key, self.amount);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Sharer for u8 {}

    /// A user, and the group of its letter.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Member(char, u32, Vec<Self>);

    impl Member {
        fn new(letter: char, number: u32) -> Self {
            Self(letter, number, vec![Self(letter, 0, Vec::new())])
        }
    }

    impl Sharer for Member {
        fn groups(&self) -> &[Self] {
            &self.2
        }
    }

    #[test]
    fn many_users_of_one_group_leave_units_to_others() {
        for (ratio, at_most) in [(Ratio::new(7, 1), 60), (Ratio::EQUAL, 48)] {
            let shares = Arc::new(Shares::new(64, ratio));
            let mut held = Vec::new();
            for number in 1..200 {
                let member = Member::new('a', number);
                held.extend(std::iter::from_fn(|| shares.try_take(&member, 1)));
            }
            assert!(shares.taken() <= at_most, "{} of 64", shares.taken());
            assert!(shares.try_take(&Member::new('b', 1), 2).is_some());
            drop(held);
            assert_eq!((shares.taken(), shares.lock().of.len()), (0, 0));
        }
    }

    fn shares(limit: u64, ratio: Ratio) -> Arc<Shares<u8>> {
        Arc::new(Shares::new(limit, ratio))
    }

    /// Takes one unit at a time until the limit is reached.
    fn take_all(shares: &Arc<Shares<u8>>, key: u8) -> Vec<Share<u8>> {
        std::iter::from_fn(|| shares.try_take(&key, 1)).collect()
    }

    #[test]
    fn sole_user_gets_its_ratio_and_leaves_the_rest() {
        for (limit, ratio, expected) in [
            (64, Ratio::new(7, 1), 56),
            (256, Ratio::EQUAL, 128),
            (8, Ratio::EQUAL, 4),
            (250, Ratio::new(1, 2), 83),
            (2, Ratio::new(7, 1), 2),
            (1, Ratio::EQUAL, 1),
            (0, Ratio::EQUAL, 0),
        ] {
            let shares = shares(limit, ratio);
            let taken = take_all(&shares, 1);
            let count = u64::try_from(taken.len()).unwrap();
            assert_eq!((count, ratio.alone(limit)), (expected, expected), "{limit} {ratio:?}");
            if expected < limit {
                assert!(shares.try_take(&2, 1).is_some(), "another user gets some of {limit}");
            }
            drop(taken);
            assert_eq!((shares.taken(), shares.lock().of.len()), (0, 0));
        }
    }

    #[tokio::test]
    async fn waiting_user_is_woken_by_released_units() {
        let shares = shares(10, Ratio::EQUAL);
        let held = shares.try_take(&1, 5).unwrap();
        let waiting = tokio::spawn({
            let shares = Arc::clone(&shares);
            async move { shares.take(&1, 4).await.amount }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        assert_eq!(waiting.await.unwrap(), 4);
        // An amount above the size of the resource is capped.
        assert_eq!(shares.take(&1, 1_000).await.amount, 10);
    }

    #[test]
    fn share_grows_within_limit_only() {
        let shares = shares(10, Ratio::EQUAL);
        let mut share = shares.try_take(&1, 1).unwrap();
        assert!(share.grow_to(5) && share.grow_to(3));
        assert!(!share.grow_to(6));
        assert_eq!(shares.taken(), 5);
        let over = shares.force_take(&2, 20);
        assert_eq!(shares.taken(), 25);
        assert!(shares.try_take(&3, 1).is_none());
        drop((share, over));
        assert_eq!(shares.taken(), 0);
    }

    proptest! {
        #[test]
        fn new_user_always_finds_free_units(
            users in 1_usize..12,
            limit in 16_u64..300,
        ) {
            let shares = shares(limit, Ratio::EQUAL);
            let mut held = Vec::new();
            for user in 0..users {
                held.extend(take_all(&shares, u8::try_from(user).unwrap()));
            }
            let free = limit - shares.taken();
            // Each user takes at most as much as it leaves free.
            let left = limit.checked_shr(u32::try_from(users).unwrap()).unwrap_or_default();
            prop_assert!(free >= left, "{free} of {limit} are free");
        }
    }
}
