//! Search: matches by words and by exact terms, ranked and paged.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use concord_core::{
    caller::Caller,
    page::PageTokenKey,
    rules::{identifier, text::fold},
    status::ApiError,
};
use concord_proto::pb::records::{
    Client, Entry, EntryStatus, ErrorReason, RecordKind, RecordState, SearchRecordsResponse,
    SearchResult,
};
use uuid::Uuid;

use super::search_result::{Shown, SortKey, has_words, name_of, result, shown};
use crate::{
    domain::{
        record::RecordRef,
        search::{MIN_QUERY, Rank, exact_term, words},
    },
    error::{RecordError, not_connected},
    image::decode,
    service::{Records, reading::PageRequest},
    store::{
        clients, entries,
        feed::{self, SeekTarget},
        images,
        search::{self, SearchHit},
    },
};

/// Maximum number of matching lines of a search.
pub(crate) const MAX_CANDIDATES: u64 = 10_000;
/// Minimum number of images per read, after hidden results.
const MIN_CHUNK: usize = 100;

/// A search.
#[derive(Clone, Debug)]
pub(crate) struct SearchCommand {
    pub(crate) query: String,
    pub(crate) kind: Option<RecordKind>,
    pub(crate) show_orphaned: bool,
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
        let db = self.db.reader_of(&caller.practice);
        let limit = MAX_CANDIDATES + 1;
        let mut found = search::find(db, &words(&command.query), command.kind, limit).await?;
        let truncated = found.len() > usize::try_from(MAX_CANDIDATES).unwrap_or(usize::MAX);
        found.truncate(usize::try_from(MAX_CANDIDATES).unwrap_or(usize::MAX));
        for word in exact_terms(&command.query) {
            found.extend(search::find_exact(db, &word, command.kind, limit).await?);
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
        let (db, today) = (self.db.reader_of(&caller.practice), self.clock.today());
        let due = entries::due_in_practice(db, today).await?;
        if due.is_empty() || found.is_empty() {
            return Ok(());
        }
        let mut due: HashSet<Uuid> = due.into_iter().collect();
        let of_clients = found.iter().filter(|line| line.record.kind == RecordKind::Client);
        let of_clients: HashSet<Uuid> = of_clients.map(|line| line.record.id).collect();
        let of_clients: Vec<Uuid> = of_clients.into_iter().collect();
        for (client, person) in clients::individuals(db, &of_clients).await? {
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
        let db = self.db.reader_of(&caller.practice);
        let mut images = images::get_all(db, records).await?;
        let clients = records.iter().filter(|record| record.kind == RecordKind::Client);
        let persons: Vec<RecordRef> = clients
            .filter_map(|record| images.get(&record.id).cloned())
            .filter_map(|image| decode::<Client>(image).ok())
            .filter_map(|client| RecordRef::parse(&client.person_id))
            .collect();
        images.extend(images::get_all(db, &persons).await?);
        Ok(images)
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
