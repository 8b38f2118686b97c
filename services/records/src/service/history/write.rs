//! Writes a decision: the entries, the changes for the feed and the audit, and the link of
//! an added entry.

use concord_core::{
    ids::{self, IdKind},
    rules::date::{Period, date_text},
};
use concord_proto::pb::records::ChangeKind;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::command::HistoryCommand;
use crate::{
    domain::{
        change::{Authorship, Change},
        link::LinkKind,
        timeline::{Decision, Edit, Entry, EntryEvent, EventKind},
    },
    error::RecordError,
    service::{
        links::{append, new_link},
        open::Open,
        subject::Subject,
        unit_of_work::UnitOfWork,
    },
    store::{changes::Recipients, entries, links},
};

pub(super) const ACTIVE_FROM: &str = "active_from";
pub(super) const ACTIVE_TO: &str = "active_to";

/// Writes the edits of a decision, and appends its events as changes. Returns the ids of
/// the changes. The caller saves the record itself.
pub(super) async fn write_decision(
    work: &UnitOfWork,
    open: &mut Open<impl Subject>,
    decision: &Decision,
    author: Authorship<'_>,
    recipients: &Recipients,
) -> Result<Vec<String>, RecordError> {
    let db = work.db();
    let removed = decision.edits.iter().filter_map(|edit| match edit {
        Edit::Remove(id) => Some(*id),
        _ => None,
    });
    let removed: Vec<Uuid> = removed.collect();
    links::remove_all(db, &removed).await?;
    entries::write(db, &decision.edits, work.at.now).await?;
    let before = open.entries.clone();
    decision.apply_to(&mut open.entries);
    let mut changes = Vec::with_capacity(decision.events.len());
    for event in &decision.events {
        let meta = open.subject.meta().changed(work.at.now);
        let change = open.subject.changed(change_kind(event.kind), meta);
        changes.push(Change {
            changed_fields: vec!["entries".to_owned()],
            before: entry_json(&before, event),
            after: entry_json(&open.entries, event),
            ..change.of_entry(event.entry)
        });
    }
    if author.caller.product == work.caller.product {
        return append(work, recipients, changes).await;
    }
    work.append(author, recipients, &changes).await?;
    Ok(Vec::new())
}

fn change_kind(kind: EventKind) -> ChangeKind {
    match kind {
        EventKind::Added => ChangeKind::EntryAdded,
        EventKind::Scheduled => ChangeKind::EntryScheduled,
        EventKind::BecameCurrent => ChangeKind::EntryBecameCurrent,
        EventKind::Corrected => ChangeKind::EntryCorrected,
        EventKind::DatesChanged => ChangeKind::EntryDatesChanged,
        EventKind::Ended => ChangeKind::EntryEnded,
        EventKind::Cancelled => ChangeKind::EntryCancelled,
        EventKind::Rescinded => ChangeKind::EntryRescinded,
    }
}

/// The entry of an event, and the neighbour that changed with it, as JSON for the audit.
fn entry_json(entries: &[Entry], event: &EntryEvent) -> Option<Json> {
    let of = |id: Uuid| {
        let entry = entries.iter().find(|entry| entry.id == id)?;
        let Entry { timeline, value, period: Period { from, to }, .. } = entry;
        Some(json!({
            "id": ids::text(IdKind::Entry, id),
            "timeline": timeline.to_string(),
            "value": value,
            ACTIVE_FROM: date_text(*from),
            ACTIVE_TO: date_text(*to),
        }))
    };
    let entries: Vec<Json> =
        std::iter::once(event.entry).chain(event.neighbour).filter_map(of).collect();
    (!entries.is_empty()).then(|| json!({ "entries": entries }))
}

/// Links the added or existing entry to its external id in the product. A link that the
/// account has already is kept.
pub(super) async fn link_entry(
    work: &UnitOfWork,
    command: &HistoryCommand,
    decision: &Decision,
) -> Result<(), RecordError> {
    let (HistoryCommand::Add { external_id: Some(external_id), .. }
    | HistoryCommand::AddPast { external_id: Some(external_id), .. }) = command
    else {
        return Ok(());
    };
    let Some(entry) = decision.entry else { return Ok(()) };
    let (db, caller) = (work.db(), &work.caller);
    let account = (&caller.product, &caller.account);
    if !links::linked_records(db, account, &[entry]).await?.is_empty() {
        return Ok(());
    }
    let link = new_link(work, LinkKind::Entry, external_id.clone(), entry);
    links::insert_now(db, link).await
}
