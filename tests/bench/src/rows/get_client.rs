//! `GetClient` by id, beside a bare tonic server that gives the same answer from
//! memory to the same callers.

use std::sync::Arc;

use anyhow::Context as _;
use shared::pb::records::{GetClientRequest, GetClientResponse};

use crate::{
    databases::{Databases, Engine},
    load::{Worker, closed_loop},
    measure::{Plan, alternate},
    report::Line,
    sample,
    service::{self, Clients, Service},
    statements::Recorder,
    yardsticks::echo,
};

/// Calls in flight: enough to saturate two cores.
const IN_FLIGHT: usize = 16;

pub(super) async fn measure(
    plan: &Plan,
    databases: &Databases,
    engine: Engine,
) -> anyhow::Result<Vec<Line>> {
    let database = databases.fresh(engine, "get_client").await?;
    let recorder = Recorder::default();
    let heard = Service::start(recorder.hear(database.clone())).await?;
    let Practice { ids, answer, statements } = fill(plan, &heard, &recorder).await?;
    heard.stop().await?;
    databases.settle(engine).await?;

    let service = Service::start(database).await?;
    let echo = echo::start(answer).await?;
    let callers = spread(&service.clients().await?, &ids, IN_FLIGHT);
    let echo_callers = spread(&service::clients(echo.url()).await?, &ids, IN_FLIGHT);
    let what = format!("get-client on {engine}");
    let ours = async |time| closed_loop(&callers, time).await;
    let yardstick = async |time| closed_loop(&echo_callers, time).await;
    let compared = alternate(plan, &what, ours, yardstick).await?;
    service.stop().await?;
    Ok(vec![Line {
        row: "get-client",
        database: engine,
        in_flight: IN_FLIGHT,
        statements,
        yardstick_name: "bare tonic echo",
        compared,
        target: match engine {
            Engine::Sqlite => 0.5,
            Engine::Postgres => 0.25,
        },
    }])
}

/// A practice with clients.
struct Practice {
    ids: Arc<[String]>,
    /// What is answered for one of them.
    answer: GetClientResponse,
    /// How many statements that takes.
    statements: usize,
}

async fn fill(plan: &Plan, service: &Service, recorder: &Recorder) -> anyhow::Result<Practice> {
    let ids = sample::fill(service, plan.clients).await?;
    let client = ids.first().context("a practice without clients")?;
    let mut caller = service.clients().await?.pop().context("no connection")?;
    let get = async || {
        let request = GetClientRequest { client: client.clone() };
        Ok(caller.get_client(request).await?.into_inner())
    };
    let [recording, _] = recorder.record(get).await?;
    let statements = recording.statements.len();
    Ok(Practice { ids: ids.into(), answer: recording.made_with, statements })
}

/// Reads client after client, beginning at one of its own.
#[derive(Clone)]
pub(super) struct Caller {
    clients: Clients,
    ids: Arc<[String]>,
    next: usize,
}

impl Worker for Caller {
    async fn call(&mut self) -> anyhow::Result<()> {
        let id = self.ids.get(self.next % self.ids.len()).context("a practice without clients")?;
        let answer = self.clients.get_client(GetClientRequest { client: id.clone() }).await?;
        answer.into_inner().client.context("an answer without its client")?;
        self.next += 1;
        Ok(())
    }
}

/// So many callers, over all connections, who begin apart from each other.
pub(super) fn spread(clients: &[Clients], ids: &Arc<[String]>, count: usize) -> Vec<Caller> {
    let callers = clients.iter().cycle().take(count).enumerate();
    let apart = ids.len() / count;
    let caller = |(n, clients): (usize, &Clients)| Caller {
        clients: clients.clone(),
        ids: Arc::clone(ids),
        next: n * apart,
    };
    callers.map(caller).collect()
}
