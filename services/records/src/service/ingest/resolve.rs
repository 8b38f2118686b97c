//! Looks up the records that source ids are linked to.

use std::collections::HashMap;

use concord_core::{
    caller::Caller,
    ids::{self, IdKind},
    rules::value::PersonName,
};
use concord_db::TenantDb;
use concord_proto::pb::{
    imports::ImportRecordKind,
    internal::{ResolvedLink, SourceKey},
    records as pb,
};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::chunk::{link_kind, record_text};
use crate::{
    domain::{
        link::{Link, LinkKind},
        record::RecordRef,
    },
    error::RecordError,
    image::decode,
    store::{contacts, images, links},
};

/// The linked keys, with the names that an import shows to end users.
pub(super) async fn links(
    db: TenantDb<'_, impl ConnectionTrait>,
    caller: &Caller,
    keys: &[SourceKey],
) -> Result<Vec<ResolvedLink>, RecordError> {
    let mut resolved = Vec::new();
    let kinds = [ImportRecordKind::Client, ImportRecordKind::Contact, ImportRecordKind::Address];
    for kind in kinds {
        let of_kind = keys.iter().filter(|key| key.kind() == kind);
        let source_ids: Vec<String> = of_kind.map(|key| key.source_id.clone()).collect();
        if source_ids.is_empty() {
            continue;
        }
        let account = (&caller.product, &caller.account);
        let links = links::by_external_ids(db, account, link_kind(kind), &source_ids).await?;
        let names = names(db, kind, &links).await?;
        resolved.extend(links.into_iter().map(|link| resolved_link(kind, link, &names)));
    }
    Ok(resolved)
}

fn resolved_link(
    kind: ImportRecordKind,
    link: Link,
    names: &HashMap<Uuid, (String, String)>,
) -> ResolvedLink {
    let (name, client_reference) = names.get(&link.record_id).cloned().unwrap_or_default();
    ResolvedLink {
        record_id: record_text(link.kind, link.record_id),
        import_id: link.import.map(|(id, _)| ids::text(IdKind::Import, id)).unwrap_or_default(),
        name,
        client_reference,
        key: Some(SourceKey { kind: kind.into(), source_id: link.external_id }),
    }
}

/// The names and client references of linked clients and persons. Entries have none.
async fn names(
    db: TenantDb<'_, impl ConnectionTrait>,
    kind: ImportRecordKind,
    links: &[Link],
) -> Result<HashMap<Uuid, (String, String)>, RecordError> {
    let ids: Vec<Uuid> = links.iter().map(|link| link.record_id).collect();
    match link_kind(kind) {
        _ if ids.is_empty() => Ok(HashMap::new()),
        LinkKind::Client => client_names(db, &ids).await,
        LinkKind::Person => person_names(db, &ids).await,
        LinkKind::Entry => Ok(HashMap::new()),
    }
}

pub(super) async fn client_names(
    db: TenantDb<'_, impl ConnectionTrait>,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, (String, String)>, RecordError> {
    let clients = client_images(db, ids).await?;
    let persons = clients.values().filter_map(|client| RecordRef::parse(&client.person_id));
    let persons: Vec<Uuid> = persons.map(|person| person.id).collect();
    let persons = person_images(db, &persons).await?;
    let name = |client: &pb::Client| match RecordRef::parse(&client.person_id) {
        Some(person) => persons.get(&person.id).map(display).unwrap_or_default(),
        None => client.registered_name.clone(),
    };
    let named =
        clients.iter().map(|(id, client)| (*id, (name(client), client.client_reference.clone())));
    Ok(named.collect())
}

pub(super) async fn person_names(
    db: TenantDb<'_, impl ConnectionTrait>,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, (String, String)>, RecordError> {
    let persons = person_images(db, ids).await?;
    let contacts = contacts::of_persons(db, ids).await?;
    let clients: Vec<Uuid> = contacts.iter().map(|contact| contact.client_id).collect();
    let clients = client_images(db, &clients).await?;
    let reference = |person: Uuid| {
        let of_person = contacts.iter().filter(|contact| contact.person_id == person);
        let references = of_person.filter_map(|contact| clients.get(&contact.client_id));
        references.map(|client| client.client_reference.clone()).min().unwrap_or_default()
    };
    Ok(persons.iter().map(|(id, person)| (*id, (display(person), reference(*id)))).collect())
}

fn display(person: &pb::Person) -> String {
    let name = person.name.clone().unwrap_or_default();
    PersonName::parse(&name, "").map(|name| name.display()).unwrap_or_default()
}

async fn client_images(
    db: TenantDb<'_, impl ConnectionTrait>,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, pb::Client>, RecordError> {
    let records: Vec<RecordRef> = ids.iter().copied().map(RecordRef::client).collect();
    let images = images::get_all(db, &records).await?;
    images.into_iter().map(|(id, image)| Ok((id, decode(image)?))).collect()
}

async fn person_images(
    db: TenantDb<'_, impl ConnectionTrait>,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, pb::Person>, RecordError> {
    let records: Vec<RecordRef> = ids.iter().copied().map(RecordRef::person).collect();
    let images = images::get_all(db, &records).await?;
    images.into_iter().map(|(id, image)| Ok((id, decode(image)?))).collect()
}
