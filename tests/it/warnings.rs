//! Warnings: defects of an imported record that do not fail it.

use concord_proto::pb::{
    imports::{
        CreateImportRequest, DownloadFailuresRequest, Failure, FailuresFormat, ImportState,
        ListFailuresRequest, RecordStatus, Severity,
    },
    records::{
        ClientFields, ClientIdentifiers, CreateClientRequest, GetClientRequest, Jurisdiction,
    },
};
use concord_testing::{TestDb, storage_tests};
use tonic::Code;

use concord_testing::e2e::{
    import_records::{address, client, contact},
    pair::Pair,
    records::{
        assert_refused, client as get_client, company, create as create_client, update_request,
    },
    texts::assert_user_facing,
};

storage_tests! {
    invalid_email_or_phone_is_warning_only,
    invisible_characters_in_ids_are_ignored,
    errors_are_listed_before_warnings,
    dry_run_and_commit_report_same_warnings,
    retry_recounts_warnings,
    equal_numbers_of_two_registers_are_not_duplicates,
    save_strips_invisible_characters_and_warns,
}

/// One client with a wrong e-mail address, a contact with a telephone number that is
/// too long, an address with a malformed postcode, and a client that fails.
fn records() -> Vec<Vec<u8>> {
    vec![
        client("C1", |c| c.email = "ann@".into()),
        contact("P1", &["C1"], |p| p.phone = "0".repeat(41)),
        address("A1", ("client", "C1"), |a| {
            a.postcode = "NOT 1".into();
            a.country = "GB".into();
        }),
        client("C2", |c| {
            c.registered_name.clear();
            c.email = "bob@".into();
        }),
    ]
}

/// Source id, status, severity, field and reason.
fn line(failure: &Failure) -> (&str, RecordStatus, Severity, &str, &str) {
    let Failure { source_id, field, reason, .. } = failure;
    (source_id, failure.status(), failure.severity(), field, reason)
}

async fn invalid_email_or_phone_is_warning_only(db: TestDb) {
    use RecordStatus::{Failed, Imported};
    use Severity::{Error, Warning};
    let pair = Pair::start(&db).await;
    let ended = pair.import(CreateImportRequest::default(), &records()).await;
    let counters = ended.counters.unwrap();
    assert_eq!((counters.imported, counters.failed, counters.warnings), (3, 1, 4));
    let failures = pair.failures(&ended.id).await;
    let lines: Vec<_> = failures.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            ("C2", Failed, Error, "registered_name", "REQUIRED_FIELD_BLANK"),
            ("C1", Imported, Warning, "email", "INVALID_EMAIL"),
            ("C2", Failed, Warning, "email", "INVALID_EMAIL"),
            ("P1", Imported, Warning, "phone", "VALUE_TOO_LONG"),
            ("A1", Imported, Warning, "postcode", "INVALID_POSTCODE"),
        ]
    );
    let of = |severity: Severity, status: RecordStatus| {
        let (severity, status) = (severity.into(), status.into());
        let request = ListFailuresRequest {
            import_id: ended.id.clone(),
            severity,
            status,
            ..Default::default()
        };
        async { pair.caller.imports().list_failures(request).await.unwrap().into_inner().failures }
    };
    assert_eq!(of(Error, RecordStatus::Unspecified).await.len(), 1);
    assert_eq!(of(Warning, RecordStatus::Unspecified).await.len(), 4);
    assert_eq!(of(Severity::Unspecified, Imported).await.len(), 3);
    assert!(failures[1].reason_text.ends_with("; left out: ann@"), "{:?}", failures[1]);
    for failure in &failures {
        assert_user_facing(&failure.reason_text);
    }
    let kept = get_client(&pair.manager, "ext:manager/main/C1").await;
    assert!(kept.emails.is_empty());
    assert_eq!(kept.entries.len(), 2, "a name and an address");
    // The failures file has the severity next to the status.
    let request =
        DownloadFailuresRequest { import_id: ended.id.clone(), format: FailuresFormat::Csv.into() };
    let mut pieces = pair.caller.imports().download_failures(request).await.unwrap().into_inner();
    let mut file = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        file.extend_from_slice(&piece.data);
    }
    let file = String::from_utf8(file).unwrap();
    let file = file.trim_start_matches('\u{feff}');
    let begins: Vec<Vec<&str>> =
        file.lines().map(|line| line.split(',').take(2).collect()).collect();
    let expected: [Vec<&str>; 6] = [
        vec!["status", "severity"],
        vec!["failed", "error"],
        vec!["imported", "warning"],
        vec!["failed", "warning"],
        vec!["imported", "warning"],
        vec!["imported", "warning"],
    ];
    assert_eq!(begins, expected);
    // Imported records are skipped, and their warnings are not reported again.
    let again = pair.import(CreateImportRequest::default(), &records()[..3]).await;
    let counters = again.counters.unwrap();
    assert_eq!((counters.skipped, counters.warnings), (3, 0));
    assert_eq!(again.state(), ImportState::Completed);
}

async fn invisible_characters_in_ids_are_ignored(db: TestDb) {
    let pair = Pair::start(&db).await;
    let records = [
        client("C1", |_| ()),
        client("\u{feff}C9", |c| {
            c.client_reference = "R\u{2060}9".into();
            c.registered_name = "Nine Limited".into();
        }),
        contact("P1", &["C1\u{200b}"], |_| ()),
        contact("P2", &["\u{202a}C1\u{202c}"], |_| ()),
        contact("P3", &["C9"], |p| p.forename = "Ann\u{200b}".into()),
        address("A1", ("client", "C\u{ad}9"), |_| ()),
    ];
    let ended = pair.import(CreateImportRequest::default(), &records).await;
    let failures = pair.failures(&ended.id).await;
    let lines: Vec<_> = failures.iter().map(line).collect();
    let warning = (RecordStatus::Imported, Severity::Warning);
    assert_eq!(lines, [("P3", warning.0, warning.1, "forename", "INVISIBLE_CHARACTER")]);
    assert_eq!(ended.state(), ImportState::Completed);
    let kept = get_client(&pair.manager, "ref:r9\u{200b}").await;
    assert_eq!(kept.client_reference, "R9");
    for name in ["ext:manager/main/C\u{200d}9", "\u{feff}ref:R9"] {
        assert_eq!(get_client(&pair.manager, name).await.id, kept.id);
    }
}

async fn errors_are_listed_before_warnings(db: TestDb) {
    let pair = Pair::start(&db).await;
    let records: Vec<_> = (0..6)
        .map(|n| {
            client(&format!("C{n}"), |c| {
                c.email = "x".into();
                if n % 2 == 0 {
                    c.registered_name.clear();
                }
            })
        })
        .collect();
    let ended = pair.import(CreateImportRequest::default(), &records).await;
    let mut request =
        ListFailuresRequest { import_id: ended.id, page_size: 2, ..Default::default() };
    let mut reported = Vec::new();
    loop {
        let page = pair.caller.imports().list_failures(request.clone()).await.unwrap();
        let page = page.into_inner();
        reported.extend(page.failures.iter().map(|f| (f.severity(), f.source_id.clone())));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let of = |severity: Severity, n: &[i32]| -> Vec<_> {
        n.iter().map(|n| (severity, format!("C{n}"))).collect()
    };
    let errors = of(Severity::Error, &[0, 2, 4]);
    assert_eq!(reported, [errors, of(Severity::Warning, &[0, 1, 2, 3, 4, 5])].concat());
}

async fn dry_run_and_commit_report_same_warnings(db: TestDb) {
    let pair = Pair::start(&db).await;
    let dry = CreateImportRequest { validate_only: true, ..Default::default() };
    let checked = pair.import(dry, &records()).await;
    assert_eq!(checked.counters.unwrap().warnings, 4);
    let reported = pair.failures(&checked.id).await;
    pair.commit(&checked.id).await.unwrap();
    let ended = pair.end(&checked.id).await;
    assert_eq!(ended.counters.unwrap().warnings, 4);
    let again: Vec<_> = pair.failures(&checked.id).await;
    assert_eq!(
        again.iter().map(line).collect::<Vec<_>>(),
        reported.iter().map(line).collect::<Vec<_>>()
    );
}

async fn retry_recounts_warnings(db: TestDb) {
    let pair = Pair::start(&db).await;
    let ended = pair.import(CreateImportRequest::default(), &records()).await;
    pair.retry(&ended.id, true).await.unwrap();
    let corrected = [client("C2", |c| c.email = "bob@example.com".into())];
    pair.upload(&ended.id, "corrected", &corrected).await;
    pair.seal(&ended.id, 1, 1).await;
    let ended = pair.end(&ended.id).await;
    let counters = ended.counters.unwrap();
    assert_eq!((counters.imported, counters.failed, counters.warnings), (4, 0, 3));
    assert_eq!(ended.state(), ImportState::Completed);
}

async fn equal_numbers_of_two_registers_are_not_duplicates(db: TestDb) {
    let pair = Pair::start(&db).await;
    let registered = |source_id: &str, jurisdiction: &str| {
        client(source_id, |c| {
            c.company_number = "123456".into();
            c.jurisdiction = jurisdiction.into();
        })
    };
    let records = [
        registered("UK", "ENGLAND_WALES"),
        registered("IE", "Ireland"),
        registered("JE", "JERSEY"),
        registered("XX", "OTHER"),
    ];
    let dry = CreateImportRequest { validate_only: true, ..Default::default() };
    assert_eq!(pair.import(dry, &records).await.possible_duplicates, 0);
    let ended = pair.import(CreateImportRequest::default(), &records).await;
    assert_eq!((ended.state(), ended.possible_duplicates), (ImportState::Completed, 0));
    let more = [registered("UK2", ""), registered("IE2", "IRELAND")];
    assert_eq!(pair.import(CreateImportRequest::default(), &more).await.possible_duplicates, 2);
    let named = async |name: &str| get_client(&pair.manager, name).await;
    let irish = named("ext:manager/main/IE").await;
    assert_eq!(irish.jurisdiction(), Jurisdiction::Ireland);
    assert_eq!(irish.identifiers.as_ref().unwrap().company_number, "123456");
    assert_eq!(named("company:JERSEY/123456").await.id, named("ext:manager/main/JE").await.id);
    let ask = async |name: &str| {
        let request = GetClientRequest { client: name.into() };
        pair.manager.clients().get_client(request).await
    };
    // Each suggested alias names one client. Ireland has two clients with the number.
    let refused = ask("company:123456").await;
    let refused = assert_refused(refused, Code::FailedPrecondition, "AMBIGUOUS_ALIAS");
    let message = refused.message();
    for alias in ["company:JERSEY/123456", "company:OTHER/123456"] {
        assert!(message.contains(alias) && ask(alias).await.is_ok(), "{alias}: {message}");
    }
    for alias in ["company:IRELAND", "company:ENGLAND_WALES"] {
        assert!(!message.contains(alias), "{alias}: {message}");
    }
    let refused = ask("company:IRELAND/123456").await;
    let refused = assert_refused(refused, Code::FailedPrecondition, "AMBIGUOUS_ALIAS");
    assert!(!refused.message().contains("company:"), "{}", refused.message());
    // A save reports only duplicates in the same register.
    let saved = CreateClientRequest {
        jurisdiction: Jurisdiction::Jersey.into(),
        identifiers: Some(ClientIdentifiers {
            company_number: "0123456".into(),
            ..Default::default()
        }),
        ..company("SAVED", "Saved Limited")
    };
    let saved = pair.manager.clients().create_client(saved).await.unwrap().into_inner();
    let alike: Vec<_> = saved.possible_duplicates.iter().map(|one| &one.record_id).collect();
    assert_eq!(alike, [&named("ext:manager/main/JE").await.id]);
    // A change of the jurisdiction reformats the number.
    let client = saved.client.unwrap();
    let jurisdiction = Jurisdiction::Scotland.into();
    let fields = ClientFields { jurisdiction, ..ClientFields::default() };
    let update = update_request(&client, &["jurisdiction"], fields);
    let updated = pair.manager.clients().update_client(update).await.unwrap().into_inner();
    assert_eq!(updated.client.unwrap().identifiers.unwrap().company_number, "00123456");
}

async fn save_strips_invisible_characters_and_warns(db: TestDb) {
    let pair = Pair::start(&db).await;
    let request = company("A\u{200b}1", "Acme\u{feff} Limited");
    let saved = pair.manager.clients().create_client(request).await.unwrap().into_inner();
    let client = saved.client.unwrap();
    assert_eq!((&*client.client_reference, &*client.registered_name), ("A1", "Acme Limited"));
    let reported: Vec<_> = saved.warnings.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(reported, ["registered_name.name"]);
    let blank = company("A2", "\u{200b}\u{2060}");
    let refused = pair.manager.clients().create_client(blank).await;
    assert_refused(refused, Code::InvalidArgument, "REQUIRED_FIELD_BLANK");
    let other = create_client(&pair.manager, company("A2", "Other Limited")).await;
    assert_ne!(other.id, client.id);
}
