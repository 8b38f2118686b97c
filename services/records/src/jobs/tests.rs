//! The background jobs at fixed times, with several concurrent replicas.

mod expiry;

use chrono::TimeDelta;
use concord_core::{
    access::Role,
    caller::{Caller, Product},
    clock::Clock,
    ids::new_uuid,
    rules::{
        draft::{ClientDraft, DatedName, Identifiers, PersonDraft, Reference},
        value::{PersonName, Value},
    },
};
use concord_db::{Database, TenantScope};
use concord_proto::{
    pb::records::{
        AuditEntry, ChangeKind, ClientType, Entry, EntryStatus, Jurisdiction, RecordKind,
        RecordState, SearchMatch, SearchResult,
    },
    rpc::Rpc,
};
use concord_server::meter::Meter;
use concord_testing::{TestDb, storage_tests};
use sea_orm::{ConnectionTrait as _, Statement};
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    domain::timeline::{AddEntry, TimelineKey},
    feed::Feed,
    migrations::Migrator,
    record_loader::RecordLoader,
    service::{
        create::{ClientCommand, PersonCommand, WhichPerson},
        history::HistoryCommand,
        links::LinkCommand,
        reading::PageRequest,
        request_context::RequestContext,
        support::SearchCommand,
        update::{ClientEdit, UpdateCommand},
    },
    store::{clients, feed::sequence::sequence},
};

storage_tests! {
    scheduled_name_becomes_current_at_midnight_once,
    rollover_after_downtime_is_recorded_before_later_changes,
    reads_and_searches_follow_the_date_before_the_job_runs,
    search_finds_individual_by_current_name,
    etag_read_around_midnight_still_matches,
    orphaned_client_is_purged_at_its_purge_time,
    link_before_purge_time_restores_client,
    fencing_token_expires_60_days_after_last_call,
    unreadable_record_does_not_block_other_jobs,
    unreadable_records_do_not_starve_the_round,
    feed_purge_is_split_into_rounds,
}

/// A replica of the service, without a server.
async fn replica(t: &TestDb, clock: &Clock) -> Records {
    replica_of(t.database().await, clock).await
}

async fn replica_of(db: Database, clock: &Clock) -> Records {
    db.migrate::<Migrator>().await.unwrap();
    let feed = Feed::new(db.clone(), clock.clone(), CancellationToken::new());
    Records {
        loader: RecordLoader::start(&db),
        analyze_schedule: std::sync::Arc::default(),
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
    caller_in("p1", product)
}

fn caller_in(practice: &str, product: &str) -> Caller {
    let practice = practice.parse().unwrap();
    let product: Product = product.parse().unwrap();
    Caller { product, roles: vec![Role::Owner, Role::Auditor], ..Caller::system(practice) }
}

fn context() -> RequestContext {
    let empty = concord_proto::pb::records::ListConnectionsRequest {};
    RequestContext::parse(Rpc::ClientCreateClient, &empty, &new_uuid().to_string(), false).unwrap()
}

/// Connects two products, and creates the client ACME01 by `manager`.
async fn with_client(records: &Records) -> String {
    with_client_in(records, "p1").await
}

/// A company with a reference and a name only.
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

async fn with_client_of_reference(records: &Records, reference: &str) -> String {
    with_client_of(records, "p1", reference).await
}

async fn with_client_in(records: &Records, practice: &str) -> String {
    with_client_of(records, practice, "ACME01").await
}

/// Connects two products to the practice, and creates the client by the first.
async fn with_client_of(records: &Records, practice: &str, reference: &str) -> String {
    let caller = |product| caller_in(practice, product);
    records.connect(caller("manager"), "manager".parse().unwrap()).await.unwrap();
    records.connect(caller("books"), "books".parse().unwrap()).await.unwrap();
    create_client(records, practice, reference).await
}

async fn create_client(records: &Records, practice: &str, reference: &str) -> String {
    let command = ClientCommand {
        draft: company(reference),
        person: None,
        addresses: Vec::new(),
        external_id: None,
        warnings: Vec::new(),
    };
    let manager = caller_in(practice, "manager");
    let created = records.create_client(manager, context(), command).await.unwrap();
    created.client.unwrap().id
}

/// Schedules the name `Bolt Limited` for the 10th of March.
async fn schedule(records: &Records, client: &str) {
    schedule_on(records, client, "2026-03-10").await;
}

async fn schedule_on(records: &Records, client: &str, day: &str) {
    schedule_of(records, "p1", client, day).await;
}

async fn schedule_in(records: &Records, practice: &str, client: &str) {
    schedule_of(records, practice, client, "2026-03-10").await;
}

async fn schedule_of(records: &Records, practice: &str, client: &str, day: &str) {
    let manager = caller_in(practice, "manager");
    let (now, _) = records.client(&manager, client).await.unwrap();
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
    records.change_history(manager, context(), command).await.unwrap();
}

/// The kinds of the client's changes, the latest first.
async fn kinds(records: &Records, client: &str) -> Vec<ChangeKind> {
    let page = PageRequest { size: 100, token: String::new() };
    let (entries, _) = records.audit(&caller("manager"), client, page).await.unwrap();
    entries.iter().map(AuditEntry::kind).collect()
}

/// Runs the jobs until no work is due. Asserts that none has failed.
async fn run_jobs(records: &Records) {
    let meter = Meter::new("records");
    let mut jobs = Jobs::new(records.clone(), &meter);
    while jobs.run_round().await {}
    assert_eq!(failed_jobs(&meter), [""; 0]);
}

/// The names of the jobs that have failed, with the number of failures.
fn failed_jobs(meter: &Meter) -> Vec<String> {
    let text = meter.text();
    let lines = text.lines().filter(|line| line.starts_with("concord_job_failures_total{"));
    let lines = lines.filter(|line| !line.ends_with(" 0"));
    let mut failed: Vec<String> =
        lines.map(|line| line.split_once("job=\"").unwrap().1.replace("\"}", "")).collect();
    failed.sort();
    failed
}

/// Runs the jobs of all replicas concurrently.
async fn run_all_jobs(replicas: &[Records]) {
    let steps = replicas
        .iter()
        .cloned()
        .map(|records| tokio::spawn(async move { run_jobs(&records).await }));
    for step in steps.collect::<Vec<_>>() {
        step.await.unwrap();
    }
}

/// Changes rows by SQL, bypassing the service.
async fn execute(records: &Records, sql: &str) {
    let (engine, sql) = (records.db.engine(), sql.to_owned());
    let written = records.db.write(TenantScope::AllPractices, move |tx| {
        let statement = Statement::from_string(engine, sql.clone());
        async move { tx.execute_raw(statement).await.map(drop) }
    });
    written.await.unwrap();
}

async fn count(records: &Records, of: &str) -> i64 {
    let sql = format!("SELECT COUNT(*) AS n FROM {of}");
    let statement = Statement::from_string(records.db.engine(), sql);
    let row = records.db.reader().query_one_raw(statement).await.unwrap().unwrap();
    row.try_get("", "n").unwrap()
}

async fn scheduled_name_becomes_current_at_midnight_once(t: TestDb) {
    let clock = clock();
    let replicas = replicas(&t, &clock).await;
    let client = with_client(&replicas[0]).await;
    schedule(&replicas[0], &client).await;
    clock.set("2026-03-09T23:59:59Z".parse().unwrap());
    run_all_jobs(&replicas).await;
    let (before, _) = replicas[0].client(&caller("manager"), &client).await.unwrap();
    assert_eq!(before.registered_name, "Acme Limited");

    clock.set("2026-03-10T00:00:00Z".parse().unwrap());
    run_all_jobs(&replicas).await;
    run_all_jobs(&replicas).await;
    let (after, _) = replicas[0].client(&caller("manager"), &client).await.unwrap();
    assert_eq!(after.registered_name, "Bolt Limited");
    assert_eq!(after.version, before.version + 1);
    assert_eq!(after.etag, before.etag, "the content is unchanged");
    let statuses: Vec<_> = after.entries.iter().map(Entry::status).collect();
    assert_eq!(statuses, [EntryStatus::Past, EntryStatus::Current]);
    assert_eq!(
        kinds(&replicas[0], &client).await,
        [ChangeKind::EntryBecameCurrent, ChangeKind::EntryScheduled, ChangeKind::Created]
    );
}

async fn rollover_after_downtime_is_recorded_before_later_changes(t: TestDb) {
    let clock = clock();
    let records = replica(&t, &clock).await;
    let client = with_client(&records).await;
    schedule(&records, &client).await;
    clock.set("2026-03-14T07:00:00Z".parse().unwrap());
    // A correction before the job runs: the rollover is recorded first nevertheless.
    let (now, _) = records.client(&caller("manager"), &client).await.unwrap();
    let scheduled = now.entries.last().unwrap();
    let id = concord_core::ids::parse(concord_core::ids::IdKind::Entry, &scheduled.id).unwrap();
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
    records.change_history(caller("manager"), context(), command).await.unwrap();
    run_jobs(&records).await;
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

/// The match, the name and the matched name of the only search result.
async fn found(records: &Records, query: &str) -> (SearchMatch, String, String) {
    let command = SearchCommand { query: query.to_owned(), kind: None, show_orphaned: false };
    let page = PageRequest { size: 10, token: String::new() };
    let mut answer = records.search(&caller("manager"), command, page).await.unwrap();
    assert_eq!(answer.results.len(), 1, "{query}");
    let SearchResult { name, matched_name, r#match, .. } = answer.results.remove(0);
    (SearchMatch::try_from(r#match).unwrap(), name, matched_name)
}

async fn reads_and_searches_follow_the_date_before_the_job_runs(t: TestDb) {
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
        let many = records.clients(&me, std::slice::from_ref(&id)).await.unwrap().clients;
        let (_, entries) = records.entries(&me, &id).await.unwrap();
        let summary = records.summary(&me, &id).await.unwrap();
        assert_eq!(listed, std::slice::from_ref(&client));
        assert_eq!(many, std::slice::from_ref(&client));
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
    assert_eq!(follows().await, before.version, "nothing is written yet");
    run_jobs(&records).await;
    assert_eq!(follows().await, before.version + 1);
}

async fn search_finds_individual_by_current_name(t: TestDb) {
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
    let person = PersonCommand { draft: person, addresses: Vec::new(), warnings: Vec::new() };
    let person = Some(WhichPerson::New(Box::new(person)));
    let command = ClientCommand {
        draft,
        person,
        addresses: Vec::new(),
        external_id: None,
        warnings: Vec::new(),
    };
    let created = records.create_client(me.clone(), context(), command).await.unwrap();
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
    records.change_history(me.clone(), context(), command).await.unwrap();
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
        run_jobs(&records).await;
    }
}

async fn etag_read_around_midnight_still_matches(t: TestDb) {
    for (read_at, job_first) in [
        ("2026-03-09T23:59:59Z", false),
        ("2026-03-09T23:59:59Z", true),
        ("2026-03-10T00:00:01Z", false),
        ("2026-03-10T00:00:01Z", true),
    ] {
        let clock = clock();
        let records = replica(&t, &clock).await;
        let id = with_client_of_reference(&records, &format!("ETAG{}", new_uuid().simple())).await;
        schedule(&records, &id).await;
        clock.set(read_at.parse().unwrap());
        let (read, _) = records.client(&caller("manager"), &id).await.unwrap();
        let current = read.entries.iter().find(|e| e.status() == EntryStatus::Current).unwrap();
        clock.set("2026-03-10T00:00:01Z".parse().unwrap());
        if job_first {
            run_jobs(&records).await;
        }
        let command = UpdateCommand {
            record: id.clone(),
            edits: vec![ClientEdit::Phones(vec!["020 7946 0000".to_owned()])],
            etag: read.etag.clone(),
        };
        records.update_client(caller("manager"), context(), command).await.unwrap();
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
        records.change_history(caller("manager"), context(), command).await.unwrap();
    }
}

async fn orphaned_client_is_purged_at_its_purge_time(t: TestDb) {
    let clock = clock();
    let replicas = replicas(&t, &clock).await;
    let records = &replicas[0];
    let client = with_client(records).await;
    let unlinked =
        records.unlink_client(caller("manager"), context(), client.clone()).await.unwrap();
    assert_eq!(unlinked.client.unwrap().state(), RecordState::Orphaned);
    assert_eq!(unlinked.change_ids.len(), 2, "unlinked, orphaned");
    clock.set("2026-03-15T09:59:59Z".parse().unwrap());
    run_all_jobs(&replicas).await;
    assert!(records.client(&caller("books"), &client).await.is_ok());
    clock.set("2026-03-15T10:00:00Z".parse().unwrap());
    run_all_jobs(&replicas).await;
    assert!(records.client(&caller("books"), &client).await.is_err());
    assert!(records.client(&caller("books"), "ref:ACME01").await.is_err());
    let purged = kinds(records, &client).await;
    assert_eq!(purged.iter().filter(|kind| **kind == ChangeKind::Purged).count(), 1);
}

async fn link_before_purge_time_restores_client(t: TestDb) {
    let clock = clock();
    let records = replica(&t, &clock).await;
    let client = with_client(&records).await;
    records.unlink_client(caller("manager"), context(), client.clone()).await.unwrap();
    clock.set("2026-03-14T10:00:00Z".parse().unwrap());
    let command = LinkCommand { record: client.clone(), external_id: None };
    let linked = records.link_client(caller("books"), context(), command).await.unwrap();
    assert_eq!(linked.client.unwrap().state(), RecordState::Active);
    clock.set("2026-04-14T10:00:00Z".parse().unwrap());
    run_jobs(&records).await;
    assert!(records.client(&caller("books"), &client).await.is_ok());
    assert_eq!(kinds(&records, &client).await[..2], [ChangeKind::Restored, ChangeKind::Linked]);
}

async fn fencing_token_expires_60_days_after_last_call(t: TestDb) {
    let clock = clock();
    let records = replica(&t, &clock).await;
    let import = Caller { import: Some(new_uuid()), ..caller("manager") };
    let raise = |fence| {
        let request =
            concord_proto::pb::internal::ApplyChunkRequest { fence, ..Default::default() };
        records.apply_chunk(import.clone(), request)
    };
    raise(5).await.unwrap();
    clock.set("2026-03-20T10:00:00Z".parse().unwrap());
    raise(6).await.unwrap();
    clock.set("2026-05-19T10:00:00Z".parse().unwrap());
    run_jobs(&records).await;
    assert!(raise(5).await.is_err(), "kept for 60 days");
    clock.set("2026-05-19T10:00:01Z".parse().unwrap());
    run_jobs(&records).await;
    raise(1).await.unwrap();
}

async fn unreadable_record_does_not_block_other_jobs(t: TestDb) {
    let clock = clock();
    let records = replica(&t, &clock).await;
    let mut clients = Vec::new();
    // The rows of the practice that sorts first are damaged.
    for practice in ["p1", "p2"] {
        let (orphaned, scheduled) = (
            with_client_in(&records, practice).await,
            create_client(&records, practice, "ACME02").await,
        );
        schedule_in(&records, practice, &scheduled).await;
        let manager = caller_in(practice, "manager");
        records.unlink_client(manager, context(), orphaned.clone()).await.unwrap();
        clients.push((orphaned, scheduled));
    }
    let import = Caller { import: Some(new_uuid()), ..caller("manager") };
    let chunk = concord_proto::pb::internal::ApplyChunkRequest { fence: 1, ..Default::default() };
    records.apply_chunk(import, chunk).await.unwrap();
    let damaged = "UPDATE client SET state = 'DAMAGED ' || state WHERE practice_id = 'p1'";
    execute(&records, damaged).await;
    assert!(count(&records, "request").await > 0);

    // More than 60 days later, all jobs have due work.
    clock.set("2026-05-15T10:00:00Z".parse().unwrap());
    let meter = Meter::new("records");
    let mut jobs = Jobs::new(records.clone(), &meter);
    while jobs.run_round().await {}
    let books = caller_in("p2", "books");
    assert!(records.client(&books, &clients[1].0).await.is_err(), "removed");
    let (client, _) = records.client(&books, &clients[1].1).await.unwrap();
    assert_eq!(client.registered_name, "Bolt Limited");
    assert_eq!(count(&records, "request").await, 0);
    assert_eq!(count(&records, "import_fence").await, 0);
    assert_eq!(failed_jobs(&meter), ["purge_clients 1", "turn_entries 1"]);

    // No retry before the backoff has passed, and one after it.
    clock.set("2026-05-15T10:00:19Z".parse().unwrap());
    while jobs.run_round().await {}
    assert_eq!(failed_jobs(&meter), ["purge_clients 1", "turn_entries 1"]);
    let mended = "UPDATE client SET state = REPLACE(state, 'DAMAGED ', '')";
    execute(&records, mended).await;
    clock.set("2026-05-15T10:00:20Z".parse().unwrap());
    while jobs.run_round().await {}
    assert_eq!(failed_jobs(&meter), ["purge_clients 1", "turn_entries 1"]);
    let books = caller("books");
    assert!(records.client(&books, &clients[0].0).await.is_err(), "removed");
    let (client, _) = records.client(&books, &clients[0].1).await.unwrap();
    assert_eq!(client.registered_name, "Bolt Limited");
}

async fn unreadable_records_do_not_starve_the_round(t: TestDb) {
    let clock = clock();
    let records = replica(&t, &clock).await;
    let client = with_client_in(&records, "p2").await;
    let manager = caller_in("p2", "manager");
    records.unlink_client(manager, context(), client.clone()).await.unwrap();
    // More than a round processes, and all due before the readable one.
    let id = if t.is_postgres() {
        "CAST('019b0000-0000-7000-8000-' || LPAD(CAST(n AS text), 12, '0') AS uuid)"
    } else {
        "CAST(PRINTF('%016d', n) AS blob)"
    };
    let sql = format!(
        "INSERT INTO client (practice_id, id, client_type, jurisdiction, reference, \
           reference_key, emails, phones, state, version, created_at, updated_at, image, purge_at) \
         WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 450) \
         SELECT 'p1', {id}, client_type, jurisdiction, reference, 'K' || n, emails, phones, \
           'DAMAGED', version, created_at, updated_at, image, created_at \
         FROM numbers CROSS JOIN client WHERE practice_id = 'p2'"
    );
    execute(&records, &sql).await;
    clock.set("2026-03-16T10:00:00Z".parse().unwrap());
    let meter = Meter::new("records");
    let mut jobs = Jobs::new(records.clone(), &meter);
    for _ in 0..4 {
        jobs.run_round().await;
    }
    assert!(records.client(&caller_in("p2", "books"), &client).await.is_err(), "removed");
    assert_eq!(failed_jobs(&meter), ["purge_clients 450"]);
}

async fn feed_purge_is_split_into_rounds(t: TestDb) {
    let clock = clock();
    let records = replica(&t, &clock).await;
    with_client(&records).await;
    let batches = i64::from(MAX_PURGE_BATCHES) + 1;
    let positions = retention::BATCH * batches;
    let id = if t.is_postgres() { "gen_random_uuid()" } else { "randomblob(16)" };
    // The feeds of two products, with the same changes.
    for sql in [
        "DELETE FROM feed_pending".to_owned(),
        "DELETE FROM feed_change".to_owned(),
        format!(
            "INSERT INTO feed_change (seq, id, practice_id, record_kind, record_id, \
               record_version, kind, changed_fields, companions, origin_product, origin_account, \
               origin_user, transaction_id, transaction_index, transaction_count, changed_at) \
             WITH RECURSIVE numbers(n) AS ( \
               SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {positions}) \
             SELECT n, {id}, 'p1', 'CLIENT', {id}, 1, 'CREATED', '[]', '[]', 'manager', 'main', \
               '', {id}, 0, 1, connected_at FROM numbers CROSS JOIN connection \
             WHERE product = 'books'"
        ),
        "INSERT INTO feed_entry (product, pos, seq, practice_id, linked, sequenced_at) \
         SELECT f.product, c.seq, c.seq, c.practice_id, true, c.changed_at \
         FROM feed_change c CROSS JOIN feed_product f"
            .to_owned(),
        format!("UPDATE feed_product SET head = {positions}"),
    ] {
        execute(&records, &sql).await;
    }
    clock.set("2026-04-02T10:00:00Z".parse().unwrap());
    let mut jobs = Jobs::new(records.clone(), &Meter::new("records"));
    assert!(jobs.run_round().await, "there is more to do");
    assert_eq!(count(&records, "feed_entry").await, 2 * retention::BATCH);
    assert_eq!(count(&records, "feed_change").await, retention::BATCH);
    assert!(!jobs.run_round().await);
    assert_eq!(count(&records, "feed_entry").await, 0);
    assert_eq!(count(&records, "feed_change").await, 0);
}

/// Tables that a plan of SQLite, which has no statistics, may scan: the feeds of the
/// products, and the common tables of the statement itself.
const SCAN_ALLOWED: [&str; 12] = [
    "f",
    "feed_product",
    "json_each",
    "later",
    "earlier",
    "either",
    "served",
    "bounded",
    "taken",
    "CONSTANT",
    "v",
    "n",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_scan_no_growing_table() {
    let (t, clock) = (TestDb::sqlite(), clock());
    let log = Arc::new(Mutex::new(Vec::<Statement>::new()));
    let sink = Arc::clone(&log);
    let observe = move |statement: &Statement| sink.lock().unwrap().push(statement.clone());
    let db = Database::connect(&t.settings().observed(observe)).await.unwrap();
    let records = replica_of(db, &clock).await;
    let (orphaned, scheduled) =
        (with_client(&records).await, create_client(&records, "p1", "ACME02").await);
    schedule(&records, &scheduled).await;
    records.unlink_client(caller("manager"), context(), orphaned).await.unwrap();
    log.lock().unwrap().clear();
    let now = clock.now();
    let sequenced = records.db.write(TenantScope::AllPractices, move |tx| async move {
        sequence(&*tx, "books", now).await
    });
    assert!(sequenced.await.unwrap() > 0);
    clock.set("2026-05-15T10:00:00Z".parse().unwrap());
    run_jobs(&records).await;
    let statements = log.lock().unwrap().clone();
    assert_eq!(count(&records, "feed_entry").await, 0, "purged");

    let (mut plans, mut scans) = (0, Vec::new());
    for statement in statements {
        // One text may contain several statements.
        for sql in statement.sql.split(';').map(str::trim) {
            if ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].iter().all(|w| !sql.starts_with(w))
            {
                continue;
            }
            let plan = Statement { sql: format!("EXPLAIN QUERY PLAN {sql}"), ..statement.clone() };
            for line in records.db.reader().query_all_raw(plan).await.unwrap() {
                let line: String = line.try_get("", "detail").unwrap();
                let table = line.strip_prefix("SCAN ").and_then(|of| of.split(' ').next());
                let is_list = |of: &str| of.starts_with(|c: char| c == '(' || c.is_ascii_digit());
                let is_table = |of: &str| !is_list(of) && !SCAN_ALLOWED.contains(&of);
                // A practice has few products, and many rows of all other tables.
                let is_of_practice =
                    line.ends_with("(practice_id=?)") && !line.contains(" connection ");
                // A batch of a feed is found by its positions or its changes, not by
                // practice.
                let by_practice = line.contains("feed_entry_practice");
                if table.is_some_and(is_table) || is_of_practice || by_practice {
                    scans.push(format!("{line}: {sql}"));
                }
                plans += 1;
            }
        }
    }
    assert!(scans.is_empty(), "{scans:#?}");
    assert!(plans > 50, "{plans}");
}
