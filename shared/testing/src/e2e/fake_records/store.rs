//! The database of the fake.

use std::collections::HashMap;

use concord_proto::pb::imports::{ImportRecordKind, RecordStatus};

/// The link of a product to a record.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) record_id: String,
    pub(super) import: String,
    pub(super) first_outcome: RecordStatus,
}

/// (practice, product, account, kind, source id)
pub(super) type LinkKey = (String, String, String, ImportRecordKind, String);

/// The database of the service.
#[derive(Clone, Debug, Default)]
pub struct StoredState {
    pub(super) links: HashMap<LinkKey, Link>,
    /// (practice, content that makes two records equal) → record ids, the oldest first
    pub(super) by_content: HashMap<(String, String), Vec<String>>,
    /// (practice, reference) → client id
    pub(super) references: HashMap<(String, String), String>,
    /// (practice, client or person) → its name, and the reference of the client
    pub(super) names: HashMap<(String, String), (String, String)>,
    /// The created records, in order.
    pub(super) created: Vec<String>,
    pub(super) periods: HashMap<String, (String, String)>,
    /// (practice, import) → the highest fence of a processed call
    pub(super) fences: HashMap<(String, String), i64>,
}

impl StoredState {
    /// Whether the account of the caller is linked to a record.
    pub(super) fn is_linked(&self, caller: &[String; 4], record_id: &str) -> bool {
        self.links.iter().any(|((practice, product, account, ..), link)| {
            [practice, product, account] == [&caller[0], &caller[1], &caller[2]]
                && link.record_id == record_id
        })
    }

    /// Removes a record, except its links.
    pub(super) fn remove(&mut self, practice: &str, record_id: &str) {
        for ids in self.by_content.values_mut() {
            ids.retain(|id| id != record_id);
        }
        self.references.retain(|_, id| id != record_id);
        self.names.remove(&(practice.to_owned(), record_id.to_owned()));
    }
}

pub(super) fn link_key(caller: &[String; 4], kind: ImportRecordKind, source_id: &str) -> LinkKey {
    let [practice, product, account, _] = caller.clone();
    (practice, product, account, kind, source_id.to_owned())
}
