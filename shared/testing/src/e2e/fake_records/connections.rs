//! The connected products.

use concord_proto::pb::records::{
    ConnectProductRequest, ConnectProductResponse, Connection, DisconnectProductRequest,
    DisconnectProductResponse, ListConnectionsRequest, ListConnectionsResponse,
    connection_service_server::ConnectionService,
};
use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use super::{FakeRecords, rpcs::caller};

#[tonic::async_trait]
impl ConnectionService for FakeRecords {
    async fn connect_product(
        &self,
        _: Request<ConnectProductRequest>,
    ) -> Result<Response<ConnectProductResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn disconnect_product(
        &self,
        _: Request<DisconnectProductRequest>,
    ) -> Result<Response<DisconnectProductResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn list_connections(
        &self,
        request: Request<ListConnectionsRequest>,
    ) -> Result<Response<ListConnectionsResponse>, Status> {
        caller(&request)?;
        let connection = |product: &String| Connection {
            product: product.clone(),
            connect_time: Some(Timestamp::default()),
            connected_by: String::new(),
        };
        let connections = self.lock().connected.iter().map(connection).collect();
        Ok(Response::new(ListConnectionsResponse { connections }))
    }
}
