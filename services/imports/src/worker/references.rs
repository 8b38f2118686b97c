//! Checks clients that share a reference: all of them fail, because it is unknown which
//! one owns it.

use serde::{Deserialize, Serialize};

use super::{
    job::{Job, Page},
    retry_policy::PageError,
};
use crate::{
    domain::{
        enums::{Kind, Status},
        import::RowId,
        issue::{MAX_NAMES, RecordIssue},
    },
    store::{
        self,
        edits::{Edits, NewFailure, StatusUpdate},
        records::ReferenceRow,
    },
};

/// References per query.
const REFERENCES: u64 = 500;
/// Clients per page.
const PAGE: usize = 2_000;
/// The ordinal of the failure of a reference.
const ORDINAL: i64 = 1_001;

/// The progress within the phase.
#[derive(Clone, Serialize, Deserialize)]
struct Position {
    reference: String,
    batch: i64,
    row: i64,
}

/// Checks the next clients that share a reference.
pub(super) async fn page(job: &Job) -> Result<Page, PageError> {
    let start = || Position { reference: String::new(), batch: 0, row: 0 };
    let mut position = job.position()?.unwrap_or_else(start);
    let (db, key) = (job.imports.db.reader(), job.key());
    let round = job.round();
    let shared = store::records::shared_references(db, key, round, &position.reference, REFERENCES);
    let shared = shared.await?;
    let last_page = (shared.len() as u64) < REFERENCES;
    let (mut edits, mut room) = (Edits::default(), PAGE);
    for reference in shared {
        let again = reference == position.reference;
        let (batch, row) = if again { (position.batch, position.row) } else { (0, 0) };
        let after = RowId { batch, row };
        let clients =
            store::records::clients_of_reference(db, key, round, (&reference, after), room).await?;
        let users =
            store::records::users_of_reference(db, key, round, &reference, MAX_NAMES + 2).await?;
        room -= clients.len();
        for client in clients {
            position = Position {
                reference: reference.clone(),
                batch: client.at.batch,
                row: client.at.row,
            };
            add(&mut edits, client, &users);
        }
        if room == 0 {
            return Ok(Page::more(edits, &position)?);
        }
    }
    if last_page { Ok(Page::last(edits)) } else { Ok(Page::more(edits, &position)?) }
}

fn add(edits: &mut Edits, client: ReferenceRow, users: &[String]) {
    let ReferenceRow { at, source_id, status: before, reference } = client;
    if before == Status::Ready {
        edits.counters.shift(Kind::Client, before, Status::Failed);
        edits.status_updates.push(StatusUpdate { at, status: Status::Failed, record_id: None });
    }
    let others: Vec<String> = users.iter().filter(|user| **user != source_id).cloned().collect();
    let more = others.len() > MAX_NAMES;
    let named = others.get(..MAX_NAMES).unwrap_or(&others);
    edits.failures.push(NewFailure {
        at,
        ordinal: ORDINAL,
        kind: Kind::Client,
        source_id,
        status: Status::Failed,
        issue: RecordIssue::shared_reference(&reference, named, more),
    });
}
