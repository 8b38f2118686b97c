//! `concord connect`: connects a product to a practice.

use concord_proto::pb::records::{ConnectProductRequest, Connection};
use serde_json::Value;

use crate::{
    cli::{CallOptions, ConnectOptions},
    client::{CallError, ServiceClient},
    render::{json::message_json, names::time, output},
};

pub(super) async fn run(options: ConnectOptions) -> anyhow::Result<u8> {
    let ConnectOptions { connected, mut call } = options;
    if call.credential.token.is_none() {
        // A product may connect itself: the first product of a practice has to.
        call.product.get_or_insert_with(|| connected.clone());
    }
    let practice = call.practice()?;
    let connection = connect(&call, connected.as_str()).await?;
    if call.json {
        let mut object = message_json("concord.records.v1.Connection", &connection)?;
        object.insert("practice_id".to_owned(), practice.as_str().into());
        output::line(Value::from(object))?;
    } else {
        let when = connection.connect_time.as_ref().map(time).unwrap_or_default();
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
