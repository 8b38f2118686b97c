//! The records service passes the suite that its fake passes, which the tests of the
//! imports service use.

use concord_testing::{
    TestDb,
    e2e::{
        feed::connect_all,
        ingest_contract::{self, RecordsService},
        records::{purge, unlink},
        servers::{self, Running},
    },
    storage_tests,
};
use tonic::transport::Channel;

/// The records service.
struct Real(Running);

impl Real {
    async fn start(db: &TestDb) -> Self {
        let server = servers::records(db.settings()).await;
        for practice in ["p1", "p2"] {
            connect_all(&server, practice, &["manager", "books"]).await;
        }
        Self(server)
    }
}

impl RecordsService for Real {
    async fn channel(&self) -> Channel {
        self.0.channel().await
    }

    async fn erase_client(&self, practice: &str, _source_id: &str, record_id: &str) {
        let manager = self.0.owner(practice, "manager").await;
        unlink(&manager, record_id).await.unwrap();
        purge(&manager, record_id).await.unwrap();
    }
}

/// Defines tests of the records service for each behaviour.
macro_rules! tests_of_the_service {
    ($($name:ident),+ $(,)?) => {
        $(
            async fn $name(db: TestDb) {
                ingest_contract::$name(&Real::start(&db).await).await;
            }
        )+

        storage_tests! { $($name),+ }
    };
}

concord_testing::ingest_behaviours!(tests_of_the_service);
