//! The fake of the records service behaves as the real one does: it passes the same suite.

use std::net::SocketAddr;

use concord_proto::pb::imports::ImportRecordKind;
use concord_testing::e2e::{
    fake_records::FakeRecords,
    ingest_contract::{self, RecordsService},
};
use tonic::transport::{Channel, Endpoint};

/// The fake.
struct Fake(FakeRecords, SocketAddr);

impl Fake {
    async fn start() -> Self {
        let (fake, address) = FakeRecords::start(&["manager", "books"]).await;
        Self(fake, address)
    }
}

impl RecordsService for Fake {
    async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.1)).unwrap();
        endpoint.connect().await.unwrap()
    }

    async fn erase_client(&self, practice: &str, source_id: &str, _record_id: &str) {
        self.0.erase(practice, ImportRecordKind::Client, source_id);
    }
}

/// Defines a test of the fake for each behaviour.
macro_rules! tests_of_the_fake {
    ($($name:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                ingest_contract::$name(&Fake::start().await).await;
            }
        )+
    };
}

concord_testing::ingest_behaviours!(tests_of_the_fake);
