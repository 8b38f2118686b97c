//! Encodes changes as the events of the contract.

use concord_core::{
    caller::Author,
    ids::{self, IdKind},
};
use concord_proto::{pb::records::Origin, wire::Event};

use crate::{
    domain::filter::ChangeAttributes, feed::tail::FeedItem, image::timestamp, store::feed::FeedRow,
};

/// The attributes of a change that a filter matches.
pub(crate) fn change_attributes(row: &FeedRow) -> ChangeAttributes<'_> {
    let records = std::iter::once(&row.record).chain(&row.companions);
    ChangeAttributes {
        practice: &row.practice,
        kinds: records.map(|record| record.kind).collect(),
        linked: row.linked,
        author: Author::stored(&row.origin_product, &row.origin_account),
    }
}

/// The origin of a change: product, account, user and import.
pub(crate) fn origin(row: &FeedRow) -> Origin {
    Origin {
        product: row.origin_product.clone(),
        account: row.origin_account.clone(),
        user: row.origin_user.clone(),
        import_id: row.import_id.map(|id| ids::text(IdKind::Import, id)).unwrap_or_default(),
    }
}

/// The event of a change. It has no images if `marked`: the subscriber made the change.
pub(super) fn event(item: &FeedItem, previous_position: i64, own: bool, marked: bool) -> Event {
    let row = &item.row;
    let small = |n: i64| i32::try_from(n).unwrap_or(i32::MAX);
    let images = Some(item).filter(|_| !marked);
    Event {
        position: row.position,
        previous_position,
        change_id: ids::text(IdKind::Change, row.id),
        practice_id: row.practice.clone(),
        record_kind: row.record.kind.into(),
        record_id: row.record.text(),
        record_version: row.version,
        kind: row.kind.into(),
        changed_fields: row.changed_fields.clone(),
        entry_id: row.entry_id.map(|id| ids::text(IdKind::Entry, id)).unwrap_or_default(),
        origin: Some(origin(row)),
        linked: row.linked,
        own,
        transaction_id: ids::text(IdKind::Transaction, row.transaction_id),
        transaction_index: small(row.transaction_index),
        transaction_count: small(row.transaction_count),
        change_time: Some(timestamp(row.changed_at)),
        client: images.and_then(|item| item.client.clone()),
        person: images.and_then(|item| item.person.clone()),
        contacts: images.map(|item| item.contacts.clone()).unwrap_or_default(),
    }
}
