//! The unique keys, and what it means that one of them is used already.

use sea_orm::DbErr;
use shared::db::{UniqueKey, violates};

use crate::error::{RecordError, Taken};

/// A reference names one client of a practice.
const REFERENCE: UniqueKey =
    UniqueKey { name: "client_reference", columns: "client.practice_id, client.reference_key" };

/// A person has one place at a client.
const PLACE: UniqueKey = UniqueKey {
    name: "contact_place",
    columns: "contact.practice_id, contact.client_id, contact.person_id",
};

/// An external id names one record of an account of a product.
const EXTERNAL_ID: UniqueKey = UniqueKey {
    name: "link_pkey",
    columns: "link.practice_id, link.product, link.account, link.kind, link.external_id",
};

/// A record has one external id in an account of a product.
const LINK: UniqueKey = UniqueKey {
    name: "link_record",
    columns: "link.practice_id, link.record_id, link.product, link.account",
};

/// A request id is used once by a product.
const REQUEST: UniqueKey = UniqueKey {
    name: "request_pkey",
    columns: "request.practice_id, request.product, request.request_id",
};

/// What an error of the database means. The same request that was made twice at
/// once has raced, and finds the other's answer when it is tried again.
pub(super) fn by(error: DbErr) -> RecordError {
    let keys = [
        (&REFERENCE, Taken::Reference),
        (&PLACE, Taken::Place),
        (&EXTERNAL_ID, Taken::ExternalId),
        (&LINK, Taken::Link),
    ];
    let taken = keys.into_iter().find(|(key, _)| violates(&error, key));
    match taken {
        Some((_, taken)) => RecordError::Taken(taken),
        None if violates(&error, &REQUEST) => RecordError::Raced,
        None => error.into(),
    }
}
