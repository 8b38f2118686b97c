//! Limit of connections by address: many idle connections from one address do not affect a
//! caller from another address.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use concord_proto::pb::records::ListConnectionsRequest;
use concord_testing::{TestDb, storage_tests};
use tonic::transport::Endpoint;

use crate::replica::Replica;
use concord_testing::e2e::{caller::Caller, rng::SeededRng};

storage_tests! { connections_of_one_address_do_not_affect_other_callers }

/// Above the limit of one address, and below the limit of open files.
const CONNECTIONS: usize = 600;

/// The timeout for closing the connections.
const CLOSE_TIMEOUT: Duration = Duration::from_mins(1);

/// The connections of the attack come from 127.0.0.1, and the caller from 127.0.0.2.
async fn connections_of_one_address_do_not_affect_other_callers(db: TestDb) {
    let options = ["--max-connections", "300", "--max-connections-per-address", "200"];
    let replica = Replica::start_with(&options, db.url(), &mut SeededRng::from_env());
    let address = replica.address();
    let attack = tokio::task::spawn_blocking(move || {
        let connect = |_| {
            let mut connection = TcpStream::connect(address).unwrap();
            // It may be closed already.
            let _ = connection.write_all(b"P");
            connection
        };
        (0..CONNECTIONS).map(connect).collect::<Vec<_>>()
    });
    let mut attack = attack.await.unwrap();
    // A new connection for each call.
    for _ in 0..20 {
        let endpoint = Endpoint::from_shared(replica.url()).unwrap();
        let endpoint = endpoint.local_address(Some("127.0.0.2".parse().unwrap()));
        let owner = Caller::owner(endpoint.connect().await.unwrap(), "p1", "manager");
        owner.connections().list_connections(ListConnectionsRequest {}).await.unwrap();
    }
    let all_closed = tokio::task::spawn_blocking(move || {
        attack.iter_mut().all(|connection| {
            connection.set_read_timeout(Some(CLOSE_TIMEOUT)).unwrap();
            // End of stream or a reset, and not a timeout.
            match connection.read(&mut [0; 64]) {
                Ok(length) => length == 0,
                Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        })
    });
    assert!(all_closed.await.unwrap(), "every connection is closed");
    let owner = replica.owner("p1", "manager");
    owner.connections().list_connections(ListConnectionsRequest {}).await.unwrap();
    assert!(replica.log().contains("connections of one address rejected"));
}
