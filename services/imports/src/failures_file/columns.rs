//! The columns of the failures file and their values.

use concord_core::list_cell;
use concord_proto::pb::imports::{
    ImportAddress, ImportClient, ImportContact, ImportRecord, import_record::Record,
};

use crate::domain::{
    enums::{Kind, Severity, Status},
    failure::Failure,
};

/// All columns: the issue, then the fields of the records, as in the files of clients,
/// contacts and addresses, then the import.
#[rustfmt::skip]
pub(super) const COLUMNS: [&str; 46] = [
    "status", "severity", "kind", "source_id", "record_name", "client_reference",
    "field", "reason", "reason_text", "root_cause", "batch", "row", "token", "guarded",
    "escaped", "changed",
    "client_type", "registered_name", "trading_name",
    "company_number", "utr", "vat_number", "paye_reference", "jurisdiction",
    "title", "forename", "surname", "birth_date", "email", "phone",
    "client_source_id", "roles", "middle_names",
    "owner_kind", "owner_source_id", "type",
    "line_1", "line_2", "line_3", "town", "county", "postcode", "country",
    "active_from", "active_to", "import",
];

/// One line of the file: the columns that are not empty.
#[derive(Debug, Default)]
pub(crate) struct Line(Vec<(&'static str, String)>);

impl Line {
    /// The line of a failure of an import.
    pub(crate) fn of(import: &str, failure: &Failure, record: &ImportRecord) -> Self {
        let mut line = Self::default();
        let issue = &failure.row.issue;
        line.put("status", status(failure.row.status));
        line.put("severity", severity(issue.severity));
        line.put("kind", kind(failure.row.kind));
        line.put("source_id", source_id(failure, record));
        line.put("record_name", &failure.record_name);
        line.put("client_reference", reference(failure, record));
        line.put("field", &issue.field);
        line.put("reason", &issue.reason);
        line.put("reason_text", &issue.text);
        line.put("root_cause", &issue.root_cause);
        line.put("batch", &failure.batch_key);
        line.put("row", &failure.row.at.row.to_string());
        line.put("token", failure.row.at.token(import).as_str());
        match &record.record {
            Some(Record::Client(client)) => line.client(client),
            Some(Record::Contact(contact)) => line.contact(contact),
            Some(Record::Address(address)) => line.address(address),
            None => {}
        }
        line.put("import", import);
        line
    }

    /// The columns that are not empty, in any order.
    pub(super) fn cells(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(column, value)| (*column, value.as_str()))
    }

    fn put(&mut self, column: &'static str, value: &str) {
        if !value.is_empty() {
            self.0.push((column, value.to_owned()));
        }
    }

    fn client(&mut self, client: &ImportClient) {
        // All fields, so that a new field does not compile until it is handled here.
        let ImportClient {
            source_id: _,
            client_reference: _,
            client_type,
            registered_name,
            trading_name,
            company_number,
            utr,
            vat_number,
            paye_reference,
            title,
            forename,
            surname,
            birth_date,
            email,
            phone,
            jurisdiction,
        } = client;
        self.put("client_type", client_type);
        self.put("registered_name", registered_name);
        self.put("trading_name", trading_name);
        self.put("company_number", company_number);
        self.put("utr", utr);
        self.put("vat_number", vat_number);
        self.put("paye_reference", paye_reference);
        self.put("jurisdiction", jurisdiction);
        self.put("title", title);
        self.put("forename", forename);
        self.put("surname", surname);
        self.put("birth_date", birth_date);
        self.put("email", email);
        self.put("phone", phone);
    }

    fn contact(&mut self, contact: &ImportContact) {
        let ImportContact {
            source_id: _,
            clients,
            title,
            forename,
            middle_names,
            surname,
            birth_date,
            email,
            phone,
        } = contact;
        let ids = clients.iter().map(|client| &client.client_source_id);
        let roles: Vec<String> =
            clients.iter().map(|client| list_cell::join(&client.roles, ';')).collect();
        self.put("title", title);
        self.put("forename", forename);
        self.put("surname", surname);
        self.put("birth_date", birth_date);
        self.put("email", email);
        self.put("phone", phone);
        self.put("client_source_id", &list_cell::join(ids, ';'));
        self.put("roles", &roles.join("|"));
        self.put("middle_names", middle_names);
    }

    fn address(&mut self, address: &ImportAddress) {
        let ImportAddress {
            source_id: _,
            owner_kind,
            owner_source_id,
            r#type,
            line_1,
            line_2,
            line_3,
            town,
            county,
            postcode,
            country,
            active_from,
            active_to,
        } = address;
        self.put("owner_kind", owner_kind);
        self.put("owner_source_id", owner_source_id);
        self.put("type", r#type);
        self.put("line_1", line_1);
        self.put("line_2", line_2);
        self.put("line_3", line_3);
        self.put("town", town);
        self.put("county", county);
        self.put("postcode", postcode);
        self.put("country", country);
        self.put("active_from", active_from);
        self.put("active_to", active_to);
    }
}

/// The source id of a record as uploaded; empty if the record cannot be decoded.
pub(crate) fn own_source_id(record: &ImportRecord) -> &str {
    match &record.record {
        Some(Record::Client(client)) => &client.source_id,
        Some(Record::Contact(contact)) => &contact.source_id,
        Some(Record::Address(address)) => &address.source_id,
        None => "",
    }
}

/// The source id as uploaded, for correction.
fn source_id<'a>(failure: &'a Failure, record: &'a ImportRecord) -> &'a str {
    if record.record.is_some() { own_source_id(record) } else { &failure.source_id }
}

/// The reference of a client as uploaded, for correction; of other records, the
/// reference of their client.
fn reference<'a>(failure: &'a Failure, record: &'a ImportRecord) -> &'a str {
    match &record.record {
        Some(Record::Client(client)) => &client.client_reference,
        _ => &failure.client_reference,
    }
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Failed | Status::Blocked => "failed",
        Status::Excluded => "excluded",
        Status::Skipped => "skipped",
        Status::Imported => "imported",
        Status::Linked => "linked",
        Status::Staged | Status::Ready | Status::Unprocessed | Status::Replaced => "",
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Unknown => "",
        known => known.as_str(),
    }
}
