//! Queries of support: search, record summary, audit.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use chrono::NaiveDate;
use concord_core::{
    access::Role,
    caller::Caller,
    ids::{self, IdKind},
    page::{self, PageTokenKey, ResponseBudget},
    rules::{identifier, text::fold, value::PersonName},
    status::ApiError,
};
use concord_proto::pb::records::{
    AuditEntry, Client, Entry, EntryStatus, ErrorReason, GetRecordSummaryResponse, Origin, Person,
    RecordKind, RecordState, SearchMatch, SearchRecordsResponse, SearchResult, entry,
};
use prost::Message as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Records,
    contacts::ContactsOf,
    links::listed,
    reading::{PageRequest, decode, decode_on},
    resolve,
};
use crate::{
    domain::{
        record::{RecordRef, id_kind},
        search::{MIN_QUERY, Rank, exact_term, words},
    },
    error::{RecordError, not_connected},
    image::timestamp,
    store::{
        audit::{self, AuditRow},
        clients, entries,
        feed::{self, SeekTarget},
        images, links,
        search::{self, SearchHit},
    },
};

/// Maximum number of matching lines of a search.
pub(crate) const MAX_CANDIDATES: u64 = 10_000;
/// Minimum number of images per read, after hidden results.
const MIN_CHUNK: usize = 100;
/// Maximum number of changes of a summary.
const SUMMARY_CHANGES: u64 = 20;
/// Maximum number of contacts of a summary.
const SUMMARY_CONTACTS: u64 = 100;

/// A search.
#[derive(Clone, Debug)]
pub(crate) struct SearchCommand {
    pub(crate) query: String,
    pub(crate) kind: Option<RecordKind>,
    pub(crate) show_orphaned: bool,
}

/// The sort key of a search result, which a page token holds (keyset pagination).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct SortKey {
    rank: i64,
    sort_name: String,
    id: Uuid,
}

impl Records {
    /// Finds records by prefixes of words, by reference and by identifier.
    pub(crate) async fn search(
        &self,
        caller: &Caller,
        command: SearchCommand,
        request: PageRequest,
    ) -> Result<SearchRecordsResponse, RecordError> {
        self.check_connected(caller).await?;
        let letters = fold(&command.query).chars().filter(|c| c.is_alphanumeric()).count();
        if letters < MIN_QUERY {
            let text = format!("give at least {MIN_QUERY} letters or digits");
            return Err(
                ApiError::invalid_field("query", ErrorReason::RequiredFieldBlank, text).into()
            );
        }
        let key = (
            "search",
            caller.practice.as_str(),
            &command.query,
            command.kind.map(i32::from),
            command.show_orphaned,
        );
        let after: Option<SortKey> = match request.token.as_str() {
            "" => None,
            token => self.token_key(caller).await?.begin_after(token, &key)?,
        };
        let (found, truncated) = self.find(caller, &command).await?;
        let mut hits = ranked(found);
        if let Some(after) = after {
            hits.retain(|(sort_key, _)| *sort_key > after);
        }
        let (results, next) = self.results(caller, &command, &hits, request.size).await?;
        let next_page_token = match next {
            None => String::new(),
            Some(sort_key) => self.token_key(caller).await?.token(&key, &sort_key)?,
        };
        Ok(SearchRecordsResponse { results, next_page_token, truncated })
    }

    /// The key that encrypts the page tokens of the caller's product. The tokens contain a
    /// name.
    async fn token_key(&self, caller: &Caller) -> Result<PageTokenKey, RecordError> {
        let feed = feed::seek(self.db.reader(), &caller.product, SeekTarget::Newest).await?;
        let feed = feed.ok_or_else(|| not_connected(caller.product.as_str()))?;
        Ok(PageTokenKey::derive(&feed.secret)?)
    }

    /// The matching lines; true if some were omitted.
    async fn find(
        &self,
        caller: &Caller,
        command: &SearchCommand,
    ) -> Result<(Vec<SearchHit>, bool), RecordError> {
        let (db, practice) = (self.db.reader(), &caller.practice);
        let limit = MAX_CANDIDATES + 1;
        let mut found =
            search::find(db, practice, &words(&command.query), command.kind, limit).await?;
        let truncated = found.len() > usize::try_from(MAX_CANDIDATES).unwrap_or(usize::MAX);
        found.truncate(usize::try_from(MAX_CANDIDATES).unwrap_or(usize::MAX));
        for word in exact_terms(&command.query) {
            found.extend(search::find_exact(db, practice, &word, command.kind, limit).await?);
        }
        self.rank_as_of_today(caller, &words(&command.query), &mut found).await?;
        Ok((found, truncated))
    }

    /// Ranks by their current names the records whose status changes the background job has
    /// not written yet. After midnight these are few, for some seconds.
    async fn rank_as_of_today(
        &self,
        caller: &Caller,
        query: &[String],
        found: &mut [SearchHit],
    ) -> Result<(), RecordError> {
        let (db, practice, today) = (self.db.reader(), &caller.practice, self.clock.today());
        let due = entries::due_in_practice(db, practice, today).await?;
        if due.is_empty() || found.is_empty() {
            return Ok(());
        }
        let mut due: HashSet<Uuid> = due.into_iter().collect();
        let of_clients = found.iter().filter(|line| line.record.kind == RecordKind::Client);
        let of_clients: HashSet<Uuid> = of_clients.map(|line| line.record.id).collect();
        let of_clients: Vec<Uuid> = of_clients.into_iter().collect();
        for (client, person) in clients::individuals(db, practice, &of_clients).await? {
            if due.contains(&person) {
                due.insert(client);
            }
        }
        let concerned = found.iter().map(|found| found.record).filter(|r| due.contains(&r.id));
        let concerned: Vec<RecordRef> = concerned.collect();
        let images = self.images_with_persons(caller, &concerned).await?;
        for line in found.iter_mut().filter(|found| due.contains(&found.record.id)) {
            let Some(Shown { name, entries, .. }) = shown(line.record, &images, today)? else {
                continue;
            };
            line.sort_name = fold(&name);
            if line.rank != Rank::Reference {
                let current = |entry: &&Entry| entry.status() == EntryStatus::Current;
                let mut names = entries.iter().filter(current).filter_map(name_of);
                let matches = names.any(|name| has_words(&name, query));
                line.rank = if matches { Rank::CurrentName } else { Rank::FormerName };
            }
        }
        Ok(())
    }

    /// The first `size` results, and the sort key of the last one if there may be more.
    /// Images are read in chunks. Hidden results are skipped, in larger chunks than a small
    /// page.
    async fn results(
        &self,
        caller: &Caller,
        command: &SearchCommand,
        hits: &[(SortKey, RecordRef)],
        size: u64,
    ) -> Result<(Vec<SearchResult>, Option<SortKey>), RecordError> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let (mut results, mut last) = (Vec::new(), None);
        let (mut rest, mut step) = (hits, 0);
        while results.len() < size && !rest.is_empty() {
            let (chunk, _) = rest.split_at(rest.len().min(step.max(size - results.len())));
            let records: Vec<RecordRef> = chunk.iter().map(|(_, record)| *record).collect();
            let images = self.images_with_persons(caller, &records).await?;
            let today = self.clock.today();
            for (sort_key, record) in chunk {
                if results.len() == size {
                    break;
                }
                let shown = shown(*record, &images, today)?;
                let result =
                    shown.map(|shown| result(sort_key, *record, shown, &words(&command.query)));
                let shown = |result: &SearchResult| {
                    command.show_orphaned || result.state() == RecordState::Active
                };
                results.extend(result.filter(shown));
                last = Some(sort_key.clone());
                rest = rest.split_first().map(|(_, rest)| rest).unwrap_or_default();
            }
            step = MIN_CHUNK;
        }
        Ok((results, last.filter(|_| !rest.is_empty())))
    }

    /// The images of records, and of the persons of individual clients.
    async fn images_with_persons(
        &self,
        caller: &Caller,
        records: &[RecordRef],
    ) -> Result<HashMap<Uuid, Bytes>, RecordError> {
        let (db, practice) = (self.db.reader(), caller.practice.as_str());
        let mut images = images::get_all(db, practice, records).await?;
        let clients = records.iter().filter(|record| record.kind == RecordKind::Client);
        let persons: Vec<RecordRef> = clients
            .filter_map(|record| images.get(&record.id).cloned())
            .filter_map(|image| decode::<Client>(image).ok())
            .filter_map(|client| RecordRef::parse(&client.person_id))
            .collect();
        images.extend(images::get_all(db, practice, &persons).await?);
        Ok(images)
    }

    /// The summary of one record: links, changes and contacts.
    pub(crate) async fn summary(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<GetRecordSummaryResponse, RecordError> {
        self.check_connected(caller).await?;
        let (db, practice) = (self.db.reader(), &caller.practice);
        let record = resolve::client_or_person(db, practice, "record", name).await?;
        let text = record.text();
        let mut summary = GetRecordSummaryResponse::default();
        let of = if record.kind == RecordKind::Person {
            summary.person = Some(self.person(caller, &text).await?);
            ContactsOf::Person(text)
        } else {
            let (client, person) = self.client(caller, &text).await?;
            (summary.client, summary.person) = (Some(client), person);
            ContactsOf::Client(text)
        };
        // Small parts first: the contacts take the remaining budget.
        let mut budget = ResponseBudget::with_reserved(summary.encoded_len());
        summary.links = listed(&links::of_record(db, practice, record.id).await?, &mut budget).0;
        // The changes of an individual include those of its person.
        let person = summary.person.as_ref().and_then(|person| RecordRef::parse(&person.id));
        let mut changes = audit::page(db, practice, Some(record.id), None, SUMMARY_CHANGES).await?;
        if let Some(person) = person.filter(|person| *person != record) {
            let own = audit::page(db, practice, Some(person.id), None, SUMMARY_CHANGES);
            changes.extend(own.await?);
            changes.sort_by_key(|row| std::cmp::Reverse(row.change_id));
            changes.truncate(usize::try_from(SUMMARY_CHANGES).unwrap_or(usize::MAX));
        }
        let changes = changes.into_iter().map(|row| audit_entry(caller, row));
        summary.changes =
            changes.take_while(|entry| budget.try_take(entry.encoded_len())).collect();
        let page = PageRequest { size: SUMMARY_CONTACTS, token: String::new() };
        let contacts = self.list_contacts(caller, of, page).await?.0.into_iter();
        summary.contacts = contacts.take_while(|one| budget.try_take(one.encoded_len())).collect();
        Ok(summary)
    }

    /// A page of the audit, the latest first.
    pub(crate) async fn audit(
        &self,
        caller: &Caller,
        name: &str,
        request: PageRequest,
    ) -> Result<(Vec<AuditEntry>, String), RecordError> {
        self.check_connected(caller).await?;
        let (db, practice) = (self.db.reader(), &caller.practice);
        let record = match name {
            "" => None,
            name if name.starts_with(id_kind(RecordKind::Contact).prefix()) => {
                Some(super::open::parse_contact(name)?)
            }
            name => Some(resolve::client_or_person(db, practice, "record", name).await?.id),
        };
        let key = ("audit", practice.as_str(), record);
        let before = page::begin_after(&request.token, &key)?;
        let mut rows = audit::page(db, practice, record, before, request.size + 1).await?;
        let size = usize::try_from(request.size).unwrap_or(usize::MAX);
        let read = rows.len();
        rows.truncate(size);
        let (mut budget, mut entries, mut last) = (ResponseBudget::default(), Vec::new(), None);
        for row in rows {
            let change = row.change_id;
            let entry = audit_entry(caller, row);
            if !budget.try_take(entry.encoded_len()) {
                break;
            }
            entries.push(entry);
            last = Some(change);
        }
        let next = last.filter(|_| entries.len() < read).map(|last| page::token(&key, &last));
        Ok((entries, next.unwrap_or_default()))
    }
}

/// The exact terms of a query, normalised as the stored references and identifiers: a
/// company number in the format of any register, a VAT number without `GB`.
fn exact_terms(query: &str) -> Vec<String> {
    let kept = [identifier::vat_number, identifier::utr].map(|read| read(query).ok().flatten());
    let companies = identifier::possible_company_numbers(query).unwrap_or_default();
    let texts = kept.into_iter().flatten().chain(companies).chain([query.to_owned()]);
    let mut words: Vec<String> = texts.filter_map(|text| exact_term(&text)).collect();
    words.sort();
    words.dedup();
    words
}

/// The records of the hits, each once with its best sort key, the best first.
fn ranked(found: Vec<SearchHit>) -> Vec<(SortKey, RecordRef)> {
    let mut best: HashMap<Uuid, (SortKey, RecordRef)> = HashMap::new();
    for SearchHit { record, rank, sort_name } in found {
        let key = SortKey { rank: rank.number(), sort_name, id: record.id };
        match best.get_mut(&record.id) {
            Some((known, _)) if *known <= key => {}
            Some(known) => known.0 = key,
            None => drop(best.insert(record.id, (key, record))),
        }
    }
    let mut hits: Vec<_> = best.into_values().collect();
    hits.sort_by(|(one, _), (other, _)| one.cmp(other));
    hits
}

/// The data of a record for a search result, with its entries.
struct Shown {
    name: String,
    client_reference: String,
    state: RecordState,
    entries: Vec<Entry>,
}

/// The data of a record on the day `today`; `None` when it was removed meanwhile.
fn shown(
    record: RecordRef,
    images: &HashMap<Uuid, Bytes>,
    today: NaiveDate,
) -> Result<Option<Shown>, RecordError> {
    let Some(image) = images.get(&record.id).cloned() else { return Ok(None) };
    if record.kind == RecordKind::Person {
        let person: Person = decode_on(image, today)?;
        let (name, state) = (person_name(&person), person.state());
        let entries = person.entries;
        return Ok(Some(Shown { name, client_reference: String::new(), state, entries }));
    }
    let client: Client = decode_on(image, today)?;
    let person = RecordRef::parse(&client.person_id);
    let person = person.and_then(|person| images.get(&person.id).cloned());
    let person: Option<Person> = person.map(|person| decode_on(person, today)).transpose()?;
    let state = client.state();
    let Client { registered_name, client_reference, mut entries, .. } = client;
    let name = person.as_ref().map_or(registered_name, person_name);
    entries.extend(person.into_iter().flat_map(|person| person.entries));
    Ok(Some(Shown { name, client_reference, state, entries }))
}

/// A search result as a message.
fn result(key: &SortKey, record: RecordRef, shown: Shown, query: &[String]) -> SearchResult {
    let Shown { name, client_reference, state, entries } = shown;
    let rank = Rank::of_number(key.rank);
    let matched_name = match rank {
        Rank::FormerName => entries
            .iter()
            .filter_map(name_of)
            .find(|name| has_words(name, query))
            .unwrap_or_default(),
        Rank::CurrentName | Rank::Reference => String::new(),
    };
    SearchResult {
        record_kind: record.kind.into(),
        record_id: record.text(),
        name,
        client_reference,
        r#match: match rank {
            Rank::Reference => SearchMatch::Reference,
            Rank::CurrentName => SearchMatch::CurrentName,
            Rank::FormerName => SearchMatch::OtherName,
        }
        .into(),
        matched_name,
        state: state.into(),
    }
}

/// True if each word of a query is a prefix of a word of the name.
fn has_words(name: &str, query: &[String]) -> bool {
    let found = words(name);
    query.iter().all(|prefix| found.iter().any(|word| word.starts_with(prefix)))
}

fn person_name(person: &Person) -> String {
    person.name.as_ref().map(|name| PersonName::from(name).display()).unwrap_or_default()
}

/// The name of an entry; `None` for an address.
fn name_of(entry: &Entry) -> Option<String> {
    match &entry.value {
        Some(entry::Value::Name(name)) => Some(name.clone()),
        Some(entry::Value::PersonName(name)) => Some(PersonName::from(name).display()),
        Some(entry::Value::Address(_)) | None => None,
    }
}

/// An entry of the audit as a message. Only auditors get the values before and after.
fn audit_entry(caller: &Caller, row: AuditRow) -> AuditEntry {
    let is_auditor = caller.roles.contains(&Role::Auditor);
    let values = |values: Option<String>| values.filter(|_| is_auditor).unwrap_or_default();
    AuditEntry {
        change_id: ids::text(IdKind::Change, row.change_id),
        time: Some(timestamp(row.changed_at)),
        origin: Some(Origin {
            product: row.product,
            account: row.account,
            user: row.user,
            import_id: row.import_id.map(|id| ids::text(IdKind::Import, id)).unwrap_or_default(),
        }),
        record_kind: row.record.kind.into(),
        record_id: row.record.text(),
        kind: row.kind.into(),
        entry_id: row.entry_id.map(|id| ids::text(IdKind::Entry, id)).unwrap_or_default(),
        changed_fields: row.changed_fields,
        before: values(row.before),
        after: values(row.after),
        request_id: row.request_id.map(|id| id.to_string()).unwrap_or_default(),
        reason: row.reason,
    }
}
