//! Connections: products are switched on.

use shared::caller::{Caller, Product};

use super::Records;
use crate::{
    error::{RecordError, not_connected},
    store::{
        connections::{self, Connection},
        links,
    },
};

impl Records {
    /// Switches `product` on for the caller's practice.
    pub(crate) async fn connect(
        &self,
        caller: Caller,
        product: Product,
    ) -> Result<Connection, RecordError> {
        let write = self.write(caller, product, |script, product| async move {
            let Caller { practice, user, .. } = &script.caller;
            connections::connect(script.db(), practice, &product, user, script.at.now).await
        });
        write.await
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
