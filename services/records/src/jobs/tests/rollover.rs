//! The rollover to a new day, and reads and searches before it.

use super::*;

storage_tests! {
    scheduled_name_becomes_current_at_midnight_once,
    rollover_after_downtime_is_recorded_before_later_changes,
    reads_and_searches_follow_the_date_before_the_job_runs,
    search_finds_individual_by_current_name,
    etag_read_around_midnight_still_matches,
}

async fn scheduled_name_becomes_current_at_midnight_once(t: TestDb) {
    let clock = clock();
    let replicas = replicas(&t, &clock).await;
    let client = with_client(&replicas[0]).await;
    schedule(&replicas[0], &client).await;
    clock.set("2026-03-09T23:59:59Z".parse().unwrap());
    run_all_jobs(&replicas).await;
    let (before, _) = replicas[0].client(&caller("manager"), &client).await.unwrap();
    assert_eq!(before.registered_name, "Acme Limited");

    clock.set("2026-03-10T00:00:00Z".parse().unwrap());
    run_all_jobs(&replicas).await;
    run_all_jobs(&replicas).await;
    let (after, _) = replicas[0].client(&caller("manager"), &client).await.unwrap();
    assert_eq!(after.registered_name, "Bolt Limited");
    assert_eq!(after.version, before.version + 1);
    assert_eq!(after.etag, before.etag, "the content is unchanged");
    let statuses: Vec<_> = after.entries.iter().map(Entry::status).collect();
    assert_eq!(statuses, [EntryStatus::Past, EntryStatus::Current]);
    assert_eq!(
        kinds(&replicas[0], &client).await,
        [ChangeKind::EntryBecameCurrent, ChangeKind::EntryScheduled, ChangeKind::Created]
    );
}

async fn rollover_after_downtime_is_recorded_before_later_changes(t: TestDb) {
    let clock = clock();
    let records = replica(&t, &clock).await;
    let client = with_client(&records).await;
    schedule(&records, &client).await;
    clock.set("2026-03-14T07:00:00Z".parse().unwrap());
    // A correction before the job runs: the rollover is recorded first nevertheless.
    let (now, _) = records.client(&caller("manager"), &client).await.unwrap();
    let scheduled = now.entries.last().unwrap();
    let id = concord_core::ids::parse(concord_core::ids::IdKind::Entry, &scheduled.id).unwrap();
    let command = HistoryCommand::Correct {
        command: crate::domain::timeline::CorrectEntry {
            id,
            value: Some(Value::Name("Bolt & Co Limited".to_owned())),
            period: None,
            correct_history: false,
        },
        dates: (None, None),
        etag: scheduled.etag.clone(),
    };
    records.change_history(caller("manager"), context(), command).await.unwrap();
    run_jobs(&records).await;
    let (after, _) = records.client(&caller("manager"), &client).await.unwrap();
    assert_eq!(after.registered_name, "Bolt & Co Limited");
    assert_eq!(
        kinds(&records, &client).await,
        [
            ChangeKind::EntryCorrected,
            ChangeKind::EntryBecameCurrent,
            ChangeKind::EntryScheduled,
            ChangeKind::Created
        ]
    );
}

/// The match, the name and the matched name of the only search result.
async fn found(records: &Records, query: &str) -> (SearchMatch, String, String) {
    let command = SearchCommand { query: query.to_owned(), kind: None, show_orphaned: false };
    let page = PageRequest { size: 10, token: String::new() };
    let mut answer = records.search(&caller("manager"), command, page).await.unwrap();
    assert_eq!(answer.results.len(), 1, "{query}");
    let SearchResult { name, matched_name, r#match, .. } = answer.results.remove(0);
    (SearchMatch::try_from(r#match).unwrap(), name, matched_name)
}

async fn reads_and_searches_follow_the_date_before_the_job_runs(t: TestDb) {
    let clock = clock();
    let records = replica(&t, &clock).await;
    let id = with_client(&records).await;
    schedule_on(&records, &id, "2026-06-10").await;
    let reads = || async {
        let me = caller("manager");
        let page = || PageRequest { size: 10, token: String::new() };
        let (client, _) = records.client(&me, &id).await.unwrap();
        let which = clients::PageOf { after: None, linked_product: None, show_orphaned: false };
        let (listed, _) = records.list_clients(&me, which, page()).await.unwrap();
        let many = records.clients(&me, std::slice::from_ref(&id)).await.unwrap().clients;
        let (_, entries) = records.entries(&me, &id).await.unwrap();
        let summary = records.summary(&me, &id).await.unwrap();
        assert_eq!(listed, std::slice::from_ref(&client));
        assert_eq!(many, std::slice::from_ref(&client));
        assert_eq!(entries, client.entries);
        assert_eq!(summary.client.as_ref(), Some(&client));
        client
    };
    // The last second of the day in London, in summer.
    clock.set("2026-06-09T22:59:59Z".parse().unwrap());
    let before = reads().await;
    assert_eq!(before.registered_name, "Acme Limited");
    let (old, new) = ("Acme Limited".to_owned(), "Bolt Limited".to_owned());
    assert_eq!(
        found(&records, "acme").await,
        (SearchMatch::CurrentName, old.clone(), String::new())
    );
    assert_eq!(found(&records, "bolt").await, (SearchMatch::OtherName, old.clone(), new.clone()));
    clock.set("2026-06-09T23:00:00Z".parse().unwrap());
    let follows = || async {
        let after = reads().await;
        assert_eq!(after.registered_name, "Bolt Limited");
        let statuses: Vec<_> = after.entries.iter().map(Entry::status).collect();
        assert_eq!(statuses, [EntryStatus::Past, EntryStatus::Current]);
        assert_eq!(after.etag, before.etag);
        let search = (SearchMatch::OtherName, new.clone(), old.clone());
        assert_eq!(found(&records, "acme").await, search);
        let search = (SearchMatch::CurrentName, new.clone(), String::new());
        assert_eq!(found(&records, "bolt").await, search);
        after.version
    };
    assert_eq!(follows().await, before.version, "nothing is written yet");
    run_jobs(&records).await;
    assert_eq!(follows().await, before.version + 1);
}

async fn search_finds_individual_by_current_name(t: TestDb) {
    let clock = clock();
    let records = replica(&t, &clock).await;
    let me = caller("manager");
    records.connect(me.clone(), "manager".parse().unwrap()).await.unwrap();
    let name = |surname: &str| PersonName {
        forename: "Grace".to_owned(),
        surname: surname.to_owned(),
        ..PersonName::default()
    };
    let person = PersonDraft {
        name: name("Okafor"),
        name_active_from: None,
        birth_date: None,
        nino: None,
        ppsn: None,
        emails: Vec::new(),
        phones: Vec::new(),
    };
    let draft = ClientDraft {
        client_type: ClientType::Individual,
        registered_name: None,
        ..company("OKA1")
    };
    let person = PersonCommand { draft: person, addresses: Vec::new(), warnings: Vec::new() };
    let person = Some(WhichPerson::New(Box::new(person)));
    let command = ClientCommand {
        draft,
        person,
        addresses: Vec::new(),
        external_id: None,
        warnings: Vec::new(),
    };
    let created = records.create_client(me.clone(), context(), command).await.unwrap();
    let person = created.client.unwrap().person_id;
    let now = records.person(&me, &person).await.unwrap();
    let command = HistoryCommand::Add {
        record: person.clone(),
        timeline: TimelineKey::PersonName,
        command: AddEntry {
            id: new_uuid(),
            value: Value::PersonName(name("Eze")),
            effective_on: Some("2026-03-10".parse().unwrap()),
        },
        current_etag: now.entries[0].etag.clone(),
        external_id: None,
    };
    records.change_history(me.clone(), context(), command).await.unwrap();
    clock.set("2026-03-10T00:00:01Z".parse().unwrap());
    assert_eq!(records.person(&me, &person).await.unwrap().name.unwrap().surname, "Eze");
    for _ in 0..2 {
        for kind in [RecordKind::Client, RecordKind::Person] {
            let command =
                SearchCommand { query: "eze".to_owned(), kind: Some(kind), show_orphaned: false };
            let page = PageRequest { size: 10, token: String::new() };
            let answer = records.search(&me, command, page).await.unwrap();
            let [result] = answer.results.as_slice() else { panic!("{:?}", answer.results) };
            assert_eq!(result.r#match(), SearchMatch::CurrentName, "{kind:?}");
            assert_eq!(result.name, "Grace Eze");
        }
        run_jobs(&records).await;
    }
}

async fn etag_read_around_midnight_still_matches(t: TestDb) {
    for (read_at, job_first) in [
        ("2026-03-09T23:59:59Z", false),
        ("2026-03-09T23:59:59Z", true),
        ("2026-03-10T00:00:01Z", false),
        ("2026-03-10T00:00:01Z", true),
    ] {
        let clock = clock();
        let records = replica(&t, &clock).await;
        let id = with_client_of_reference(&records, &format!("ETAG{}", new_uuid().simple())).await;
        schedule(&records, &id).await;
        clock.set(read_at.parse().unwrap());
        let (read, _) = records.client(&caller("manager"), &id).await.unwrap();
        let current = read.entries.iter().find(|e| e.status() == EntryStatus::Current).unwrap();
        clock.set("2026-03-10T00:00:01Z".parse().unwrap());
        if job_first {
            run_jobs(&records).await;
        }
        let command = UpdateCommand {
            record: id.clone(),
            edits: vec![ClientEdit::Phones(vec!["020 7946 0000".to_owned()])],
            etag: read.etag.clone(),
        };
        records.update_client(caller("manager"), context(), command).await.unwrap();
        let command = HistoryCommand::Add {
            record: id.clone(),
            timeline: TimelineKey::RegisteredName,
            command: AddEntry {
                id: new_uuid(),
                value: Value::Name("Coyote Limited".to_owned()),
                effective_on: Some("2026-04-01".parse().unwrap()),
            },
            current_etag: current.etag.clone(),
            external_id: None,
        };
        records.change_history(caller("manager"), context(), command).await.unwrap();
    }
}
