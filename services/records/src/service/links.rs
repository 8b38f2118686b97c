//! Links of products to clients and persons. The removal of the last link orphans a client.
//! It orphans a person only if also no contact and no individual client uses the person.

use concord_core::{
    caller::Caller,
    ids::{self, IdKind},
    page::ResponseBudget,
    status::ApiError,
};
use concord_proto::pb::records::{
    self as pb, ChangeKind, ErrorReason, LinkClientResponse, LinkPersonResponse, RecordKind,
    RecordState, UnlinkClientResponse, UnlinkPersonResponse,
};
use prost::Message;
use tonic::Code;
use uuid::Uuid;

use super::{
    Records,
    open::{self, Names},
    request_context::RequestContext,
    resolve,
    subject::Subject,
    unit_of_work::{Answer, UnitOfWork},
};
use crate::{
    domain::{
        change::Change,
        link::{Link, LinkKind},
        record::{Client, Person, RecordRef},
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

/// Builds the answer of a link call from the image, the link and the ids of the changes.
type LinkResponse<S, R> = fn(Option<<S as Subject>::Image>, Option<pb::Link>, Vec<String>) -> R;

/// Builds the answer of an unlink call from the image and the ids of the changes.
type UnlinkResponse<S, R> = fn(Option<<S as Subject>::Image>, Vec<String>) -> R;

impl Records {
    /// Links a client to the caller's account.
    pub(crate) async fn link_client(
        &self,
        caller: Caller,
        context: RequestContext,
        command: LinkCommand,
    ) -> Result<LinkClientResponse, RecordError> {
        let response = |client, link, change_ids| LinkClientResponse { client, link, change_ids };
        self.link::<Client, _>(caller, context, command, response).await
    }

    /// Links a person to the caller's account.
    pub(crate) async fn link_person(
        &self,
        caller: Caller,
        context: RequestContext,
        command: LinkCommand,
    ) -> Result<LinkPersonResponse, RecordError> {
        let response = |person, link, change_ids| LinkPersonResponse { person, link, change_ids };
        self.link::<Person, _>(caller, context, command, response).await
    }

    /// Removes the link of the caller's account to a client.
    pub(crate) async fn unlink_client(
        &self,
        caller: Caller,
        context: RequestContext,
        name: String,
    ) -> Result<UnlinkClientResponse, RecordError> {
        let response = |client, change_ids| UnlinkClientResponse { client, change_ids };
        self.unlink::<Client, _>(caller, context, name, response).await
    }

    /// Removes the link of the caller's account to a person.
    pub(crate) async fn unlink_person(
        &self,
        caller: Caller,
        context: RequestContext,
        name: String,
    ) -> Result<UnlinkPersonResponse, RecordError> {
        let response = |person, change_ids| UnlinkPersonResponse { person, change_ids };
        self.unlink::<Person, _>(caller, context, name, response).await
    }

    /// Links a client or a person.
    async fn link<S: Subject, R: Message + Default + 'static>(
        &self,
        caller: Caller,
        context: RequestContext,
        command: LinkCommand,
        response: LinkResponse<S, R>,
    ) -> Result<R, RecordError> {
        let answered = self.mutate(caller, context, command, move |work, command| async move {
            let recipients = work.recipients().await?;
            let mut open = open::subject::<S>(&work, &command.record).await?;
            let record = open.record;
            let (own_link, is_new) = link(&work, record, &command).await?;
            let (image, change_ids) = if is_new {
                let changes = linked(&work, &mut open.subject);
                let image = open.save(&work, Names::Same).await?;
                (image, append(&work, &recipients, changes).await?)
            } else {
                (open.image(&work), Vec::new())
            };
            let response = response(Some(image), Some(encode(&own_link)), change_ids);
            Ok(Answer { response, record: record.id })
        });
        answered.await
    }

    /// Unlinks a client or a person.
    async fn unlink<S: Subject, R: Message + Default + 'static>(
        &self,
        caller: Caller,
        context: RequestContext,
        name: String,
        response: UnlinkResponse<S, R>,
    ) -> Result<R, RecordError> {
        let answered = self.mutate(caller, context, name, move |work, name| async move {
            let recipients = work.recipients().await?;
            let mut open = open::subject::<S>(&work, &name).await?;
            let record = open.record;
            unlink(&work, record, &open.entries).await?;
            let is_unused = !is_used(&work, record).await?;
            let changes = unlinked(&work, &mut open.subject, is_unused);
            let image = open.save(&work, Names::Same).await?;
            let change_ids = append(&work, &recipients, changes).await?;
            Ok(Answer { response: response(Some(image), change_ids), record: record.id })
        });
        answered.await
    }

    /// The client with the id or alias `name`, and its links.
    pub(crate) async fn client_links(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<(RecordRef, ListedLinks), RecordError> {
        self.check_connected(caller).await?;
        let db = self.db.reader_of(&caller.practice);
        let client = resolve::of_kind(db, RecordKind::Client, "client", name).await?;
        if clients::by_id(db, client.id).await?.is_none() {
            return Err(ApiError::not_found("client", name).into());
        }
        let mut budget = ResponseBudget::default();
        Ok((client, listed(&links::of_record(db, client.id).await?, &mut budget)))
    }
}

/// The links of a record that fit a response.
#[derive(Debug)]
pub(crate) struct ListedLinks {
    pub(crate) links: Vec<pb::Link>,
    /// The number of links that do not fit.
    pub(crate) left_out: i32,
}

/// The links that fit the budget.
pub(super) fn listed(links: &[Link], budget: &mut ResponseBudget) -> ListedLinks {
    let fitting = links.iter().map(encode).take_while(|link| budget.try_take(link.encoded_len()));
    let fitting: Vec<pb::Link> = fitting.collect();
    let left_out = i32::try_from(links.len() - fitting.len()).unwrap_or(i32::MAX);
    ListedLinks { links: fitting, left_out }
}

/// True if a record is in use: by a link; a person also by a contact or an individual
/// client.
pub(super) async fn is_used(work: &UnitOfWork, record: RecordRef) -> Result<bool, RecordError> {
    let (db, id) = (work.db(), record.id);
    let is_person = record.kind == RecordKind::Person;
    Ok(!links::of_record(db, id).await?.is_empty()
        || is_person && !contacts::of_persons(db, &[id]).await?.is_empty()
        || is_person && !clients::ids_by_person(db, id).await?.is_empty())
}

/// The link of the caller's account to a record, and whether it is new.
async fn link(
    work: &UnitOfWork,
    record: RecordRef,
    command: &LinkCommand,
) -> Result<(Link, bool), RecordError> {
    let (db, caller) = (work.db(), &work.caller);
    let known = links::of_record(db, record.id).await?;
    let own = |link: &&Link| link.product == caller.product && link.account == caller.account;
    if let Some(known) = known.iter().find(own) {
        return match &command.external_id {
            Some(other) if *other != known.external_id => Err(linked_as(record, known).into()),
            _ => Ok((known.clone(), false)),
        };
    }
    let external_id = command.external_id.clone().unwrap_or_else(|| record.text());
    let link = new_link(work, link_kind(record.kind), external_id, record.id);
    links::insert_now(db, link.clone()).await?;
    Ok((link, true))
}

/// The kind of the links to a client or a person.
pub(super) fn link_kind(record: RecordKind) -> LinkKind {
    if record == RecordKind::Person { LinkKind::Person } else { LinkKind::Client }
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
fn linked(work: &UnitOfWork, subject: &mut impl Subject) -> Vec<Change> {
    let (before, now) = (subject.meta(), work.at.now);
    let mut changes = vec![subject.changed(ChangeKind::Linked, before.changed(now))];
    if before.state == RecordState::Orphaned {
        changes.push(subject.changed(ChangeKind::Restored, subject.meta().restored(now)));
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
    if links::remove(db, account, &[record.id]).await? == 0 {
        return Err(not_linked(record).into());
    }
    let entries: Vec<Uuid> = entries.iter().map(|entry| entry.id).collect();
    links::remove(db, account, &entries).await?;
    Ok(())
}

/// The changes of a removed link. A record that is not used any more is orphaned, and purged
/// later.
fn unlinked(work: &UnitOfWork, subject: &mut impl Subject, is_unused: bool) -> Vec<Change> {
    let (before, now) = (subject.meta(), work.at.now);
    let mut changes = vec![subject.changed(ChangeKind::Unlinked, before.changed(now))];
    if is_unused && before.state == RecordState::Active {
        let orphaned = subject.meta().orphaned(now, work.purge_at);
        changes.push(subject.changed(ChangeKind::Orphaned, orphaned));
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
