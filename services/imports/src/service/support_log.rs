//! What support reads of imports is kept by the records service, with all else that
//! it reads.

use futures::future::BoxFuture;
use shared::{
    server::{SupportLog, SupportRead},
    status::Refusal,
};

use super::Imports;
use crate::error::records_unavailable;

impl SupportLog for Imports {
    fn keep(&self, read: SupportRead) -> BoxFuture<'static, Result<(), Refusal>> {
        let records = self.records.clone();
        Box::pin(async move {
            records.keep_support_read(read).await.map_err(|fault| {
                tracing::warn!(%fault, "what support reads cannot be kept");
                records_unavailable()
            })
        })
    }
}
