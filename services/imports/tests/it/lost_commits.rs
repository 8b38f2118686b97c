//! Tests lost responses of the database: the page of a worker is committed, and the
//! worker does not get the response. On PostgreSQL, through a proxy.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use concord_db::DatabaseSettings;
use concord_proto::pb::imports::ImportState;
use concord_testing::{TestDb, e2e::fake_records::FakeRecords};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    support::{Replica, client, quick},
    worker::{assert_created_once, many},
};

/// The phases of the worker.
const PHASES: [&str; 10] = [
    "reset",
    "index",
    "replace",
    "keys",
    "references",
    "periods",
    "parents",
    "clients",
    "contacts",
    "addresses",
];

/// By phase: the number of committed pages, and of lost responses.
type Commits = Arc<Mutex<BTreeMap<&'static str, (usize, usize)>>>;

/// A `COMMIT` message, as the driver sends it.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// A proxy for PostgreSQL that drops the response to every other commit of a page.
async fn proxy(server: SocketAddr, commits: Commits) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(forward(client, server, Arc::clone(&commits)));
        }
    });
    address
}

/// Forwards until a side disconnects or a response is dropped.
async fn forward(mut client: TcpStream, server: SocketAddr, commits: Commits) {
    let mut server = TcpStream::connect(server).await.unwrap();
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    let mut transaction = Vec::new();
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                let sent = &asked[..length];
                transaction.extend(sent);
                let ends = sent.ends_with(COMMIT);
                let loses = ends && loses(&transaction, &commits);
                if ends {
                    transaction.clear();
                }
                if server.write_all(sent).await.is_err() {
                    return;
                }
                if loses {
                    // The response means that it is committed.
                    let _ = server.read(&mut answered).await;
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Whether a transaction writes a page whose response is dropped: the first and every
/// other one of each phase.
fn loses(transaction: &[u8], commits: &Commits) -> bool {
    let find = |value: &[u8]| transaction.windows(value.len()).rposition(|window| window == value);
    // The worker binds the state and the phase one after the other.
    let states = ["RESOLVING", "APPLYING"];
    let moves = |phase: &&str| {
        states.iter().any(|state| find(&[value(state), value(phase)].concat()).is_some())
    };
    if !PHASES.iter().any(moves) {
        return false;
    }
    // The phase of the page is the last bound phase.
    let found = PHASES.iter().filter_map(|phase| Some((find(&value(phase))?, *phase)));
    let Some((_, phase)) = found.max() else { return false };
    let mut commits = commits.lock().unwrap();
    let (done, lost) = commits.entry(phase).or_default();
    *done += 1;
    *lost += *done % 2;
    *done % 2 == 1
}

/// A text value, as the driver sends it.
fn value(text: &str) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

fn through(t: &TestDb, proxy: SocketAddr) -> (SocketAddr, DatabaseSettings) {
    let (before, rest) = t.url().split_once('@').unwrap();
    let (server, rest) = rest.split_once('/').unwrap();
    let settings = DatabaseSettings::new(format!("{before}@{proxy}/{rest}")).max_connections(6);
    (server.parse().unwrap(), settings)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_with_lost_commit_response_is_written_once() {
    let Some(t) = TestDb::postgres().await else { return };
    let commits = Commits::default();
    let (server, _) = through(&t, "127.0.0.1:1".parse().unwrap());
    let (_, settings) = through(&t, proxy(server, Arc::clone(&commits)).await);
    let (fake, records) = FakeRecords::start(&["manager"]).await;
    let worker = imports::WorkerSettings { chunk_records: 10, ..quick() };
    let replica = Replica::on(settings, records, |config| config.worker = worker).await;
    let mut owner = replica.owner();
    let import = owner.create().await;
    let mut batch = many(40);
    batch.push(client("WRONG", |client| client.registered_name.clear()));
    owner.upload(&import, "one", &batch).await.unwrap();
    owner.seal(&import, 1, batch.len()).await.unwrap();
    let ended = owner.ended(&import).await;
    let counters = ended.counters.unwrap();
    assert_eq!((counters.imported, counters.failed, counters.received), (120, 1, 121));

    owner.retry(&import, true, 2).await;
    owner.upload(&import, "two", &[client("WRONG", |_| ())]).await.unwrap();
    owner.seal(&import, 1, 1).await.unwrap();
    let ended = owner.ended(&import).await;
    assert_eq!((ended.state(), ended.counters.unwrap().imported), (ImportState::Completed, 121));
    assert_created_once(&fake, 121);
    let commits = commits.lock().unwrap().clone();
    assert_eq!(commits.len(), PHASES.len(), "{commits:?}");
    assert!(commits.values().all(|(_, lost)| *lost > 0), "{commits:?}");
    replica.stop().await;
}
