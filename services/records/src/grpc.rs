//! The RPCs of the records service. A handler parses the request and runs the
//! command or query of the service layer, which builds the response.

mod changes;
mod clients;
mod connections;
mod contacts;
mod history;
mod ingest;
#[cfg(test)]
mod limits;
mod parse;
mod people;
mod support;
mod update;

use crate::service::Records;

/// All services of the package, over the same records.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    records: Records,
}

impl Api {
    pub(crate) fn new(records: Records) -> Self {
        Self { records }
    }
}
