//! The HTTP port of monitoring: `/metrics`, `/livez`, `/readyz`.
//!
//! It serves numbers only. The number of connections and the time of each are bounded; a
//! connection serves one request, and a new connection replaces the oldest.

mod listener;

use axum::{
    Router,
    extract::State as Of,
    http::{HeaderName, StatusCode, header},
    routing::get,
};
use tokio::net::TcpListener;

use super::health::{Readiness, State};
use crate::meter::Meter;
use concord_db::Database;
use listener::BoundedListener;

/// The sources of the responses.
#[derive(Clone, Debug)]
struct Sources {
    meter: Meter,
    readiness: Readiness,
    db: Database,
}

type Answer = (StatusCode, [(HeaderName, &'static str); 2], String);

/// The text format of Prometheus.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Serves the port until the future is dropped.
pub(super) async fn serve(listener: TcpListener, meter: Meter, readiness: Readiness, db: Database) {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(Sources { meter, readiness, db });
    if let Err(error) = axum::serve(BoundedListener::new(listener), routes).await {
        tracing::error!(%error, "the metrics port failed");
    }
}

async fn metrics(Of(sources): Of<Sources>) -> Answer {
    answer(StatusCode::OK, METRICS, sources.meter.text())
}

/// Liveness: the process responds. It does not depend on the database, because a restart
/// does not repair an unreachable database.
async fn livez() -> Answer {
    answer(StatusCode::OK, TEXT, "alive\n".to_owned())
}

/// Readiness: the replica can serve calls.
async fn readyz(Of(sources): Of<Sources>) -> Answer {
    let state = sources.readiness.state();
    let status = match state {
        State::Ready => StatusCode::OK,
        State::NoDatabase | State::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    answer(status, TEXT, format!("{}\n", state.text(sources.db.write_outage())))
}

/// A response that closes its connection.
fn answer(status: StatusCode, kind: &'static str, text: String) -> Answer {
    (status, [(header::CONTENT_TYPE, kind), (header::CONNECTION, "close")], text)
}
