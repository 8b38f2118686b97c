//! The unique keys of the tables, and the errors of their violations.

use concord_db::{UniqueKey, violates};
use sea_orm::DbErr;

use crate::error::{RecordError, UniqueViolation};

/// A reference names one client of a practice.
const REFERENCE: UniqueKey =
    UniqueKey { name: "client_reference", columns: "client.practice_id, client.reference_key" };

/// A person is a contact of a client once.
const CONTACT: UniqueKey = UniqueKey {
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

/// Classifies an error of the database. A violation of the request key is a write conflict:
/// the same request was sent twice concurrently, and a retry finds the stored response.
pub(super) fn classify(error: DbErr) -> RecordError {
    let keys = [
        (&REFERENCE, UniqueViolation::Reference),
        (&CONTACT, UniqueViolation::Contact),
        (&EXTERNAL_ID, UniqueViolation::ExternalId),
        (&LINK, UniqueViolation::Link),
    ];
    let violated = keys.into_iter().find(|(key, _)| violates(&error, key));
    match violated {
        Some((_, violation)) => RecordError::UniqueViolation(violation),
        None if violates(&error, &REQUEST) => RecordError::WriteConflict,
        None => error.into(),
    }
}
