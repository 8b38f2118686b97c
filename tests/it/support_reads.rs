//! Support access needs a reason, and the access log keeps every read of records and
//! imports.

use concord_proto::pb::{
    imports::{CreateImportRequest, GetImportRequest, ListImportsRequest},
    records::{
        BatchGetClientsRequest, GetClientRequest, GetRecordSummaryRequest, ListConnectionsRequest,
        ListEntriesRequest, ListSubscriptionsRequest, ListSupportReadsRequest,
        SearchRecordsRequest, SupportRead, TraceChangeRequest,
    },
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use concord_testing::e2e::{
    caller::Caller,
    importing,
    records::{Acme, assert_refused, company, create},
    servers,
};

storage_tests! {
    support_read_needs_reason_and_is_logged,
    support_read_of_imports_is_logged,
    support_reads_are_paginated,
    support_read_lists_shown_records,
}

async fn reads(caller: &Caller) -> Vec<SupportRead> {
    let request = ListSupportReadsRequest::default();
    caller.support().list_support_reads(request).await.unwrap().into_inner().reads
}

/// The RPC names and reasons of logged reads.
fn reported(reads: &[SupportRead]) -> Vec<(String, String)> {
    let call = |read: &'_ SupportRead| read.rpc.rsplit('/').next().unwrap_or_default().to_owned();
    reads.iter().map(|read| (call(read), read.reason.clone())).collect()
}

async fn support_read_needs_reason_and_is_logged(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let support = acme.manager.clone().with("x-concord-roles", "support");
    let request = || GetClientRequest { client: "ref:ACME".into() };
    let refused = support.clients().get_client(request()).await;
    assert_refused(refused, Code::InvalidArgument, "READING_REASON_REQUIRED");
    for reason in ["x", &"x".repeat(201)] {
        let support = support.clone().with("x-concord-reason", reason);
        let refused = support.clients().get_client(request()).await;
        assert_refused(refused, Code::InvalidArgument, "READING_REASON_REQUIRED");
    }
    assert!(reads(&acme.manager).await.is_empty());

    let support = support.with("x-concord-reason", "ticket 4711").with("x-concord-user", "sven");
    support.clients().get_client(request()).await.unwrap();
    let search = SearchRecordsRequest { query: "acme".into(), ..Default::default() };
    support.support().search_records(search).await.unwrap();
    // A caller with another role that may read needs no reason and is not logged.
    let staff = support.clone().with("x-concord-roles", "support,staff");
    staff.clients().get_client(request()).await.unwrap();
    let kept = reads(&acme.manager).await;
    let expected = ["SearchRecords", "GetClient"].map(|call| (call.into(), "ticket 4711".into()));
    assert_eq!(reported(&kept), expected);
    assert_eq!(kept[0].origin.as_ref().unwrap().user, "sven");

    // Support may not list the access log, and reads one practice only.
    let refused = support.support().list_support_reads(ListSupportReadsRequest::default()).await;
    assert_refused(refused, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
    let everywhere = support.clone().without("x-concord-practice");
    let request = ListSubscriptionsRequest::default();
    let refused = everywhere.changes().list_subscriptions(request).await;
    assert_refused(refused, Code::InvalidArgument, "PRACTICE_REQUIRED");
    let refused = support.connections().list_connections(ListConnectionsRequest {}).await;
    assert_refused(refused, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
    assert_eq!(reads(&acme.manager).await.len(), 2);
    acme.server.stop().await;
}

async fn support_read_of_imports_is_logged(db: TestDb) {
    let records = servers::records(db.settings()).await;
    let imports = servers::imports(db.sibling("imports"), &records.url).await;
    let manager = records.owner("p1", "manager").await.connect().await;
    let support = imports.owner("p1", "manager").await.with("x-concord-roles", "support");
    let refused = support.imports().list_imports(ListImportsRequest::default()).await;
    assert_refused(refused, Code::InvalidArgument, "READING_REASON_REQUIRED");
    let support = support.with("x-concord-reason", "ticket 4712");
    support.imports().list_imports(ListImportsRequest::default()).await.unwrap();
    assert_eq!(reported(&reads(&manager).await), [("ListImports".into(), "ticket 4712".into())]);
    let owner = imports.owner("p1", "manager").await;
    let import_id = importing::create(&owner, CreateImportRequest::default()).await;
    let request = GetImportRequest { import_id: import_id.clone() };
    support.imports().get_import(request).await.unwrap();
    assert_eq!(reads(&manager).await[0].record_ids, [import_id]);
    // A read that cannot be logged is refused.
    records.stop().await;
    let refused = support.imports().list_imports(ListImportsRequest::default()).await;
    assert_refused(refused, Code::Unavailable, "UNAVAILABLE");
    imports.stop().await;
}

async fn support_reads_are_paginated(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let support = acme.manager.clone().with("x-concord-roles", "support");
    for n in 0..5 {
        let support = support.clone().with("x-concord-reason", &format!("ticket {n}"));
        let request = GetClientRequest { client: "ref:ACME".into() };
        support.clients().get_client(request).await.unwrap();
    }
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListSupportReadsRequest { page_size: 2, page_token };
        let page = acme.manager.support().list_support_reads(request).await.unwrap().into_inner();
        assert!(page.reads.len() <= 2);
        listed.extend(page.reads.into_iter().map(|read| read.reason));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, ["ticket 4", "ticket 3", "ticket 2", "ticket 1", "ticket 0"]);
    acme.server.stop().await;
}

async fn support_read_lists_shown_records(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let id = acme.client.id.clone();
    let other = create(&acme.manager, company("OTHER", "Acme of Bath Limited")).await.id;
    let support = acme.manager.as_support();
    let by_name = || "ref:ACME".to_owned();
    support.clients().get_client(GetClientRequest { client: by_name() }).await.unwrap();
    let summary = GetRecordSummaryRequest { record: by_name() };
    support.support().get_record_summary(summary).await.unwrap();
    let trace = TraceChangeRequest { record: by_name(), ..Default::default() };
    support.support().trace_change(trace).await.unwrap();
    let listed = ListEntriesRequest { record: by_name(), ..Default::default() };
    support.history().list_entries(listed).await.unwrap();
    for read in reads(&acme.manager).await {
        assert_eq!(read.record_ids, [id.as_str()], "{read:?}");
    }
    let batch = BatchGetClientsRequest { clients: vec![by_name(), "ref:OTHER".into()] };
    support.clients().batch_get_clients(batch).await.unwrap();
    assert_eq!(reads(&acme.manager).await[0].record_ids, [id.clone(), other.clone()]);
    let search = SearchRecordsRequest { query: "acme".into(), ..Default::default() };
    support.support().search_records(search).await.unwrap();
    let mut found = reads(&acme.manager).await.remove(0).record_ids;
    found.sort();
    let mut both = vec![id, other];
    both.sort();
    assert_eq!(found, both);
    // A refused call is logged without records.
    let unknown = GetClientRequest { client: "ref:UNKNOWN".into() };
    support.clients().get_client(unknown).await.unwrap_err();
    let last = reads(&acme.manager).await.remove(0);
    assert!(last.rpc.ends_with("/GetClient") && last.record_ids.is_empty(), "{last:?}");
    acme.server.stop().await;
}
