//! Whatever is sent to any call, over a real socket: it is answered or refused with
//! a reason, and the service lives on.
//!
//! [`shared::testing::fuzz`] says what is sent, and how to send more of it.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use prost_types::{FieldMask, Timestamp};
use shared::{
    access::{ALL, Rpc},
    page,
    pb::{
        imports::{
            BatchCommit, BatchHeader, ContactClient, ImportClient, ImportContact, ImportRecord,
            ListFailuresRequest, ListImportsRequest, UploadBatchRequest, import_record::Record,
            upload_batch_request::Part,
        },
        internal::{ApplyChunkRequest, ApplyParent},
        records::{
            GetClientRequest, GetPersonRequest, ListClientsRequest, ListEntriesRequest,
            ListSubscriptionsRequest, SearchRecordsRequest, SubscribeRequest, UpdateClientRequest,
        },
    },
    testing::{TestDb, fuzz::Fuzz, storage_tests},
    wire::{ApplyRecord, BatchFrame},
};
use tokio::{runtime::Handle, task::block_in_place, time::timeout};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    caller::{Caller, request_id},
    every_call::Targets,
    failure::{Failure, failure},
    raw,
    servers::{self, Running},
};

storage_tests! {
    no_message_of_any_call_breaks_it,
    no_bytes_for_messages_break_a_connection,
    no_name_of_a_record_breaks_a_call,
    no_page_token_and_no_cursor_breaks_a_call,
    what_is_wrong_with_a_request_fits_an_answer,
}

/// No call of these tests waits for anything.
const SOON: Duration = Duration::from_mins(1);

/// Both services, with records of the practice `p1`, made by `manager`.
struct Site {
    records: Running,
    imports: Running,
    manager: Caller,
    importing: Caller,
    targets: Targets,
    postgres: bool,
}

impl Site {
    async fn start(db: &TestDb) -> Self {
        // More calls a second than any caller may make.
        let records = servers::records_with(db.settings(), |config| {
            config.limits.requests_per_second = 0;
        });
        let records = records.await;
        let imports = servers::imports_with(db.beside("imports"), &records.url, |config| {
            config.limits.requests_per_second = 0;
        });
        let imports = imports.await;
        let roles = ("x-concord-roles", "owner,auditor");
        let manager = Caller::owner(records.channel().await, "p1", "manager").connect().await;
        let manager = manager.with(roles.0, roles.1);
        let importing = Caller::owner(imports.channel().await, "p1", "manager");
        let importing = importing.with(roles.0, roles.1);
        let targets = Targets::of(&manager, &importing).await;
        Self { records, imports, manager, importing, targets, postgres: db.is_postgres() }
    }

    /// Who may make the call, at the service that has it.
    fn caller(&self, path: &str) -> Caller {
        if path.starts_with("/concord.imports.") {
            return self.importing.clone();
        }
        if path.contains(".internal.") {
            let service = self.manager.clone().with("x-concord-roles", "service");
            return service.with("x-concord-import", &self.targets.import);
        }
        self.manager.clone()
    }

    /// A case on PostgreSQL takes longer, and what decodes is the same code.
    fn fuzz(&self, fuzz: Fuzz, cases: u32) -> Fuzz {
        fuzz.cases(if self.postgres { cases / 4 } else { cases })
    }

    /// Sends a message from a property, which is not async.
    fn call(&self, path: &'static str, message: &[u8]) {
        let caller = self.caller(path);
        let call = raw::call(&caller, path, Bytes::copy_from_slice(message));
        let outcome = block_in_place(|| Handle::current().block_on(timeout(SOON, call)));
        check(path, &outcome.expect("the call hangs").map(drop));
    }

    /// That both services are well, and do what they are for.
    async fn is_well(&self) {
        for (rpc, path) in ALL {
            if matches!(rpc, Rpc::ClientListClients | Rpc::ImportListImports) {
                let caller = self.caller(path);
                timeout(SOON, raw::call(&caller, path, Bytes::new())).await.unwrap().unwrap();
            }
        }
    }

    async fn stop(self) {
        self.is_well().await;
        self.imports.stop().await;
        self.records.stop().await;
    }
}

/// Whether it was answered, or refused by a reason that is not a fault of ours.
fn check(path: &str, outcome: &Result<(), Status>) {
    let Err(status) = outcome else { return };
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    let fault = matches!(status.code(), Code::Internal | Code::Unknown) || reason.is_empty();
    assert!(!fault, "{path}: {status:?}");
    assert_ne!(failure(status), Failure::Cut, "{path}: {status:?}");
}

fn path_of(rpc: Rpc) -> &'static str {
    ALL.iter().find(|(other, _)| *other == rpc).unwrap().1
}

async fn no_message_of_any_call_breaks_it(db: TestDb) {
    let site = Site::start(&db).await;
    for (rpc, path) in ALL {
        let fuzz = Fuzz::called(path.trim_start_matches('/'));
        let fuzz = fuzz.and_spoilt(&site.targets.request(*rpc));
        let fuzz = match rpc {
            Rpc::IngestApplyChunk => fuzz.and_spoilt(&chunk(&site.targets)),
            Rpc::ImportListImports => fuzz.and_spoilt(&listing()),
            _ => fuzz,
        };
        site.fuzz(fuzz, 100).hold(|message| site.call(path, message));
    }
    site.stop().await;
}

/// The imports of a product since a day.
fn listing() -> Vec<u8> {
    let created_since = Some(Timestamp { seconds: 1_700_000_000, nanos: 1 });
    let product = "manager".to_owned();
    ListImportsRequest { created_since, product, ..ListImportsRequest::default() }.encode_to_vec()
}

/// Records of an import as its worker sends them.
fn chunk(targets: &Targets) -> Vec<u8> {
    let client = Record::Client(import_client());
    let contact = Record::Contact(ImportContact {
        source_id: "P7".into(),
        surname: "Other".into(),
        clients: vec![ContactClient { client_source_id: "C7".into(), roles: vec!["PSC".into()] }],
        ..ImportContact::default()
    });
    let parent = ApplyParent { source_id: "C7".into(), record_id: targets.client.id.clone() };
    let records = [(client, vec![]), (contact, vec![parent])].map(|(record, parents)| {
        let record =
            ImportRecord { record: Some(record), ..Default::default() }.encode_to_vec().into();
        ApplyRecord { record, parents, ..ApplyRecord::default() }
    });
    ApplyChunkRequest { records: records.into(), ..ApplyChunkRequest::default() }.encode_to_vec()
}

fn import_client() -> ImportClient {
    ImportClient {
        source_id: "C7".into(),
        client_reference: "SEVEN1".into(),
        client_type: "TRUST".into(),
        registered_name: "Seven".into(),
        ..ImportClient::default()
    }
}

/// Frames are what a connection carries for messages: a flag, a length, and as many
/// bytes.
async fn no_bytes_for_messages_break_a_connection(db: TestDb) {
    let site = Site::start(&db).await;
    let calls = [
        (Rpc::ClientGetClient, framed(&[site.targets.request(Rpc::ClientGetClient)])),
        (Rpc::ImportUploadBatch, upload(&site.targets)),
        (Rpc::ChangeSubscribe, framed(&[SubscribeRequest::default().encode_to_vec().into()])),
    ];
    // Compressed, which it is not; a length that lies; one over any limit.
    let bent = [&b"\x01\0\0\0\x04abcd"[..], b"\0\0\x3f\xff\xff\x0a\x01", b"\0\xff\xff\xff\xff\x0a"];
    for (rpc, body) in &calls {
        let path = path_of(*rpc);
        let fuzz =
            bent.iter().fold(Fuzz::called("body").and(body.clone()), |fuzz, bent| fuzz.and(*bent));
        site.fuzz(fuzz, 80).hold(|body| {
            let caller = site.caller(path);
            let call = raw::send(&caller, path, Bytes::copy_from_slice(body));
            let outcome = block_in_place(|| Handle::current().block_on(timeout(SOON, call)));
            check(path, &outcome.expect("the call hangs"));
        });
    }
    site.stop().await;
}

/// A whole upload of one batch.
fn upload(targets: &Targets) -> Bytes {
    let (import_id, batch_key) = (targets.import.clone(), "b1".to_owned());
    let record =
        ImportRecord { record: Some(Record::Client(import_client())), ..Default::default() }
            .encode_to_vec();
    let parts = [
        Part::Header(BatchHeader { import_id, batch_key, ..BatchHeader::default() }),
        Part::Frame(BatchFrame { records: vec![record.into()] }),
        Part::Commit(BatchCommit::default()),
    ];
    framed(&parts.map(|part| UploadBatchRequest { part: Some(part) }.encode_to_vec().into()))
}

fn framed(messages: &[Bytes]) -> Bytes {
    let mut body = BytesMut::new();
    for message in messages {
        body.put_u8(0);
        body.put_u32(u32::try_from(message.len()).unwrap());
        body.put_slice(message);
    }
    body.freeze()
}

async fn no_name_of_a_record_breaks_a_call(db: TestDb) {
    let site = Site::start(&db).await;
    site.fuzz(Fuzz::of("alias"), 300).hold_text(|name| {
        let client = GetClientRequest { client: name.to_owned() };
        site.call(path_of(Rpc::ClientGetClient), &client.encode_to_vec());
        let person = GetPersonRequest { person: name.to_owned() };
        site.call(path_of(Rpc::PersonGetPerson), &person.encode_to_vec());
        let entries = ListEntriesRequest { record: name.to_owned(), ..Default::default() };
        site.call(path_of(Rpc::HistoryListEntries), &entries.encode_to_vec());
        let found = SearchRecordsRequest { query: name.to_owned(), ..Default::default() };
        site.call(path_of(Rpc::SupportSearchRecords), &found.encode_to_vec());
    });
    site.stop().await;
}

/// Page tokens can be made up, by whoever reads how they are made: then they are
/// places of the caller's own list, or refused.
async fn no_page_token_and_no_cursor_breaks_a_call(db: TestDb) {
    let site = Site::start(&db).await;
    let key = ("subscriptions", "manager", Some("p1"), None::<&str>);
    let place = |name: &str| page::token(&key, &("manager", "p1", "main", name));
    let tokens = Fuzz::of("page_token").and(place("ledger")).and(place("\0"));
    site.fuzz(tokens, 100).hold_text(|token| {
        let page_token = token.to_owned();
        let clients = ListClientsRequest { page_token: page_token.clone(), ..Default::default() };
        site.call(path_of(Rpc::ClientListClients), &clients.encode_to_vec());
        let failures = ListFailuresRequest {
            import_id: site.targets.import.clone(),
            page_token: page_token.clone(),
            ..Default::default()
        };
        site.call(path_of(Rpc::ImportListFailures), &failures.encode_to_vec());
        let listed = ListSubscriptionsRequest { page_token, ..Default::default() };
        site.call(path_of(Rpc::ChangeListSubscriptions), &listed.encode_to_vec());
    });
    site.fuzz(Fuzz::of("cursor"), 100).hold_text(|cursor| {
        let request = SubscribeRequest { cursor: cursor.to_owned(), ..Default::default() };
        site.call(path_of(Rpc::ChangeSubscribe), &request.encode_to_vec());
    });
    site.stop().await;
}

/// An answer whose headers are over what a client takes is a broken connection.
async fn what_is_wrong_with_a_request_fits_an_answer(db: TestDb) {
    let site = Site::start(&db).await;
    let letters = ('a'..='z').cycle().zip(0..).map(|(letter, n)| format!("{letter}{n}"));
    let mark = "\u{202e}".repeat(79);
    let paths = letters.take(60).map(|name| format!("{mark}{name}")).collect();
    let request = UpdateClientRequest {
        client: mark.clone(),
        update_mask: Some(FieldMask { paths }),
        request_id: request_id(),
        ..UpdateClientRequest::default()
    };
    site.call(path_of(Rpc::ClientUpdateClient), &request.encode_to_vec());
    site.call(path_of(Rpc::ClientGetClient), &GetClientRequest { client: mark }.encode_to_vec());
    site.stop().await;
}
