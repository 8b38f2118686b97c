//! How much there is: practices, and clients of each.

use std::{fmt, str::FromStr};

/// Clients of one practice at most: beyond, names would be used twice.
const MAX_CLIENTS: usize = 2_000_000;
/// Practices at most.
const MAX_PRACTICES: usize = 10_000;

/// So many practices with so many clients each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) practices: usize,
    pub(crate) clients: usize,
}

impl Extent {
    /// One practice with so many clients.
    pub(crate) const fn of_one(clients: usize) -> Self {
        Self { practices: 1, clients }
    }

    /// The clients of all practices.
    pub(super) const fn total(self) -> usize {
        self.practices * self.clients
    }
}

impl FromStr for Extent {
    type Err = &'static str;

    /// `100000`, or `1000x100`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (practices, clients) = text.split_once('x').unwrap_or(("1", text));
        let practices = practices.parse().ok().filter(|n| (1..=MAX_PRACTICES).contains(n));
        let clients = clients.parse().ok().filter(|n| (1..=MAX_CLIENTS).contains(n));
        let extent = practices.zip(clients).map(|(practices, clients)| Self { practices, clients });
        extent.ok_or("a size is CLIENTS, at most 2000000, or PRACTICESxCLIENTS")
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { practices: 1, clients } => write!(f, "{clients}"),
            Self { practices, clients } => write!(f, "{practices} × {clients}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_clients_or_practices_with_clients() {
        assert_eq!("1000".parse(), Ok(Extent::of_one(1_000)));
        assert_eq!("50x20".parse(), Ok(Extent { practices: 50, clients: 20 }));
        for wrong in ["", "0", "x", "0x5", "many", "2000001"] {
            assert!(wrong.parse::<Extent>().is_err(), "{wrong}");
        }
    }
}
