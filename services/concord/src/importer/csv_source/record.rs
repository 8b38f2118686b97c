//! The records of rows, and their encoding.

use anyhow::ensure;
use bytes::Bytes;
use concord_proto::pb::imports::{
    ImportAddress, ImportClient, ImportRecord, import_record::Record,
};
use prost::Message as _;

use super::read::Row;

/// The maximum size of a record in bytes: the server rejects a batch with a larger one. A
/// record over 64 KiB, such as a contact with very many rows, fails there by itself.
pub(super) const MAX_RECORD_BYTES: usize = concord_proto::limits::MAX_FRAME_BYTES;

/// The client of a row.
pub(super) fn client(row: Row<'_>) -> Record {
    Record::Client(ImportClient {
        source_id: row.text("source_id"),
        client_reference: row.text("client_reference"),
        client_type: row.text("client_type"),
        registered_name: row.text("registered_name"),
        trading_name: row.text("trading_name"),
        company_number: row.text("company_number"),
        utr: row.text("utr"),
        vat_number: row.text("vat_number"),
        paye_reference: row.text("paye_reference"),
        title: row.text("title"),
        forename: row.text("forename"),
        surname: row.text("surname"),
        birth_date: row.text("birth_date"),
        email: row.text("email"),
        phone: row.text("phone"),
        jurisdiction: row.text("jurisdiction"),
    })
}

/// The address of a row.
pub(super) fn address(row: Row<'_>) -> Record {
    Record::Address(ImportAddress {
        source_id: row.text("source_id"),
        owner_kind: row.text("owner_kind"),
        owner_source_id: row.text("owner_source_id"),
        r#type: row.text("type"),
        line_1: row.text("line_1"),
        line_2: row.text("line_2"),
        line_3: row.text("line_3"),
        town: row.text("town"),
        county: row.text("county"),
        postcode: row.text("postcode"),
        country: row.text("country"),
        active_from: row.text("active_from"),
        active_to: row.text("active_to"),
    })
}

/// Encodes a record. It replaces the record of the row token `replaces`, if not empty.
pub(super) fn encode(record: Record, replaces: &str) -> anyhow::Result<Bytes> {
    let source_id = match &record {
        Record::Client(client) => &client.source_id,
        Record::Contact(contact) => &contact.source_id,
        Record::Address(address) => &address.source_id,
    }
    .clone();
    let record = ImportRecord { record: Some(record), replaces: replaces.to_owned() };
    let size = record.encoded_len();
    ensure!(
        size <= MAX_RECORD_BYTES,
        "the record {source_id} has {size} bytes; the maximum is {MAX_RECORD_BYTES}"
    );
    Ok(record.encode_to_vec().into())
}
