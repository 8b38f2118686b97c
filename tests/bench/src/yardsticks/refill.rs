//! The rows that a service has written, inserted again into empty tables of the same schema:
//! by COPY on PostgreSQL, by INSERT … SELECT on SQLite; with the same durability.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement, TryGetable};

use crate::{
    databases::{Databases, Engine},
    report::Figure,
    turns::Turns,
};

/// The service that the tables belong to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tables {
    Records,
    Imports,
}

/// The rows of one statement.
#[derive(Clone, Debug)]
struct Part {
    table: String,
    /// The condition for the rows.
    filter: String,
    /// The file of the rows on PostgreSQL.
    file: PathBuf,
}

/// The rows to insert: in files on PostgreSQL, in the source database on SQLite.
#[derive(Debug)]
pub(crate) struct Refill<'d> {
    databases: &'d Databases,
    engine: Engine,
    tables: Tables,
    source: String,
    /// The rows of each transaction.
    transactions: Vec<Vec<Part>>,
}

impl<'d> Refill<'d> {
    /// All rows of `source`, in one transaction.
    pub(crate) async fn of_all(
        databases: &'d Databases,
        engine: Engine,
        tables: Tables,
        source: &str,
    ) -> anyhow::Result<Self> {
        let db = databases.open(engine, source).await?;
        let names = names(&db, engine, source).await?;
        // A condition prevents that SQLite copies whole pages (transfer optimization), also of
        // the indexes.
        let rows = names.into_iter().map(|table| (table, "true".to_owned())).collect();
        Self::of(databases, engine, tables, source, db, vec![rows]).await
    }

    /// The staged records of `source`, one transaction per batch.
    pub(crate) async fn of_staged(
        databases: &'d Databases,
        engine: Engine,
        source: &str,
    ) -> anyhow::Result<Self> {
        let db = databases.open(engine, source).await?;
        let batches: Vec<i64> =
            column(&db, "SELECT ordinal FROM import_batch ORDER BY ordinal").await?;
        let rows = |batch| vec![("import_staged".to_owned(), format!("batch = {batch}"))];
        let transactions = batches.into_iter().map(rows).collect();
        Self::of(databases, engine, Tables::Imports, source, db, transactions).await
    }

    async fn of(
        databases: &'d Databases,
        engine: Engine,
        tables: Tables,
        source: &str,
        db: DatabaseConnection,
        transactions: Vec<Vec<(String, String)>>,
    ) -> anyhow::Result<Self> {
        let folder = match engine {
            Engine::Sqlite => PathBuf::new(),
            Engine::Postgres => folder(&db).await?,
        };
        let parts = |(index, rows): (usize, Vec<(String, String)>)| {
            let part = |(table, filter)| {
                let file = folder.join(format!("{source}.{index}.{table}"));
                Part { table, filter, file }
            };
            rows.into_iter().map(part).collect()
        };
        let transactions = transactions.into_iter().enumerate().map(parts).collect();
        let source = source.to_owned();
        let refill = Self { databases, engine, tables, source, transactions };
        if engine == Engine::Postgres {
            refill.dump(&db).await?;
        }
        db.close().await?;
        Ok(refill)
    }

    /// Writes the rows to files and flushes them.
    async fn dump(&self, db: &DatabaseConnection) -> anyhow::Result<()> {
        for Part { table, filter, file } in self.transactions.iter().flatten() {
            let rows = format!("SELECT * FROM {table} WHERE {filter}");
            let file = file.display();
            db.execute_unprepared(&format!("COPY ({rows}) TO '{file}' (FORMAT binary)")).await?;
        }
        for part in self.transactions.iter().flatten() {
            fs::File::open(&part.file)?.sync_all()?;
        }
        Ok(())
    }

    /// Fills empty tables and returns the duration. Each `name` may be used once.
    async fn turn(&self, name: &str) -> anyhow::Result<Duration> {
        let settings = self.databases.fresh(self.engine, name).await?;
        match self.tables {
            Tables::Records => records::migrate(settings, None).await?,
            Tables::Imports => imports::migrate(settings, None).await?,
        };
        let db = self.databases.open(self.engine, name).await?;
        if self.engine == Engine::Sqlite {
            let source = self.databases.sqlite_file(&self.source);
            db.execute_unprepared(&format!("ATTACH '{}' AS source", source.display())).await?;
        }
        let started = Instant::now();
        for parts in &self.transactions {
            let statements: Vec<String> = parts.iter().map(|part| self.statement(part)).collect();
            let begin = if self.engine == Engine::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" };
            let transaction = format!("{begin}; {}; COMMIT", statements.join("; "));
            db.execute_unprepared(&transaction).await?;
        }
        let took = started.elapsed();
        db.close().await?;
        self.databases.remove(self.engine, name).await?;
        Ok(took)
    }

    /// Compares a quantity, in amounts per second, with the insertion of the rows, and removes
    /// the rows. `first` is the turn of the figure that has written them.
    pub(crate) async fn compare(
        self,
        line: Figure,
        rounds: u32,
        amount: f64,
        first: Duration,
        figure: impl AsyncFnMut(u32) -> anyhow::Result<Duration>,
    ) -> anyhow::Result<Figure> {
        let (row, engine) = (line.row, self.engine);
        let yardstick = async |round| {
            self.databases.checkpoint(engine).await?;
            self.turn(&format!("{row}_yardstick_{round}")).await
        };
        let what = format!("{row} on {engine}");
        let turns = Turns::run(what, rounds, amount, first, figure, yardstick).await?;
        let line = turns.into_figure(self.name(), line);
        self.remove().await?;
        Ok(line)
    }

    fn statement(&self, Part { table, filter, file }: &Part) -> String {
        match self.engine {
            Engine::Sqlite => {
                format!("INSERT INTO main.{table} SELECT * FROM source.{table} WHERE {filter}")
            }
            Engine::Postgres => {
                format!("COPY {table} FROM '{}' (FORMAT binary)", file.display())
            }
        }
    }

    /// The name in the report.
    const fn name(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite => "INSERT … SELECT",
            Engine::Postgres => "COPY",
        }
    }

    /// Removes the rows.
    async fn remove(self) -> anyhow::Result<()> {
        if self.engine == Engine::Postgres {
            for part in self.transactions.iter().flatten() {
                fs::remove_file(&part.file)?;
            }
        }
        self.databases.remove(self.engine, &self.source).await
    }
}

/// The tables of a service, except the migrations table.
async fn names(
    db: &DatabaseConnection,
    engine: Engine,
    source: &str,
) -> anyhow::Result<Vec<String>> {
    let query = match engine {
        Engine::Sqlite => "SELECT name FROM sqlite_schema WHERE type = 'table'
             AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '%_migrations' ORDER BY name"
            .to_owned(),
        Engine::Postgres => format!(
            "SELECT CAST(tablename AS text) FROM pg_tables WHERE schemaname = '{source}'
             AND tablename NOT LIKE '%_migrations' ORDER BY tablename"
        ),
    };
    column(db, &query).await
}

/// The data folder of the server, where it can write.
async fn folder(db: &DatabaseConnection) -> anyhow::Result<PathBuf> {
    let folder: Vec<String> = column(db, "SELECT current_setting('data_directory')").await?;
    Ok(folder.into_iter().next().context("the server has no data folder")?.into())
}

/// The only column of a query.
async fn column<T: TryGetable>(db: &DatabaseConnection, query: &str) -> anyhow::Result<Vec<T>> {
    let query = Statement::from_string(db.get_database_backend(), query);
    let rows = db.query_all_raw(query).await?;
    rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}
