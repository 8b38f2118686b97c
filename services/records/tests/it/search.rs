//! Search: matches, ranking and pagination.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use concord_proto::pb::records::{
    AddEntryRequest, ClientIdentifiers, CorrectEntryRequest, CreateClientRequest, NewName,
    PersonFields, RecordKind, SearchMatch, SearchRecordsRequest, SearchRecordsResponse,
    SearchResult, Timeline, UpdatePersonRequest, add_entry_request, correct_entry_request,
    create_client_request::Individual,
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use concord_testing::e2e::{
    caller::{Caller, request_id},
    records::{
        Acme, assert_refused, cancel, company, correction, create, entries, individual, mask,
        name_entry, new_person, person, person_name, person_request, unlink,
    },
    servers,
};

storage_tests! {
    names_match_by_word_prefix,
    all_query_words_must_match_one_name,
    case_accents_and_apostrophes_are_ignored,
    former_name_matches_and_is_reported,
    scheduled_name_matches,
    corrected_name_no_longer_matches,
    references_and_identifiers_match_exactly,
    results_are_ranked_reference_current_other_name,
    personal_data_is_not_searchable,
    individual_is_found_as_client_and_person,
    new_name_of_person_matches_immediately,
    next_page_starts_after_previous,
    query_under_three_characters_is_refused,
    hostile_queries_are_harmless,
    results_are_isolated_by_practice,
    result_order_is_equal_on_both_databases,
    individual_is_sorted_by_displayed_name,
    page_token_does_not_reveal_name,
    small_pages_skip_hidden_records_in_bulk,
}

async fn ask(caller: &Caller, request: SearchRecordsRequest) -> SearchRecordsResponse {
    caller.support().search_records(request).await.unwrap().into_inner()
}

async fn results(caller: &Caller, query: &str) -> Vec<SearchResult> {
    let request = SearchRecordsRequest { query: query.into(), ..SearchRecordsRequest::default() };
    let answer = ask(caller, request).await;
    assert!(!answer.truncated);
    assert_eq!(answer.next_page_token, "");
    answer.results
}

/// The names of the results, in order.
async fn names(caller: &Caller, query: &str) -> Vec<String> {
    results(caller, query).await.into_iter().map(|result| result.name).collect()
}

async fn add_person(caller: &Caller, forename: &str, surname: &str) -> String {
    let request = person_request(new_person(forename, surname));
    caller.persons().create_person(request).await.unwrap().into_inner().person.unwrap().id
}

async fn names_match_by_word_prefix(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let manager = &acme.manager;
    create(manager, company("B", "Brindle & Moss (Holdings) Limited")).await;
    for query in ["bri", "BRINDLE", "moss", "hol", "Brindle & Moss", "  mos  ", "moss-hold"] {
        assert_eq!(names(manager, query).await, ["Brindle & Moss (Holdings) Limited"], "{query}");
    }
    for query in ["rindle", "oss", "brindles", "b&m", "brindlemoss"] {
        let outcome = SearchRecordsRequest { query: query.into(), ..Default::default() };
        match manager.support().search_records(outcome).await {
            Ok(found) => assert_eq!(found.into_inner().results, [], "{query}"),
            Err(refused) => assert_eq!(refused.code(), Code::InvalidArgument, "{query}"),
        }
    }
    let request = CreateClientRequest {
        trading_name: Some(NewName { name: "The Tea Room".into(), active_from: String::new() }),
        ..company("T", "Copperkettle Limited")
    };
    create(manager, request).await;
    assert_eq!(names(manager, "tea").await, ["Copperkettle Limited"]);
}

async fn all_query_words_must_match_one_name(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let manager = &acme.manager;
    create(manager, company("A", "Alpha Bakery Limited")).await;
    create(manager, company("B", "Alpha Books Limited")).await;
    assert_eq!(names(manager, "alpha b").await, ["Alpha Bakery Limited", "Alpha Books Limited"]);
    assert_eq!(names(manager, "boo alp").await, ["Alpha Books Limited"]);
    assert_eq!(names(manager, "alpha alp").await.len(), 2, "one word may match both");
    assert_eq!(names(manager, "alpha zzz").await, [""; 0]);
    let books = create(manager, company("C", "Gamma Limited")).await;
    let etag = entries(manager, &books.id, Timeline::RegisteredName).await[0].etag.clone();
    manager.history().add_entry(name_entry(&books.id, "Delta Limited", "", &etag)).await.unwrap();
    assert_eq!(names(manager, "gamma delta").await, [""; 0], "the words match different names");
}

async fn case_accents_and_apostrophes_are_ignored(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let manager = &acme.manager;
    for (forename, surname) in
        [("Pat", "O'Brien"), ("Séan", "Ó Briain"), ("Jürgen", "Müller"), ("Søren", "Weiß")]
    {
        add_person(manager, forename, surname).await;
    }
    for query in ["o'brien", "O’BRIEN", "obrien", "obri", "pat O`Brien"] {
        assert_eq!(names(manager, query).await, ["Pat O'Brien"], "{query}");
    }
    for query in ["Ó Briain", "o briain", "briain", "sean", "SÉAN", "Se\u{301}an"] {
        assert_eq!(names(manager, query).await, ["Séan Ó Briain"], "{query}");
    }
    for query in ["müller", "muller", "MÜLL", "Mu\u{308}ller", "jurgen m"] {
        assert_eq!(names(manager, query).await, ["Jürgen Müller"], "{query}");
    }
    for query in ["weiss", "WEISS", "soren", "weiß"] {
        assert_eq!(names(manager, query).await, ["Søren Weiß"], "{query}");
    }
}

async fn former_name_matches_and_is_reported(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    acme.add_name("Zenith Limited", "2020-01-01").await.unwrap();
    let found = results(&acme.manager, "acme lim").await;
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].name.as_str(), found[0].r#match()),
        ("Zenith Limited", SearchMatch::OtherName)
    );
    assert_eq!(found[0].matched_name, "Acme Limited");
    let found = results(&acme.manager, "zenith").await;
    assert_eq!(
        (found[0].r#match(), found[0].matched_name.as_str()),
        (SearchMatch::CurrentName, "")
    );
    let found = results(&acme.manager, "limited").await;
    assert_eq!((found.len(), found[0].r#match()), (1, SearchMatch::CurrentName), "its best rank");
}

async fn scheduled_name_matches(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let scheduled = acme.add_name("Zenith Limited", "2026-04-01").await.unwrap().entry.unwrap();
    let found = results(&acme.manager, "zenith").await;
    assert_eq!(
        (found[0].name.as_str(), found[0].r#match()),
        ("Acme Limited", SearchMatch::OtherName)
    );
    assert_eq!(found[0].matched_name, "Zenith Limited");
    acme.manager.history().cancel_scheduled_entry(cancel(&scheduled)).await.unwrap();
    assert_eq!(results(&acme.manager, "zenith").await, []);
}

async fn corrected_name_no_longer_matches(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let name = acme.names().await.remove(0);
    let request = CorrectEntryRequest {
        value: Some(correct_entry_request::Value::Name("Acne Limited".into())),
        ..correction(&name, &["value"])
    };
    acme.manager.history().correct_entry(request).await.unwrap();
    assert_eq!(names(&acme.manager, "acne").await, ["Acne Limited"]);
    let found = results(&acme.manager, "acme limited").await;
    assert_eq!(found, [], "its reference is ACME only");
    let found = results(&acme.manager, "acme").await;
    assert_eq!(found[0].r#match(), SearchMatch::Reference);
}

async fn references_and_identifiers_match_exactly(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let manager = &acme.manager;
    let request = CreateClientRequest {
        identifiers: Some(ClientIdentifiers {
            company_number: "07687209".into(),
            utr: "1955839661".into(),
            vat_number: "GB980780684".into(),
            paye_reference: "123/AB456".into(),
        }),
        ..company("BRI-001", "Brindle Limited")
    };
    create(manager, request).await;
    let exact = [
        "BRI-001",
        "bri-001",
        "bri001",
        "07687209",
        "1955839661",
        "19558 39661",
        "980780684",
        "123/AB456",
        "123ab456",
        "7687209",
        "GB980780684",
        "GB 980 7806 84",
    ];
    for query in exact {
        let found = results(manager, query).await;
        let reported: Vec<_> =
            found.iter().map(|found| (found.name.as_str(), found.r#match())).collect();
        assert_eq!(reported, [("Brindle Limited", SearchMatch::Reference)], "{query}");
        assert_eq!(found[0].client_reference, "BRI-001");
    }
    for query in ["bri-00", "0768720", "195583966", "98078068", "123/AB45", "687209"] {
        assert_eq!(names(manager, query).await, [""; 0], "{query}");
    }
}

async fn results_are_ranked_reference_current_other_name(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let manager = &acme.manager;
    let former = create(manager, company("F1", "Zeta Former Limited")).await;
    create(manager, company("N2", "Zeta B Limited")).await;
    create(manager, company("N1", "zeta a Limited")).await;
    create(manager, company("ZETA", "Yonder Limited")).await;
    let etag = entries(manager, &former.id, Timeline::RegisteredName).await[0].etag.clone();
    let request = name_entry(&former.id, "Aardvark Limited", "", &etag);
    manager.history().add_entry(request).await.unwrap();
    assert_eq!(
        names(manager, "zeta").await,
        ["Yonder Limited", "zeta a Limited", "Zeta B Limited", "Aardvark Limited"]
    );
    let kinds: Vec<_> = results(manager, "zeta").await.iter().map(SearchResult::r#match).collect();
    assert_eq!(
        kinds,
        [
            SearchMatch::Reference,
            SearchMatch::CurrentName,
            SearchMatch::CurrentName,
            SearchMatch::OtherName,
        ]
    );
}

async fn personal_data_is_not_searchable(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let manager = &acme.manager;
    let mut ann = new_person("Ann", "Smith");
    ann.nino = "AB123456C".into();
    ann.birth_date = "1975-05-05".into();
    ann.emails = vec!["secret@smith.example".into()];
    let request = CreateClientRequest {
        individual: Some(Individual::Person(ann)),
        ..individual("SMI1", "", "")
    };
    let client = create(manager, request).await;
    let now = person(manager, &client.person_id).await;
    assert_eq!(now.nino, "AB123456C");
    let request = UpdatePersonRequest {
        person: client.person_id.clone(),
        fields: Some(PersonFields { nino: "AB123457C".into(), ..PersonFields::default() }),
        update_mask: Some(mask(&["nino"])),
        etag: now.etag,
        request_id: request_id(),
        ..UpdatePersonRequest::default()
    };
    manager.persons().update_person(request).await.unwrap();
    for query in ["AB123456C", "AB123457C", "ab123", "1975-05-05", "secret@smith.example"] {
        assert_eq!(names(manager, query).await, [""; 0], "{query}");
    }
    assert_eq!(names(manager, "smith").await.len(), 2);
}

async fn individual_is_found_as_client_and_person(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let grace = create(&acme.manager, individual("OKA1", "Grace", "Okafor")).await;
    let found = results(&acme.manager, "okafor gr").await;
    let mut ids: Vec<_> = found.iter().map(|found| found.record_id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [grace.id.as_str(), grace.person_id.as_str()]);
    assert!(found.iter().all(|found| found.name == "Grace Okafor"));
    for (kind, id) in [(RecordKind::Client, &grace.id), (RecordKind::Person, &grace.person_id)] {
        let request = SearchRecordsRequest {
            query: "okafor".into(),
            record_kind: kind.into(),
            ..SearchRecordsRequest::default()
        };
        let found = ask(&acme.manager, request).await.results;
        assert_eq!((found.len(), &found[0].record_id), (1, id));
    }
    for record_kind in [RecordKind::Contact.into(), 99, -1] {
        let request =
            SearchRecordsRequest { query: "okafor".into(), record_kind, ..Default::default() };
        let refused = acme.manager.support().search_records(request).await;
        assert_refused(refused, Code::InvalidArgument, "UNKNOWN_VALUE");
    }
}

async fn new_name_of_person_matches_immediately(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let manager = &acme.manager;
    let grace = create(manager, individual("OKA1", "Grace", "Okafor")).await;
    let etag = entries(manager, &grace.person_id, Timeline::PersonName).await[0].etag.clone();
    let request = AddEntryRequest {
        timeline: Timeline::PersonName.into(),
        value: Some(add_entry_request::Value::PersonName(person_name("Grace", "Eze"))),
        ..name_entry(&grace.person_id, "", "", &etag)
    };
    manager.history().add_entry(request).await.unwrap();
    for (query, kind) in [("eze", SearchMatch::CurrentName), ("okafor", SearchMatch::OtherName)] {
        let found = results(manager, query).await;
        assert_eq!(found.len(), 2, "{query}: client and person");
        for found in found {
            assert_eq!((found.name.as_str(), found.r#match()), ("Grace Eze", kind));
            let former = if kind == SearchMatch::OtherName { "Grace Okafor" } else { "" };
            assert_eq!(found.matched_name, former);
        }
    }
}

async fn next_page_starts_after_previous(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let manager = &acme.manager;
    for n in [4, 1, 6, 2, 5, 3, 0] {
        create(manager, company(&format!("P{n}"), &format!("Page {n} Limited"))).await;
    }
    let mut request =
        SearchRecordsRequest { query: "page".into(), page_size: 3, ..Default::default() };
    let (mut reported, mut pages) = (Vec::new(), 0);
    loop {
        let page = ask(manager, request.clone()).await;
        assert!(page.results.len() <= 3);
        reported.extend(page.results.into_iter().map(|found| found.client_reference));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        if pages == 1 {
            create(manager, company("P00", "Page 0 Again Limited")).await;
        }
    }
    assert_eq!(reported, ["P0", "P1", "P2", "P3", "P4", "P5", "P6"]);
    assert_eq!(pages, 3);
    request.query = "limited".into();
    let refused = manager.support().search_records(request.clone()).await;
    assert_refused(refused, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    request.page_token = String::new();
    request.page_size = -1;
    let refused = manager.support().search_records(request).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
}

async fn query_under_three_characters_is_refused(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    for query in ["", "ac", "a c", " a-c ", "'''", "%%%", "***", "a''", "\u{301}\u{301}\u{301}"] {
        let request = SearchRecordsRequest { query: query.into(), ..Default::default() };
        let refused = acme.manager.support().search_records(request).await;
        assert_refused(refused, Code::InvalidArgument, "REQUIRED_FIELD_BLANK");
    }
    let request = SearchRecordsRequest { query: "a".repeat(301), ..Default::default() };
    let refused = acme.manager.support().search_records(request).await;
    assert_refused(refused, Code::InvalidArgument, "VALUE_TOO_LONG");
}

async fn hostile_queries_are_harmless(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let many = "a b c d e f g h i j k l m n o p q r s t u v w x y z";
    let queries = [
        "acm%",
        "a_me limited",
        "' OR 1=1 --",
        "\"; DROP TABLE client",
        "acm\u{10FFFF}",
        "=acme",
        "a\0cme",
        "日本語",
        many,
        "acme\\",
        "ﬁnance",
        "１２３",
    ];
    for query in queries {
        let request = SearchRecordsRequest { query: query.into(), ..Default::default() };
        match acme.manager.support().search_records(request).await {
            Ok(_) => {}
            Err(refused) => assert_eq!(refused.code(), Code::InvalidArgument, "{query:?}"),
        }
    }
    assert_eq!(names(&acme.manager, "acm%").await, ["Acme Limited"]);
    create(&acme.manager, company("J", "株式会社アクメ")).await;
    assert_eq!(names(&acme.manager, "株式会社").await, ["株式会社アクメ"]);
}

async fn results_are_isolated_by_practice(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let other = acme.server.owner("p2", "manager").await.connect().await;
    assert_eq!(results(&other, "acme").await, []);
    let ap = acme.server.owner("p1", "ap").await;
    let request = SearchRecordsRequest { query: "acme".into(), ..Default::default() };
    let refused = ap.support().search_records(request).await;
    assert_refused(refused, Code::FailedPrecondition, "PRODUCT_NOT_CONNECTED");
    assert_eq!(results(&acme.manager.as_support(), "acme").await.len(), 1);
}

async fn result_order_is_equal_on_both_databases(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let manager = &acme.manager;
    let all = [
        "Order Zoë",
        "order Äpfel",
        "Order apple",
        "ORDER 10",
        "Order 9",
        "Order-Ångström",
        "Order Ωmega",
        "Order æther",
        "Order _x",
        "order Émile",
        "Order",
        "Order 株",
    ];
    for (n, name) in all.into_iter().enumerate() {
        create(manager, company(&format!("O{n}"), name)).await;
    }
    assert_eq!(
        names(manager, "order").await,
        [
            "Order",
            "ORDER 10",
            "Order 9",
            "Order æther",
            "Order-Ångström",
            "order Äpfel",
            "Order apple",
            "order Émile",
            "Order _x",
            "Order Zoë",
            "Order Ωmega",
            "Order 株",
        ]
    );
}

async fn individual_is_sorted_by_displayed_name(db: TestDb) {
    let acme = Acme::with_addresses(&db, &[]).await;
    let manager = &acme.manager;
    let request = CreateClientRequest {
        trading_name: Some(NewName { name: "Zebra Stalls".into(), active_from: String::new() }),
        ..individual("IND1", "Ann", "Stallworth")
    };
    create(manager, request).await;
    create(manager, company("STA", "Mid Stall Limited")).await;
    let request = SearchRecordsRequest {
        query: "stall".into(),
        record_kind: RecordKind::Client.into(),
        ..SearchRecordsRequest::default()
    };
    let found = ask(manager, request).await.results;
    let names: Vec<_> = found.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["Ann Stallworth", "Mid Stall Limited"]);
}

async fn page_token_does_not_reveal_name(db: TestDb) {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let acme = Acme::with_addresses(&db, &[]).await;
    for n in 0..3 {
        create(&acme.manager, company(&format!("Z{n}"), &format!("Zyxmark {n}"))).await;
    }
    let mut request = SearchRecordsRequest {
        query: "zyx".into(),
        page_size: 1,
        ..SearchRecordsRequest::default()
    };
    let page = ask(&acme.manager, request.clone()).await;
    let token = URL_SAFE_NO_PAD.decode(&page.next_page_token).unwrap();
    let token = String::from_utf8_lossy(&token).to_lowercase();
    assert!(!token.contains("zyxmark"), "{token}");
    request.page_token = page.next_page_token;
    let page = ask(&acme.manager, request.clone()).await;
    assert_eq!(page.results[0].name, "Zyxmark 1");
    // The token is invalid for another product.
    let books = acme.server.owner("p1", "books").await.connect().await;
    let refused = books.support().search_records(request).await;
    assert_refused(refused, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    acme.server.stop().await;
}

async fn small_pages_skip_hidden_records_in_bulk(db: TestDb) {
    let reads = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&reads);
    let server = servers::records(db.settings().observed(move |statement| {
        let reads_images = statement.sql.contains("\"image\" FROM");
        seen.fetch_add(usize::from(reads_images), Ordering::Relaxed);
    }))
    .await;
    let manager = server.owner("p1", "manager").await.connect().await;
    let visible = [0, 70, 71, 148];
    for n in 0..150 {
        let client = create(&manager, company(&format!("S{n}"), &format!("Shade {n:03}"))).await;
        if visible.contains(&n) {
            continue;
        }
        unlink(&manager, &client.id).await.unwrap();
    }
    let expected = visible.map(|n| format!("Shade {n:03}"));
    assert_eq!(names(&manager, "shade").await, expected);
    for page_size in [1, 2, 3] {
        reads.store(0, Ordering::Relaxed);
        let mut request =
            SearchRecordsRequest { query: "shade".into(), page_size, ..Default::default() };
        let mut found = Vec::new();
        loop {
            let page = ask(&manager, request.clone()).await;
            assert!(page.results.len() <= usize::try_from(page_size).unwrap());
            found.extend(page.results.into_iter().map(|result| result.name));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        assert_eq!(found, expected, "{page_size}");
        let reads = reads.load(Ordering::Relaxed);
        assert!((1..=20).contains(&reads), "{reads} reads of images for 150 records");
    }
}
