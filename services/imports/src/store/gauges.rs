//! The number of unfinished imports, for the metrics.
//!
//! Every replica queries it at an interval, over all practices. The query uses the
//! partial indexes of unfinished imports, so its cost does not grow with the history.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;

use crate::{domain::enums::State, error::ImportError};

/// The number of imports in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unfinished {
    pub(crate) state: State,
    pub(crate) count: u32,
    /// When the oldest of them was sealed, or created if it is not sealed.
    pub(crate) since: Option<DateTime<Utc>>,
}

/// The imports that have not ended, by state.
pub(crate) async fn unfinished(db: &impl ConnectionTrait) -> Result<Vec<Unfinished>, ImportError> {
    let rows = concord_db::query(db, |_| {
        "SELECT state, COUNT(*) AS n, MIN(sealed_at) AS since FROM import
         WHERE state IN ('SEALED', 'RESOLVING', 'APPLYING', 'STALLED') GROUP BY state
         UNION ALL
         SELECT state, COUNT(*) AS n, MIN(created_at) AS since FROM import
         WHERE state = 'RECEIVING' GROUP BY state"
            .to_owned()
    });
    let unfinished = rows.await?.into_iter().map(|row| {
        let count: i64 = row.try_get("", "n")?;
        Ok(Unfinished {
            state: row.try_get::<String>("", "state")?.parse()?,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            since: row.try_get("", "since")?,
        })
    });
    unfinished.collect()
}
