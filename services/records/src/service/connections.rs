//! Connections: products are switched on.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use shared::{
    caller::{Caller, Product},
    pb::records::ErrorReason,
    status::Refusal,
};
use tonic::Code;

use super::Records;
use crate::{
    error::{RecordError, not_connected},
    store::{
        connections::{self, Connection},
        links,
    },
};

/// How long a product that is connected waits for changes that began before.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often it looks whether they have ended.
const LOOK: Duration = Duration::from_millis(10);

/// Products of a practice at most: each change is delivered to all of them.
pub(crate) const MAX_PRODUCTS: usize = 100;

impl Records {
    /// Switches `product` on for the caller's practice.
    pub(crate) async fn connect(
        &self,
        caller: Caller,
        product: Product,
    ) -> Result<Connection, RecordError> {
        let connected = (caller.practice.clone(), product.clone());
        let write = self.write(caller, product, |script, product| async move {
            let Caller { practice, user, .. } = &script.caller;
            let connected = connections::products(script.db(), practice).await?;
            let is_new = !connected.iter().any(|one| one == product.as_str());
            if is_new && connected.len() >= MAX_PRODUCTS {
                return Err(too_many_products().into());
            }
            connections::connect(script.db(), practice, &product, user, script.at.now).await
        });
        let connection = write.await?;
        self.wait_for_earlier_changes().await?;
        // Switched off and on again meanwhile, it is another connection, which may
        // have other changes to wait for.
        let (db, practice) = (self.db.reader(), &connected.0);
        match connections::connected_at(db, practice, &connected.1).await? {
            Some(at) if at == connection.connected_at => Ok(connection),
            _ => Err(Refusal::conflict().into()),
        }
    }

    /// Waits for the changes that began before a product was connected, and are not
    /// told to it: the snapshot that it takes after the answer holds them.
    async fn wait_for_earlier_changes(&self) -> Result<(), RecordError> {
        let db = self.db.reader();
        let mut earlier: HashSet<String> = connections::open_looks(db).await?.into_iter().collect();
        let late = Instant::now() + PATIENCE;
        while !earlier.is_empty() {
            if Instant::now() >= late {
                let message = "changes that began before are still under way; the product is \
                               connected: send the call again before it takes a snapshot";
                return Err(Refusal::unavailable(message).into());
            }
            tokio::time::sleep(LOOK).await;
            let open: HashSet<String> = connections::open_looks(db).await?.into_iter().collect();
            earlier.retain(|look| open.contains(look));
        }
        Ok(())
    }

    /// Switches `product` off; how many of its links stay.
    pub(crate) async fn disconnect(
        &self,
        caller: Caller,
        product: Product,
    ) -> Result<i64, RecordError> {
        let write = self.write(caller, product, |script, product| async move {
            let practice = &script.caller.practice;
            connections::disconnect(script.db(), practice, &product).await?;
            links::count_of_product(script.db(), practice, &product).await
        });
        Ok(i64::try_from(write.await?).unwrap_or(i64::MAX))
    }

    /// The products of the caller's practice, by name.
    pub(crate) async fn connections(
        &self,
        caller: &Caller,
    ) -> Result<Vec<Connection>, RecordError> {
        connections::list(self.db.reader(), &caller.practice).await
    }

    /// Refuses a caller whose product is not connected: it may not read either.
    pub(crate) async fn check_connected(&self, caller: &Caller) -> Result<(), RecordError> {
        let db = self.db.reader();
        if connections::is_connected(db, &caller.practice, &caller.product).await? {
            Ok(())
        } else {
            Err(not_connected(caller.product.as_str()).into())
        }
    }
}

fn too_many_products() -> Refusal {
    let message = format!("a practice has at most {MAX_PRODUCTS} products; disconnect one");
    // Waiting does not help: it is not to be sent again as it is.
    Refusal::new(Code::FailedPrecondition, ErrorReason::LimitReached, message)
        .precondition("products", "disconnect one that is not used")
}
