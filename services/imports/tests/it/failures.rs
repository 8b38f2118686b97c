//! Tests the list of failures and the failures file.

use std::collections::HashMap;

use bytes::Bytes;
use concord_proto::pb::imports::{
    DownloadFailuresRequest, FailuresFormat, Import, ImportClient, ImportRecord, ImportRecordKind,
    ListFailuresRequest, RecordStatus,
};
use concord_testing::TestDb;
use prost::Message as _;
use tonic::Code;

use crate::support::{Caller, address, client, contact, pair, reason};

concord_testing::storage_tests! {
    failures_are_listed_in_pages_and_filtered,
    failures_have_display_names,
    failures_file_has_a_row_per_violation,
    replacement_replaces_the_row_of_its_token,
    row_token_admits_one_record_at_most,
    correction_with_key_of_an_imported_record_fails,
    replacement_of_nothing_leaves_the_record_of_its_key,
}

async fn import(owner: &mut Caller) -> String {
    let mut records: Vec<Bytes> = vec![
        client("K1", |c| c.registered_name.clear()),
        client("K2", |c| {
            c.registered_name = "=HYPERLINK(\"x\")".into();
            c.utr = "1".into();
            c.vat_number = "1".into();
        }),
        contact("P1", &["K1", "K3"], |c| c.clients[1].roles.push("SECRETARY".into())),
        client("K3", |_| ()),
        address("A1", ("contact", "P1"), ("", ""), |_| ()),
        address("A2", ("client", "K3"), ("2020-01-01", "2019-01-01"), |_| ()),
    ];
    records.extend(
        (0..5).map(|n| client(&format!("S{n}"), |c| c.client_type = "Self-Assessment".into())),
    );
    owner.import(&[records]).await.id
}

async fn failures_are_listed_in_pages_and_filtered(t: TestDb) {
    let (replica, _fake) = pair(&t).await;
    let mut owner = replica.owner();
    let import = import(&mut owner).await;
    let listed = owner.failures(&import).await;
    let ids: Vec<_> = listed.iter().map(|failure| failure.source_id.as_str()).collect();
    assert_eq!(ids, ["K1", "K2", "K2", "S0", "S1", "S2", "S3", "S4", "P1", "A1", "A2"]);
    assert!(listed.iter().all(|failure| failure.batch_key == "batch-0" && failure.row > 0));
    let asked = ListFailuresRequest { import_id: import.clone(), ..Default::default() };
    let mut filtered = async |change: fn(&mut ListFailuresRequest)| {
        let mut request = asked.clone();
        change(&mut request);
        let page = owner.api.list_failures(request).await.unwrap().into_inner();
        page.failures.into_iter().map(|failure| failure.source_id).collect::<Vec<_>>()
    };
    assert_eq!(filtered(|r| r.kind = ImportRecordKind::Address.into()).await, ["A1", "A2"]);
    assert_eq!(filtered(|r| r.status = RecordStatus::Blocked.into()).await, ["P1", "A1"]);
    assert_eq!(filtered(|r| r.reason = "INVALID_UTR".into()).await, ["K2"]);
    let mut request = ListFailuresRequest { page_size: 2, ..asked };
    let page = owner.api.list_failures(request.clone()).await.unwrap().into_inner();
    request.page_token = page.next_page_token;
    request.reason = "INVALID_UTR".into();
    let refused = owner.api.list_failures(request).await.unwrap_err();
    assert_eq!(reason(&refused), "PAGE_TOKEN_INVALID");
    replica.stop().await;
}

async fn failures_have_display_names(t: TestDb) {
    let (replica, _fake) = pair(&t).await;
    let mut owner = replica.owner();
    let import = import(&mut owner).await;
    let listed = owner.failures(&import).await;
    let of = |id: &str| {
        let failure = listed.iter().find(|failure| failure.source_id == id).unwrap();
        (failure.record_name.as_str(), failure.client_reference.as_str())
    };
    assert_eq!(of("A2"), ("Trading address of Case K3 Limited", "XK3"));
    assert_eq!(of("A1"), ("Residential address of Ann Case P1", "XK1"));
    assert_eq!(of("P1"), ("Ann Case P1", "XK1"));
    assert_eq!(of("S0").1, "XS0");
    replica.stop().await;
}

async fn failures_file_has_a_row_per_violation(t: TestDb) {
    let (replica, _fake) = pair(&t).await;
    let mut owner = replica.owner();
    let import = import(&mut owner).await;
    let listed = owner.failures(&import).await;
    let csv = owner.download(&import, FailuresFormat::Csv).await;
    let rows: Vec<HashMap<String, String>> =
        csv::Reader::from_reader(csv.as_slice()).deserialize().map(Result::unwrap).collect();
    assert_eq!(rows.len(), listed.len());
    for (row, failure) in rows.iter().zip(&listed) {
        assert_eq!((&row["source_id"], &row["reason"]), (&failure.source_id, &failure.reason));
        assert_eq!((&row["root_cause"], &row["import"]), (&failure.root_cause, &import));
        assert_eq!(row["token"], failure.row_token);
    }
    assert_eq!(rows[1]["registered_name"], "'=HYPERLINK(\"x\")");
    assert_eq!(rows[1]["guarded"], "record_name;registered_name");
    let contact = rows.iter().find(|row| row["kind"] == "contact").unwrap();
    assert_eq!(contact["client_source_id"], "K1;K3");
    assert_eq!(contact["roles"], "DIRECTOR|DIRECTOR;SECRETARY");
    assert_eq!((contact["status"].as_str(), contact["surname"].as_str()), ("failed", "Case P1"));
    let json = owner.download(&import, FailuresFormat::Jsonl).await;
    let lines: Vec<serde_json::Value> = json
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(lines.len(), listed.len());
    assert_eq!(lines[1]["registered_name"], "=HYPERLINK(\"x\")");
    assert_eq!(lines[1]["token"], listed[1].row_token.as_str());
    assert_eq!(listed[1].row_token, listed[2].row_token, "two reasons, one record");
    assert_eq!((&lines[1]["row"], lines[1]["import"].as_str()), (&2.into(), Some(&*import)));
    assert!(lines[1].get("guarded").is_none() && lines[1].get("surname").is_none());
    let request = DownloadFailuresRequest { import_id: import, format: 0 };
    let mut staff = replica.caller("p1", "manager", "staff");
    let refused = staff.api.download_failures(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    replica.stop().await;
}

/// A record that replaces the one with this row token.
fn replacing(token: &str, record: Bytes) -> Bytes {
    let record = ImportRecord::decode(record).unwrap();
    ImportRecord { replaces: token.to_owned(), ..record }.encode_to_vec().into()
}

async fn replacement_replaces_the_row_of_its_token(t: TestDb) {
    let (replica, fake) = pair(&t).await;
    let mut owner = replica.owner();
    let other = import(&mut owner).await;
    let foreign = owner.failures(&other).await.remove(0).row_token;
    let created = fake.created().len();
    let records = vec![
        client("", |_| ()),
        client("N1", |_| ()),
        client("N1", |c| c.registered_name = "Another Limited".into()),
    ];
    let id = owner.import(&[records]).await.id;
    let failures = owner.failures(&id).await;
    let reported: Vec<_> = failures.iter().map(|one| (&*one.source_id, &*one.reason)).collect();
    let expected = [("", "REQUIRED_FIELD_BLANK"), ("N1", "DUPLICATE_KEY"), ("N1", "DUPLICATE_KEY")];
    assert_eq!(reported, expected);
    let (nameless, second) = (&failures[0].row_token, &failures[2].row_token);
    let replacements = [
        replacing(nameless, client("N7", |_| ())),
        replacing(second, client("N8", |_| ())),
        // A repeated replacement, a token of another import, and an invalid token.
        replacing(second, client("N8", |_| ())),
        replacing(&foreign, client("N10", |_| ())),
        replacing("1-2", client("N11", |_| ())),
    ];
    let counters = retry(&mut owner, &id, 2, &replacements).await.counters.unwrap();
    assert_eq!((counters.imported, counters.skipped, counters.failed), (3, 3, 0));
    assert_eq!((counters.received, counters.unprocessed), (6, 0));
    let left: Vec<_> = owner.failures(&id).await;
    let left: Vec<_> = left.iter().map(|one| (&*one.source_id, one.status())).collect();
    assert_eq!(left, ["N10", "N11", "N8"].map(|id| (id, RecordStatus::Skipped)));
    assert_eq!(fake.created().len(), created + 3);
    replica.stop().await;
}

/// Runs a round with replacements.
async fn retry(owner: &mut Caller, id: &str, round: i32, replacements: &[Bytes]) -> Import {
    owner.retry(id, true, round).await;
    owner.upload(id, &format!("round-{round}"), replacements).await.unwrap();
    owner.seal(id, 1, replacements.len()).await.unwrap();
    owner.ended(id).await
}

async fn row_token_admits_one_record_at_most(t: TestDb) {
    let (replica, fake) = pair(&t).await;
    let mut owner = replica.owner();
    let wrong = |c: &mut ImportClient| c.registered_name.clear();
    let id = owner.import(&[vec![client("C0", wrong), client("C1", wrong)]]).await.id;
    let failures = owner.failures(&id).await;
    let [first, second] = [0, 1].map(|n| failures[n].row_token.clone());
    // Two replacements with one token and different ids: the first one counts.
    let replacements = [
        replacing(&first, client("N1", |_| ())),
        replacing(&first, client("N2", |_| ())),
        replacing(&second, client("N3", wrong)),
    ];
    let counters = retry(&mut owner, &id, 2, &replacements).await.counters.unwrap();
    assert_eq!((counters.imported, counters.skipped, counters.failed), (1, 1, 1));
    // Tokens that an earlier round has used, and the token of the last replacement.
    let last = owner.failures(&id).await;
    let last = last.iter().find(|one| one.source_id == "N3").unwrap().row_token.clone();
    let replacements = [
        replacing(&first, client("N4", |_| ())),
        replacing(&second, client("N5", |_| ())),
        replacing(&last, client("N3", |_| ())),
    ];
    let counters = retry(&mut owner, &id, 3, &replacements).await.counters.unwrap();
    assert_eq!((counters.imported, counters.skipped, counters.failed), (2, 3, 0));
    let left = owner.failures(&id).await;
    let left: Vec<_> = left.iter().map(|one| (&*one.source_id, &*one.reason)).collect();
    assert_eq!(left, ["N2", "N4", "N5"].map(|id| (id, "NOT_FAILED")));
    assert_eq!(fake.created().len(), 2);
    replica.stop().await;
}

async fn correction_with_key_of_an_imported_record_fails(t: TestDb) {
    let (replica, _fake) = pair(&t).await;
    let mut owner = replica.owner();
    let id = owner.import(&[vec![client("101", |_| ()), client("", |_| ())]]).await.id;
    let token = owner.failures(&id).await.remove(0).row_token;
    let lost = client("101", |c| c.registered_name = "Lost Limited".into());
    let counters = retry(&mut owner, &id, 2, &[replacing(&token, lost)]).await.counters.unwrap();
    assert_eq!((counters.imported, counters.skipped, counters.failed), (1, 0, 1));
    let failure = owner.failures(&id).await.remove(0);
    assert_eq!(failure.reason, "DUPLICATE_KEY");
    // With a new source id it is imported.
    let own = client("102", |c| c.registered_name = "Lost Limited".into());
    let own = replacing(&failure.row_token, own);
    let counters = retry(&mut owner, &id, 3, &[own]).await.counters.unwrap();
    assert_eq!((counters.imported, counters.skipped, counters.failed), (2, 0, 0));
    replica.stop().await;
}

async fn replacement_of_nothing_leaves_the_record_of_its_key(t: TestDb) {
    let (replica, _fake) = pair(&t).await;
    let mut owner = replica.owner();
    let records = vec![client("C0", |c| c.registered_name.clear()), contact("P0", &["C0"], |_| ())];
    let id = owner.import(&[records]).await.id;
    let replacements = [
        client("C0", |_| ()),
        replacing("QQQQQQQQQQQQQQ", contact("P0", &["C0"], |c| c.surname = "Other".into())),
    ];
    let counters = retry(&mut owner, &id, 2, &replacements).await.counters.unwrap();
    assert_eq!((counters.imported, counters.skipped, counters.failed), (2, 1, 0));
    replica.stop().await;
}
