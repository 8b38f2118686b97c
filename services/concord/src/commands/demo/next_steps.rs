//! The commands to try next, with the addresses of this run.

use std::{env, fmt};

use super::setup::{DemoSetup, IMPORTING, PRACTICE, SUBSCRIBING};
use crate::host::services::url;

/// Commands to try after the demonstration.
#[derive(Debug)]
pub(super) struct NextSteps<'a>(pub(super) &'a DemoSetup);

impl fmt::Display for NextSteps<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The path of this program, such as `target/release/concord`.
        let program = env::args().next().unwrap_or_else(|| "concord".to_owned());
        let DemoSetup { records, imports, sample, .. } = self.0;
        let (records, imports, sample) = (url(*records), url(*imports), sample.display());
        write!(
            f,
            "  Print all change events of books from the first one on, and keep listening:\n    \
             {program} watch --practice {PRACTICE} --product {SUBSCRIBING} --from earliest --records {records}\n\n  \
             Show the delivery of a client's last change to each product:\n    \
             {program} trace ref:OAK001 --practice {PRACTICE} --product {SUBSCRIBING} --records {records}\n\n  \
             Import the same files again: records that exist are skipped:\n    \
             {program} import {sample} --practice {PRACTICE} --product {IMPORTING} --imports {imports}\n\n  \
             Import them for books: its records are linked to those of manager, not duplicated:\n    \
             {program} import {sample} --practice {PRACTICE} --product {SUBSCRIBING} --imports {imports}\n\n  \
             Get a client by its reference, with any gRPC client that supports reflection:\n    \
             buf curl --http2-prior-knowledge --protocol grpc \\\n      \
             -H 'x-concord-practice: {PRACTICE}' -H 'x-concord-product: {SUBSCRIBING}' \\\n      \
             -d '{{\"client\": \"ref:OAK001\"}}' {records}/concord.records.v1.ClientService/GetClient"
        )
    }
}
