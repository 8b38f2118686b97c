//! Resolves the parents that are not in the import: records of an earlier import, or
//! records that the product saved itself.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{
    page_context::{Page, PageContext},
    retry_policy::PageError,
};
use crate::{
    domain::enums::Kind,
    records_client::MAX_KEYS,
    store::{
        self,
        edits::{Edits, ExternalParent},
    },
};

/// The kinds of parents, in order.
const KINDS: [Kind; 2] = [Kind::Client, Kind::Contact];

/// The progress within the phase.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Position {
    /// Index into [`KINDS`].
    kind: usize,
    source_id: String,
}

/// Resolves the next parents of a kind.
pub(super) async fn page(context: &PageContext) -> Result<Page, PageError> {
    let Position { kind: number, source_id } = context.position()?.unwrap_or_default();
    let Some(kind) = KINDS.get(number).copied() else { return Ok(Page::last(Edits::default())) };
    let db = context.reader();
    let referenced = store::parents::referenced(db, kind, &source_id, MAX_KEYS as u64).await?;
    let Some(last) = referenced.last().cloned() else {
        let next = Position { kind: number + 1, source_id: String::new() };
        return Ok(Page::more(Edits::default(), &next)?);
    };
    let keys: Vec<_> = referenced.into_iter().map(|source_id| (kind, source_id)).collect();
    let in_import: HashSet<_> =
        store::parents::in_import(db, keys.clone()).await?.into_iter().collect();
    let external = keys.into_iter().filter(|parent| !in_import.contains(parent));
    let links = context.imports.records.resolve(&context.behalf, external).await?;
    let parents = links.into_iter().map(|((kind, source_id), link)| ExternalParent {
        kind,
        source_id,
        record_id: link.record_id,
        name: link.name,
        reference: link.client_reference,
    });
    let edits = Edits { external_parents: parents.collect(), ..Edits::default() };
    Ok(Page::more(edits, &Position { kind: number, source_id: last })?)
}
