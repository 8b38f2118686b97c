//! Health follows the database, and the end.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use sea_orm::{ConnectionTrait as _, Statement};
use shared::{
    db::{Database, DatabaseSettings},
    pb::records::{ClientType, CreateClientRequest, ListClientsRequest, NewName},
    testing::postgres_url,
};
use tonic::{Code, transport::Channel};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
};

use tonic_types::StatusExt as _;

use crate::{caller::request_id, cluster::Cluster, process::wait_until, stage::Stage};

const SERVING: i32 = ServingStatus::Serving as i32;
const NOT_SERVING: i32 = ServingStatus::NotServing as i32;

/// Health that does not follow the database for this long hangs.
const SOON: Duration = Duration::from_mins(1);

/// Waits until the service says so, for each name and on its port.
async fn becomes(stage: &Stage, name: &str, channel: &Channel, services: &[&str], status: i32) {
    let late = Instant::now() + SOON;
    for service in services.iter().copied().chain([""]) {
        let request = || HealthCheckRequest { service: service.to_owned() };
        loop {
            let mut health = HealthClient::new(channel.clone());
            let answer = health.check(request()).await.unwrap().into_inner();
            if answer.status == status {
                break;
            }
            assert!(Instant::now() < late, "{name} {service:?} is {answer:?}\n{}", stage.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let ready = if status == SERVING { 200 } else { 503 };
    assert_eq!(stage.http(name, "/readyz").0, ready, "{name}");
    assert_eq!(stage.http(name, "/livez").0, 200, "{name}");
}

/// The processes of a server that work for Concord, and the one that makes them.
async fn processes(url: &str) -> Vec<String> {
    let db = Database::connect(&DatabaseSettings::new(url).max_connections(1)).await.unwrap();
    let sql = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'concord%'";
    let statement = Statement::from_string(db.engine(), sql);
    let rows = db.reader().query_all_raw(statement).await.unwrap();
    let mut found: Vec<i32> = rows.iter().map(|row| row.try_get("", "pid").unwrap()).collect();
    db.close().await.unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", found[0])).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    found.push(parent.trim().parse().unwrap());
    found.iter().map(ToString::to_string).collect()
}

fn signal(name: &str, processes: &[String]) {
    // One of them may have ended meanwhile.
    let _ = Command::new("kill").arg(name).args(processes).status().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_follows_the_database() {
    if postgres_url().is_none() {
        return;
    }
    let cluster = Cluster::start();
    let url = cluster.url();
    let stage = Stage::start(&["--records-db", url, "--imports-db", url]);
    let (records, imports) = (stage.records_channel().await, stage.imports_channel().await);
    let all = async |status| {
        let services = ["concord.records.v1.ClientService", "concord.records.v1.ChangeService"];
        becomes(&stage, "records", &records, &services, status).await;
        let services = ["concord.imports.v1.ImportService"];
        becomes(&stage, "imports", &imports, &services, status).await;
    };
    all(SERVING).await;

    // It is gone.
    cluster.crash();
    all(NOT_SERVING).await;
    let up = "concord_database_up{service=\"records\"}";
    assert!(stage.metrics("records").contains(&format!("{up} 0")));
    cluster.start_again();
    all(SERVING).await;
    assert!(stage.metrics("records").contains(&format!("{up} 1")));

    // It is there, and says nothing.
    let processes = processes(url).await;
    signal("-STOP", &processes);
    all(NOT_SERVING).await;
    signal("-CONT", &processes);
    all(SERVING).await;
}

/// Runs statements in sessions that can write, whatever the database says of others.
async fn run(url: &str, statements: &[&str]) {
    let url = format!("{url}?options[default_transaction_read_only]=off");
    let db = Database::connect(&DatabaseSettings::new(url).max_connections(1)).await.unwrap();
    for sql in statements {
        db.reader().execute_unprepared(sql).await.unwrap();
    }
    db.close().await.unwrap();
}

/// Every session but the one that says so is ended.
const END_SESSIONS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                            WHERE application_name LIKE 'concord%' AND pid <> pg_backend_pid()";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_database_that_takes_no_writes_is_served_and_the_first_write_after_that_succeeds() {
    if postgres_url().is_none() {
        return;
    }
    let cluster = Cluster::start();
    let url = cluster.url();
    let stage = Stage::start(&["--records-db", url, "--imports-db", url]);
    let manager = stage.owner("manager").await.connect().await;
    let create = async |reference: &str| {
        let name = NewName { name: "Acme Limited".into(), active_from: "2010-01-01".into() };
        let request = CreateClientRequest {
            r#type: ClientType::PrivateLimitedCompany.into(),
            client_reference: reference.into(),
            registered_name: Some(name),
            request_id: request_id(),
            ..CreateClientRequest::default()
        };
        manager.clients().create_client(request).await
    };
    create("A").await.unwrap();
    let says = |text: &str| {
        let body = format!("{text}\n");
        tokio::task::block_in_place(|| {
            for service in ["records", "imports"] {
                wait_until(text, || {
                    (stage.http(service, "/readyz") == (200, body.clone())).then_some(())
                });
            }
        });
    };
    says("ready");
    for next in ["C", "D"] {
        // As a primary that is demoted: whoever connects again finds a standby.
        let demoted = "ALTER DATABASE postgres SET default_transaction_read_only = on";
        run(url, &[demoted, END_SESSIONS]).await;
        // From then on a session that was ended is found before it is used.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        says("ready, but writes fail: the database is read-only");
        let refused = create("B").await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
        assert!(refused.message().contains("the database is read-only"), "{refused:?}");
        assert!(refused.get_details_retry_info().is_some());
        manager.clients().list_clients(ListClientsRequest::default()).await.unwrap();
        let metrics = stage.metrics("records");
        for line in [
            r#"concord_database_up{service="records"} 1"#,
            r#"concord_database_takes_writes{service="records"} 0"#,
        ] {
            assert!(metrics.contains(line), "{line}\n{metrics}");
        }
        assert!(metrics.contains(r#"failed_total{service="records",cause="read_only"}"#));
        // The sessions that are open stay as they are; new ones can write.
        run(url, &["ALTER DATABASE postgres RESET default_transaction_read_only"]).await;
        create(next).await.unwrap();
        says("ready");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_watches_health_hears_of_the_drain_and_does_not_hold_it_up() {
    let mut stage = Stage::start(&[]);
    let mut health = HealthClient::new(stage.records_channel().await);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, SERVING);
    stage.ask_to_end();
    assert_eq!(watch.message().await.unwrap().unwrap().status, NOT_SERVING);
    while let Ok(Some(_)) = watch.message().await {}
    tokio::task::block_in_place(|| stage.wait());
    assert!(!stage.log().contains("did not end in time"), "{}", stage.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_drains_is_not_ready_and_lives() {
    use shared::pb::imports::{CreateImportRequest, UploadBatchRequest};
    let stage = Stage::start(&[]);
    stage.owner("manager").await.connect().await;
    let importer = stage.importer("manager").await;
    importer.imports().create_import(CreateImportRequest::default()).await.unwrap();
    // A call that goes on: its caller does not say a word.
    let silent = futures::stream::pending::<UploadBatchRequest>();
    let upload = tokio::spawn(async move { importer.imports().upload_batch(silent).await });
    let open = "concord_calls_in_flight{service=\"imports\",rpc=\"ImportService/UploadBatch\"} 1";
    crate::process::wait_until("the upload", || {
        stage.metrics("imports").contains(open).then_some(())
    });
    stage.ask_to_end();
    crate::process::wait_until("a drain", || {
        (stage.http("imports", "/readyz") == (503, "draining\n".to_owned())).then_some(())
    });
    assert_eq!(stage.http("imports", "/livez").0, 200);
    upload.abort();
}
