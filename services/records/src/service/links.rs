//! Links: products begin and cease to use records, and records end with the last
//! of their links.

use prost::Message as _;
use shared::{
    caller::Caller,
    ids::{self, IdKind, new_uuid},
    page::Room,
    pb::records::{
        self as pb, ChangeKind, ErrorReason, LinkClientResponse, LinkPersonResponse, RecordState,
        UnlinkClientResponse, UnlinkPersonResponse,
    },
    status::Refusal,
};
use tonic::Code;
use uuid::Uuid;

use super::{
    Records, create,
    intent::Intent,
    names, open,
    save::{self, Names},
    script::{Answer, Script},
};
use crate::{
    domain::{
        change::Change,
        link::{Link, LinkKind},
        record::{Life, RecordRef},
        timeline::Entry,
    },
    error::{RecordError, not_linked},
    image::timestamp,
    store::{changes::Audience, clients, contacts, links},
};

/// Which record, and by which id of the product's own.
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
        intent: Intent,
        command: LinkCommand,
    ) -> Result<LinkClientResponse, RecordError> {
        let linked = self.mutate(caller, intent, command, move |script, command| async move {
            let audience = script.audience().await?;
            let mut open = open::client(&script, "client", &command.record).await?;
            let record = RecordRef::client(open.client.id);
            let (link, is_new) = link(&script, record, LinkKind::Client, &command).await?;
            let mut response =
                LinkClientResponse { link: Some(encode(&link)), ..LinkClientResponse::default() };
            if is_new {
                let companions = open.client.person_id.map(RecordRef::person);
                let changes = linked(&script, record, &mut open.client.life, companions);
                response.client = Some(save::client(&script, open, Names::Same).await?);
                response.change_ids = append(&script, &audience, changes).await?;
            } else {
                response.client = Some(open.image(&script));
            }
            Ok(Answer { response, record: record.id })
        });
        linked.await
    }

    /// Links a person to the caller's account.
    pub(crate) async fn link_person(
        &self,
        caller: Caller,
        intent: Intent,
        command: LinkCommand,
    ) -> Result<LinkPersonResponse, RecordError> {
        let linked = self.mutate(caller, intent, command, move |script, command| async move {
            let audience = script.audience().await?;
            let mut open = open::person(&script, "person", &command.record).await?;
            let record = RecordRef::person(open.person.id);
            let (link, is_new) = link(&script, record, LinkKind::Person, &command).await?;
            let mut response =
                LinkPersonResponse { link: Some(encode(&link)), ..LinkPersonResponse::default() };
            if is_new {
                let changes = linked(&script, record, &mut open.person.life, None);
                response.person = Some(save::person(&script, open, Names::Same).await?);
                response.change_ids = append(&script, &audience, changes).await?;
            } else {
                response.person = Some(open.image(&script));
            }
            Ok(Answer { response, record: record.id })
        });
        linked.await
    }

    /// Removes the link of the caller's account to a client.
    pub(crate) async fn unlink_client(
        &self,
        caller: Caller,
        intent: Intent,
        name: String,
    ) -> Result<UnlinkClientResponse, RecordError> {
        let unlinked = self.mutate(caller, intent, name, move |script, name| async move {
            let audience = script.audience().await?;
            let mut open = open::client(&script, "client", &name).await?;
            let record = RecordRef::client(open.client.id);
            unlink(&script, record, &open.entries).await?;
            let is_last =
                links::of_record(script.db(), &script.caller.practice, record.id).await?.is_empty();
            let companions = open.client.person_id.map(RecordRef::person);
            let changes = unlinked(&script, record, &mut open.client.life, is_last, companions);
            let client = save::client(&script, open, Names::Same).await?;
            let change_ids = append(&script, &audience, changes).await?;
            let response = UnlinkClientResponse { client: Some(client), change_ids };
            Ok(Answer { response, record: record.id })
        });
        unlinked.await
    }

    /// Removes the link of the caller's account to a person.
    pub(crate) async fn unlink_person(
        &self,
        caller: Caller,
        intent: Intent,
        name: String,
    ) -> Result<UnlinkPersonResponse, RecordError> {
        let unlinked = self.mutate(caller, intent, name, move |script, name| async move {
            let audience = script.audience().await?;
            let mut open = open::person(&script, "person", &name).await?;
            let record = RecordRef::person(open.person.id);
            unlink(&script, record, &open.entries).await?;
            let is_last = !is_person_used(&script, record.id).await?;
            let changes = unlinked(&script, record, &mut open.person.life, is_last, None);
            let person = save::person(&script, open, Names::Same).await?;
            let change_ids = append(&script, &audience, changes).await?;
            let response = UnlinkPersonResponse { person: Some(person), change_ids };
            Ok(Answer { response, record: record.id })
        });
        unlinked.await
    }

    /// Who uses a client.
    pub(crate) async fn client_links(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<(RecordRef, Vec<pb::Link>, i32), RecordError> {
        self.check_connected(caller).await?;
        let (db, practice) = (self.db.reader(), &caller.practice);
        let id = names::client(db, practice, "client", name).await?;
        if clients::by_id(db, practice, id).await?.is_none() {
            return Err(Refusal::not_found("client", name).into());
        }
        let mut room = Room::default();
        let (shown, left_out) = listed(&links::of_record(db, practice, id).await?, &mut room);
        Ok((RecordRef::client(id), shown, left_out))
    }
}

/// So many links as there is room for, and how many are left out.
pub(super) fn listed(links: &[Link], room: &mut Room) -> (Vec<pb::Link>, i32) {
    let shown = links.iter().map(encode).take_while(|link| room.take(link.encoded_len()));
    let shown: Vec<pb::Link> = shown.collect();
    let left_out = i32::try_from(links.len() - shown.len()).unwrap_or(i32::MAX);
    (shown, left_out)
}

/// Whether anything uses a person: a link, a contact, an individual client.
pub(super) async fn is_person_used(script: &Script, id: Uuid) -> Result<bool, RecordError> {
    let (db, practice) = (script.db(), &script.caller.practice);
    Ok(!links::of_record(db, practice, id).await?.is_empty()
        || !contacts::of_persons(db, practice, &[id]).await?.is_empty()
        || !clients::ids_by_person(db, practice, id).await?.is_empty())
}

/// The link of the caller's account to a record, and whether it is new.
async fn link(
    script: &Script,
    record: RecordRef,
    kind: LinkKind,
    command: &LinkCommand,
) -> Result<(Link, bool), RecordError> {
    let (db, caller) = (script.db(), &script.caller);
    let known = links::of_record(db, &caller.practice, record.id).await?;
    let own = |link: &&Link| link.product == caller.product && link.account == caller.account;
    if let Some(known) = known.iter().find(own) {
        return match &command.external_id {
            Some(other) if *other != known.external_id => Err(linked_as(record, known).into()),
            _ => Ok((known.clone(), false)),
        };
    }
    let external_id = command.external_id.clone().unwrap_or_else(|| record.text());
    let link = create::link(script, kind, external_id, record.id);
    links::insert_now(db, &caller.practice, link.clone()).await?;
    Ok((link, true))
}

fn linked_as(record: RecordRef, link: &Link) -> Refusal {
    Refusal::new(
        Code::AlreadyExists,
        ErrorReason::AlreadyLinkedAs,
        "your account is linked to the record already, by another external id; unlink it first",
    )
    .with("record_id", record.text())
    .with("external_id", &link.external_id)
}

/// The changes that a new link is; one that comes in time restores the record.
fn linked(
    script: &Script,
    record: RecordRef,
    life: &mut Life,
    companions: Option<RecordRef>,
) -> Vec<Change> {
    let was_orphaned = life.state == RecordState::Orphaned;
    *life = life.changed(script.at.now);
    let change =
        |life: &Life, kind| Change::new(new_uuid(), record, life.version, kind).with(companions);
    let mut changes = vec![change(life, ChangeKind::Linked)];
    if was_orphaned {
        *life = life.restored(script.at.now);
        changes.push(change(life, ChangeKind::Restored));
    }
    changes
}

/// Removes the link of the caller's account to a record, and to its entries: an
/// import knows them no longer either.
async fn unlink(script: &Script, record: RecordRef, entries: &[Entry]) -> Result<(), RecordError> {
    let (db, caller) = (script.db(), &script.caller);
    let account = (&caller.product, &caller.account);
    if links::remove(db, &caller.practice, account, &[record.id]).await? == 0 {
        return Err(not_linked(record).into());
    }
    let entries: Vec<Uuid> = entries.iter().map(|entry| entry.id).collect();
    links::remove(db, &caller.practice, account, &entries).await?;
    Ok(())
}

/// The changes that the end of a link is; with the last one the record waits for
/// its removal.
fn unlinked(
    script: &Script,
    record: RecordRef,
    life: &mut Life,
    is_last: bool,
    companions: Option<RecordRef>,
) -> Vec<Change> {
    *life = life.changed(script.at.now);
    let change =
        |life: &Life, kind| Change::new(new_uuid(), record, life.version, kind).with(companions);
    let mut changes = vec![change(life, ChangeKind::Unlinked)];
    if is_last && life.state == RecordState::Active {
        *life = life.orphaned(script.at.now, script.purge_at);
        changes.push(change(life, ChangeKind::Orphaned));
    }
    changes
}

/// Appends changes, and tells their ids.
pub(super) async fn append(
    script: &Script,
    audience: &Audience,
    changes: Vec<Change>,
) -> Result<Vec<String>, RecordError> {
    script.append(script.author(), audience, &changes).await?;
    Ok(changes.iter().map(|change| ids::text(IdKind::Change, change.id)).collect())
}

/// A link as callers see it.
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
