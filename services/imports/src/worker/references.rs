//! Judges the clients that share a reference: all of them fail, because nobody
//! can say whose it is.

use serde::{Deserialize, Serialize};

use super::{
    job::{Job, Page},
    trouble::WorkFault,
};
use crate::{
    domain::{
        finding::{Finding, MAX_NAMES},
        import::RowId,
        words::{Kind, Status},
    },
    store::{
        self,
        edits::{Edits, Mark, NewFailure},
        records::ReferenceRow,
    },
};

/// References that are looked for together.
const REFERENCES: u64 = 500;
/// Clients of a page.
const PAGE: usize = 2_000;
/// The failure of a reference among those of its record.
const ORDINAL: i64 = 1_001;

/// How far the phase has come.
#[derive(Clone, Serialize, Deserialize)]
struct Position {
    reference: String,
    batch: i64,
    row: i64,
}

/// Judges the next clients that share a reference.
pub(super) async fn page(job: &Job) -> Result<Page, WorkFault> {
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
        edits.tally.shift(Kind::Client, before, Status::Failed);
        edits.marks.push(Mark { at, status: Status::Failed, record_id: None });
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
        finding: Finding::shared_reference(&reference, named, more),
    });
}
