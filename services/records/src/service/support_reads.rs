//! Keeping what support has read, and showing it.

use futures::future::BoxFuture;
use shared::{
    caller::Caller,
    db::Scope,
    ids, page,
    pb::records::{Origin, SupportRead as Shown},
    server::{SupportLog, SupportRead},
    status::Refusal,
};

use super::{Records, reading::PageRequest};
use crate::{
    error::RecordError,
    image::timestamp,
    store::support_reads::{self, KeptRead},
};

impl SupportLog for Records {
    fn keep(&self, read: SupportRead) -> BoxFuture<'static, Result<(), Refusal>> {
        let records = self.clone();
        Box::pin(async move { records.keep_read(read).await.map_err(RecordError::into_refusal) })
    }
}

impl Records {
    /// Keeps one call of support's. That the product is connected is checked by the
    /// call itself.
    pub(crate) async fn keep_read(&self, read: SupportRead) -> Result<(), RecordError> {
        let (id, now) = (ids::new_uuid(), self.clock.now());
        let scope = Scope::from(&read.caller.practice);
        let kept = self.db.write(scope, move |tx| {
            let read = read.clone();
            async move { support_reads::insert(&*tx, id, now, read).await }
        });
        kept.await
    }

    /// What support has read in the practice, a page of it, the latest first.
    pub(crate) async fn support_reads(
        &self,
        caller: &Caller,
        request: PageRequest,
    ) -> Result<(Vec<Shown>, String), RecordError> {
        self.check_connected(caller).await?;
        let (db, practice) = (self.db.reader(), &caller.practice);
        let key = ("support reads", practice.as_str());
        let before = page::begin_after(&request.token, &key)?;
        let mut rows = support_reads::page(db, practice, before, request.size + 1).await?;
        let size = usize::try_from(request.size).unwrap_or(usize::MAX);
        let more = rows.len() > size;
        rows.truncate(size);
        let next = rows.last().filter(|_| more).map(|last| page::token(&key, &last.id));
        Ok((rows.into_iter().map(shown).collect(), next.unwrap_or_default()))
    }
}

fn shown(row: KeptRead) -> Shown {
    Shown {
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
