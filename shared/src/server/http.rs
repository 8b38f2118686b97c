//! The port for machines that watch a service: `/metrics`, `/livez`, `/readyz`.
//!
//! It tells numbers only, and is bounded: a few connections at a time, the newest of
//! them, each for one question and a few seconds.

mod listener;

use axum::{
    Router,
    extract::State as Of,
    http::{HeaderName, StatusCode, header},
    routing::get,
};
use tokio::net::TcpListener;

use super::health::{Readiness, State};
use crate::{db::Database, meter::Meter};
use listener::BoundedListener;

/// What the answers are taken from.
#[derive(Clone, Debug)]
struct Seen {
    meter: Meter,
    readiness: Readiness,
    db: Database,
}

type Answer = (StatusCode, [(HeaderName, &'static str); 2], String);

/// The format of Prometheus.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Answers until it is dropped.
pub(super) async fn serve(listener: TcpListener, meter: Meter, readiness: Readiness, db: Database) {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(Seen { meter, readiness, db });
    if let Err(error) = axum::serve(BoundedListener::new(listener), routes).await {
        tracing::error!(%error, "the port of the metrics broke");
    }
}

async fn metrics(Of(seen): Of<Seen>) -> Answer {
    answer(StatusCode::OK, METRICS, seen.meter.text())
}

/// The process runs, and takes its turns. Not whether it can serve: a process that
/// is restarted because its database is away only makes things worse.
async fn livez() -> Answer {
    answer(StatusCode::OK, TEXT, "alive\n".to_owned())
}

async fn readyz(Of(seen): Of<Seen>) -> Answer {
    let state = seen.readiness.state();
    let status = match state {
        State::Ready => StatusCode::OK,
        State::NoDatabase | State::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    answer(status, TEXT, format!("{}\n", state.text(seen.db.takes_no_writes())))
}

/// One answer a connection.
fn answer(status: StatusCode, kind: &'static str, text: String) -> Answer {
    (status, [(header::CONTENT_TYPE, kind), (header::CONNECTION, "close")], text)
}
