//! The commands to try next, with the addresses of this run.

use std::{env, fmt};

use super::{HEARING, IMPORTING, PRACTICE, Site};
use crate::pair::url;

/// What to try next.
#[derive(Debug)]
pub(super) struct NextSteps<'a>(pub(super) &'a Site);

impl fmt::Display for NextSteps<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As it was started, such as `target/release/concord`.
        let program = env::args().next().unwrap_or_else(|| "concord".to_owned());
        let Site { records, imports, sample, .. } = self.0;
        let (records, imports, sample) = (url(*records), url(*imports), sample.display());
        write!(
            f,
            "  Hear everything that books was told, from the first change on, and go on listening:\n    \
             {program} watch --practice {PRACTICE} --product {HEARING} --from earliest --records {records}\n\n  \
             See where the last change of a client is on its way to each product.\n    \
             {program} trace ref:OAK001 --practice {PRACTICE} --product {HEARING} --records {records}\n\n  \
             Import the same files again: what is there already is skipped.\n    \
             {program} import {sample} --practice {PRACTICE} --product {IMPORTING} --imports {imports}\n\n  \
             Import them for books: its records are linked to those of manager, not doubled.\n    \
             {program} import {sample} --practice {PRACTICE} --product {HEARING} --imports {imports}\n\n  \
             Ask for a client by its reference, with any gRPC client that knows reflection:\n    \
             buf curl --http2-prior-knowledge --protocol grpc \\\n      \
             -H 'x-concord-practice: {PRACTICE}' -H 'x-concord-product: {HEARING}' \\\n      \
             -d '{{\"client\": \"ref:OAK001\"}}' {records}/concord.records.v1.ClientService/GetClient"
        )
    }
}
