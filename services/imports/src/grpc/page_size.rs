//! Tests the size of pages of imports that declare many batches.

use concord_core::{caller::Caller, clock::Clock, ids};
use concord_db::{Database, TenantScope};
use concord_server::{
    meter::Meter,
    security::{ClientTls, SecuritySettings},
};
use concord_testing::{TestDb, storage_tests};
use prost::Message as _;

use super::encode;
use crate::{
    config::UploadSettings,
    domain::import::{Expected, Import},
    migrations::Migrator,
    records_client::RecordsClient,
    service::Imports,
    store::{self, imports::ListFilter},
};

storage_tests! {
    page_of_imports_fits_one_message,
}

/// An import that declares 1 MB of batch keys.
fn import(caller: &Caller, now: chrono::DateTime<chrono::Utc>) -> Import {
    let batch_keys = (0..10_000).map(|n| format!("{n:0>100}")).collect();
    let expected = Some(Expected { batch_keys, batches: None, records: None });
    Import { expected, ..Import::new(caller, ids::new_uuid(), now) }
}

async fn page_of_imports_fits_one_message(t: TestDb) {
    let db = Database::connect(&t.settings()).await.unwrap();
    db.migrate::<Migrator>().await.unwrap();
    let clock = Clock::fixed("2026-03-01T10:00:00Z".parse().unwrap());
    let (tls, security) = (ClientTls::default(), SecuritySettings::default());
    let client = RecordsClient::new("http://127.0.0.1:1", &tls, &security).unwrap();
    let meter = Meter::new("imports");
    let imports = Imports::new(db, clock.clone(), client, UploadSettings::default(), meter);
    let caller = Caller::system("p1".parse().unwrap());
    for _ in 0..7 {
        let import = import(&caller, clock.now());
        let inserted = imports.db.write(TenantScope::AllPractices, move |tx| {
            let import = import.clone();
            async move { store::imports::insert(&*tx, import).await }
        });
        inserted.await.unwrap();
    }
    let (mut token, mut listed) = (String::new(), Vec::new());
    loop {
        let page = imports.list(&caller, &ListFilter::default(), 50, &token).await.unwrap();
        token.clone_from(&page.next_page_token);
        listed.extend(page.imports.iter().map(|view| view.import.key.id));
        let bytes = encode::imports(page).encoded_len();
        assert!(bytes < 4 * 1_024 * 1_024, "{bytes}");
        if token.is_empty() {
            break;
        }
    }
    listed.dedup();
    assert_eq!(listed.len(), 7);
}
