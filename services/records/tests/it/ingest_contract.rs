//! The records service passes the suite that its fake passes, which the tests of the
//! imports service use.

use concord_proto::pb::records::{PurgeNowRequest, UnlinkClientRequest};
use concord_testing::{
    TestDb,
    e2e::{
        caller::{Caller, request_id},
        ingest_contract::{self, RecordsService},
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
            for product in ["manager", "books"] {
                Caller::owner(server.channel().await, practice, product).connect().await;
            }
        }
        Self(server)
    }
}

impl RecordsService for Real {
    async fn channel(&self) -> Channel {
        self.0.channel().await
    }

    async fn erase_client(&self, practice: &str, _source_id: &str, record_id: &str) {
        let manager = Caller::owner(self.channel().await, practice, "manager");
        let unlink = UnlinkClientRequest {
            client: record_id.into(),
            request_id: request_id(),
            ..UnlinkClientRequest::default()
        };
        manager.clients().unlink_client(unlink).await.unwrap();
        let purge = PurgeNowRequest {
            record: record_id.into(),
            reason: "They asked for it".into(),
            request_id: request_id(),
        };
        manager.support().purge_now(purge).await.unwrap();
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
