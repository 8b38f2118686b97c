//! Asks for the parents that the import does not hold: they may have been
//! imported before, or saved by the product itself.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{
    job::{Job, Page},
    trouble::WorkFault,
};
use crate::{
    domain::words::Kind,
    records_client::MAX_KEYS,
    store::{
        self,
        edits::{Edits, KnownParent},
    },
};

/// The kinds that a parent can be of, one after the other.
const KINDS: [Kind; 2] = [Kind::Client, Kind::Contact];

/// How far the phase has come.
#[derive(Clone, Serialize, Deserialize)]
struct Position {
    /// The place of the kind in [`KINDS`].
    kind: usize,
    source_id: String,
}

/// Asks for the next parents of a kind.
pub(super) async fn page(job: &Job) -> Result<Page, WorkFault> {
    let start = Position { kind: 0, source_id: String::new() };
    let Position { kind: number, source_id } = job.position()?.unwrap_or(start);
    let Some(kind) = KINDS.get(number).copied() else { return Ok(Page::last(Edits::default())) };
    let (db, key) = (job.imports.db.reader(), job.key());
    let named = store::parents::named(db, key, kind, &source_id, MAX_KEYS as u64).await?;
    let Some(last) = named.last().cloned() else {
        let next = Position { kind: number + 1, source_id: String::new() };
        return Ok(Page::more(Edits::default(), &next)?);
    };
    let keys: Vec<_> = named.into_iter().map(|source_id| (kind, source_id)).collect();
    let held: HashSet<_> = store::parents::held(db, key, keys.clone()).await?.into_iter().collect();
    let outside = keys.into_iter().filter(|parent| !held.contains(parent));
    let links = job.imports.records.resolve(&job.behalf, outside).await?;
    let known = links.into_iter().map(|((kind, source_id), link)| KnownParent {
        kind,
        source_id,
        record_id: link.record_id,
        name: link.name,
        reference: link.client_reference,
    });
    let edits = Edits { known: known.collect(), ..Edits::default() };
    Ok(Page::more(edits, &Position { kind: number, source_id: last })?)
}
