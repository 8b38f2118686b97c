//! The access log of support: every read of a support user.

use concord_core::{caller::Caller, ids, page, status::ApiError};
use concord_db::TenantScope;
use concord_proto::pb::records::{Origin, SupportRead as PbAccess};
use concord_server::{SupportAccess, SupportAccessLog};
use futures::future::BoxFuture;

use super::{Records, reading::PageRequest};
use crate::{
    error::RecordError,
    image::timestamp,
    store::access_log::{self, AccessLogEntry},
};

impl SupportAccessLog for Records {
    fn record(&self, access: SupportAccess) -> BoxFuture<'static, Result<(), ApiError>> {
        let records = self.clone();
        Box::pin(
            async move { records.log_access(access).await.map_err(RecordError::into_api_error) },
        )
    }
}

impl Records {
    /// Adds a call to the access log. The call itself checks that the product is
    /// connected.
    pub(crate) async fn log_access(&self, access: SupportAccess) -> Result<(), RecordError> {
        let (id, now) = (ids::new_uuid(), self.clock.now());
        let scope = TenantScope::from(&access.caller.practice);
        let insert = self.db.write(scope, move |tx| {
            let access = access.clone();
            async move {
                let practice = access.caller.practice.clone();
                access_log::insert(tx.of(&practice), id, now, access).await
            }
        });
        insert.await
    }

    /// A page of the access log of the practice, the latest first.
    pub(crate) async fn access_log(
        &self,
        caller: &Caller,
        request: PageRequest,
    ) -> Result<(Vec<PbAccess>, String), RecordError> {
        self.check_connected(caller).await?;
        let key = ("support reads", caller.practice.as_str());
        let before = page::begin_after(&request.token, &key)?;
        let db = self.db.reader_of(&caller.practice);
        let mut rows = access_log::page(db, before, request.size + 1).await?;
        let size = usize::try_from(request.size).unwrap_or(usize::MAX);
        let more = rows.len() > size;
        rows.truncate(size);
        let next = rows.last().filter(|_| more).map(|last| page::token(&key, &last.id));
        Ok((rows.into_iter().map(encode).collect(), next.unwrap_or_default()))
    }
}

fn encode(row: AccessLogEntry) -> PbAccess {
    PbAccess {
        time: Some(timestamp(row.read_at)),
        origin: Some(Origin {
            product: row.product,
            account: row.account,
            user: row.user,
            import_id: String::new(),
        }),
        rpc: row.rpc,
        record_ids: row.record_ids,
        reason: row.reason,
    }
}
