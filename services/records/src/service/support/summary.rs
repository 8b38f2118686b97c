//! The summary of one record: links, changes and contacts.

use concord_core::{caller::Caller, page::ResponseBudget};
use concord_proto::pb::records::{GetRecordSummaryResponse, RecordKind};
use prost::Message as _;

use super::audit::audit_entry;
use crate::{
    domain::record::RecordRef,
    error::RecordError,
    service::{
        Records,
        links::listed,
        reading::{ContactsOf, PageRequest},
        resolve,
    },
    store::{audit, links},
};

/// Maximum number of changes of a summary.
const SUMMARY_CHANGES: u64 = 20;
/// Maximum number of contacts of a summary.
const SUMMARY_CONTACTS: u64 = 100;

impl Records {
    /// The summary of one record: links, changes and contacts.
    pub(crate) async fn summary(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<GetRecordSummaryResponse, RecordError> {
        self.check_connected(caller).await?;
        let db = self.db.reader_of(&caller.practice);
        let record = resolve::client_or_person(db, "record", name).await?;
        let text = record.text();
        let mut summary = GetRecordSummaryResponse::default();
        let of = if record.kind == RecordKind::Person {
            summary.person = Some(self.person(caller, &text).await?);
            ContactsOf::Person(text)
        } else {
            let (client, person) = self.client(caller, &text).await?;
            (summary.client, summary.person) = (Some(client), person);
            ContactsOf::Client(text)
        };
        // Small parts first: the contacts take the remaining budget.
        let mut budget = ResponseBudget::with_reserved(summary.encoded_len());
        summary.links = listed(&links::of_record(db, record.id).await?, &mut budget).links;
        // The changes of an individual include those of its person.
        let person = summary.person.as_ref().and_then(|person| RecordRef::parse(&person.id));
        let mut changes = audit::page(db, Some(record.id), None, SUMMARY_CHANGES).await?;
        if let Some(person) = person.filter(|person| *person != record) {
            let own = audit::page(db, Some(person.id), None, SUMMARY_CHANGES);
            changes.extend(own.await?);
            changes.sort_by_key(|row| std::cmp::Reverse(row.change_id));
            changes.truncate(usize::try_from(SUMMARY_CHANGES).unwrap_or(usize::MAX));
        }
        let changes = changes.into_iter().map(|row| audit_entry(caller, row));
        summary.changes =
            changes.take_while(|entry| budget.try_take(entry.encoded_len())).collect();
        let page = PageRequest { size: SUMMARY_CONTACTS, token: String::new() };
        let contacts = self.list_contacts(caller, of, page).await?.0.into_iter();
        summary.contacts = contacts.take_while(|one| budget.try_take(one.encoded_len())).collect();
        Ok(summary)
    }
}
