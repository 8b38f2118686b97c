//! Health checks during database outages, read-only databases and graceful shutdown.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use concord_db::{Database, DatabaseSettings};
use concord_proto::pb::records::ListClientsRequest;
use concord_testing::postgres_url;
use sea_orm::{ConnectionTrait as _, Statement};
use tonic::{Code, transport::Channel};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
};

use tonic_types::StatusExt as _;

use crate::{postgres_server::PostgresServer, process::wait_until, server_process::ServerProcess};
use concord_testing::e2e::records::company;

const SERVING: i32 = ServingStatus::Serving as i32;
const NOT_SERVING: i32 = ServingStatus::NotServing as i32;

/// The timeout for a change of the health status.
const STATUS_TIMEOUT: Duration = Duration::from_mins(1);

/// Waits until the service has the status, for each service name and on the HTTP port.
async fn wait_for_status(
    server: &ServerProcess,
    name: &str,
    channel: &Channel,
    services: &[&str],
    status: i32,
) {
    let deadline = Instant::now() + STATUS_TIMEOUT;
    for service in services.iter().copied().chain([""]) {
        let request = || HealthCheckRequest { service: service.to_owned() };
        loop {
            let mut health = HealthClient::new(channel.clone());
            let answer = health.check(request()).await.unwrap().into_inner();
            if answer.status == status {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{name} {service:?} is {answer:?}\n{}",
                server.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let ready = if status == SERVING { 200 } else { 503 };
    assert_eq!(server.http(name, "/readyz").0, ready, "{name}");
    assert_eq!(server.http(name, "/livez").0, 200, "{name}");
}

/// The PostgreSQL backends that serve Concord, and the postmaster.
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
    // A process may have ended meanwhile.
    let _ = Command::new("kill").arg(name).args(processes).status().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_follows_database_availability() {
    if postgres_url().is_none() {
        return;
    }
    let postgres = PostgresServer::start();
    let url = postgres.url();
    let server = ServerProcess::start(&["--records-db", url, "--imports-db", url]);
    let (records, imports) = (server.records_channel().await, server.imports_channel().await);
    let all = async |status| {
        let services = ["concord.records.v1.ClientService", "concord.records.v1.ChangeService"];
        wait_for_status(&server, "records", &records, &services, status).await;
        let services = ["concord.imports.v1.ImportService"];
        wait_for_status(&server, "imports", &imports, &services, status).await;
    };
    all(SERVING).await;

    // The server is down.
    postgres.crash();
    all(NOT_SERVING).await;
    let up = "concord_database_up{service=\"records\"}";
    assert!(server.metrics("records").contains(&format!("{up} 0")));
    postgres.restart();
    all(SERVING).await;
    assert!(server.metrics("records").contains(&format!("{up} 1")));

    // The server does not respond.
    let processes = processes(url).await;
    signal("-STOP", &processes);
    all(NOT_SERVING).await;
    signal("-CONT", &processes);
    all(SERVING).await;
}

/// Runs statements in a session that can write, even when the database is read-only by default.
async fn run(url: &str, statements: &[&str]) {
    let url = format!("{url}?options[default_transaction_read_only]=off");
    let db = Database::connect(&DatabaseSettings::new(url).max_connections(1)).await.unwrap();
    for sql in statements {
        db.reader().execute_unprepared(sql).await.unwrap();
    }
    db.close().await.unwrap();
}

/// Terminates all other sessions of Concord.
const END_SESSIONS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                            WHERE application_name LIKE 'concord%' AND pid <> pg_backend_pid()";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn read_only_database_serves_reads_and_recovers() {
    if postgres_url().is_none() {
        return;
    }
    let postgres = PostgresServer::start();
    let url = postgres.url();
    let server = ServerProcess::start(&["--records-db", url, "--imports-db", url]);
    let manager = server.owner("manager").await.connect().await;
    let create = async |reference: &str| {
        manager.clients().create_client(company(reference, "Acme Limited")).await
    };
    create("A").await.unwrap();
    let wait_for_body = |text: &str| {
        let body = format!("{text}\n");
        tokio::task::block_in_place(|| {
            for service in ["records", "imports"] {
                wait_until(text, || {
                    (server.http(service, "/readyz") == (200, body.clone())).then_some(())
                });
            }
        });
    };
    wait_for_body("ready");
    for next in ["C", "D"] {
        // As after the demotion of a primary: new sessions are read-only.
        let demoted = "ALTER DATABASE postgres SET default_transaction_read_only = on";
        run(url, &[demoted, END_SESSIONS]).await;
        // After this time, terminated sessions are detected before their next use.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        wait_for_body("ready, but writes fail: the database is read-only");
        let refused = create("B").await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
        assert!(refused.message().contains("the database is read-only"), "{refused:?}");
        assert!(refused.get_details_retry_info().is_some());
        manager.clients().list_clients(ListClientsRequest::default()).await.unwrap();
        let metrics = server.metrics("records");
        for line in [
            r#"concord_database_up{service="records"} 1"#,
            r#"concord_database_takes_writes{service="records"} 0"#,
        ] {
            assert!(metrics.contains(line), "{line}\n{metrics}");
        }
        assert!(metrics.contains(r#"failed_total{service="records",cause="read_only"}"#));
        // Open sessions stay read-only; new sessions can write.
        run(url, &["ALTER DATABASE postgres RESET default_transaction_read_only"]).await;
        create(next).await.unwrap();
        wait_for_body("ready");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_watch_reports_the_drain_and_does_not_delay_it() {
    let mut server = ServerProcess::start(&[]);
    let mut health = HealthClient::new(server.records_channel().await);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, SERVING);
    server.terminate();
    assert_eq!(watch.message().await.unwrap().unwrap().status, NOT_SERVING);
    while let Ok(Some(_)) = watch.message().await {}
    tokio::task::block_in_place(|| server.wait());
    assert!(!server.log().contains("graceful shutdown timed out"), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_service_is_not_ready_but_live() {
    use concord_proto::pb::imports::{CreateImportRequest, UploadBatchRequest};
    let server = ServerProcess::start(&[]);
    server.owner("manager").await.connect().await;
    let importer = server.importer("manager").await;
    importer.imports().create_import(CreateImportRequest::default()).await.unwrap();
    // A call in flight, whose caller sends nothing.
    let silent = futures::stream::pending::<UploadBatchRequest>();
    let upload = tokio::spawn(async move { importer.imports().upload_batch(silent).await });
    let open = "concord_calls_in_flight{service=\"imports\",rpc=\"ImportService/UploadBatch\"} 1";
    crate::process::wait_until("the upload", || {
        server.metrics("imports").contains(open).then_some(())
    });
    server.terminate();
    crate::process::wait_until("a drain", || {
        (server.http("imports", "/readyz") == (503, "draining\n".to_owned())).then_some(())
    });
    assert_eq!(server.http("imports", "/livez").0, 200);
    upload.abort();
}
