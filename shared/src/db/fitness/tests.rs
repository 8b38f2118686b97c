//! Servers that a service cannot work on.

use sea_orm::ConnectionTrait as _;

use crate::{
    db::{Database, DatabaseSettings, TablesError, Unfit},
    ids,
    testing::{TestDb, postgres_url},
};

async fn refused(db: &Database) -> Unfit {
    match db.check_server().await {
        Err(TablesError::Unfit(unfit)) => unfit,
        checked => panic!("{checked:?}"),
    }
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    let Some(url) = postgres_url() else { return };
    let server = Database::connect(&DatabaseSettings::new(&url)).await.unwrap();
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("t{}", ids::new_uuid().as_simple());
        let create =
            format!("CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'");
        server.reader().execute_unprepared(&create).await.unwrap();
        let settings = DatabaseSettings::new(format!("{url}?dbname={name}"));
        let db = Database::connect(&settings).await.unwrap();
        let unfit = refused(&db).await;
        assert_eq!(unfit, Unfit::Encoding(encoding.to_owned()));
        assert!(unfit.to_string().contains("ENCODING 'UTF8'"), "{unfit}");
        db.close().await.unwrap();
        server.reader().execute_unprepared(&format!("DROP DATABASE {name}")).await.unwrap();
    }
}

#[tokio::test]
async fn a_session_that_has_lost_its_settings_is_refused() {
    let Some(t) = TestDb::postgres().await else { return };
    let db = Database::connect(&t.settings().max_connections(1)).await.unwrap();
    db.check_server().await.unwrap();
    // As by a pooler that drops them.
    db.reader().execute_unprepared("RESET concord.practice").await.unwrap();
    assert_eq!(refused(&db).await, Unfit::Pooler);
}

#[tokio::test]
async fn a_file_needs_no_server() {
    TestDb::sqlite().database().await.check_server().await.unwrap();
}
