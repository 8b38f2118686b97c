//! The size of a dataset: practices, and clients of each.

use std::{fmt, str::FromStr};

/// Maximum number of clients of one practice. More would repeat names.
const MAX_CLIENTS: usize = 2_000_000;
/// Maximum number of practices.
const MAX_PRACTICES: usize = 10_000;

/// A number of practices, with a number of clients each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DatasetSize {
    pub(crate) practices: usize,
    pub(crate) clients: usize,
}

impl DatasetSize {
    /// One practice.
    pub(crate) const fn of_one(clients: usize) -> Self {
        Self { practices: 1, clients }
    }

    /// The total number of clients.
    pub(super) const fn total(self) -> usize {
        self.practices * self.clients
    }
}

impl FromStr for DatasetSize {
    type Err = &'static str;

    /// Parses `100000` or `1000x100`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (practices, clients) = text.split_once('x').unwrap_or(("1", text));
        let practices = practices.parse().ok().filter(|n| (1..=MAX_PRACTICES).contains(n));
        let clients = clients.parse().ok().filter(|n| (1..=MAX_CLIENTS).contains(n));
        let size = practices.zip(clients).map(|(practices, clients)| Self { practices, clients });
        size.ok_or("a size is CLIENTS, at most 2000000, or PRACTICESxCLIENTS")
    }
}

impl fmt::Display for DatasetSize {
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
    fn dataset_size_parses_clients_or_practices_with_clients() {
        assert_eq!("1000".parse(), Ok(DatasetSize::of_one(1_000)));
        assert_eq!("50x20".parse(), Ok(DatasetSize { practices: 50, clients: 20 }));
        for invalid in ["", "0", "x", "0x5", "many", "2000001"] {
            assert!(invalid.parse::<DatasetSize>().is_err(), "{invalid}");
        }
    }
}
