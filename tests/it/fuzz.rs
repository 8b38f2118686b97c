//! Fuzz tests of every RPC over real sockets. Any input is answered or refused with a
//! reason, and the service stays available.
//!
//! [`concord_testing::fuzz`] describes the inputs and how to run more cases.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use concord_core::page;
use concord_proto::{
    pb::{
        imports::{
            ImportClient, ListFailuresRequest, ListImportsRequest, UploadBatchRequest,
            import_record::Record,
        },
        internal::ApplyChunkRequest,
        records::{
            GetClientRequest, GetPersonRequest, ListClientsRequest, ListEntriesRequest,
            ListSubscriptionsRequest, SearchRecordsRequest, SubscribeRequest, UpdateClientRequest,
        },
    },
    rpc::{ALL, Rpc},
};
use concord_testing::{TestDb, fuzz::Fuzz, storage_tests};
use prost::Message as _;
use prost_types::{FieldMask, Timestamp};
use tokio::{runtime::Handle, task::block_in_place, time::timeout};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use concord_testing::e2e::{
    caller::{Caller, request_id},
    chunk::apply_record,
    every_call::Targets,
    failure::{Failure, failure},
    import_records::{company, director, encoded},
    importing, raw,
    servers::{self, Running},
};

storage_tests! {
    random_messages_never_cause_internal_errors,
    malformed_frames_do_not_break_connections,
    random_aliases_never_cause_internal_errors,
    random_page_tokens_and_cursors_never_cause_internal_errors,
    error_details_fit_response_headers,
}

/// The timeout of a call. No call of these tests blocks.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);

/// Both services, with records of the practice `p1` created by `manager`.
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
        // Without a rate limit.
        let records = servers::records_with(db.settings(), |config| {
            config.limits.requests_per_second = 0;
        });
        let records = records.await;
        let imports = servers::imports_with(db.sibling("imports"), &records.url, |config| {
            config.limits.requests_per_second = 0;
        });
        let imports = imports.await;
        let roles = ("x-concord-roles", "owner,auditor");
        let manager = records.owner("p1", "manager").await.connect().await;
        let manager = manager.with(roles.0, roles.1);
        let importing = imports.owner("p1", "manager").await.with(roles.0, roles.1);
        let targets = Targets::of(&manager, &importing).await;
        Self { records, imports, manager, importing, targets, postgres: db.is_postgres() }
    }

    /// An authorised caller of the RPC, connected to its service.
    fn caller(&self, path: &str) -> Caller {
        if path.starts_with("/concord.imports.") {
            return self.importing.clone();
        }
        if path.contains(".internal.") {
            return self.manager.clone().for_import(&self.targets.import);
        }
        self.manager.clone()
    }

    /// Runs fewer cases on PostgreSQL: they take longer, and the decoding code is the same.
    fn fuzz(&self, fuzz: Fuzz, cases: u32) -> Fuzz {
        fuzz.cases(if self.postgres { cases / 4 } else { cases })
    }

    /// Sends a message from a property, which is not async, and checks the outcome.
    fn call(&self, path: &'static str, message: &[u8]) {
        let caller = self.caller(path);
        let call = raw::call(&caller, path, Bytes::copy_from_slice(message));
        let outcome = block_in_place(|| Handle::current().block_on(timeout(CALL_TIMEOUT, call)));
        check(path, &outcome.expect("the call has timed out").map(drop));
    }

    /// Checks that both services answer calls.
    async fn check_available(&self) {
        for (rpc, path) in ALL {
            if matches!(rpc, Rpc::ClientListClients | Rpc::ImportListImports) {
                let caller = self.caller(path);
                timeout(CALL_TIMEOUT, raw::call(&caller, path, Bytes::new()))
                    .await
                    .unwrap()
                    .unwrap();
            }
        }
    }

    async fn stop(self) {
        self.check_available().await;
        self.imports.stop().await;
        self.records.stop().await;
    }
}

/// Asserts that a call was answered, or refused with a reason that is not an internal
/// error.
fn check(path: &str, outcome: &Result<(), Status>) {
    let Err(status) = outcome else { return };
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    let is_internal = matches!(status.code(), Code::Internal | Code::Unknown) || reason.is_empty();
    assert!(!is_internal, "{path}: {status:?}");
    assert_ne!(failure(status), Failure::ConnectionLost, "{path}: {status:?}");
}

fn path_of(rpc: Rpc) -> &'static str {
    ALL.iter().find(|(other, _)| *other == rpc).unwrap().1
}

async fn random_messages_never_cause_internal_errors(db: TestDb) {
    let site = Site::start(&db).await;
    for (rpc, path) in ALL {
        let fuzz = Fuzz::new(path.trim_start_matches('/'));
        let fuzz = fuzz.seed_with_invalid_values(&site.targets.request(*rpc));
        let fuzz = match rpc {
            Rpc::IngestApplyChunk => fuzz.seed_with_invalid_values(&chunk(&site.targets)),
            Rpc::ImportListImports => fuzz.seed_with_invalid_values(&list_imports_request()),
            _ => fuzz,
        };
        site.fuzz(fuzz, 100).check(|message| site.call(path, message));
    }
    site.stop().await;
}

/// A request for the imports of a product since a day.
fn list_imports_request() -> Vec<u8> {
    let created_since = Some(Timestamp { seconds: 1_700_000_000, nanos: 1 });
    let product = "manager".to_owned();
    ListImportsRequest { created_since, product, ..ListImportsRequest::default() }.encode_to_vec()
}

/// A chunk of an import, as a worker sends it.
fn chunk(targets: &Targets) -> Vec<u8> {
    let client = Record::Client(import_client());
    let contact = Record::Contact(director("P7", &["C7"]));
    let parents = [("C7", targets.client.id.as_str())];
    let records = vec![apply_record(client, &[]), apply_record(contact, &parents)];
    ApplyChunkRequest { records, ..ApplyChunkRequest::default() }.encode_to_vec()
}

fn import_client() -> ImportClient {
    ImportClient { client_type: "TRUST".into(), ..company("C7") }
}

/// A gRPC frame has a compression flag, a length, and as many bytes.
async fn malformed_frames_do_not_break_connections(db: TestDb) {
    let site = Site::start(&db).await;
    let calls = [
        (Rpc::ClientGetClient, framed(&[site.targets.request(Rpc::ClientGetClient)])),
        (Rpc::ImportUploadBatch, upload(&site.targets)),
        (Rpc::ChangeSubscribe, framed(&[SubscribeRequest::default().encode_to_vec().into()])),
    ];
    // A wrong compression flag, a wrong length, and a length over every limit.
    let malformed =
        [&b"\x01\0\0\0\x04abcd"[..], b"\0\0\x3f\xff\xff\x0a\x01", b"\0\xff\xff\xff\xff\x0a"];
    for (rpc, body) in &calls {
        let path = path_of(*rpc);
        let fuzz = malformed
            .iter()
            .fold(Fuzz::new("body").seed(body.clone()), |fuzz, one| fuzz.seed(*one));
        site.fuzz(fuzz, 80).check(|body| {
            let caller = site.caller(path);
            let call = raw::send(&caller, path, Bytes::copy_from_slice(body));
            let outcome =
                block_in_place(|| Handle::current().block_on(timeout(CALL_TIMEOUT, call)));
            check(path, &outcome.expect("the call has timed out"));
        });
    }
    site.stop().await;
}

/// The frames of a complete upload of one batch.
fn upload(targets: &Targets) -> Bytes {
    let record = encoded(Record::Client(import_client()));
    let parts = importing::batch(&targets.import, "b1", &[record]).into_iter();
    let message = |part| UploadBatchRequest { part: Some(part) }.encode_to_vec().into();
    framed(&parts.map(message).collect::<Vec<Bytes>>())
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

async fn random_aliases_never_cause_internal_errors(db: TestDb) {
    let site = Site::start(&db).await;
    site.fuzz(Fuzz::corpus("alias"), 300).check_text(|name| {
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

/// Page tokens are not signed. A forged one is a position in the caller's own list, or is
/// refused.
async fn random_page_tokens_and_cursors_never_cause_internal_errors(db: TestDb) {
    let site = Site::start(&db).await;
    let key = ("subscriptions", "manager", Some("p1"), None::<&str>);
    let forged = |name: &str| page::token(&key, &("manager", "p1", "main", name));
    let tokens = Fuzz::corpus("page_token").seed(forged("ledger")).seed(forged("\0"));
    site.fuzz(tokens, 100).check_text(|token| {
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
    site.fuzz(Fuzz::corpus("cursor"), 100).check_text(|cursor| {
        let request = SubscribeRequest { cursor: cursor.to_owned(), ..Default::default() };
        site.call(path_of(Rpc::ChangeSubscribe), &request.encode_to_vec());
    });
    site.stop().await;
}

/// A client closes the connection if the headers of an answer exceed its limit.
async fn error_details_fit_response_headers(db: TestDb) {
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
