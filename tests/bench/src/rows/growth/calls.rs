//! The calls whose cost is compared.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use concord_core::ids::new_uuid;
use concord_proto::pb::records::{
    AddEntryRequest, Client, EntryStatus, GetClientRequest, GetClientResponse, ListClientsRequest,
    ListEntriesRequest, SearchRecordsRequest, Timeline, add_entry_request::Value,
    client_service_client::ClientServiceClient, history_service_client::HistoryServiceClient,
    support_service_client::SupportServiceClient,
};
use tonic::{Response, Status};

use super::{
    dataset_size::DatasetSize,
    instance::{Instance, Pick},
    names,
};
use crate::{
    sample::{self, UniqueValues},
    service::Clients,
};

/// Page size for finding the pages in the middle of a list.
const SCAN_PAGE: i32 = 1_000;
/// Size of a measured page.
const PAGE: i32 = 50;

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Create,
    AddEntry,
    Get,
    Timeline,
    ListPage,
    FindOne,
    FindThousand,
    FindMany,
    FindBesideCommon,
}

impl Call {
    /// The calls that are comparable across the sizes. In practices of different sizes, a list
    /// has different pages, and a word different matches.
    pub(super) fn comparable(sizes: &[DatasetSize]) -> &'static [Self] {
        use Call::{
            AddEntry, Create, FindBesideCommon, FindMany, FindOne, FindThousand, Get, ListPage,
            Timeline,
        };
        if sizes.iter().all(|size| size.practices == 1) {
            &[
                Create,
                AddEntry,
                Get,
                Timeline,
                ListPage,
                FindOne,
                FindThousand,
                FindMany,
                FindBesideCommon,
            ]
        } else {
            &[Create, AddEntry, Get, Timeline, FindOne]
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "CreateClient",
            Self::AddEntry => "AddEntry: a change of name",
            Self::Get => "GetClient",
            Self::Timeline => "ListEntries of a client",
            Self::ListPage => "ListClients: 50, from the middle",
            Self::FindOne => "SearchRecords: a word of one client",
            Self::FindThousand => "SearchRecords: a word of 1000",
            Self::FindMany => "SearchRecords: a word of all",
            Self::FindBesideCommon => "SearchRecords: a word of all and one of one client",
        }
    }

    /// True for the calls with a growth target in the design: a create, and a search with up
    /// to 1,000 matches.
    pub(super) fn is_bounded(self) -> bool {
        use Call::{Create, FindBesideCommon, FindOne, FindThousand};
        matches!(self, Create | FindOne | FindThousand | FindBesideCommon)
    }

    /// Makes the call once and returns its duration; `None` if no client is left.
    pub(super) async fn make(self, instance: &mut Instance) -> anyhow::Result<Option<Duration>> {
        let took = match self {
            Self::Create => create(instance).await?.took,
            Self::AddEntry => return add_entry(instance).await,
            Self::Get => get(instance).await?.1,
            Self::Timeline => timeline(instance).await?,
            Self::ListPage => list_page(instance).await?,
            Self::FindOne => find(instance, |own, _| own).await?,
            Self::FindThousand => find(instance, |_, shared| shared).await?,
            Self::FindMany => find(instance, |_, _| names::COMMON_WORD.to_owned()).await?,
            Self::FindBesideCommon => {
                find(instance, |own, _| format!("{} {own}", names::COMMON_WORD)).await?
            }
        };
        Ok(Some(took))
    }
}

/// A created client.
pub(super) struct Created {
    pub(super) change: String,
    pub(super) took: Duration,
}

/// Creates a client, in the next practice.
pub(super) async fn create(instance: &mut Instance) -> anyhow::Result<Created> {
    let practice = instance.reads.next().practice;
    let mut clients = clients(instance, practice)?;
    let request = sample::request(&UniqueValues::next());
    let (created, took) = timed(clients.create_client(request)).await?;
    instance.add_changes(created.change_ids.len());
    let [change] = <[String; 1]>::try_from(created.change_ids)
        .ok()
        .context("the creation of a client is not one change")?;
    Ok(Created { change, took })
}

/// Reads a client.
pub(super) async fn get(instance: &mut Instance) -> anyhow::Result<(GetClientResponse, Duration)> {
    let pick = instance.reads.next();
    timed(
        clients(instance, pick.practice)?
            .get_client(GetClientRequest { client: instance.id(pick)?.to_owned() }),
    )
    .await
}

async fn timeline(instance: &mut Instance) -> anyhow::Result<Duration> {
    let pick = instance.reads.next();
    let mut history = HistoryServiceClient::new(instance.wire(pick.practice)?);
    let record = instance.id(pick)?.to_owned();
    let request = ListEntriesRequest { record, ..ListEntriesRequest::default() };
    let (listed, took) = timed(history.list_entries(request)).await?;
    ensure!(!listed.entries.is_empty(), "the client has no entries");
    Ok(took)
}

async fn list_page(instance: &mut Instance) -> anyhow::Result<Duration> {
    let mut clients = clients(instance, 0)?;
    let page_token = page_in_the_middle(instance, &mut clients).await?;
    let request = ListClientsRequest { page_size: PAGE, page_token, ..Default::default() };
    let (page, took) = timed(clients.list_clients(request)).await?;
    ensure!(!page.clients.is_empty(), "the page has no clients");
    Ok(took)
}

/// The token of a page in the middle half of the list. The pages are found once, by a scan.
async fn page_in_the_middle(
    instance: &mut Instance,
    clients: &mut Clients,
) -> anyhow::Result<String> {
    if instance.pages.is_empty() {
        let mut token = String::new();
        let (all, page) = (instance.size.clients, usize::try_from(SCAN_PAGE)?);
        for scanned in (0..all * 3 / 4).step_by(page) {
            let request = ListClientsRequest {
                page_size: SCAN_PAGE,
                page_token: token,
                ..ListClientsRequest::default()
            };
            token = clients.list_clients(request).await?.into_inner().next_page_token;
            if scanned + page >= all / 4 && !token.is_empty() {
                instance.pages.push(token.clone());
            }
        }
    }
    let next = instance.reads.next().number;
    let page = next.checked_rem(instance.pages.len()).and_then(|at| instance.pages.get(at));
    // A practice with one page has only the first.
    Ok(page.cloned().unwrap_or_default())
}

/// Searches with a query of the unique word and the shared word of a client.
async fn find(
    instance: &mut Instance,
    query: impl Fn(String, String) -> String,
) -> anyhow::Result<Duration> {
    let Pick { practice, number } = instance.reads.next();
    let mut support = SupportServiceClient::new(instance.wire(practice)?);
    let query = query(names::own(number), names::shared(number, instance.size.clients));
    let request = SearchRecordsRequest { query, ..SearchRecordsRequest::default() };
    let (found, took) = timed(support.search_records(request)).await?;
    ensure!(!found.results.is_empty(), "the search has no results");
    Ok(took)
}

async fn add_entry(instance: &mut Instance) -> anyhow::Result<Option<Duration>> {
    let Some(pick) = instance.renames.next_new() else { return Ok(None) };
    let record = instance.id(pick)?.to_owned();
    let mut clients = clients(instance, pick.practice)?;
    let read = clients.get_client(GetClientRequest { client: record.clone() }).await?;
    let current_etag = etag(&read.into_inner().client.context("a response has no client")?)?;
    let name = names::name(pick.number, instance.size.clients);
    let request = AddEntryRequest {
        record,
        timeline: Timeline::RegisteredName.into(),
        value: Some(Value::Name(name.replace("Limited", "Holdings Limited"))),
        current_etag,
        request_id: new_uuid().to_string(),
        ..AddEntryRequest::default()
    };
    let mut history = HistoryServiceClient::new(instance.wire(pick.practice)?);
    let (added, took) = timed(history.add_entry(request)).await?;
    instance.add_changes(added.change_ids.len());
    Ok(Some(took))
}

/// The etag of the current registered name.
fn etag(client: &Client) -> anyhow::Result<String> {
    let mut entries = client.entries.iter();
    let current = entries.find(|entry| {
        entry.timeline() == Timeline::RegisteredName && entry.status() == EntryStatus::Current
    });
    Ok(current.context("the client has no name")?.etag.clone())
}

fn clients(instance: &Instance, practice: usize) -> anyhow::Result<Clients> {
    Ok(ClientServiceClient::new(instance.wire(practice)?))
}

pub(super) async fn timed<T>(
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> anyhow::Result<(T, Duration)> {
    let begun = Instant::now();
    let response = call.await?;
    Ok((response.into_inner(), begun.elapsed()))
}
