//! Services on free ports over one database, in one or several replicas.

use std::time::Duration;

use crate::TestDb;
use concord_core::clock::Clock;
use concord_db::DatabaseSettings;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::caller::Caller;

/// The fixed clock of the services under test.
pub fn clock() -> Clock {
    Clock::fixed("2026-03-01T10:00:00Z".parse().unwrap())
}

/// A running replica. [`Running::stop`] shuts it down gracefully; otherwise it is
/// aborted when the test ends.
#[derive(Debug)]
pub struct Running {
    pub url: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Opens a connection to it.
    pub async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(self.url.clone()).unwrap();
        endpoint.connect_timeout(Duration::from_secs(5)).connect().await.unwrap()
    }

    /// A caller with the role owner, on a connection of its own.
    pub async fn owner(&self, practice: &str, product: &str) -> Caller {
        Caller::owner(self.channel().await, practice, product)
    }

    /// Drains it and waits until it has stopped.
    pub async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(30), self.task).await.unwrap().unwrap();
    }
}

/// Starts one replica of the records service.
pub async fn records(database: DatabaseSettings) -> Running {
    records_with(database, |_| {}).await
}

/// Starts one replica of the records service with other settings.
pub async fn records_with(
    database: DatabaseSettings,
    set: impl FnOnce(&mut records::RecordsConfig),
) -> Running {
    let listen = "127.0.0.1:0".parse().unwrap();
    let mut config = records::RecordsConfig::new(listen, database, clock());
    set(&mut config);
    let service = records::Application::build(config).await.unwrap();
    let url = format!("http://{}", service.address());
    let stop = CancellationToken::new();
    let run = service.run_until(stop.clone());
    Running { url, stop, task: tokio::spawn(async move { run.await.unwrap() }) }
}

/// Starts one replica of the imports service, over the records at `records_url`.
pub async fn imports(database: DatabaseSettings, records_url: &str) -> Running {
    imports_with(database, records_url, |_| {}).await
}

/// Starts one replica of the imports service with other settings.
pub async fn imports_with(
    database: DatabaseSettings,
    records_url: &str,
    set: impl FnOnce(&mut imports::ImportsConfig),
) -> Running {
    let listen = "127.0.0.1:0".parse().unwrap();
    let mut config = imports::ImportsConfig::new(listen, database, records_url, clock());
    set(&mut config);
    let service = imports::Application::build(config).await.unwrap();
    let url = format!("http://{}", service.address());
    let stop = CancellationToken::new();
    let run = service.run_until(stop.clone());
    Running { url, stop, task: tokio::spawn(async move { run.await.unwrap() }) }
}

/// The number of replicas that a test can start. One process owns an SQLite database.
pub fn replicas(db: &TestDb) -> usize {
    if db.is_postgres() { 2 } else { 1 }
}

/// Starts replicas of the records service until there are as many as the test can start.
pub async fn add_replicas(db: &TestDb, running: &mut Vec<Running>) {
    while running.len() < replicas(db) {
        running.push(records(db.settings()).await);
    }
}

/// Stops replicas.
pub async fn stop_all(running: Vec<Running>) {
    for replica in running {
        replica.stop().await;
    }
}
