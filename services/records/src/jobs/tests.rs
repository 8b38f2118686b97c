//! Midnights and removals, by a fixed clock, with several replicas at once.

use chrono::TimeDelta;
use shared::{
    access::{Role, Rpc},
    caller::{Caller, Product},
    clock::Clock,
    db::Database,
    ids::new_uuid,
    pb::records::{
        AuditEntry, ChangeKind, ClientType, Entry, EntryStatus, Jurisdiction, RecordKind,
        RecordState, SearchMatch, SearchResult,
    },
    rules::{
        draft::{ClientDraft, DatedName, Identifiers, PersonDraft, Reference},
        value::{PersonName, Value},
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
        create::{ClientCommand, PersonCommand, WhichPerson},
        history::HistoryCommand,
        intent::Intent,
        links::LinkCommand,
        reading::PageRequest,
        support::SearchCommand,
        update::{ClientEdit, UpdateCommand},
    },
};

storage_tests! {
    a_scheduled_name_becomes_current_at_midnight_and_is_told_once,
    a_night_of_downtime_changes_nothing,
    reads_and_searches_follow_the_day_before_the_job_has_come,
    an_individual_is_found_by_the_name_of_the_day,
    an_etag_that_was_read_about_midnight_is_no_mismatch,
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
    with_client_called(records, "ACME01").await
}

/// A company without anything but a reference and a name.
fn company(reference: &str) -> ClientDraft {
    let name = DatedName { name: "Acme Limited".to_owned(), active_from: None };
    ClientDraft {
        client_type: ClientType::PrivateLimitedCompany,
        jurisdiction: Jurisdiction::Unspecified,
        reference: Reference::parse(reference).unwrap(),
        registered_name: Some(name),
        trading_name: None,
        identifiers: Identifiers::default(),
        emails: Vec::new(),
        phones: Vec::new(),
    }
}

async fn with_client_called(records: &Records, reference: &str) -> String {
    records.connect(caller("manager"), "manager".parse().unwrap()).await.unwrap();
    records.connect(caller("books"), "books".parse().unwrap()).await.unwrap();
    let draft = company(reference);
    let command = ClientCommand { draft, person: None, addresses: Vec::new(), external_id: None };
    let created = records.create_client(caller("manager"), intent(), command).await.unwrap();
    created.client.unwrap().id
}

/// Schedules the name `Bolt Limited` for the 10th of March.
async fn schedule(records: &Records, client: &str) {
    schedule_on(records, client, "2026-03-10").await;
}

async fn schedule_on(records: &Records, client: &str, day: &str) {
    let (now, _) = records.client(&caller("manager"), client).await.unwrap();
    let command = HistoryCommand::Add {
        record: client.to_owned(),
        timeline: TimelineKey::RegisteredName,
        command: AddEntry {
            id: new_uuid(),
            value: Value::Name("Bolt Limited".to_owned()),
            effective_on: Some(day.parse().unwrap()),
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

/// What a search says of the only record that it finds.
async fn found(records: &Records, query: &str) -> (SearchMatch, String, String) {
    let command = SearchCommand { query: query.to_owned(), kind: None, show_orphaned: false };
    let page = PageRequest { size: 10, token: String::new() };
    let mut answer = records.search(&caller("manager"), command, page).await.unwrap();
    assert_eq!(answer.results.len(), 1, "{query}");
    let SearchResult { name, matched_name, r#match, .. } = answer.results.remove(0);
    (SearchMatch::try_from(r#match).unwrap(), name, matched_name)
}

async fn reads_and_searches_follow_the_day_before_the_job_has_come(t: TestDb) {
    let clock = clock();
    let records = replica(&t, &clock).await;
    let id = with_client(&records).await;
    schedule_on(&records, &id, "2026-06-10").await;
    let reads = || async {
        let me = caller("manager");
        let page = || PageRequest { size: 10, token: String::new() };
        let (client, _) = records.client(&me, &id).await.unwrap();
        let which = clients::PageOf { after: None, linked_product: None, show_orphaned: false };
        let (listed, _) = records.list_clients(&me, which, page()).await.unwrap();
        let (many, _) = records.clients(&me, std::slice::from_ref(&id)).await.unwrap();
        let entries = records.entries(&me, &id).await.unwrap();
        let summary = records.summary(&me, &id).await.unwrap();
        assert_eq!(listed, [client.clone()]);
        assert_eq!(many, [client.clone()]);
        assert_eq!(entries, client.entries);
        assert_eq!(summary.client.as_ref(), Some(&client));
        client
    };
    // The last second of the day in London, in summer.
    clock.set("2026-06-09T22:59:59Z".parse().unwrap());
    let before = reads().await;
    assert_eq!(before.registered_name, "Acme Limited");
    let (old, new) = ("Acme Limited".to_owned(), "Bolt Limited".to_owned());
    assert_eq!(
        found(&records, "acme").await,
        (SearchMatch::CurrentName, old.clone(), String::new())
    );
    assert_eq!(found(&records, "bolt").await, (SearchMatch::OtherName, old.clone(), new.clone()));
    clock.set("2026-06-09T23:00:00Z".parse().unwrap());
    let follows = || async {
        let after = reads().await;
        assert_eq!(after.registered_name, "Bolt Limited");
        let statuses: Vec<_> = after.entries.iter().map(Entry::status).collect();
        assert_eq!(statuses, [EntryStatus::Past, EntryStatus::Current]);
        assert_eq!(after.etag, before.etag);
        let search = (SearchMatch::OtherName, new.clone(), old.clone());
        assert_eq!(found(&records, "acme").await, search);
        let search = (SearchMatch::CurrentName, new.clone(), String::new());
        assert_eq!(found(&records, "bolt").await, search);
        after.version
    };
    assert_eq!(follows().await, before.version, "nothing was written yet");
    while step(&records).await.unwrap() {}
    assert_eq!(follows().await, before.version + 1);
}

async fn an_individual_is_found_by_the_name_of_the_day(t: TestDb) {
    let clock = clock();
    let records = replica(&t, &clock).await;
    let me = caller("manager");
    records.connect(me.clone(), "manager".parse().unwrap()).await.unwrap();
    let name = |surname: &str| PersonName {
        forename: "Grace".to_owned(),
        surname: surname.to_owned(),
        ..PersonName::default()
    };
    let person = PersonDraft {
        name: name("Okafor"),
        name_active_from: None,
        birth_date: None,
        nino: None,
        ppsn: None,
        emails: Vec::new(),
        phones: Vec::new(),
    };
    let draft = ClientDraft {
        client_type: ClientType::Individual,
        registered_name: None,
        ..company("OKA1")
    };
    let person = PersonCommand { draft: person, addresses: Vec::new() };
    let person = Some(WhichPerson::New(person));
    let command = ClientCommand { draft, person, addresses: Vec::new(), external_id: None };
    let created = records.create_client(me.clone(), intent(), command).await.unwrap();
    let person = created.client.unwrap().person_id;
    let now = records.person(&me, &person).await.unwrap();
    let command = HistoryCommand::Add {
        record: person.clone(),
        timeline: TimelineKey::PersonName,
        command: AddEntry {
            id: new_uuid(),
            value: Value::PersonName(name("Eze")),
            effective_on: Some("2026-03-10".parse().unwrap()),
        },
        current_etag: now.entries[0].etag.clone(),
        external_id: None,
    };
    records.change_history(me.clone(), intent(), command).await.unwrap();
    clock.set("2026-03-10T00:00:01Z".parse().unwrap());
    assert_eq!(records.person(&me, &person).await.unwrap().name.unwrap().surname, "Eze");
    for _ in 0..2 {
        for kind in [RecordKind::Client, RecordKind::Person] {
            let command =
                SearchCommand { query: "eze".to_owned(), kind: Some(kind), show_orphaned: false };
            let page = PageRequest { size: 10, token: String::new() };
            let answer = records.search(&me, command, page).await.unwrap();
            let [result] = answer.results.as_slice() else { panic!("{:?}", answer.results) };
            assert_eq!(result.r#match(), SearchMatch::CurrentName, "{kind:?}");
            assert_eq!(result.name, "Grace Eze");
        }
        while step(&records).await.unwrap() {}
    }
}

async fn an_etag_that_was_read_about_midnight_is_no_mismatch(t: TestDb) {
    for (read_at, job_first) in [
        ("2026-03-09T23:59:59Z", false),
        ("2026-03-09T23:59:59Z", true),
        ("2026-03-10T00:00:01Z", false),
        ("2026-03-10T00:00:01Z", true),
    ] {
        let clock = clock();
        let records = replica(&t, &clock).await;
        let id = with_client_called(&records, &format!("ETAG{}", new_uuid().simple())).await;
        schedule(&records, &id).await;
        clock.set(read_at.parse().unwrap());
        let (read, _) = records.client(&caller("manager"), &id).await.unwrap();
        let current = read.entries.iter().find(|e| e.status() == EntryStatus::Current).unwrap();
        clock.set("2026-03-10T00:00:01Z".parse().unwrap());
        if job_first {
            while step(&records).await.unwrap() {}
        }
        let command = UpdateCommand {
            record: id.clone(),
            edits: vec![ClientEdit::Phones(vec!["020 7946 0000".to_owned()])],
            etag: read.etag.clone(),
        };
        records.update_client(caller("manager"), intent(), command).await.unwrap();
        let command = HistoryCommand::Add {
            record: id.clone(),
            timeline: TimelineKey::RegisteredName,
            command: AddEntry {
                id: new_uuid(),
                value: Value::Name("Coyote Limited".to_owned()),
                effective_on: Some("2026-04-01".parse().unwrap()),
            },
            current_etag: current.etag.clone(),
            external_id: None,
        };
        records.change_history(caller("manager"), intent(), command).await.unwrap();
    }
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
    let raise = |fence| records.apply_chunk(import.clone(), Vec::new(), fence, false);
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
