//! `CreateClient`, compared with its statements: by pgbench on PostgreSQL, with the same
//! concurrency; on SQLite with one commit per call, where the service uses group commits.

use std::time::Duration;

use anyhow::Context as _;

use crate::{
    databases::{Databases, Engine},
    load::{Worker, closed_loop},
    measure::{Compared, Plan, Sample, alternate},
    report::Line,
    sample::{self, UniqueValues},
    service::{Clients, Service},
    statements::{Recorder, Template},
    yardsticks::{commits::Commits, pgbench::Pgbench},
};

/// The names of the databases of the service and its yardstick.
const SERVICE: &str = "create_client";
const YARDSTICK: &str = "create_client_yardstick";

pub(super) async fn measure(
    plan: &Plan,
    databases: &Databases,
    engine: Engine,
) -> anyhow::Result<Vec<Line>> {
    let template = record(plan, databases, engine).await?;
    let service = Service::start(databases.fresh(engine, SERVICE).await?).await?;
    sample::fill(&service, plan.clients).await?;
    databases.analyze(engine).await?;
    let bench = Bench { plan, databases, template, clients: service.clients().await? };
    let lines = match engine {
        Engine::Sqlite => vec![bench.on_sqlite(16).await?],
        Engine::Postgres => {
            let mut pgbench = Pgbench::new(YARDSTICK, &bench.template)?;
            let many = bench.on_postgres(&mut pgbench, 16).await?;
            vec![many, bench.on_postgres(&mut pgbench, 1).await?]
        }
    };
    service.stop().await?;
    Ok(lines)
}

/// Creates and fills the tables of the yardstick with the service, and records the
/// statements of a call.
async fn record(plan: &Plan, databases: &Databases, engine: Engine) -> anyhow::Result<Template> {
    let recorder = Recorder::default();
    let database = databases.fresh(engine, YARDSTICK).await?;
    let service = Service::start(recorder.observe(database)).await?;
    sample::fill(&service, plan.clients).await?;
    let mut caller = Caller { clients: service.clients().await?.pop().context("no connection")? };
    let recordings = recorder.record(async || caller.create().await).await?;
    service.stop().await?;
    Template::of(&recordings)
}

struct Bench<'a> {
    plan: &'a Plan,
    databases: &'a Databases,
    template: Template,
    clients: Vec<Clients>,
}

impl Bench<'_> {
    async fn on_sqlite(&self, in_flight: usize) -> anyhow::Result<Line> {
        let url = self.databases.sqlite_url(YARDSTICK);
        let commits = Commits::open(&url, self.template.clone()).await?;
        let yardstick = async |time| commits.turn(time).await;
        let compared = self.compare(Engine::Sqlite, in_flight, yardstick).await?;
        Ok(self.line(Engine::Sqlite, in_flight, "one commit per call", compared, 2.0))
    }

    async fn on_postgres(&self, pgbench: &mut Pgbench, in_flight: usize) -> anyhow::Result<Line> {
        let cluster = self.databases.cluster()?;
        let yardstick = async |time| pgbench.turn(cluster, in_flight, time).await;
        let compared = self.compare(Engine::Postgres, in_flight, yardstick).await?;
        Ok(self.line(Engine::Postgres, in_flight, "pgbench, prepared", compared, 0.6))
    }

    async fn compare(
        &self,
        engine: Engine,
        in_flight: usize,
        yardstick: impl AsyncFnMut(Duration) -> anyhow::Result<Sample>,
    ) -> anyhow::Result<Compared> {
        let callers = spread(&self.clients, in_flight);
        let what = format!("create-client on {engine}, {in_flight} in flight");
        let figure = async |time| closed_loop(&callers, time).await;
        alternate(self.plan, &what, figure, yardstick).await
    }

    fn line(
        &self,
        database: Engine,
        in_flight: usize,
        yardstick_name: &'static str,
        compared: Compared,
        target: f64,
    ) -> Line {
        let (row, statements) = ("create-client", self.template.steps.len());
        Line { row, database, in_flight, statements, yardstick_name, compared, target }
    }
}

/// Creates clients sequentially.
#[derive(Clone)]
pub(super) struct Caller {
    clients: Clients,
}

impl Caller {
    async fn create(&mut self) -> anyhow::Result<UniqueValues> {
        let unique = UniqueValues::next();
        let response = self.clients.create_client(sample::request(&unique)).await?;
        response.into_inner().client.context("a response has no client")?;
        Ok(unique)
    }
}

impl Worker for Caller {
    async fn call(&mut self) -> anyhow::Result<()> {
        self.create().await.map(drop)
    }
}

/// `count` callers, distributed over the connections.
pub(super) fn spread(clients: &[Clients], count: usize) -> Vec<Caller> {
    let clients = clients.iter().cycle().take(count).cloned();
    clients.map(|clients| Caller { clients }).collect()
}
