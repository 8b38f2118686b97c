//! Imports records in random orders and batches. The results are equal for every order,
//! and equal to those of a naive implementation of the rules.
//!
//! To run more than twelve sets of records on each database:
//!
//! ```console
//! CONCORD_ORDERS=500 cargo test --release -p concord-tests --test it order
//! ```

mod naive;
mod sets;

use std::time::Duration;

use concord_proto::pb::imports::{
    CreateImportRequest, Failure, Import, ImportRecordKind, KindCounters,
};
use concord_testing::{TestDb, storage_tests};
use futures::StreamExt as _;

use self::{
    naive::{Kind, Line, Status, judge},
    sets::{Entry, entries},
};
use concord_testing::e2e::{
    caller::Caller,
    importing,
    records::all_clients,
    rng::{SeededRng, setting},
    servers,
};

storage_tests! { import_results_do_not_depend_on_record_order }

/// Sets of records on each database, unless `CONCORD_ORDERS` says otherwise.
const SETS: usize = 12;

/// Orders of each set.
const ORDERS: usize = 3;

/// Sets that are imported concurrently.
const CONCURRENCY: usize = 3;

async fn import_results_do_not_depend_on_record_order(db: TestDb) {
    let mut rng = SeededRng::from_env();
    let records = servers::records(db.settings()).await;
    let imports = servers::imports_with(db.sibling("imports"), &records.url, |config| {
        config.worker.imports_at_once = CONCURRENCY;
        // Several pages of each phase.
        config.worker.chunk_records = 5;
    });
    let imports = imports.await;
    let (records, imports) = (&records.channel().await, &imports.channel().await);
    let check = |(set, mut rng): (usize, SeededRng)| async move {
        let entries = entries(&mut rng);
        let expected = expected(&entries);
        let mut first: Option<ImportReport> = None;
        for order in 0..ORDERS {
            let practice = format!("p{set}-{order}");
            let callers = [records, imports]
                .map(|channel| Caller::owner(channel.clone(), &practice, "manager"));
            let report = run_import(&callers, &shuffled(&entries, &mut rng), &mut rng).await;
            assert_eq!(
                report.naive, expected,
                "{practice}: differs from the naive rules for {entries:#?}"
            );
            let first = first.get_or_insert_with(|| report.clone());
            assert_eq!(report, *first, "{practice}: another order of {entries:#?}");
        }
    };
    let sets = (0..setting("CONCORD_ORDERS", SETS)).map(|set| (set, rng.fork()));
    futures::stream::iter(sets.map(check)).buffer_unordered(CONCURRENCY).collect::<()>().await;
}

/// The results that the naive rules predict.
#[derive(Clone, Debug, PartialEq)]
struct Naive {
    /// Kind, source id, status and reason of each violation, sorted.
    lines: Vec<(Kind, String, Line)>,
    /// Imported, skipped, excluded, failed and blocked records of each kind. Failed
    /// includes blocked.
    counts: Vec<[i64; 5]>,
    /// The references of the clients that were created, sorted.
    created: Vec<String>,
}

/// The results of an import, without its id and the positions of its records.
#[derive(Clone, Debug, PartialEq)]
struct ImportReport {
    naive: Naive,
    counters: Vec<KindCounters>,
    /// With all texts, sorted.
    failures: Vec<String>,
}

fn expected(entries: &[Entry]) -> Naive {
    let (mut lines, mut created) = (Vec::new(), Vec::new());
    let mut counts = vec![[0; 5]; Kind::ALL.len()];
    for (at, entry) in entries.iter().enumerate() {
        let (status, reasons) = judge(entries, at);
        let counts = &mut counts[entry.kind as usize];
        counts[status as usize] += 1;
        // The counter of failed records includes blocked ones.
        counts[Status::Failed as usize] += i64::from(status == Status::Blocked);
        if (status, entry.kind) == (Status::Imported, Kind::Client) {
            created.push(entry.reference.clone());
        }
        let line = |reason| (entry.kind, entry.source_id.clone(), Line { status, reason });
        lines.extend(reasons.into_iter().map(line));
    }
    lines.sort();
    created.sort();
    Naive { lines, counts, created }
}

/// Imports the records in this order, in batches of random size. Uploads some batches
/// twice.
async fn run_import(
    [manager, caller]: &[Caller; 2],
    records: &[Vec<u8>],
    rng: &mut SeededRng,
) -> ImportReport {
    manager.clone().connect().await;
    let id = importing::create(caller, CreateImportRequest::default()).await;
    let batches: Vec<_> = records.chunks(1 + rng.below(records.len())).collect();
    for (number, batch) in batches.iter().enumerate() {
        for _ in 0..=rng.below(2) {
            importing::upload(caller, &id, &format!("b{number}"), batch).await.unwrap();
        }
    }
    importing::seal(caller, &id, batches.len(), records.len()).await.unwrap();
    let import = end(caller, &id).await;
    let failures = importing::failures(caller, &id).await;
    let naive = Naive {
        lines: lines(&failures),
        counts: Kind::ALL.map(|kind| counts(&import, kind)).to_vec(),
        created: clients(manager).await,
    };
    let without_position =
        |failure| Failure { batch_key: String::new(), row: 0, row_token: String::new(), ..failure };
    let mut failures: Vec<_> =
        failures.into_iter().map(|failure| format!("{:?}", without_position(failure))).collect();
    failures.sort();
    ImportReport { naive, counters: import.counters_by_kind, failures }
}

fn shuffled(entries: &[Entry], rng: &mut SeededRng) -> Vec<Vec<u8>> {
    let mut records: Vec<_> = entries.iter().map(|entry| entry.encoded.clone()).collect();
    for at in (1..records.len()).rev() {
        records.swap(at, rng.below(at + 1));
    }
    records
}

/// Waits for the end of an import. `WatchImport` polls at a longer interval.
async fn end(caller: &Caller, id: &str) -> Import {
    let ended = async {
        loop {
            let import = importing::get(caller, id).await;
            if import.end_time.is_some() {
                return import;
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), ended).await.expect("an end in time")
}

async fn clients(manager: &Caller) -> Vec<String> {
    let all = all_clients(manager).await.into_iter();
    let mut references: Vec<_> = all.map(|one| one.client_reference).collect();
    references.sort();
    references
}

fn lines(failures: &[Failure]) -> Vec<(Kind, String, Line)> {
    let line = |failure: &Failure| {
        let kind = Kind::ALL.into_iter().find(|kind| wire(*kind) == failure.kind()).unwrap();
        let status = failure.status();
        let status = status.as_str_name().strip_prefix("RECORD_STATUS_").unwrap();
        let status = Status::ALL.into_iter().find(|one| one.name() == status).unwrap();
        (kind, failure.source_id.clone(), Line { status, reason: reason(&failure.reason) })
    };
    let mut lines: Vec<_> = failures.iter().map(line).collect();
    lines.sort();
    lines
}

/// The reason, if the naive rules have it.
fn reason(code: &str) -> &'static str {
    naive::REASONS.into_iter().find(|reason| *reason == code).unwrap_or("ANOTHER")
}

fn counts(import: &Import, kind: Kind) -> [i64; 5] {
    let mut counters = import.counters_by_kind.iter();
    let counters = counters.find(|counters| counters.kind() == wire(kind));
    let Some(counters) = counters.and_then(|counters| counters.counters) else { return [0; 5] };
    assert_eq!((counters.linked, counters.unprocessed), (0, 0));
    [counters.imported, counters.skipped, counters.excluded, counters.failed, counters.blocked]
}

fn wire(kind: Kind) -> ImportRecordKind {
    match kind {
        Kind::Client => ImportRecordKind::Client,
        Kind::Contact => ImportRecordKind::Contact,
        Kind::Address => ImportRecordKind::Address,
    }
}
