//! Connections to a [`TestDb`] by this build of the crate. `TestDb` itself connects by the
//! build without `cfg(test)`, whose types are others.

use concord_testing::TestDb;

use crate::{Database, DatabaseSettings};

pub(crate) fn settings(t: &TestDb) -> DatabaseSettings {
    DatabaseSettings::new(t.url()).max_connections(6)
}

pub(crate) async fn connect(t: &TestDb) -> Database {
    Database::connect(&settings(t)).await.unwrap()
}
