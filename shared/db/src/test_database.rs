//! Connections to a [`TestDb`] by this build of the crate. `TestDb` itself connects by the
//! build without `cfg(test)`, whose types are others.

use concord_testing::TestDb;

use crate::{Database, DatabaseSettings};

pub(crate) fn settings(t: &TestDb) -> DatabaseSettings {
    let settings = DatabaseSettings::new(t.url());
    if t.is_postgres() { settings.max_connections(6) } else { settings }
}

pub(crate) async fn connect(t: &TestDb) -> Database {
    Database::connect(&settings(t)).await.unwrap()
}
