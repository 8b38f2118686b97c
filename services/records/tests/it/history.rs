//! History and corrections: a test of each row of the table in `docs/history.md`, through
//! the API.

mod additions;
mod checks;
mod corrections;
mod past;
mod removals;

use concord_proto::pb::records::{HistoryOutcome, correct_entry_request};
use concord_testing::TestDb;

use concord_testing::e2e::{
    caller::Caller,
    records::{Acme, house, link},
};

const ADDED: HistoryOutcome = HistoryOutcome::Added;
const NO_CHANGE: HistoryOutcome = HistoryOutcome::NoChange;

/// A client that traded at Old House until 2019-07-01 and at New House since.
async fn two_houses(db: &TestDb) -> Acme {
    Acme::with_addresses(
        db,
        &[("Old House", "2010-01-01", "2019-07-01"), ("New House", "2019-07-01", "")],
    )
    .await
}

fn as_value(line_1: &str) -> correct_entry_request::Value {
    correct_entry_request::Value::Address(house(line_1))
}

/// Links a second product to the client. Returns staff callers of both products.
async fn with_books(acme: &Acme) -> (Caller, Caller) {
    let books = acme.server.owner("p1", "books").await.connect().await;
    link(&books, &acme.client.id, "B1").await.unwrap();
    let staff = |caller: &Caller| caller.clone().with("x-concord-roles", "staff");
    (staff(&acme.manager), staff(&books))
}
