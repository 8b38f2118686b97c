//! The names of the services, as arguments of commands.

use clap::ValueEnum;

/// One of the two services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ServiceName {
    /// Clients, persons, contacts, their history, and the feed of changes
    Records,
    /// Imports: uploads, checks, failures
    Imports,
}

impl ServiceName {
    /// The chosen service, or both.
    pub(crate) fn chosen(one: Option<Self>) -> &'static [Self] {
        match one {
            Some(Self::Records) => &[Self::Records],
            Some(Self::Imports) => &[Self::Imports],
            None => &[Self::Records, Self::Imports],
        }
    }

    /// Its name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Imports => "imports",
        }
    }
}
