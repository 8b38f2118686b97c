//! Connections: which products use a practice.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use concord_core::{
    caller::{Caller, Product},
    status::ApiError,
};
use concord_proto::pb::records::ErrorReason;
use tonic::Code;

use super::Records;
use crate::{
    error::{RecordError, not_connected},
    store::{
        connections::{self, Connection},
        links,
    },
};

/// Maximum wait for the transactions that started before a product was connected.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// Interval between polls of the open transactions.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Maximum number of products of a practice: each change is delivered to all of them.
pub(crate) const MAX_PRODUCTS: usize = 100;

impl Records {
    /// Connects `product` to the caller's practice.
    pub(crate) async fn connect(
        &self,
        caller: Caller,
        product: Product,
    ) -> Result<Connection, RecordError> {
        let connected = (caller.practice.clone(), product.clone());
        let write = self.write(caller, product, |work, product| async move {
            let db = work.db();
            let connected = connections::products(db).await?;
            let is_new = !connected.iter().any(|one| one == product.as_str());
            if is_new && connected.len() >= MAX_PRODUCTS {
                return Err(too_many_products().into());
            }
            connections::connect(db, &product, &work.caller.user, work.at.now).await
        });
        let connection = write.await?;
        self.wait_for_earlier_changes().await?;
        // If the product was disconnected and connected again meanwhile, this is another
        // connection, which has to wait for other transactions.
        let db = self.db.reader_of(&connected.0);
        match connections::connected_at(db, &connected.1).await? {
            Some(at) if at == connection.connected_at => Ok(connection),
            _ => Err(ApiError::conflict().into()),
        }
    }

    /// Waits for the transactions that started before the product was connected. Their
    /// changes are not delivered to it: it gets them with the snapshot that it takes after
    /// the answer.
    async fn wait_for_earlier_changes(&self) -> Result<(), RecordError> {
        let db = self.db.reader();
        let mut earlier: HashSet<String> =
            connections::open_readers(db).await?.into_iter().collect();
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        while !earlier.is_empty() {
            if Instant::now() >= deadline {
                let message = "transactions that started before the connection are still open; \
                               the product is connected: retry the call before it takes a snapshot";
                return Err(ApiError::unavailable(message).into());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
            let open: HashSet<String> = connections::open_readers(db).await?.into_iter().collect();
            earlier.retain(|reader| open.contains(reader));
        }
        Ok(())
    }

    /// Disconnects `product`. Returns the number of its links, which are kept.
    pub(crate) async fn disconnect(
        &self,
        caller: Caller,
        product: Product,
    ) -> Result<i64, RecordError> {
        let write = self.write(caller, product, |work, product| async move {
            let db = work.db();
            connections::disconnect(db, &product).await?;
            links::count_of_product(db, &product).await
        });
        Ok(i64::try_from(write.await?).unwrap_or(i64::MAX))
    }

    /// The products of the caller's practice, by name.
    pub(crate) async fn connections(
        &self,
        caller: &Caller,
    ) -> Result<Vec<Connection>, RecordError> {
        connections::list(self.db.reader_of(&caller.practice)).await
    }

    /// Checks that the caller's product is connected, which reads need too.
    ///
    /// # Errors
    ///
    /// `PRODUCT_NOT_CONNECTED` when it is not.
    pub(crate) async fn check_connected(&self, caller: &Caller) -> Result<(), RecordError> {
        let db = self.db.reader_of(&caller.practice);
        if connections::is_connected(db, &caller.product).await? {
            Ok(())
        } else {
            Err(not_connected(caller.product.as_str()).into())
        }
    }
}

fn too_many_products() -> ApiError {
    let message = format!("a practice has at most {MAX_PRODUCTS} products; disconnect one");
    // Not RESOURCE_EXHAUSTED: a retry of the same call cannot succeed.
    ApiError::new(Code::FailedPrecondition, ErrorReason::LimitReached, message)
        .precondition("products", "disconnect one that is not used")
}
