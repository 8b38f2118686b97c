//! Erases the uploads of records that the records service has erased.
//!
//! The records service lists the erasures of a practice: the ids of the records, and
//! the digests of the keys by which products linked to them. An uploaded record is
//! erased if it became one of these records, or if it has such a key and was uploaded
//! before the erasure. Records that depend on it alone are erased too: its addresses,
//! and contacts that belong to no other client and became no record of their own. All
//! tables that quote the record are covered; its position and its verdict remain.
//!
//! The background [`jobs`](crate::jobs) scan imports that wait or have ended. The worker
//! of a running import scans it before it applies anything. The records service rejects
//! records that are erased after that.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use concord_core::{
    key_digest::KeyDigest,
    rules::import::{ParsedRecord, parse_bytes},
};
use concord_proto::pb::{imports::ImportRecordKind, internal::erasure::Erased as Wire};
use concord_server::identity::OnBehalf;

use crate::{
    domain::{
        enums::{Kind, kind_of},
        import::{Import, RowId},
    },
    error::ImportError,
    records_client::{CallError, RecordsClient},
    service::Imports,
    store::{
        self,
        erasure::{ErasedRow, UploadedRow},
    },
};

/// Records read in one query.
const PAGE: u64 = 500;

/// Records erased in one transaction. On SQLite, it blocks all other writers.
pub(crate) const ROWS_PER_TX: usize = 200;

/// Maximum number of keys in one scan of an import; further keys follow in the next
/// scan.
const MAX_KEYS_PER_SCAN: usize = 50_000;

/// Maximum clock skew between the services, for skipping old erasures.
const CLOCK_SKEW: TimeDelta = TimeDelta::hours(1);

/// Erasures of a practice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Erasures {
    /// Erasure time by record id.
    records: HashMap<String, DateTime<Utc>>,
    /// Erasure time by key digest.
    keys: HashMap<KeyDigest, DateTime<Utc>>,
    /// The position up to which all erasures are included.
    pub(crate) known: i64,
    /// Whether later erasures exist.
    pub(crate) more: bool,
}

impl Erasures {
    /// Fetches the erasures after a position that may affect an import created at
    /// `created`.
    pub(crate) async fn fetch(
        records: &RecordsClient,
        behalf: &OnBehalf,
        after: i64,
        created: DateTime<Utc>,
    ) -> Result<Self, CallError> {
        let mut all = Self { known: after, ..Self::default() };
        loop {
            let (page, head) = records.erasures(behalf, all.known).await?;
            if head < all.known {
                // The database of the records service was restored to an earlier state.
                all = Self::default();
                continue;
            }
            let is_last = page.last().is_none_or(|last| last.position >= head);
            all.known = page.last().map_or(head, |last| last.position);
            for erasure in page {
                let at = erasure.erase_time.and_then(|at| {
                    DateTime::from_timestamp(at.seconds, u32::try_from(at.nanos).ok()?)
                });
                let Some(at) = at.filter(|at| *at >= created - CLOCK_SKEW) else { continue };
                match erasure.erased {
                    Some(Wire::RecordId(id)) => {
                        all.records.insert(id, at);
                    }
                    Some(Wire::KeyDigest(digest)) => {
                        all.keys.extend(KeyDigest::read(&digest).map(|digest| (digest, at)));
                    }
                    None => {}
                }
            }
            if is_last {
                return Ok(all);
            }
            if all.keys.len() >= MAX_KEYS_PER_SCAN {
                return Ok(Self { more: true, ..all });
            }
        }
    }

    /// Whether no erasure may affect the import.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.keys.is_empty()
    }

    /// The ids of the erased records.
    pub(crate) fn record_ids(&self) -> Vec<String> {
        self.records.keys().cloned().collect()
    }

    /// Finds the uploaded records of an import that are to be erased.
    pub(crate) async fn find(
        mut self,
        imports: &Imports,
        import: &Import,
    ) -> Result<Vec<ErasedRow>, ImportError> {
        let db = imports.reader_of(&import.key);
        let uploaded = store::erasure::upload_times(db).await?;
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        // A record may depend on an erased record that follows it: repeat until nothing
        // new is found.
        loop {
            let before = found.len();
            let mut after = RowId::default();
            loop {
                let page = store::erasure::page(db, after, PAGE).await?;
                let Some(last) = page.last().map(|row| row.at) else { break };
                for row in page {
                    if seen.contains(&row.at) {
                        continue;
                    }
                    let at = uploaded.get(&row.at.batch).copied().unwrap_or(import.created_at);
                    let parsed = parse_bytes(&row.payload);
                    if let Some(erased_at) = self.find_erasure_time(import, &row, &parsed, at) {
                        self.keys.insert(digest(import, parsed.kind, &parsed.source_id), erased_at);
                        seen.insert(row.at);
                        found.push(ErasedRow {
                            at: row.at,
                            kind: kind_of(parsed.kind),
                            source_id: parsed.source_id,
                            status: row.status,
                        });
                    }
                }
                after = last;
            }
            if found.len() == before {
                return Ok(found);
            }
        }
    }

    /// The time at which an uploaded record was erased; `None` if it was not.
    fn find_erasure_time(
        &self,
        import: &Import,
        row: &UploadedRow,
        parsed: &ParsedRecord,
        uploaded: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let erased_at = |kind, source_id: &str| {
            let at = self.keys.get(&digest(import, kind, source_id)).copied();
            at.filter(|at| *at >= uploaded)
        };
        // A dry run creates no record.
        let became = row.record_id.as_ref().filter(|_| !import.validate_only);
        if let Some(record_id) = became {
            if let Some(at) = self.records.get(record_id) {
                return Some(*at);
            }
        } else if let Some(at) = erased_at(parsed.kind, &parsed.source_id) {
            return Some(at);
        }
        let mut parents = parsed.parents.iter().map(|(kind, id)| erased_at(*kind, id));
        match kind_of(parsed.kind) {
            Kind::Address => parents.flatten().next(),
            // Unless it belongs to another client, or became a person that still
            // exists.
            Kind::Contact if became.is_none() => {
                parents.try_fold(None, |_, erased| erased.map(Some)).flatten()
            }
            Kind::Contact | Kind::Client | Kind::Unknown => None,
        }
    }
}

fn digest(import: &Import, kind: ImportRecordKind, source_id: &str) -> KeyDigest {
    let Import { key, product, account, .. } = import;
    KeyDigest::of(&key.practice, (product, account), kind, source_id)
}
