//! Data limits at their boundaries: a value at the limit is accepted, and a larger one is
//! refused. `docs/limits.md` lists the limits.

use concord_core::rules::text;
use concord_proto::pb::records::{
    Address, BatchGetClientsRequest, ConnectProductRequest, CreateClientRequest,
    CreateContactRequest, DisconnectProductRequest, GetRecordSummaryRequest,
    ListAuditEntriesRequest, NewName, NewPerson, PersonName, SearchRecordsRequest,
    SubscribeRequest, TraceChangeRequest, create_client_request::Individual,
    create_contact_request::Who,
};
use concord_server::limits::{MAX_HEADER_BYTES, MAX_MESSAGE_BYTES};
use concord_testing::{TestDb, storage_tests};
use prost::Message as _;
use tonic::{Code, Status};

use concord_testing::e2e::{
    caller::{Caller, request_id},
    feed::{EventStream, named, two_products},
    records::{
        assert_refused, company, contact_request, create, director, individual, new_person,
        person_name, reason, trading, violations,
    },
};

storage_tests! {
    values_over_length_limit_are_refused,
    lists_over_length_limit_are_refused,
    requests_over_size_limit_are_refused,
    subscriptions_over_product_limit_are_refused,
    oversized_messages_and_headers_are_refused,
    oversized_answer_lists_left_out_clients,
    reserved_product_name_is_refused,
    products_over_practice_limit_are_refused,
}

/// Creates a client as a dry run. Returns the field violations.
async fn field_violations(manager: &Caller, request: CreateClientRequest) -> Vec<(String, String)> {
    let request = CreateClientRequest { request_id: request_id(), validate_only: true, ..request };
    match manager.clients().create_client(request).await {
        Ok(_) => Vec::new(),
        Err(status) => {
            assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
            violations(&status)
        }
    }
}

/// A request for an individual.
fn of_person(person: NewPerson) -> CreateClientRequest {
    CreateClientRequest {
        individual: Some(Individual::Person(person)),
        ..individual("LIMIT", "", "")
    }
}

fn of_name(name: PersonName) -> CreateClientRequest {
    of_person(NewPerson { name: Some(name), ..NewPerson::default() })
}

fn at_address(change: impl FnOnce(&mut Address)) -> CreateClientRequest {
    let mut trading = trading("House", "", "");
    change(trading.address.as_mut().unwrap());
    CreateClientRequest { addresses: vec![trading], ..company("LIMIT", "Acme Limited") }
}

/// A field, its limit in characters, and a request with a given value of the field.
type Field = (&'static str, usize, fn(String) -> CreateClientRequest);

const FIELDS: &[Field] = &[
    ("client_reference", text::MAX_REFERENCE, |text| company(&text, "Acme Limited")),
    ("external_id", text::MAX_SOURCE_ID, |external_id| CreateClientRequest {
        external_id,
        ..company("LIMIT", "Acme Limited")
    }),
    ("registered_name.name", text::MAX_NAME, |name| company("LIMIT", &name)),
    ("trading_name.name", text::MAX_NAME, |name| CreateClientRequest {
        trading_name: Some(NewName { name, ..NewName::default() }),
        ..company("LIMIT", "Acme Limited")
    }),
    ("person.name.title", text::MAX_TITLE, |title| {
        of_name(PersonName { title, ..person_name("Ann", "Smith") })
    }),
    ("person.name.forename", text::MAX_NAME_PART, |name| of_name(person_name(&name, "Smith"))),
    ("person.name.middle_names", text::MAX_NAME_PART, |middle_names| {
        of_name(PersonName { middle_names, ..person_name("Ann", "Smith") })
    }),
    ("person.name.surname", text::MAX_NAME_PART, |name| of_name(person_name("Ann", &name))),
    ("addresses[0].address.line_1", text::MAX_ADDRESS_LINE, |text| at_address(|a| a.line_1 = text)),
    ("addresses[0].address.line_2", text::MAX_ADDRESS_LINE, |text| at_address(|a| a.line_2 = text)),
    ("addresses[0].address.town", text::MAX_ADDRESS_LINE, |text| at_address(|a| a.town = text)),
    ("addresses[0].address.county", text::MAX_ADDRESS_LINE, |text| at_address(|a| a.county = text)),
    ("phones[0]", text::MAX_PHONE, |phone| CreateClientRequest {
        phones: vec![phone],
        ..company("LIMIT", "Acme Limited")
    }),
];

async fn values_over_length_limit_are_refused(db: TestDb) {
    let (server, manager, _) = two_products(&db).await;
    for (field, limit, request) in FIELDS {
        // A character of two bytes: the limit is in characters, not bytes.
        let accepted = field_violations(&manager, request("é".repeat(*limit))).await;
        assert!(accepted.is_empty(), "{field}: {accepted:?}");
        let refused = field_violations(&manager, request("é".repeat(limit + 1))).await;
        let [(at, why)] = refused.as_slice() else { panic!("{field}: {refused:?}") };
        assert_eq!(at, field);
        assert!(why.starts_with("VALUE_TOO_LONG") && why.contains(&limit.to_string()), "{why}");
    }
    let email = |length: usize| {
        let host = "@example.com";
        let emails = vec!["a".repeat(length - host.len()) + host];
        CreateClientRequest { emails, ..company("LIMIT", "Acme Limited") }
    };
    assert!(field_violations(&manager, email(text::MAX_EMAIL)).await.is_empty());
    let refused = field_violations(&manager, email(text::MAX_EMAIL + 1)).await;
    assert!(refused[0].1.starts_with("VALUE_TOO_LONG"), "{refused:?}");
    server.stop().await;
}

/// A request with a list of a given length.
type Request<'r> = &'r dyn Fn(usize) -> CreateClientRequest;

async fn lists_over_length_limit_are_refused(db: TestDb) {
    let (server, manager, _) = two_products(&db).await;
    let base = || company("LIMIT", "Acme Limited");
    let emails = |count| {
        let emails = (0..count).map(|n| format!("{n}@example.com")).collect();
        CreateClientRequest { emails, ..base() }
    };
    let phones = |count| {
        let phones = (0..count).map(|n| format!("020 7946 {n:04}")).collect();
        CreateClientRequest { phones, ..base() }
    };
    let addresses = |count| {
        // Each in a different year.
        let year = |n: usize| format!("{}-01-01", 1_900 + n);
        let addresses = (0..count).map(|n| trading("House", &year(n), &year(n + 1))).collect();
        CreateClientRequest { addresses, ..base() }
    };
    let lists: [(&str, usize, Request<'_>); 3] = [
        ("emails", text::MAX_EMAILS, &emails),
        ("phones", text::MAX_PHONES, &phones),
        ("addresses", text::MAX_ADDRESSES, &addresses),
    ];
    for (field, limit, request) in lists {
        let accepted = field_violations(&manager, request(limit)).await;
        assert!(accepted.is_empty(), "{field}: {accepted:?}");
        let refused = field_violations(&manager, request(limit + 1)).await;
        assert_eq!(refused[0].0, field, "{refused:?}");
        assert!(refused[0].1.starts_with("VALUE_TOO_LONG"), "{refused:?}");
    }
    let acme = create(&manager, company("ACME", "Acme Limited")).await;
    let contact = async |roles: usize| {
        let request = CreateContactRequest {
            roles: vec![director(); roles],
            validate_only: true,
            ..contact_request(&acme.id, Who::Person(new_person("Ann", "Smith")))
        };
        manager.contacts().create_contact(request).await.err()
    };
    assert_too_long(contact(15).await, "roles");
    let within = contact(14).await;
    assert!(within.is_none_or(|status| reason(&status) != "VALUE_TOO_LONG"));
    server.stop().await;
}

fn assert_too_long(status: Option<Status>, field: &str) {
    let status = status.expect("a refusal");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::InvalidArgument, "VALUE_TOO_LONG")
    );
    assert_eq!(violations(&status)[0].0, field);
}

async fn requests_over_size_limit_are_refused(db: TestDb) {
    let (server, manager, _) = two_products(&db).await;
    let acme = create(&manager, company("ACME", "Acme Limited")).await;
    let batch = async |count: usize| {
        let clients = vec![acme.id.clone(); count];
        manager.clients().batch_get_clients(BatchGetClientsRequest { clients }).await
    };
    assert_eq!(batch(100).await.unwrap().into_inner().clients.len(), 100);
    assert_too_long(batch(101).await.err(), "clients");

    let search = async |length: usize| {
        // One long word that matches no record.
        let query = "a".repeat(length);
        let request = SearchRecordsRequest { query, ..SearchRecordsRequest::default() };
        manager.support().search_records(request).await
    };
    search(3).await.unwrap();
    assert_refused(search(2).await, Code::InvalidArgument, "REQUIRED_FIELD_BLANK");
    search(300).await.unwrap();
    assert_too_long(search(301).await.err(), "query");

    let trace = async |max_changes: i32| {
        let record = acme.id.clone();
        let request = TraceChangeRequest { record, max_changes, ..TraceChangeRequest::default() };
        manager.support().trace_change(request).await
    };
    trace(20).await.unwrap();
    assert_refused(trace(21).await, Code::InvalidArgument, "UNKNOWN_VALUE");

    // A product backend, which receives the events of all practices.
    let backend = manager.clone().without("x-concord-practice");
    let filtered = async |practices: usize| {
        let practices = vec!["p1".to_owned(); practices];
        EventStream::try_open(&backend, SubscribeRequest { practices, ..Default::default() }).await
    };
    filtered(100).await.unwrap();
    assert_too_long(filtered(101).await.err(), "practices");
    let window = async |max_unacknowledged: i32| {
        let request = SubscribeRequest { max_unacknowledged, ..named("window") };
        EventStream::try_open(&manager, request).await
    };
    window(10_000).await.unwrap();
    assert_refused(window(10_001).await, Code::InvalidArgument, "UNKNOWN_VALUE");
    EventStream::open(&manager, named(&"n".repeat(64))).await;
    let long = EventStream::try_open(&manager, named(&"n".repeat(65))).await;
    assert_too_long(long.err(), "subscription");
    server.stop().await;
}

async fn subscriptions_over_product_limit_are_refused(db: TestDb) {
    let (server, manager, books) = two_products(&db).await;
    for number in 0..100 {
        EventStream::open(&manager, named(&format!("s{number}"))).await;
    }
    let one_more = EventStream::try_open(&manager, named("s100")).await;
    assert_refused(one_more, Code::FailedPrecondition, "LIMIT_REACHED");
    // An existing subscription does not count as a new one.
    EventStream::open(&manager, named("s7")).await;
    EventStream::open(&books, named("s100")).await;
    server.stop().await;
}

async fn oversized_messages_and_headers_are_refused(db: TestDb) {
    let (server, manager, _) = two_products(&db).await;
    // A request with an encoded size of `bytes`, filled up by its name.
    let of_size = |bytes: usize| {
        let mut request = company("LARGE", &"n".repeat(bytes - 1_000));
        let missing = bytes - request.encoded_len();
        request.registered_name.as_mut().unwrap().name.push_str(&"n".repeat(missing));
        assert_eq!(request.encoded_len(), bytes);
        request
    };
    let read = manager.clients().create_client(of_size(MAX_MESSAGE_BYTES)).await;
    assert_refused(read, Code::InvalidArgument, "VALUE_TOO_LONG");
    let refused = manager.clients().create_client(of_size(MAX_MESSAGE_BYTES + 1)).await;
    assert_refused(refused, Code::InvalidArgument, "MESSAGE_TOO_LARGE");

    let limit = usize::try_from(MAX_HEADER_BYTES).unwrap();
    let with_headers = |bytes| manager.clone().with("x-other", &"h".repeat(bytes));
    create(&with_headers(limit - 1_000), company("WITHIN", "Acme Limited")).await;
    let refused = with_headers(limit).clients().create_client(company("OVER", "Acme")).await;
    refused.expect_err("too many bytes of headers");
    create(&manager, company("AFTER", "After Limited")).await;
    server.stop().await;
}

/// The default maximum message size of gRPC libraries, in bytes.
const GRPC_DEFAULT_MESSAGE_BYTES: usize = 4 * 1_024 * 1_024;

async fn oversized_answer_lists_left_out_clients(db: TestDb) {
    let (_server, manager, _) = two_products(&db).await;
    let line = "\u{13000}".repeat(200);
    let address = |month: u32| {
        let day = |n: u32| format!("{}-{:02}-01", 1990 + n / 12, n % 12 + 1);
        let mut address = trading(&line, &day(month), &day(month + 1));
        let lines = address.address.as_mut().unwrap();
        (lines.line_2, lines.line_3) = (line.clone(), line.clone());
        (lines.town, lines.county) = (line.clone(), line.clone());
        address
    };
    let mut names = Vec::new();
    for n in 0..12 {
        let addresses = (0..100).map(address).collect();
        let name = format!("Large {n} Limited");
        let request = CreateClientRequest { addresses, ..company(&format!("LARGE{n}"), &name) };
        names.push(create(&manager, request).await.id);
        if n == 0 {
            names.push("ref:UNKNOWN".to_owned());
        }
    }
    let (mut wanted, mut answers, mut read) = (names.clone(), 0, Vec::new());
    while !wanted.is_empty() {
        let request = BatchGetClientsRequest { clients: wanted.clone() };
        let answer = manager.clients().batch_get_clients(request).await.unwrap().into_inner();
        assert!(answer.encoded_len() < GRPC_DEFAULT_MESSAGE_BYTES, "{}", answer.encoded_len());
        assert!(wanted.ends_with(&answer.left_out), "left_out is the end of the request, in order");
        read.extend(answer.clients.iter().map(|client| client.id.clone()));
        read.extend(answer.not_found);
        (wanted, answers) = (answer.left_out, answers + 1);
    }
    assert!(answers > 1);
    read.sort();
    names.sort();
    assert_eq!(read, names);

    // A summary of one client, too.
    let request = GetRecordSummaryRequest { record: "ref:LARGE0".into() };
    let summary = manager.support().get_record_summary(request).await.unwrap().into_inner();
    assert!(summary.encoded_len() < GRPC_DEFAULT_MESSAGE_BYTES && summary.client.is_some());
    let request = ListAuditEntriesRequest { page_size: 1_000, ..Default::default() };
    let auditor = manager.clone().with("x-concord-roles", "owner,auditor");
    let (mut token, mut entries) = (String::new(), 0);
    loop {
        let request = ListAuditEntriesRequest { page_token: token, ..request.clone() };
        let page = auditor.support().list_audit_entries(request).await.unwrap().into_inner();
        assert!(page.encoded_len() < GRPC_DEFAULT_MESSAGE_BYTES, "{}", page.encoded_len());
        entries += page.entries.len();
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(entries, 12);
}

async fn reserved_product_name_is_refused(db: TestDb) {
    let (server, manager, _) = two_products(&db).await;
    let connect = ConnectProductRequest { product: "concord".into() };
    let refused = manager.connections().connect_product(connect).await;
    let refused = assert_refused(refused, Code::InvalidArgument, "INVALID_ID");
    assert_eq!(violations(&refused)[0].0, "product");
    assert!(refused.message().contains("choose another name"), "{}", refused.message());
    let system = server.owner("p1", "concord").await;
    let request = BatchGetClientsRequest::default();
    let refused = system.clients().batch_get_clients(request).await;
    let refused = assert_refused(refused, Code::Unauthenticated, "UNAUTHENTICATED");
    assert!(refused.message().contains("x-concord-product"), "{}", refused.message());
    // One that was connected before the name was reserved can be disconnected.
    let disconnect = DisconnectProductRequest { product: "concord".into() };
    manager.connections().disconnect_product(disconnect).await.unwrap();
}

async fn products_over_practice_limit_are_refused(db: TestDb) {
    let (_server, manager, _) = two_products(&db).await;
    let connect = async |product: String| {
        manager.connections().connect_product(ConnectProductRequest { product }).await
    };
    for n in 2..100 {
        connect(format!("product-{n}")).await.unwrap();
    }
    assert_refused(connect("one-more".into()).await, Code::FailedPrecondition, "LIMIT_REACHED");
    // Connecting a connected product again does not count.
    connect("books".into()).await.unwrap();
}
