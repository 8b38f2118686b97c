//! Change events and snapshot records as lines of text.

use concord_proto::{
    pb::records::{ChangeKind, Client, Contact, Origin, Person, RecordKind, Role},
    wire::{Event, SnapshotRecord},
};
use prost::Message as _;

use super::names::{record_name, seconds, words};

/// A change event as a line: position, time, kind, record, and product.
pub(crate) fn line(event: &Event) -> Result<String, prost::DecodeError> {
    let client = event.client.clone().map(Client::decode).transpose()?;
    let person = event.person.clone().map(Person::decode).transpose()?;
    let contacts = event.contacts.iter().cloned().map(Contact::decode);
    let contacts = contacts.collect::<Result<Vec<_>, _>>()?;
    let named =
        record_name(client.as_ref(), person.as_ref()).unwrap_or_else(|| event.record_id.clone());
    let about = about(client.as_ref(), &contacts);
    let by = event.origin.as_ref().map_or("", |origin| origin.product.as_str());
    Ok(format!(
        "{:>8}  {}  {:<11} {:<8}  {named}{about}, by {by}",
        event.position,
        event.change_time.as_ref().map(seconds).unwrap_or_default(),
        words::<ChangeKind>(event.kind),
        words::<RecordKind>(event.record_kind),
    ))
}

/// A snapshot record in the columns of a change event. The time is that of its last change.
pub(crate) fn record_line(record: &SnapshotRecord) -> Result<String, prost::DecodeError> {
    let client = record.client.clone().map(Client::decode).transpose()?;
    let person = record.person.clone().map(Person::decode).transpose()?;
    let contact = record.contact.clone().map(Contact::decode).transpose()?;
    let named =
        record_name(client.as_ref(), person.as_ref()).unwrap_or_else(|| record.record_id.clone());
    // A client or a contact may come with its person.
    let changed = contact.as_ref().and_then(|contact| contact.update_time.as_ref());
    let changed = changed.or_else(|| client.as_ref()?.update_time.as_ref());
    let changed = changed.or_else(|| person.as_ref()?.update_time.as_ref());
    Ok(format!(
        "{:>8}  {:<20}  {:<11} {:<8}  {named}{}, version {}",
        "–",
        changed.map(seconds).unwrap_or_default(),
        "snapshot",
        words::<RecordKind>(record.record_kind),
        about(client.as_ref(), contact.as_slice()),
        record.record_version,
    ))
}

/// The product and account of an origin, and the user and the import, if any.
pub(crate) fn made_by(origin: &Origin) -> String {
    let Origin { product, account, user, import_id } = origin;
    format!("{product}/{account}{}", by(user, import_id))
}

/// The user and the import, if any.
pub(crate) fn by(user: &str, import_id: &str) -> String {
    let user = if user.is_empty() { String::new() } else { format!(", by {user}") };
    let import = if import_id.is_empty() { String::new() } else { format!(", in {import_id}") };
    format!("{user}{import}")
}

/// The reference of a client; the roles of a contact.
fn about(client: Option<&Client>, contacts: &[Contact]) -> String {
    if let Some(client) = client {
        return format!(" ({})", client.client_reference);
    }
    let mut roles: Vec<_> = contacts
        .iter()
        .flat_map(|contact| &contact.roles)
        .map(|role| words::<Role>(role.role))
        .collect();
    roles.dedup();
    if roles.is_empty() { String::new() } else { format!(" ({})", roles.join(", ")) }
}

#[cfg(test)]
mod tests {
    use concord_proto::pb::records::ContactRole;
    use prost_types::Timestamp;

    use super::*;

    #[test]
    fn event_line_has_position_time_kind_record_and_product() {
        let client = Client {
            client_reference: "ACME01".to_owned(),
            registered_name: "Acme Limited".to_owned(),
            ..Client::default()
        };
        let event = Event {
            position: 12,
            record_kind: RecordKind::Client.into(),
            kind: ChangeKind::Created.into(),
            origin: Some(Origin { product: "manager".to_owned(), ..Origin::default() }),
            change_time: Some(Timestamp { seconds: 61, nanos: 0 }),
            client: Some(client.encode_to_vec().into()),
            ..Event::default()
        };
        assert_eq!(
            line(&event).unwrap(),
            "      12  1970-01-01 00:01:01Z  created     client    Acme Limited (ACME01), by manager"
        );
    }

    #[test]
    fn snapshot_record_line_has_the_columns_of_a_change() {
        let role = ContactRole { role: Role::Director.into(), ..ContactRole::default() };
        let update_time = Some(Timestamp { seconds: 61, nanos: 0 });
        let contact = Contact { roles: vec![role], update_time, ..Contact::default() };
        let record = SnapshotRecord {
            record_kind: RecordKind::Contact.into(),
            record_id: "con_1".to_owned(),
            record_version: 3,
            contact: Some(contact.encode_to_vec().into()),
            ..SnapshotRecord::default()
        };
        assert_eq!(
            record_line(&record).unwrap(),
            "       –  1970-01-01 00:01:01Z  snapshot    contact   con_1 (director), version 3"
        );
    }
}
