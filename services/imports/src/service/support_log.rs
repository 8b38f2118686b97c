//! Writes support access to imports to the access log of the records service.

use concord_core::status::ApiError;
use concord_server::{SupportAccess, SupportAccessLog};
use futures::future::BoxFuture;

use super::Imports;
use crate::error::records_unavailable;

impl SupportAccessLog for Imports {
    fn record(&self, read: SupportAccess) -> BoxFuture<'static, Result<(), ApiError>> {
        let records = self.records.clone();
        Box::pin(async move {
            records.keep_support_read(read).await.map_err(|error| {
                tracing::warn!(%error, "writing the support access log failed");
                records_unavailable()
            })
        })
    }
}
