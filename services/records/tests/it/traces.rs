//! `TraceChange`: the delivery state of a change for each product.

use concord_proto::pb::records::{
    ChangeTrace, Delivery, FeedPlace, ProductTrace, RecordKind, SubscribeRequest,
    TraceChangeRequest,
};
use concord_testing::{TestDb, storage_tests};
use tonic::{Code, Status};

use concord_testing::e2e::{
    caller::Caller,
    feed::{EventStream, create_all, named, server_with, two_products, with_own},
    records::{address_entry, assert_refused, client},
};

storage_tests! {
    change_is_traced_to_every_product_and_subscription,
    change_of_another_practice_is_not_found,
    invalid_requests_are_refused,
}

async fn trace(caller: &Caller, request: TraceChangeRequest) -> Result<Vec<ChangeTrace>, Status> {
    Ok(caller.support().trace_change(request).await?.into_inner().changes)
}

fn of_record(name: &str) -> TraceChangeRequest {
    TraceChangeRequest { record: name.into(), ..TraceChangeRequest::default() }
}

fn to<'t>(trace: &'t ChangeTrace, product: &str) -> &'t ProductTrace {
    trace.products.iter().find(|trace| trace.product == product).unwrap()
}

fn deliveries(trace: &ProductTrace) -> Vec<(&str, Delivery)> {
    trace.subscriptions.iter().map(|s| (s.subscription.as_str(), s.delivery())).collect()
}

/// Traces the record until `condition` holds.
async fn traced_until(
    caller: &Caller,
    record: &str,
    condition: impl Fn(&ChangeTrace) -> bool,
) -> ChangeTrace {
    for _ in 0..100 {
        let trace = trace(caller, of_record(record)).await.unwrap().remove(0);
        if condition(&trace) {
            return trace;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{:#?}", trace(caller, of_record(record)).await);
}

async fn change_is_traced_to_every_product_and_subscription(db: TestDb) {
    let (server, manager, books) = two_products(&db).await;
    create_all(&manager, ["ACME".to_owned()]).await;
    // A product that is connected after the change. The product `never` is not connected.
    server.owner("p1", "ap").await.connect().await;
    let mut ledger = EventStream::open(&books, named("ledger")).await;
    ledger.take(1).await;
    let persons =
        SubscribeRequest { record_kinds: vec![RecordKind::Person.into()], ..named("persons") };
    EventStream::open(&books, persons).await;
    let linked = SubscribeRequest { linked_only: true, ..named("linked") };
    EventStream::open(&books, linked).await;
    let later = SubscribeRequest { start_from: 2, ..named("later") };
    EventStream::open(&books, later).await;
    EventStream::open(&manager, named("own")).await;
    let mut echo = EventStream::open(&manager, with_own(named("echo"))).await;
    echo.take(1).await;
    let delivered = |trace: &ChangeTrace| {
        deliveries(to(trace, "books")).contains(&("ledger", Delivery::Delivered))
            && deliveries(to(trace, "manager")).contains(&("echo", Delivery::Delivered))
    };
    let traced = traced_until(&manager, "ref:ACME", delivered).await;
    assert_eq!(
        (traced.record_version, traced.origin.as_ref().unwrap().product.as_str()),
        (1, "manager")
    );
    let feed_place = |product| to(&traced, product).place();
    assert_eq!(feed_place("ap"), FeedPlace::NotConnected);
    assert_eq!((feed_place("books"), to(&traced, "books").position), (FeedPlace::AtPosition, 1));
    assert!(to(&traced, "manager").linked && !to(&traced, "books").linked);
    let books_traces = deliveries(to(&traced, "books"));
    assert_eq!(
        books_traces,
        [
            ("later", Delivery::BeforeStart),
            ("ledger", Delivery::Delivered),
            ("linked", Delivery::Filtered),
            ("persons", Delivery::Filtered),
        ]
    );
    let own = deliveries(to(&traced, "manager"));
    assert_eq!(own, [("echo", Delivery::Delivered), ("own", Delivery::Suppressed)]);
    let explanations: Vec<_> =
        to(&traced, "books").subscriptions.iter().map(|s| s.explanation.as_str()).collect();
    assert!(explanations[2].contains("linked_only") && explanations[3].contains("record_kinds"));
    ledger.acknowledge(&books).await;
    let acknowledged = |trace: &ChangeTrace| {
        deliveries(to(trace, "books")).contains(&("ledger", Delivery::Acknowledged))
    };
    traced_until(&manager, "ref:ACME", acknowledged).await;
    drop(ledger);
    let acme = client(&manager, "ref:ACME").await;
    let moving = address_entry(&acme.id, "New House", "2026-03-01", "");
    let moved = manager.history().add_entry(moving).await.unwrap().into_inner();
    let waiting = |trace: &ChangeTrace| {
        let books = to(trace, "books");
        let ledger = books.subscriptions.iter().find(|s| s.subscription == "ledger");
        ledger.is_some_and(|ledger| {
            ledger.delivery() == Delivery::Waiting && ledger.explanation.contains("no stream")
        })
    };
    let traced = traced_until(&manager, "ref:ACME", waiting).await;
    assert_eq!(traced.change_id, moved.change_ids[0], "the last change of the record");
    let both = TraceChangeRequest { max_changes: 20, ..of_record(&acme.id) };
    assert_eq!(trace(&manager, both).await.unwrap().len(), 2);
    let one = TraceChangeRequest {
        change: traced.change_id,
        product: "never".into(),
        ..TraceChangeRequest::default()
    };
    let traced = trace(&manager, one).await.unwrap().remove(0);
    assert_eq!(traced.products.len(), 1);
    assert_eq!(traced.products[0].place(), FeedPlace::NotConnected);
}

async fn change_of_another_practice_is_not_found(db: TestDb) {
    let server = server_with(&db, &["manager"]).await;
    let manager = server.owner("p1", "manager").await;
    let other = server.owner("p2", "manager").await.connect().await;
    create_all(&manager, ["ACME".to_owned()]).await;
    let traced = trace(&manager, of_record("ref:ACME")).await.unwrap().remove(0);
    let by_id = TraceChangeRequest { change: traced.change_id, ..TraceChangeRequest::default() };
    assert_refused(trace(&other, by_id.clone()).await, Code::NotFound, "NOT_FOUND");
    for name in [traced.record_id.as_str(), "ref:ACME"] {
        assert_refused(trace(&other, of_record(name)).await, Code::NotFound, "NOT_FOUND");
    }
    let everywhere = manager.without("x-concord-practice");
    let refused = trace(&everywhere, by_id).await;
    assert_refused(refused, Code::InvalidArgument, "PRACTICE_REQUIRED");
}

async fn invalid_requests_are_refused(db: TestDb) {
    let server = server_with(&db, &["manager"]).await;
    let manager = server.owner("p1", "manager").await;
    let request = TraceChangeRequest::default;
    let change = |text: &str| TraceChangeRequest { change: text.into(), ..request() };
    for (wrong, reason) in [
        (request(), "REQUIRED_FIELD_BLANK"),
        (change("cli_1"), "INVALID_ID"),
        (change(&"chg_".repeat(5_000)), "INVALID_ID"),
        (TraceChangeRequest { record: "ref:A".into(), ..change("chg_1") }, "FIELD_NOT_APPLICABLE"),
        (TraceChangeRequest { max_changes: 21, ..of_record("ref:A") }, "UNKNOWN_VALUE"),
        (TraceChangeRequest { max_changes: -1, ..of_record("ref:A") }, "UNKNOWN_VALUE"),
        (TraceChangeRequest { product: "No Product".into(), ..of_record("ref:A") }, "INVALID_ID"),
    ] {
        assert_refused(trace(&manager, wrong).await, Code::InvalidArgument, reason);
    }
    assert_refused(trace(&manager, of_record("ref:NONE")).await, Code::NotFound, "NOT_FOUND");
}
