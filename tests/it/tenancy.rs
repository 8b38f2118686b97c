//! Tenant isolation: no RPC reads or changes records of another practice. Within a
//! practice a product changes only records that it is linked to.

use bytes::Bytes;
use concord_core::access::{Role, rule};
use concord_proto::rpc::{ALL, Rpc};
use concord_testing::{TestDb, storage_tests};
use tonic::{Code, Status};

use concord_testing::e2e::{
    every_call::{NAME, Targets},
    raw,
    records::reason,
    servers::{self, Running},
};

storage_tests! {
    records_of_one_practice_are_not_found_in_another,
    unlinked_product_reads_but_cannot_write,
    unconnected_product_cannot_read_or_write,
}

/// Both services, with records of the practice `p1` created by `manager`.
struct Site {
    records: Running,
    imports: Running,
    targets: Targets,
}

impl Site {
    async fn start(db: &TestDb) -> Self {
        let records = servers::records(db.settings()).await;
        let imports = servers::imports(db.sibling("imports"), &records.url).await;
        let manager = records.owner("p1", "manager").await.connect().await;
        let importing = imports.owner("p1", "manager").await;
        let targets = Targets::of(&manager, &importing).await;
        Self { records, imports, targets }
    }

    /// Calls an RPC that names the records, as an owner in a practice and a product.
    async fn call(
        &self,
        practice: &str,
        product: &str,
        (rpc, path): (Rpc, &'static str),
    ) -> Result<Option<Bytes>, Status> {
        let service =
            if path.starts_with("/concord.imports.") { &self.imports } else { &self.records };
        let role = if path.contains(".internal.") { "service" } else { "owner,auditor" };
        let caller = service.owner(practice, product).await.with("x-concord-roles", role);
        let caller = caller.with("x-concord-import", &self.targets.import);
        raw::call(&caller, path, self.targets.request(rpc)).await
    }

    async fn connect(&self, practice: &str, product: &str) {
        self.records.owner(practice, product).await.connect().await;
    }

    async fn stop(self) {
        self.imports.stop().await;
        self.records.stop().await;
    }
}

/// RPCs whose requests name no record: their answers must contain data of the caller's
/// practice only.
const WITHOUT_RECORD_NAMES: [Rpc; 23] = [
    Rpc::SupportListSupportReads,
    Rpc::IngestKeepSupportRead,
    Rpc::IngestListErasures,
    Rpc::ConnectionConnectProduct,
    Rpc::ConnectionDisconnectProduct,
    Rpc::ConnectionListConnections,
    Rpc::ClientCreateClient,
    Rpc::ClientBatchGetClients,
    Rpc::ClientListClients,
    Rpc::PersonCreatePerson,
    Rpc::PersonListPersons,
    Rpc::ChangeSubscribe,
    Rpc::ChangeAcknowledge,
    Rpc::ChangeGetSubscription,
    Rpc::ChangeListSubscriptions,
    Rpc::ChangeDeleteSubscription,
    Rpc::SupportSearchRecords,
    Rpc::SupportListAuditEntries,
    Rpc::ImportCreateImport,
    Rpc::ImportListImports,
    Rpc::IngestApplyChunk,
    Rpc::IngestResolveLinks,
    Rpc::SupportTraceChange,
];

async fn records_of_one_practice_are_not_found_in_another(db: TestDb) {
    let site = Site::start(&db).await;
    site.connect("p2", "manager").await;
    for call in ALL {
        let outcome = site.call("p2", "manager", *call).await;
        if WITHOUT_RECORD_NAMES.contains(&call.0) {
            let answer = outcome.unwrap_or_default().unwrap_or_default();
            let Targets { person, contact, change, import, .. } = &site.targets;
            for secret in [NAME, &person.id, &contact.id, change, import] {
                assert!(!contains(&answer, secret), "{call:?} reveals {secret}");
            }
        } else {
            let refused = outcome.unwrap_err();
            assert_eq!(refused.code(), Code::NotFound, "{call:?}: {refused:?}");
            assert!(!refused.message().contains(NAME), "{refused:?}");
        }
    }
    // The calls have changed nothing, and the own practice still finds every record.
    let mut unexpected = Vec::new();
    for call in ALL {
        let found = site.call("p1", "manager", *call).await;
        let refused = found.as_ref().err().map(Status::code);
        let expected = match call.0 {
            // The subscription and the batch do not exist.
            Rpc::ChangeGetSubscription
            | Rpc::ChangeDeleteSubscription
            | Rpc::ChangeAcknowledge
            | Rpc::ImportGetBatch => Some(Code::NotFound),
            // The import has not ended and has no batch. The client is in use.
            Rpc::ImportCommitImport
            | Rpc::ImportRetryImport
            | Rpc::ImportSealImport
            | Rpc::SupportPurgeNow => Some(Code::FailedPrecondition),
            // The upload ends without a commit.
            Rpc::ImportUploadBatch => Some(Code::Aborted),
            _ => None,
        };
        if refused != expected {
            unexpected.push((call, found));
        }
    }
    assert!(unexpected.is_empty(), "{unexpected:?}");
    site.stop().await;
}

fn contains(answer: &[u8], secret: &str) -> bool {
    answer.windows(secret.len()).any(|window| window == secret.as_bytes())
}

/// RPCs that an unlinked product may call: they create a record or a link.
const FOR_UNLINKED: [Rpc; 4] = [
    Rpc::ClientLinkClient,
    Rpc::PersonLinkPerson,
    Rpc::ClientCreateClient,
    Rpc::PersonCreatePerson,
];

async fn unlinked_product_reads_but_cannot_write(db: TestDb) {
    let site = Site::start(&db).await;
    site.connect("p1", "books").await;
    let changes = |rpc: &Rpc| {
        let roles = rule(*rpc).roles;
        roles.contains(&Role::Staff) && !roles.contains(&Role::Support)
    };
    let changing = ALL.iter().filter(|(rpc, _)| changes(rpc) && *rpc != Rpc::ChangeAcknowledge);
    let changing = changing.chain(ALL.iter().filter(|(rpc, _)| *rpc == Rpc::HistoryRescindEntry));
    for call in changing {
        let outcome = site.call("p1", "books", *call).await;
        if FOR_UNLINKED.contains(&call.0) {
            outcome.unwrap();
        } else {
            let refused = outcome.unwrap_err();
            assert_eq!(reason(&refused), "NOT_LINKED", "{call:?}: {refused:?}");
        }
    }
    for call in [Rpc::ClientGetClient, Rpc::ContactGetContact, Rpc::SupportGetRecordSummary] {
        let path = ALL.iter().find(|(rpc, _)| *rpc == call).unwrap().1;
        site.call("p1", "books", (call, path)).await.unwrap();
    }
    // Only the product of an import may change it.
    for call in ALL.iter().filter(|(_, path)| path.starts_with("/concord.imports.")) {
        let outcome = site.call("p1", "books", *call).await;
        let changes = ![Rpc::ImportCreateImport, Rpc::ImportDownloadFailures].contains(&call.0);
        if changes && !rule(call.0).roles.contains(&Role::Staff) {
            let refused = outcome.unwrap_err();
            assert_eq!(reason(&refused), "OTHER_PRODUCT", "{call:?}: {refused:?}");
        }
    }
    site.stop().await;
}

async fn unconnected_product_cannot_read_or_write(db: TestDb) {
    let site = Site::start(&db).await;
    // The first product of a practice connects itself, and an unconnected product may
    // list the connections.
    let exempt = [
        Rpc::ConnectionConnectProduct,
        Rpc::ConnectionDisconnectProduct,
        Rpc::ConnectionListConnections,
    ];
    // The requests of these RPCs are empty, so that nothing is read from the practice.
    let empty = [
        Rpc::IngestApplyChunk,
        Rpc::IngestResolveLinks,
        Rpc::IngestKeepSupportRead,
        Rpc::IngestListErasures,
    ];
    let mut answered = Vec::new();
    for call in ALL.iter().filter(|(rpc, _)| ![&exempt[..], &empty].concat().contains(rpc)) {
        let outcome = site.call("p1", "stranger", *call).await;
        if !outcome.as_ref().is_err_and(|status| reason(status) == "PRODUCT_NOT_CONNECTED") {
            answered.push((call, outcome));
        }
    }
    assert!(answered.is_empty(), "{answered:?}");
    site.stop().await;
}
