//! Trusted proxies in front of a server, which forward TCP connections.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

use super::quota::ClientNetwork;

/// The address of a proxy, or the network of several: `10.0.0.7`, `10.0.0.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyNetwork(IpNet);

/// The text is not an address or a network.
#[derive(Debug, thiserror::Error)]
#[error("not an address or a network; write it as 10.0.0.7 or 10.0.0.0/24")]
pub struct InvalidProxyNetwork;

impl FromStr for ProxyNetwork {
    type Err = InvalidProxyNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidProxyNetwork> {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse().or_else(|_| address()).map(Self).map_err(|_| InvalidProxyNetwork)
    }
}

impl fmt::Display for ProxyNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The proxies that an operator trusts.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    /// Their networks. The connections of a proxy do not count as those of one client.
    pub networks: Vec<ProxyNetwork>,
    /// Whether each of their connections begins with a header of the PROXY protocol,
    /// version 1 or 2, which names the client.
    pub proxy_protocol: bool,
}

/// The origin of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A client.
    Client(ClientNetwork),
    /// A proxy, for an unknown client.
    Proxy,
    /// A proxy that names the client by the PROXY protocol.
    ProxyProtocol,
}

impl TrustedProxies {
    /// The origin of a connection from `peer`. The PROXY protocol is read from trusted
    /// proxies only, because any other peer could forge the client's address.
    pub(super) fn origin(&self, peer: IpAddr) -> Origin {
        let address = peer.to_canonical();
        if !self.networks.iter().any(|ProxyNetwork(network)| network.contains(&address)) {
            return Origin::Client(peer.into());
        }
        if self.proxy_protocol { Origin::ProxyProtocol } else { Origin::Proxy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_depends_on_the_address_of_the_peer() {
        let networks = ["10.0.0.0/24", "192.0.2.7", "2001:db8::/32"];
        let networks = networks.map(|network| network.parse().unwrap()).to_vec();
        let mut proxies = TrustedProxies { networks, proxy_protocol: false };
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for trusted in ["10.0.0.9", "::ffff:10.0.0.9", "192.0.2.7", "2001:db8::1"] {
            assert_eq!(proxies.origin(address(trusted)), Origin::Proxy, "{trusted}");
        }
        proxies.proxy_protocol = true;
        assert_eq!(proxies.origin(address("10.0.0.9")), Origin::ProxyProtocol);
        for other in ["10.0.1.9", "192.0.2.8", "127.0.0.1", "::1"] {
            let client = Origin::Client(address(other).into());
            assert_eq!(proxies.origin(address(other)), client, "{other}");
        }
    }

    #[test]
    fn proxy_network_refuses_text_that_is_neither_address_nor_network() {
        for text in ["", "localhost", "10.0.0.0/33", "10.0.0.1:80"] {
            assert!(text.parse::<ProxyNetwork>().is_err(), "{text}");
        }
    }
}
