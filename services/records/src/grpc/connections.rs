//! `ConnectionService`.

use concord_core::{
    caller::{Caller, Product},
    status::ApiError,
};
use concord_proto::pb::records::{
    ConnectProductRequest, ConnectProductResponse, Connection, DisconnectProductRequest,
    DisconnectProductResponse, ErrorReason, ListConnectionsRequest, ListConnectionsResponse,
    connection_service_server::ConnectionService,
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
        let product = named(Product::parse_unreserved(&request.into_inner().product))?;
        let connection = self.records.connect(caller, product).await?;
        Ok(Response::new(ConnectProductResponse { connection: Some(encode(connection)) }))
    }

    async fn disconnect_product(
        &self,
        request: Request<DisconnectProductRequest>,
    ) -> Result<Response<DisconnectProductResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        // Accepts a reserved name too: it may have been connected before it was reserved.
        let product = named(request.into_inner().product.parse())?;
        let link_count = self.records.disconnect(caller, product).await?;
        Ok(Response::new(DisconnectProductResponse { link_count }))
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

fn named(product: Result<Product, &str>) -> Result<Product, ApiError> {
    product.map_err(|text| ApiError::invalid_field("product", ErrorReason::InvalidId, text))
}

fn encode(connection: connections::Connection) -> Connection {
    let connections::Connection { product, connected_at, connected_by } = connection;
    Connection { product, connect_time: Some(timestamp(connected_at)), connected_by }
}
