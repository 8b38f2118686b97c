//! `GetClient` by id, compared with a bare tonic server that gives the same response from
//! memory.

use std::sync::Arc;

use anyhow::Context as _;
use concord_proto::pb::records::{GetClientRequest, GetClientResponse};

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

/// Concurrent calls: enough to saturate two cores.
const IN_FLIGHT: usize = 16;

pub(super) async fn measure(
    plan: &Plan,
    databases: &Databases,
    engine: Engine,
) -> anyhow::Result<Vec<Line>> {
    let database = databases.fresh(engine, "get_client").await?;
    let recorder = Recorder::default();
    let observed = Service::start(recorder.observe(database.clone())).await?;
    let Practice { ids, response, statements } = fill(plan, &observed, &recorder).await?;
    observed.stop().await?;
    databases.analyze(engine).await?;

    let service = Service::start(database).await?;
    let echo = echo::start(response).await?;
    let callers = spread(&service.clients().await?, &ids, IN_FLIGHT);
    let echo_callers = spread(&service::clients(echo.url()).await?, &ids, IN_FLIGHT);
    let what = format!("get-client on {engine}");
    let figure = async |time| closed_loop(&callers, time).await;
    let yardstick = async |time| closed_loop(&echo_callers, time).await;
    let compared = alternate(plan, &what, figure, yardstick).await?;
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
    /// The response for one client.
    response: GetClientResponse,
    /// Number of statements of a call.
    statements: usize,
}

async fn fill(plan: &Plan, service: &Service, recorder: &Recorder) -> anyhow::Result<Practice> {
    let ids = sample::fill(service, plan.clients).await?;
    let client = ids.first().context("the practice has no clients")?;
    let mut caller = service.clients().await?.pop().context("no connection")?;
    let get = async || {
        let request = GetClientRequest { client: client.clone() };
        Ok(caller.get_client(request).await?.into_inner())
    };
    let [recording, _] = recorder.record(get).await?;
    let statements = recording.statements.len();
    Ok(Practice { ids: ids.into(), response: recording.made_with, statements })
}

/// Reads clients sequentially, from its own start.
#[derive(Clone)]
pub(super) struct Caller {
    clients: Clients,
    ids: Arc<[String]>,
    next: usize,
}

impl Worker for Caller {
    async fn call(&mut self) -> anyhow::Result<()> {
        let id = self.ids.get(self.next % self.ids.len()).context("the practice has no clients")?;
        let response = self.clients.get_client(GetClientRequest { client: id.clone() }).await?;
        response.into_inner().client.context("a response has no client")?;
        self.next += 1;
        Ok(())
    }
}

/// `count` callers, distributed over the connections, with different starts.
pub(super) fn spread(clients: &[Clients], ids: &Arc<[String]>, count: usize) -> Vec<Caller> {
    let callers = clients.iter().cycle().take(count).enumerate();
    let distance = ids.len() / count;
    let caller = |(n, clients): (usize, &Clients)| Caller {
        clients: clients.clone(),
        ids: Arc::clone(ids),
        next: n * distance,
    };
    callers.map(caller).collect()
}
