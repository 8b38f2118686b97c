//! The background jobs at fixed times, with several concurrent replicas.

mod expiry;
mod failures;
mod purge;
mod query_plans;
mod rollover;

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
