//! Midnights and removals, by a fixed clock, with several replicas at once.

use chrono::TimeDelta;
use shared::{
    access::{Role, Rpc},
    caller::{Caller, Product},
    clock::Clock,
    db::Database,
    ids::new_uuid,
    pb::records::{
        AuditEntry, ChangeKind, ClientType, Entry, EntryStatus, Jurisdiction, RecordState,
    },
    rules::{
        draft::{ClientDraft, DatedName, Identifiers, Reference},
        value::Value,
    },
    testing::{TestDb, storage_tests},
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    domain::timeline::{AddEntry, TimelineKey},
    feed::Feed,
    migrations::Migrator,
    reads::Reads,
    service::{
        create::ClientCommand, history::HistoryCommand, intent::Intent, links::LinkCommand,
        reading::PageRequest,
    },
};

storage_tests! {
    a_scheduled_name_becomes_current_at_midnight_and_is_told_once,
    a_night_of_downtime_changes_nothing,
    an_orphaned_client_is_removed_when_its_time_has_come,
    a_link_in_time_keeps_a_client,
    the_fence_of_an_import_is_forgotten_long_after_its_last_call,
}

/// A replica of the service, without a server.
async fn replica(t: &TestDb, clock: &Clock) -> Records {
    let db: Database = t.database().await;
    db.migrate::<Migrator>().await.unwrap();
    let feed = Feed::new(db.clone(), clock.clone(), CancellationToken::new());
    Records {
        reads: Reads::start(&db),
        growth: std::sync::Arc::default(),
        db,
        clock: clock.clone(),
        feed,
        purge_after: TimeDelta::days(14),
        feed_retention: TimeDelta::days(30),
    }
}

/// As many replicas as the engine allows.
async fn replicas(t: &TestDb, clock: &Clock) -> Vec<Records> {
    let mut all = vec![replica(t, clock).await];
    if t.is_postgres() {
        all.push(replica(t, clock).await);
        all.push(replica(t, clock).await);
    }
    all
}

fn clock() -> Clock {
    Clock::fixed("2026-03-01T10:00:00Z".parse().unwrap())
}

fn caller(product: &str) -> Caller {
    let practice = "p1".parse().unwrap();
    let product: Product = product.parse().unwrap();
    Caller { product, roles: vec![Role::Owner, Role::Auditor], ..Caller::system(practice) }
}

fn intent() -> Intent {
    let empty = shared::pb::records::ListConnectionsRequest {};
    Intent::parse(Rpc::ClientCreateClient, &empty, &new_uuid().to_string(), false).unwrap()
}

/// `manager` is connected, and has the client ACME01.
async fn with_client(records: &Records) -> String {
    records.connect(caller("manager"), "manager".parse().unwrap()).await.unwrap();
    records.connect(caller("books"), "books".parse().unwrap()).await.unwrap();
    let name = DatedName { name: "Acme Limited".to_owned(), active_from: None };
    let draft = ClientDraft {
        client_type: ClientType::PrivateLimitedCompany,
        jurisdiction: Jurisdiction::Unspecified,
        reference: Reference::parse("ACME01").unwrap(),
        registered_name: Some(name),
        trading_name: None,
        identifiers: Identifiers::default(),
        emails: Vec::new(),
        phones: Vec::new(),
    };
    let command = ClientCommand { draft, person: None, addresses: Vec::new(), external_id: None };
    let created = records.create_client(caller("manager"), intent(), command).await.unwrap();
    created.client.unwrap().id
}

/// Schedules the name `Bolt Limited` for the 10th of March.
async fn schedule(records: &Records, client: &str) {
    let (now, _) = records.client(&caller("manager"), client).await.unwrap();
    let command = HistoryCommand::Add {
        record: client.to_owned(),
        timeline: TimelineKey::RegisteredName,
        command: AddEntry {
            id: new_uuid(),
            value: Value::Name("Bolt Limited".to_owned()),
            effective_on: Some("2026-03-10".parse().unwrap()),
        },
        current_etag: now.entries[0].etag.clone(),
        external_id: None,
    };
    records.change_history(caller("manager"), intent(), command).await.unwrap();
}

/// What was done to the client, the latest first.
async fn kinds(records: &Records, client: &str) -> Vec<ChangeKind> {
    let page = PageRequest { size: 100, token: String::new() };
    let (entries, _) = records.audit(&caller("manager"), client, page).await.unwrap();
    entries.iter().map(AuditEntry::kind).collect()
}

/// All replicas go round at once.
async fn all_step(replicas: &[Records]) {
    let steps = replicas
        .iter()
        .cloned()
        .map(|records| tokio::spawn(async move { while step(&records).await.unwrap() {} }));
    for step in steps.collect::<Vec<_>>() {
        step.await.unwrap();
    }
}

async fn a_scheduled_name_becomes_current_at_midnight_and_is_told_once(t: TestDb) {
    let clock = clock();
    let replicas = replicas(&t, &clock).await;
    let client = with_client(&replicas[0]).await;
    schedule(&replicas[0], &client).await;
    clock.set("2026-03-09T23:59:59Z".parse().unwrap());
    all_step(&replicas).await;
    let (before, _) = replicas[0].client(&caller("manager"), &client).await.unwrap();
    assert_eq!(before.registered_name, "Acme Limited");

    clock.set("2026-03-10T00:00:00Z".parse().unwrap());
    all_step(&replicas).await;
    all_step(&replicas).await;
    let (after, _) = replicas[0].client(&caller("manager"), &client).await.unwrap();
    assert_eq!(after.registered_name, "Bolt Limited");
    assert_eq!(after.version, before.version + 1);
    assert_eq!(after.etag, before.etag, "nobody has changed its content");
    let statuses: Vec<_> = after.entries.iter().map(Entry::status).collect();
    assert_eq!(statuses, [EntryStatus::Past, EntryStatus::Current]);
    assert_eq!(
        kinds(&replicas[0], &client).await,
        [ChangeKind::EntryBecameCurrent, ChangeKind::EntryScheduled, ChangeKind::Created]
    );
}

async fn a_night_of_downtime_changes_nothing(t: TestDb) {
    let clock = clock();
    let records = replica(&t, &clock).await;
    let client = with_client(&records).await;
    schedule(&records, &client).await;
    clock.set("2026-03-14T07:00:00Z".parse().unwrap());
    // A correction comes before the job does: midnight is told first all the same.
    let (now, _) = records.client(&caller("manager"), &client).await.unwrap();
    let scheduled = now.entries.last().unwrap();
    let id = shared::ids::parse(shared::ids::IdKind::Entry, &scheduled.id).unwrap();
    let command = HistoryCommand::Correct {
        command: crate::domain::timeline::CorrectEntry {
            id,
            value: Some(Value::Name("Bolt & Co Limited".to_owned())),
            period: None,
            correct_history: false,
        },
        dates: (None, None),
        etag: scheduled.etag.clone(),
    };
    records.change_history(caller("manager"), intent(), command).await.unwrap();
    while step(&records).await.unwrap() {}
    let (after, _) = records.client(&caller("manager"), &client).await.unwrap();
    assert_eq!(after.registered_name, "Bolt & Co Limited");
    assert_eq!(
        kinds(&records, &client).await,
        [
            ChangeKind::EntryCorrected,
            ChangeKind::EntryBecameCurrent,
            ChangeKind::EntryScheduled,
            ChangeKind::Created
        ]
    );
}

async fn an_orphaned_client_is_removed_when_its_time_has_come(t: TestDb) {
    let clock = clock();
    let replicas = replicas(&t, &clock).await;
    let records = &replicas[0];
    let client = with_client(records).await;
    let unlinked =
        records.unlink_client(caller("manager"), intent(), client.clone()).await.unwrap();
    assert_eq!(unlinked.client.unwrap().state(), RecordState::Orphaned);
    assert_eq!(unlinked.change_ids.len(), 2, "unlinked, orphaned");
    clock.set("2026-03-15T09:59:59Z".parse().unwrap());
    all_step(&replicas).await;
    assert!(records.client(&caller("books"), &client).await.is_ok());
    clock.set("2026-03-15T10:00:00Z".parse().unwrap());
    all_step(&replicas).await;
    assert!(records.client(&caller("books"), &client).await.is_err());
    assert!(records.client(&caller("books"), "ref:ACME01").await.is_err());
    let purged = kinds(records, &client).await;
    assert_eq!(purged.iter().filter(|kind| **kind == ChangeKind::Purged).count(), 1);
}

async fn a_link_in_time_keeps_a_client(t: TestDb) {
    let clock = clock();
    let records = replica(&t, &clock).await;
    let client = with_client(&records).await;
    records.unlink_client(caller("manager"), intent(), client.clone()).await.unwrap();
    clock.set("2026-03-14T10:00:00Z".parse().unwrap());
    let command = LinkCommand { record: client.clone(), external_id: None };
    let linked = records.link_client(caller("books"), intent(), command).await.unwrap();
    assert_eq!(linked.client.unwrap().state(), RecordState::Active);
    clock.set("2026-04-14T10:00:00Z".parse().unwrap());
    while step(&records).await.unwrap() {}
    assert!(records.client(&caller("books"), &client).await.is_ok());
    assert_eq!(kinds(&records, &client).await[..2], [ChangeKind::Restored, ChangeKind::Linked]);
}

async fn the_fence_of_an_import_is_forgotten_long_after_its_last_call(t: TestDb) {
    let clock = clock();
    let records = replica(&t, &clock).await;
    let import = Caller { import: Some(new_uuid()), ..caller("manager") };
    let raise = |fence| {
        let request = shared::pb::internal::ApplyChunkRequest { fence, ..Default::default() };
        records.apply_chunk(import.clone(), request)
    };
    raise(5).await.unwrap();
    clock.set("2026-03-20T10:00:00Z".parse().unwrap());
    raise(6).await.unwrap();
    clock.set("2026-05-19T10:00:00Z".parse().unwrap());
    while step(&records).await.unwrap() {}
    assert!(raise(5).await.is_err(), "kept for 60 days");
    clock.set("2026-05-19T10:00:01Z".parse().unwrap());
    while step(&records).await.unwrap() {}
    raise(1).await.unwrap();
}
