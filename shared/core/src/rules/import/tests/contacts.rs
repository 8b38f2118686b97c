use super::*;
use crate::rules::text;
use concord_proto::pb::records::Role;

#[test]
fn contact_clients_are_sorted_and_merged() {
    let clients = vec![
        at("C2", &["TRUSTEE"]),
        at("C1", &["shareholder; DIRECTOR"]),
        at(" C2", &["OTHER", "TRUSTEE"]),
    ];
    let record = parsed(contact(clients));
    let client = |id: &str| (ImportRecordKind::Client, id.to_owned());
    assert_eq!(record.parents, [client("C1"), client("C2")]);
    assert_eq!(record.record_name, "Ann Smith");
    let Ok(ImportDraft::Contact { clients, person }) = record.outcome else { panic!() };
    assert_eq!(person.name.display(), "Ann Smith");
    let roles: Vec<_> = clients.into_iter().map(|client| client.roles).collect();
    assert_eq!(roles, [vec![Role::Director, Role::Shareholder], vec![Role::Trustee, Role::Other]]);
}

#[test]
fn invisible_characters_in_client_ids_are_ignored() {
    let clients = vec![at("C1\u{200b}", &["TRUSTEE"]), at("\u{202a}C1\u{202c}", &["OTHER"])];
    let record = parsed(contact(clients));
    assert_eq!(record.parents, [(ImportRecordKind::Client, "C1".to_owned())]);
    let Ok(ImportDraft::Contact { clients, .. }) = record.outcome else { panic!() };
    assert_eq!(clients[0].roles, [Role::Trustee, Role::Other]);
}

#[test]
fn contact_needs_client_role_and_surname() {
    let none = expect(contact(Vec::new()), [("client_source_id", "REQUIRED_FIELD_BLANK")]);
    assert_eq!(text(&none), "Required field is blank: Client source id");
    let without_role = contact(vec![at("C1", &[]), at("C2", &[" ", ";"]), at("C3", &["DIRECTOR"])]);
    let without_role = expect(without_role, [("roles", "CONTACT_ROLE_MISSING")]);
    assert_eq!(text(&without_role), "Contact has no role assigned");
    assert_eq!(without_role.parents.len(), 3);
    let nameless = ImportContact {
        surname: String::new(),
        forename: String::new(),
        ..contact(vec![at("", &["DIRECTOR;WIZARD"])])
    };
    let nameless = expect(
        nameless,
        [
            ("client_source_id", "REQUIRED_FIELD_BLANK"),
            ("roles", "UNKNOWN_VALUE"),
            ("surname", "REQUIRED_FIELD_BLANK"),
        ],
    );
    assert_eq!(nameless.record_name, "P1");
    assert!(nameless.parents.is_empty());
}

#[test]
fn contact_has_a_client_limit() {
    let clients = |n: usize| (0..n).map(|n| at(&format!("C{n}"), &["OTHER"])).collect();
    assert!(parsed(contact(clients(text::MAX_CONTACT_CLIENTS))).outcome.is_ok());
    let many = contact(clients(text::MAX_CONTACT_CLIENTS + 1));
    expect(many, [("client_source_id", "VALUE_TOO_LONG")]);
}

#[test]
fn record_reports_at_most_fifty_violations() {
    let wizards: Vec<_> = (0..200).map(|n| format!("WIZARD{n}")).collect();
    let wizards: Vec<_> = wizards.iter().map(String::as_str).collect();
    assert_eq!(reported(&parsed(contact(vec![at("C1", &wizards)]))).len(), MAX_VIOLATIONS);
}
