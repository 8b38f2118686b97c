//! What was uploaded of a record that the records service has erased is erased too.
//!
//! The records service lists the erasures of a practice: the records, and digests of the
//! keys by which products knew them. An uploaded record is erased when it became one of
//! these records, or when it has such a key and was uploaded before. So is what depends
//! on it alone: addresses of it, and contacts that belong to no other client and became
//! no record of their own. Every table that quotes it is included; what is left are its
//! place and how it ended.
//!
//! An import that waits, or has ended, is looked through by
//! [`housekeeping`](crate::housekeeping); one at work by its worker, before it applies
//! anything. For what is erased after that, the records service refuses the record.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use shared::{
    identity::OnBehalf,
    key_digest::KeyDigest,
    pb::internal::erasure::Erased as Wire,
    rules::import::{ParsedRecord, parse_bytes},
};

use crate::{
    domain::{
        import::{Import, RowId},
        words::{Kind, kind_of},
    },
    error::ImportError,
    records_client::{CallFault, RecordsClient},
    service::Imports,
    store::{
        self,
        erasure::{ErasedRow, UploadedRow},
    },
};

/// Records that are read together.
const PAGE: u64 = 500;

/// Records that are erased in one transaction: on SQLite all other writers wait for it.
pub(crate) const ROWS: usize = 200;

/// Keys of one look through an import at most; the next ones follow.
const MAX_KEYS: usize = 50_000;

/// How far the clocks of the services may be apart, when old erasures are left out.
const SKEW: TimeDelta = TimeDelta::hours(1);

/// Erasures of a practice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Erasures {
    /// When each record was erased.
    records: HashMap<String, DateTime<Utc>>,
    /// When each key was erased.
    keys: HashMap<KeyDigest, DateTime<Utc>>,
    /// All erasures up to this position are among them.
    pub(crate) known: i64,
    /// Whether there are later ones.
    pub(crate) more: bool,
}

impl Erasures {
    /// The erasures after a position that may concern an import of the time `created`.
    pub(crate) async fn fetch(
        records: &RecordsClient,
        behalf: &OnBehalf,
        after: i64,
        created: DateTime<Utc>,
    ) -> Result<Self, CallFault> {
        let mut all = Self { known: after, ..Self::default() };
        loop {
            let (page, head) = records.erasures(behalf, all.known).await?;
            if head < all.known {
                // The records service has gone back to an earlier state.
                all = Self::default();
                continue;
            }
            let is_last = page.last().is_none_or(|last| last.position >= head);
            all.known = page.last().map_or(head, |last| last.position);
            for erasure in page {
                let at = erasure.erase_time.and_then(|at| {
                    DateTime::from_timestamp(at.seconds, u32::try_from(at.nanos).ok()?)
                });
                let Some(at) = at.filter(|at| *at >= created - SKEW) else { continue };
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
            if all.keys.len() >= MAX_KEYS {
                return Ok(Self { more: true, ..all });
            }
        }
    }

    /// Whether none of them may concern an import.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.keys.is_empty()
    }

    /// The ids of the records.
    pub(crate) fn record_ids(&self) -> Vec<String> {
        self.records.keys().cloned().collect()
    }

    /// The uploaded records of an import that are to be erased.
    pub(crate) async fn find(
        mut self,
        imports: &Imports,
        import: &Import,
    ) -> Result<Vec<ErasedRow>, ImportError> {
        let (db, key) = (imports.db.reader(), &import.key);
        let uploaded = store::erasure::upload_times(db, key).await?;
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        // What depends on an erased record may come before it.
        loop {
            let before = found.len();
            let mut after = RowId { batch: 0, row: 0 };
            loop {
                let page = store::erasure::page(db, key, after, PAGE).await?;
                let Some(last) = page.last().map(|row| row.at) else { break };
                for row in page {
                    if seen.contains(&row.at) {
                        continue;
                    }
                    let at = uploaded.get(&row.at.batch).copied().unwrap_or(import.created_at);
                    let parsed = parse_bytes(&row.payload);
                    if let Some(erased_at) = self.concern(import, &row, &parsed, at) {
                        self.keys.insert(digest(import, &parsed), erased_at);
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

    /// When an uploaded record was erased, if it was.
    fn concern(
        &self,
        import: &Import,
        row: &UploadedRow,
        parsed: &ParsedRecord,
        uploaded: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let erased_at = |kind, source_id: &str| {
            let at = self.keys.get(&digest_of(import, kind, source_id)).copied();
            at.filter(|at| *at >= uploaded)
        };
        // In a dry run it became nothing.
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
            // Unless it belongs to another client, or became a person that is still there.
            Kind::Contact if became.is_none() => {
                parents.try_fold(None, |_, erased| erased.map(Some)).flatten()
            }
            Kind::Contact | Kind::Client | Kind::Unknown => None,
        }
    }
}

fn digest(import: &Import, parsed: &ParsedRecord) -> KeyDigest {
    digest_of(import, parsed.kind, &parsed.source_id)
}

fn digest_of(
    import: &Import,
    kind: shared::pb::imports::ImportRecordKind,
    source_id: &str,
) -> KeyDigest {
    let Import { key, product, account, .. } = import;
    KeyDigest::of(&key.practice, (product, account), kind, source_id)
}
