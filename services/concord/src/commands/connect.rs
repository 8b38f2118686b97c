//! `concord connect`: connects a product to a practice.

use concord_proto::pb::records::{ConnectProductRequest, Connection};
use serde_json::json;

use crate::{
    call_error::CallError,
    cli::{CallOptions, ConnectOptions},
    client::ServiceClient,
    event_names::time,
    output,
};

pub(super) async fn run(options: ConnectOptions) -> anyhow::Result<u8> {
    let ConnectOptions { connected, mut call } = options;
    if call.credential.token.is_none() {
        // A product may connect itself: the first product of a practice has to.
        call.product.get_or_insert_with(|| connected.clone());
    }
    let practice = call.practice()?;
    let connection = connect(&call, connected.as_str()).await?;
    let when = connection.connect_time.as_ref().map(time).unwrap_or_default();
    if call.json {
        output::line(json!({
            "practice": practice.as_str(),
            "product": connection.product,
            "connect_time": when,
            "connected_by": connection.connected_by,
        }))?;
    } else {
        output::line(format_args!(
            "{} is connected to the practice {practice} since {when}",
            connection.product
        ))?;
    }
    Ok(output::EXIT_OK)
}

/// Connects the product to the practice of the options.
pub(super) async fn connect(call: &CallOptions, product: &str) -> anyhow::Result<Connection> {
    let server = ServiceClient::records(call).await?;
    let request = ConnectProductRequest { product: product.to_owned() };
    let answer = server.connections().connect_product(request).await.map_err(CallError)?;
    Ok(answer.into_inner().connection.unwrap_or_default())
}
