//! Tests records over a limit: they fail alone, and the failure names the limit.

use concord_proto::pb::imports::{FailuresFormat, ImportState, RecordStatus};
use concord_testing::TestDb;
use prost::Message as _;

use crate::{
    support::{address, client, contact, pair},
    worker::assert_created_once,
};

concord_testing::storage_tests! { contact_with_too_many_clients_fails_alone }

async fn contact_with_too_many_clients_fails_alone(t: TestDb) {
    let (replica, fake) = pair(&t).await;
    let mut owner = replica.owner();
    let ids: Vec<String> = (0..5_000).map(|n| format!("CLIENT-{n:030}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let (large, many) = (contact("LARGE", &ids, |_| ()), contact("MANY", &ids[..1_001], |_| ()));
    assert!(large.len() > 65_536 && large.len() < 1_048_576 && many.len() < 65_536);
    let most = contact("MOST", &ids[..1_000], |_| ());
    let home = address("HOME", ("contact", "LARGE"), ("", ""), |_| ());
    let clients = ids[..1_000].iter().map(|id| {
        client(id, |client| {
            id[id.len() - 5..].clone_into(&mut client.client_reference);
        })
    });
    let records = [vec![large, many, most, home], clients.collect()].concat();
    let ended = owner.import(&[records]).await;
    let counters = ended.counters.unwrap();
    assert_eq!(ended.state(), ImportState::CompletedWithFailures);
    assert_eq!((counters.imported, counters.failed, counters.blocked), (1_001, 3, 1));
    let failures = owner.failures(&ended.id).await;
    let reported: Vec<_> =
        failures.iter().map(|one| (one.source_id.as_str(), one.reason.as_str())).collect();
    let expected = [
        ("LARGE", "RECORD_TOO_LARGE"),
        ("LARGE", "VALUE_TOO_LONG"),
        ("MANY", "VALUE_TOO_LONG"),
        ("HOME", "PARENT_FAILED"),
    ];
    assert_eq!(reported, expected);
    assert!(failures[0].reason_text.contains("65536"), "{}", failures[0].reason_text);
    assert!(failures[2].reason_text.contains("1000"), "{}", failures[2].reason_text);
    assert_eq!(failures[3].status(), RecordStatus::Blocked);
    assert!(failures.iter().all(|one| one.encoded_len() < 2_000));
    let file = owner.download(&ended.id, FailuresFormat::Jsonl).await;
    assert!(file.len() < 1_000_000, "{}", file.len());
    assert_created_once(&fake, 1_001);
    replica.stop().await;
}
