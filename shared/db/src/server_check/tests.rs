//! Tests of servers that are not supported.

use sea_orm::ConnectionTrait as _;

use crate::{Database, DatabaseSettings, SchemaError, UnsupportedServer, test_database};
use concord_core::ids;
use concord_testing::{TestDb, postgres_url};

async fn refused(db: &Database) -> UnsupportedServer {
    match db.check_server().await {
        Err(SchemaError::UnsupportedServer(unsupported)) => unsupported,
        checked => panic!("{checked:?}"),
    }
}

#[tokio::test]
async fn database_with_other_encoding_is_refused() {
    let Some(url) = postgres_url() else { return };
    let server = Database::connect(&DatabaseSettings::new(&url)).await.unwrap();
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("t{}", ids::new_uuid().as_simple());
        let create =
            format!("CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'");
        server.reader().execute_unprepared(&create).await.unwrap();
        let settings = DatabaseSettings::new(format!("{url}?dbname={name}"));
        let db = Database::connect(&settings).await.unwrap();
        let unsupported = refused(&db).await;
        assert_eq!(unsupported, UnsupportedServer::Encoding(encoding.to_owned()));
        assert!(unsupported.to_string().contains("ENCODING 'UTF8'"), "{unsupported}");
        db.close().await.unwrap();
        server.reader().execute_unprepared(&format!("DROP DATABASE {name}")).await.unwrap();
    }
}

#[tokio::test]
async fn session_without_settings_is_refused() {
    let Some(t) = TestDb::postgres().await else { return };
    let db = Database::connect(&test_database::settings(&t).max_connections(1)).await.unwrap();
    db.check_server().await.unwrap();
    // As a pooler that drops settings does.
    db.reader().execute_unprepared("RESET concord.practice").await.unwrap();
    assert_eq!(refused(&db).await, UnsupportedServer::Pooler);
}

#[tokio::test]
async fn sqlite_passes_server_check() {
    test_database::connect(&TestDb::sqlite()).await.check_server().await.unwrap();
}
