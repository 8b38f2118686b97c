//! The statements of a call on SQLite, with one commit per call: sequential transactions
//! through the same driver, with the same durability.

use std::time::{Duration, Instant};

use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, SqliteTransactionMode,
    TransactionOptions, TransactionTrait as _,
    sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous},
};

use crate::{
    load::micros,
    measure::{Sample, new_histogram},
    statements::Template,
};

/// The connection, and the statements that it repeats.
#[derive(Debug)]
pub(crate) struct Commits {
    connection: DatabaseConnection,
    template: Template,
}

impl Commits {
    /// Opens a database with existing tables.
    pub(crate) async fn open(url: &str, template: Template) -> anyhow::Result<Self> {
        let mut options = ConnectOptions::new(url);
        options.max_connections(1).sqlx_logging(false).map_sqlx_sqlite_opts(|options| {
            // The settings of the service.
            options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full)
        });
        Ok(Self { connection: Database::connect(options).await?, template })
    }

    /// Runs sequential transactions for `time`.
    pub(crate) async fn turn(&self, time: Duration) -> anyhow::Result<Sample> {
        let (mut latency, started) = (new_histogram()?, Instant::now());
        let mut begun = started;
        while begun < started + time {
            self.transaction().await?;
            let ended = Instant::now();
            latency.saturating_record(micros(ended - begun));
            begun = ended;
        }
        Ok(Sample::new(latency, started.elapsed()))
    }

    async fn transaction(&self) -> anyhow::Result<()> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let tx = self.connection.begin_with_options(options).await?;
        let bindings = self.template.bindings();
        for step in &self.template.steps {
            let statement = step.bind(&bindings);
            if !step.returns_rows() {
                tx.execute_raw(statement).await?;
                continue;
            }
            tx.query_all_raw(statement).await?;
        }
        Ok(tx.commit().await?)
    }
}
