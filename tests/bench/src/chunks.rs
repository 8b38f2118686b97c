//! Bulk creation of clients by `ApplyChunk`, as the imports service does. The fastest way to
//! fill a practice.

use concord_proto::{
    pb::{
        imports::{ImportClient, ImportRecord, import_record::Record},
        internal::{ApplyChunkRequest, ingest_service_client::IngestServiceClient},
    },
    wire::ApplyRecord,
};
use prost::Message as _;

use crate::service::{Identity, WRITER, Wire};

/// Records of one chunk, as in the imports service.
pub(crate) const CHUNK: usize = 1_000;

/// The identity of the imports service for an import of a practice.
pub(crate) fn importer(practice: &'static str) -> Identity {
    Identity {
        roles: "service",
        import: Some("imp_00000000000000000000000000000001"),
        ..Identity::owner(practice, WRITER)
    }
}

/// Applies new clients, one chunk after the other.
pub(crate) async fn apply(
    wire: Wire,
    clients: usize,
    client: impl Fn(usize) -> ImportClient,
) -> anyhow::Result<()> {
    let mut ingest = IngestServiceClient::new(wire);
    for first in (0..clients).step_by(CHUNK) {
        let numbers = first..clients.min(first + CHUNK);
        let records = numbers.map(|number| record(client(number))).collect();
        ingest.apply_chunk(ApplyChunkRequest { records, ..ApplyChunkRequest::default() }).await?;
    }
    Ok(())
}

/// Encodes a client as a record of a chunk.
pub(crate) fn record(client: ImportClient) -> ApplyRecord {
    let record = ImportRecord { record: Some(Record::Client(client)), ..Default::default() };
    ApplyRecord { record: record.encode_to_vec().into(), ..ApplyRecord::default() }
}
