//! Quotas of resources that clients hold without a token: a total, and a maximum for the
//! network of one client.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The network that a client is counted by: its IPv4 address, or the /64 of its IPv6
/// address, because one host usually has a whole /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientNetwork(IpAddr);

impl From<IpAddr> for ClientNetwork {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// The bound of a [`Quota`] that is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exceeded {
    /// The bound for all clients.
    Total,
    /// The bound for one client network.
    Network,
}

/// A bound on the number of permits that are held at the same time.
#[derive(Debug)]
pub(super) struct Quota {
    total: u32,
    per_network: u32,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    total: u32,
    /// Networks that hold no permit are absent.
    networks: HashMap<ClientNetwork, u32>,
}

impl Quota {
    pub(super) fn new(total: u32, per_network: u32) -> Arc<Self> {
        Arc::new(Self { total, per_network, held: Mutex::default() })
    }

    /// Acquires a permit, which counts for the network too if one is given.
    ///
    /// # Errors
    ///
    /// If the quota is exhausted, in total or for the network.
    pub(super) fn acquire(
        self: &Arc<Self>,
        network: Option<ClientNetwork>,
    ) -> Result<QuotaPermit, Exceeded> {
        let mut held = self.lock();
        if held.total >= self.total {
            return Err(Exceeded::Total);
        }
        if let Some(network) = network {
            held.charge(network, self.per_network)?;
        }
        held.total += 1;
        drop(held);
        Ok(QuotaPermit { quota: Arc::clone(self), network })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn charge(&mut self, network: ClientNetwork, limit: u32) -> Result<(), Exceeded> {
        let held = self.networks.get(&network).copied().unwrap_or_default();
        if held >= limit {
            return Err(Exceeded::Network);
        }
        self.networks.insert(network, held + 1);
        Ok(())
    }
}

/// A permit of a [`Quota`], released when it is dropped.
#[derive(Debug)]
pub(super) struct QuotaPermit {
    quota: Arc<Quota>,
    network: Option<ClientNetwork>,
}

impl QuotaPermit {
    /// Counts the permit for a network that became known after the acquisition.
    ///
    /// # Errors
    ///
    /// If the network already holds its maximum.
    pub(super) fn charge(&mut self, network: ClientNetwork) -> Result<(), Exceeded> {
        self.quota.lock().charge(network, self.quota.per_network)?;
        self.network = Some(network);
        Ok(())
    }
}

impl Drop for QuotaPermit {
    fn drop(&mut self) {
        let mut held = self.quota.lock();
        held.total = held.total.saturating_sub(1);
        let Some(network) = self.network else { return };
        if let Some(of_network) = held.networks.get_mut(&network) {
            *of_network = of_network.saturating_sub(1);
            if *of_network == 0 {
                held.networks.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> ClientNetwork {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn quota_total_and_share_are_enforced_and_released() {
        let quota = Quota::new(3, 2);
        let (one, other) = (network("192.0.2.1"), network("192.0.2.2"));
        let first = quota.acquire(Some(one)).unwrap();
        let mut unknown = quota.acquire(None).unwrap();
        unknown.charge(one).unwrap();
        assert_eq!(quota.acquire(Some(one)).unwrap_err(), Exceeded::Network);
        let third = quota.acquire(Some(other)).unwrap();
        assert_eq!(quota.acquire(Some(other)).unwrap_err(), Exceeded::Total);
        drop(first);
        let mut late = quota.acquire(None).unwrap();
        assert_eq!(late.charge(other), Ok(()));
        drop((unknown, late, third));
        assert!(quota.lock().networks.is_empty(), "networks without permits are removed");
        assert_eq!(quota.lock().total, 0);
    }

    #[test]
    fn client_network_ipv6_is_a_64_and_mapped_ipv4_is_ipv4() {
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
