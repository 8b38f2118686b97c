//! TEMPORARY: practice-a.
use std::{collections::{BTreeMap, HashMap}, path::Path, time::Instant};
use bytes::Bytes;
use prost::Message as _;
use shared::{pb::imports::{*, import_record::Record}, testing::TestDb};
use crate::support::{pair, client, contact, address};
shared::storage_tests! { practice_a, volume }
type Row = HashMap<String, String>;
fn rows(name: &str) -> Vec<Row> {
    csv::Reader::from_path(Path::new("/work/shared/data/practice-a").join(name)).unwrap().deserialize().map(Result::unwrap).collect()
}
fn load() -> Vec<Bytes> {
    let mut all = Vec::new();
    for r in rows("addresses.csv") {
        let g = |k: &str| r[k].clone();
        all.push(Record::Address(ImportAddress { source_id: g("source_id"), owner_kind: g("owner_kind"), owner_source_id: g("owner_source_id"), r#type: g("type"), line_1: g("line_1"), line_2: g("line_2"), line_3: g("line_3"), town: g("town"), county: g("county"), postcode: g("postcode"), country: g("country"), active_from: g("active_from"), active_to: g("active_to") }));
    }
    let mut contacts: BTreeMap<String, ImportContact> = BTreeMap::new();
    for r in rows("contacts.csv") {
        let g = |k: &str| r[k].clone();
        let c = contacts.entry(g("source_id")).or_insert_with(|| ImportContact { source_id: g("source_id"), clients: vec![], title: g("title"), forename: g("forename"), middle_names: g("middle_names"), surname: g("surname"), birth_date: g("birth_date"), email: g("email"), phone: g("phone") });
        c.clients.push(ContactClient { client_source_id: g("client_source_id"), roles: g("roles").split(';').filter(|r| !r.is_empty()).map(str::to_owned).collect() });
    }
    all.extend(contacts.into_values().map(Record::Contact));
    for r in rows("clients.csv") {
        let g = |k: &str| r[k].clone();
        all.push(Record::Client(ImportClient { source_id: g("source_id"), client_reference: g("client_reference"), client_type: g("client_type"), registered_name: g("registered_name"), trading_name: g("trading_name"), company_number: g("company_number"), utr: g("utr"), vat_number: g("vat_number"), paye_reference: g("paye_reference"), title: g("title"), forename: g("forename"), surname: g("surname"), birth_date: g("birth_date"), email: g("email"), phone: g("phone") }));
    }
    all.into_iter().map(|r| ImportRecord { record: Some(r) }.encode_to_vec().into()).collect()
}
async fn practice_a(t: TestDb) {
    let (replica, _d) = pair(&t).await;
    let records = load();
    for size in [5000, 17] {
        let mut owner = replica.caller(&format!("p{size}"), "manager", "owner");
        let batches: Vec<Vec<Bytes>> = records.chunks(size).map(<[Bytes]>::to_vec).collect();
        let started = Instant::now();
        let ended = owner.import(&batches).await;
        println!("{size}: {:?} {:?}", started.elapsed(), ended.counters);
        let csv = owner.download(&ended.id, FailuresFormat::Csv).await;
        let mut got: Vec<[String; 5]> = csv::Reader::from_reader(csv.as_slice()).deserialize::<Row>().map(|r| { let r = r.unwrap(); ["kind", "source_id", "status", "reason", "field"].map(|k| r[k].clone()) }).collect();
        let mut want: Vec<[String; 5]> = rows("verdicts.csv").iter().map(|r| ["kind", "source_id", "status", "reason", "field"].map(|k| r[k].clone())).collect();
        got.sort(); want.sort();
        let extra: Vec<_> = got.iter().filter(|x| !want.contains(x)).collect();
        let missing: Vec<_> = want.iter().filter(|x| !got.contains(x)).collect();
        assert!(extra.is_empty() && missing.is_empty() && got.len() == want.len(), "extra {extra:?} missing {missing:?} {} {}", got.len(), want.len());
        println!("{}", String::from_utf8_lossy(&csv[..1500]));
    }
    replica.stop().await;
}
async fn volume(t: TestDb) {
    let (replica, _d) = pair(&t).await;
    for n in [10_000_usize, 30_000] {
        let mut owner = replica.caller(&format!("p{n}"), "manager", "owner");
        let records: Vec<Bytes> = (0..n).flat_map(|n| {
            let (k, p) = (format!("K{n:06}"), format!("P{n:06}"));
            [address(&format!("A{n:06}"), ("client", &k), ("", ""), |_| ()), contact(&p, &[&k], |_| ()), client(&k, |_| ())]
        }).collect();
        let import = owner.create().await;
        let started = Instant::now();
        for (i, b) in records.chunks(5_000).enumerate() { owner.upload(&import, &i.to_string(), b).await.unwrap(); }
        let staged = started.elapsed();
        owner.seal(&import, records.chunks(5_000).count(), records.len()).await.unwrap();
        let started = Instant::now();
        let mut last = String::new();
        loop {
            let i = owner.get(&import).await;
            let s = format!("{:?}", i.state());
            if s != last { println!("{:?} {s}", started.elapsed()); last = s; }
            if i.state() == ImportState::Completed { break }
            assert!(i.state() != ImportState::CompletedWithFailures);
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        println!("{} staged {staged:?}, done {:?}", records.len(), started.elapsed());
    }
    replica.stop().await;
}
