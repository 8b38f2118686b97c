//! Links of products to records. The removal of the last link orphans the record.

use concord_core::{
    caller::Caller,
    ids::{self, IdKind, new_uuid},
    page::ResponseBudget,
    status::ApiError,
};
use concord_proto::pb::records::{
    self as pb, ChangeKind, ErrorReason, LinkClientResponse, LinkPersonResponse, RecordState,
    UnlinkClientResponse, UnlinkPersonResponse,
};
use prost::Message as _;
use tonic::Code;
use uuid::Uuid;

use super::{
    Records, open,
    request_context::RequestContext,
    resolve,
    save::{self, Names},
    unit_of_work::{Answer, UnitOfWork},
};
use crate::{
    domain::{
        change::Change,
        link::{Link, LinkKind},
        record::{RecordMeta, RecordRef},
        timeline::Entry,
    },
    error::{RecordError, not_linked},
    image::timestamp,
    store::{changes::Recipients, clients, contacts, links},
};

/// The record to link, and its external id in the product.
#[derive(Clone, Debug)]
pub(crate) struct LinkCommand {
    /// An id or an alias.
    pub(crate) record: String,
    pub(crate) external_id: Option<String>,
}

impl Records {
    /// Links a client to the caller's account.
    pub(crate) async fn link_client(
        &self,
        caller: Caller,
        context: RequestContext,
        command: LinkCommand,
    ) -> Result<LinkClientResponse, RecordError> {
        let linked = self.mutate(caller, context, command, move |work, command| async move {
            let recipients = work.recipients().await?;
            let mut open = open::client(&work, "client", &command.record).await?;
            let record = RecordRef::client(open.client.id);
            let (link, is_new) = link(&work, record, LinkKind::Client, &command).await?;
            let mut response =
                LinkClientResponse { link: Some(encode(&link)), ..LinkClientResponse::default() };
            if is_new {
                let companions = open.client.person_id.map(RecordRef::person);
                let changes = linked(&work, record, &mut open.client.meta, companions);
                response.client = Some(save::client(&work, open, Names::Same).await?);
                response.change_ids = append(&work, &recipients, changes).await?;
            } else {
                response.client = Some(open.image(&work));
            }
            Ok(Answer { response, record: record.id })
        });
        linked.await
    }

    /// Links a person to the caller's account.
    pub(crate) async fn link_person(
        &self,
        caller: Caller,
        context: RequestContext,
        command: LinkCommand,
    ) -> Result<LinkPersonResponse, RecordError> {
        let linked = self.mutate(caller, context, command, move |work, command| async move {
            let recipients = work.recipients().await?;
            let mut open = open::person(&work, "person", &command.record).await?;
            let record = RecordRef::person(open.person.id);
            let (link, is_new) = link(&work, record, LinkKind::Person, &command).await?;
            let mut response =
                LinkPersonResponse { link: Some(encode(&link)), ..LinkPersonResponse::default() };
            if is_new {
                let changes = linked(&work, record, &mut open.person.meta, None);
                response.person = Some(save::person(&work, open, Names::Same).await?);
                response.change_ids = append(&work, &recipients, changes).await?;
            } else {
                response.person = Some(open.image(&work));
            }
            Ok(Answer { response, record: record.id })
        });
        linked.await
    }

    /// Removes the link of the caller's account to a client.
    pub(crate) async fn unlink_client(
        &self,
        caller: Caller,
        context: RequestContext,
        name: String,
    ) -> Result<UnlinkClientResponse, RecordError> {
        let unlinked = self.mutate(caller, context, name, move |work, name| async move {
            let recipients = work.recipients().await?;
            let mut open = open::client(&work, "client", &name).await?;
            let record = RecordRef::client(open.client.id);
            unlink(&work, record, &open.entries).await?;
            let is_last =
                links::of_record(work.db(), &work.caller.practice, record.id).await?.is_empty();
            let companions = open.client.person_id.map(RecordRef::person);
            let changes = unlinked(&work, record, &mut open.client.meta, is_last, companions);
            let client = save::client(&work, open, Names::Same).await?;
            let change_ids = append(&work, &recipients, changes).await?;
            let response = UnlinkClientResponse { client: Some(client), change_ids };
            Ok(Answer { response, record: record.id })
        });
        unlinked.await
    }

    /// Removes the link of the caller's account to a person.
    pub(crate) async fn unlink_person(
        &self,
        caller: Caller,
        context: RequestContext,
        name: String,
    ) -> Result<UnlinkPersonResponse, RecordError> {
        let unlinked = self.mutate(caller, context, name, move |work, name| async move {
            let recipients = work.recipients().await?;
            let mut open = open::person(&work, "person", &name).await?;
            let record = RecordRef::person(open.person.id);
            unlink(&work, record, &open.entries).await?;
            let is_last = !is_person_used(&work, record.id).await?;
            let changes = unlinked(&work, record, &mut open.person.meta, is_last, None);
            let person = save::person(&work, open, Names::Same).await?;
            let change_ids = append(&work, &recipients, changes).await?;
            let response = UnlinkPersonResponse { person: Some(person), change_ids };
            Ok(Answer { response, record: record.id })
        });
        unlinked.await
    }

    /// The links to a client.
    pub(crate) async fn client_links(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<(RecordRef, Vec<pb::Link>, i32), RecordError> {
        self.check_connected(caller).await?;
        let (db, practice) = (self.db.reader(), &caller.practice);
        let id = resolve::client(db, practice, "client", name).await?;
        if clients::by_id(db, practice, id).await?.is_none() {
            return Err(ApiError::not_found("client", name).into());
        }
        let mut budget = ResponseBudget::default();
        let (shown, left_out) = listed(&links::of_record(db, practice, id).await?, &mut budget);
        Ok((RecordRef::client(id), shown, left_out))
    }
}

/// The links that fit the budget, and how many do not.
pub(super) fn listed(links: &[Link], budget: &mut ResponseBudget) -> (Vec<pb::Link>, i32) {
    let shown = links.iter().map(encode).take_while(|link| budget.try_take(link.encoded_len()));
    let shown: Vec<pb::Link> = shown.collect();
    let left_out = i32::try_from(links.len() - shown.len()).unwrap_or(i32::MAX);
    (shown, left_out)
}

/// True if a person is in use: by a link, a contact or an individual client.
pub(super) async fn is_person_used(work: &UnitOfWork, id: Uuid) -> Result<bool, RecordError> {
    let (db, practice) = (work.db(), &work.caller.practice);
    Ok(!links::of_record(db, practice, id).await?.is_empty()
        || !contacts::of_persons(db, practice, &[id]).await?.is_empty()
        || !clients::ids_by_person(db, practice, id).await?.is_empty())
}

/// The link of the caller's account to a record, and whether it is new.
async fn link(
    work: &UnitOfWork,
    record: RecordRef,
    kind: LinkKind,
    command: &LinkCommand,
) -> Result<(Link, bool), RecordError> {
    let (db, caller) = (work.db(), &work.caller);
    let known = links::of_record(db, &caller.practice, record.id).await?;
    let own = |link: &&Link| link.product == caller.product && link.account == caller.account;
    if let Some(known) = known.iter().find(own) {
        return match &command.external_id {
            Some(other) if *other != known.external_id => Err(linked_as(record, known).into()),
            _ => Ok((known.clone(), false)),
        };
    }
    let external_id = command.external_id.clone().unwrap_or_else(|| record.text());
    let link = new_link(work, kind, external_id, record.id);
    links::insert_now(db, &caller.practice, link.clone()).await?;
    Ok((link, true))
}

/// A new link of the caller's account.
pub(super) fn new_link(
    work: &UnitOfWork,
    kind: LinkKind,
    external_id: String,
    record_id: Uuid,
) -> Link {
    let caller = &work.caller;
    Link {
        product: caller.product.clone(),
        account: caller.account.clone(),
        kind,
        external_id,
        record_id,
        import: None,
        linked_at: work.at.now,
        linked_by: caller.user.clone(),
    }
}

fn linked_as(record: RecordRef, link: &Link) -> ApiError {
    ApiError::new(
        Code::AlreadyExists,
        ErrorReason::AlreadyLinkedAs,
        "your account is linked to the record already, by another external id; unlink it first",
    )
    .with("record_id", record.text())
    .with("external_id", &link.external_id)
}

/// The changes of a new link. It restores an orphaned record.
fn linked(
    work: &UnitOfWork,
    record: RecordRef,
    meta: &mut RecordMeta,
    companions: Option<RecordRef>,
) -> Vec<Change> {
    let was_orphaned = meta.state == RecordState::Orphaned;
    *meta = meta.changed(work.at.now);
    let change = |meta: &RecordMeta, kind| {
        Change::new(new_uuid(), record, meta.version, kind).with(companions)
    };
    let mut changes = vec![change(meta, ChangeKind::Linked)];
    if was_orphaned {
        *meta = meta.restored(work.at.now);
        changes.push(change(meta, ChangeKind::Restored));
    }
    changes
}

/// Removes the links of the caller's account to a record and to its entries, so that an
/// import does not recognise them either.
async fn unlink(
    work: &UnitOfWork,
    record: RecordRef,
    entries: &[Entry],
) -> Result<(), RecordError> {
    let (db, caller) = (work.db(), &work.caller);
    let account = (&caller.product, &caller.account);
    if links::remove(db, &caller.practice, account, &[record.id]).await? == 0 {
        return Err(not_linked(record).into());
    }
    let entries: Vec<Uuid> = entries.iter().map(|entry| entry.id).collect();
    links::remove(db, &caller.practice, account, &entries).await?;
    Ok(())
}

/// The changes of a removed link. The removal of the last link orphans the record, which
/// is purged later.
fn unlinked(
    work: &UnitOfWork,
    record: RecordRef,
    meta: &mut RecordMeta,
    is_last: bool,
    companions: Option<RecordRef>,
) -> Vec<Change> {
    *meta = meta.changed(work.at.now);
    let change = |meta: &RecordMeta, kind| {
        Change::new(new_uuid(), record, meta.version, kind).with(companions)
    };
    let mut changes = vec![change(meta, ChangeKind::Unlinked)];
    if is_last && meta.state == RecordState::Active {
        *meta = meta.orphaned(work.at.now, work.purge_at);
        changes.push(change(meta, ChangeKind::Orphaned));
    }
    changes
}

/// Appends changes. Returns their ids.
pub(super) async fn append(
    work: &UnitOfWork,
    recipients: &Recipients,
    changes: Vec<Change>,
) -> Result<Vec<String>, RecordError> {
    work.append(work.author(), recipients, &changes).await?;
    Ok(changes.iter().map(|change| ids::text(IdKind::Change, change.id)).collect())
}

/// A link as a message.
pub(crate) fn encode(link: &Link) -> pb::Link {
    pb::Link {
        product: link.product.to_string(),
        account: link.account.to_string(),
        external_id: link.external_id.clone(),
        link_time: Some(timestamp(link.linked_at)),
        linked_by: link.linked_by.clone(),
        import_id: link.import.map(|(id, _)| ids::text(IdKind::Import, id)).unwrap_or_default(),
    }
}
