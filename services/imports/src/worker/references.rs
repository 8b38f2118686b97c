//! Checks clients that share a reference: all of them fail, because it is unknown which
//! one owns it.

use serde::{Deserialize, Serialize};

use super::{
    page_context::{Page, PageContext},
    retry_policy::PageError,
};
use crate::{
    domain::{
        enums::{Kind, Status},
        import::RowId,
        issue::{MAX_NAMES, RecordIssue},
        issue_ordinal,
    },
    store::{
        self,
        edits::{Edits, NewFailure},
        records::ReferenceRow,
    },
};

/// References per query.
const REFERENCES: u64 = 500;
/// Clients per page.
const PAGE: usize = 2_000;

/// The progress within the phase.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Position {
    reference: String,
    #[serde(flatten)]
    at: RowId,
}

/// Checks the next clients that share a reference.
pub(super) async fn page(context: &PageContext) -> Result<Page, PageError> {
    let mut position: Position = context.position()?.unwrap_or_default();
    let (db, round) = (context.reader(), context.round());
    let shared =
        store::records::shared_references(db, round, &position.reference, REFERENCES).await?;
    let last_page = (shared.len() as u64) < REFERENCES;
    let (mut edits, mut room) = (Edits::default(), PAGE);
    for reference in shared {
        let is_continued = reference == position.reference;
        let after = if is_continued { position.at } else { RowId::default() };
        let clients =
            store::records::clients_of_reference(db, round, (&reference, after), room).await?;
        let source_ids =
            store::records::source_ids_of_reference(db, round, &reference, MAX_NAMES + 2).await?;
        room -= clients.len();
        for client in clients {
            position = Position { reference: reference.clone(), at: client.at };
            add(&mut edits, client, &source_ids);
        }
        if room == 0 {
            return Ok(Page::more(edits, &position)?);
        }
    }
    if last_page { Ok(Page::last(edits)) } else { Ok(Page::more(edits, &position)?) }
}

/// `source_ids` are the first clients with the reference.
fn add(edits: &mut Edits, client: ReferenceRow, source_ids: &[String]) {
    let ReferenceRow { at, source_id, status: before, reference } = client;
    if before == Status::Ready {
        edits.update_status(at, Kind::Client, (before, Status::Failed), None);
    }
    let others = source_ids.iter().filter(|other| **other != source_id);
    let others: Vec<String> = others.cloned().collect();
    let more = others.len() > MAX_NAMES;
    let named = others.get(..MAX_NAMES).unwrap_or(&others);
    edits.failures.push(NewFailure {
        at,
        ordinal: issue_ordinal::REFERENCE,
        kind: Kind::Client,
        source_id,
        status: Status::Failed,
        issue: RecordIssue::shared_reference(&reference, named, more),
    });
}
