//! `ConnectionService`.

use shared::{
    caller::Caller,
    pb::records::{
        ConnectProductRequest, ConnectProductResponse, Connection, ErrorReason,
        ListConnectionsRequest, ListConnectionsResponse,
        connection_service_server::ConnectionService,
    },
    status::Refusal,
};
use tonic::{Request, Response, Status};

use super::Api;
use crate::{image::timestamp, store::connections};

#[tonic::async_trait]
impl ConnectionService for Api {
    async fn connect_product(
        &self,
        request: Request<ConnectProductRequest>,
    ) -> Result<Response<ConnectProductResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let product = request.into_inner().product.parse();
        let product = product.map_err(|text: &str| {
            Refusal::invalid_field("product", ErrorReason::InvalidId, text)
        })?;
        let connection = self.records.connect(caller, product).await?;
        Ok(Response::new(ConnectProductResponse { connection: Some(encode(connection)) }))
    }

    async fn list_connections(
        &self,
        request: Request<ListConnectionsRequest>,
    ) -> Result<Response<ListConnectionsResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let connections = self.records.connections(&caller).await?;
        let connections = connections.into_iter().map(encode).collect();
        Ok(Response::new(ListConnectionsResponse { connections }))
    }
}

fn encode(connection: connections::Connection) -> Connection {
    let connections::Connection { product, connected_at, connected_by } = connection;
    Connection { product, connect_time: Some(timestamp(connected_at)), connected_by }
}
