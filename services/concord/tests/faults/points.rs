//! Detects the progress of an import from the databases of both services.

use std::time::Duration;

use concord_db::{Database, TenantScope};
use concord_testing::TestDb;
use sea_orm::{ConnectionTrait as _, Statement};
use tokio::sync::watch;

use crate::driver::Step;

/// A point in the progress of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Point {
    /// Batches are uploaded.
    Upload,
    /// The import is being sealed.
    Seal,
    /// Records are resolved.
    Resolve,
    /// Records are applied.
    Apply,
    /// A chunk is applied, and its outcome is not stored yet.
    Answer,
    /// The second round.
    Retry,
}

impl Point {
    pub(crate) const ALL: [Self; 6] =
        [Self::Upload, Self::Seal, Self::Resolve, Self::Apply, Self::Answer, Self::Retry];

    /// The step of the driver at this point.
    fn step(self) -> Step {
        match self {
            Self::Upload => Step::Upload,
            Self::Seal => Step::Seal,
            Self::Resolve | Self::Apply | Self::Answer => Step::Work,
            Self::Retry => Step::Retry,
        }
    }
}

/// The databases of both services.
pub(crate) struct Points {
    records: Database,
    imports: Database,
}

/// The state of the import of a practice, and the number of records that the imports service
/// has stored as applied.
const IMPORT: &str = "SELECT i.state, (SELECT count(*) FROM import_record r
      WHERE r.practice_id = i.practice_id AND r.import_id = i.id
        AND r.status IN ('IMPORTED', 'LINKED')) AS stored
    FROM import i WHERE i.practice_id = $1";

/// The number of records that the records service has applied.
const APPLIED: &str =
    "SELECT count(*) AS applied FROM link WHERE practice_id = $1 AND import_id IS NOT NULL";

impl Points {
    pub(crate) async fn of(db: &TestDb) -> Self {
        let connect = async |settings: concord_db::DatabaseSettings| {
            Database::connect(&settings.max_connections(1)).await.unwrap()
        };
        Self {
            records: connect(db.settings()).await,
            imports: connect(db.sibling("imports")).await,
        }
    }

    /// Waits until the import of a practice reaches the point. Returns false when it is already
    /// past it.
    pub(crate) async fn reached(
        &self,
        point: Point,
        practice: &str,
        steps: &mut watch::Receiver<Step>,
    ) -> bool {
        let step = point.step();
        match steps.wait_for(|now| *now >= step).await {
            Ok(now) if *now == step => {}
            _ => return false,
        }
        while !self.is_at(point, practice).await {
            // The channel is closed when the driver has ended.
            if *steps.borrow() != step || steps.has_changed().is_err() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        true
    }

    async fn is_at(&self, point: Point, practice: &str) -> bool {
        match point {
            Point::Upload | Point::Seal | Point::Retry => true,
            Point::Resolve => self.import(practice).await.0 == "RESOLVING",
            Point::Apply => self.import(practice).await.0 == "APPLYING",
            Point::Answer => {
                let (state, stored) = self.import(practice).await;
                state == "APPLYING" && stored < self.applied(practice).await
            }
        }
    }

    async fn import(&self, practice: &str) -> (String, i64) {
        let row = one(&self.imports, IMPORT, practice).await;
        (row.try_get("", "state").unwrap(), row.try_get("", "stored").unwrap())
    }

    async fn applied(&self, practice: &str) -> i64 {
        one(&self.records, APPLIED, practice).await.try_get("", "applied").unwrap()
    }

    /// Expires all leases: those of dead workers, which would expire after half a minute, and
    /// those of live workers, as if they had been paused.
    pub(crate) async fn expire_leases(&self) {
        let text = "UPDATE import SET lease_expires_at = '2000-01-01T00:00:00+00:00'
            WHERE lease_owner IS NOT NULL";
        let ended = self.imports.write(TenantScope::AllPractices, move |tx| async move {
            tx.execute_unprepared(text).await
        });
        ended.await.unwrap();
    }
}

async fn one(database: &Database, text: &str, practice: &str) -> sea_orm::QueryResult {
    let statement =
        Statement::from_sql_and_values(database.engine(), text, [practice.to_owned().into()]);
    database.reader().query_one_raw(statement).await.unwrap().unwrap()
}
