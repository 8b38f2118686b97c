//! The calls whose cost is compared, one at a time.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use shared::{
    ids::new_uuid,
    pb::records::{
        AddEntryRequest, Client, EntryStatus, GetClientRequest, GetClientResponse,
        ListClientsRequest, ListEntriesRequest, SearchRecordsRequest, Timeline,
        add_entry_request::Value, client_service_client::ClientServiceClient,
        history_service_client::HistoryServiceClient, support_service_client::SupportServiceClient,
    },
};
use tonic::{Response, Status};

use super::{
    extent::Extent,
    names,
    world::{Pick, World},
};
use crate::{
    sample::{self, Novelty},
    service::Clients,
};

/// Clients of a page, of those that are walked over to find one in the middle.
const WALKED_PAGE: i32 = 1_000;
/// Clients of a page that is measured.
const PAGE: i32 = 50;

/// A call.
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
    /// Those that mean the same in all extents. In practices of other sizes a list
    /// has other pages, and a word other matches.
    pub(super) fn comparable(extents: &[Extent]) -> &'static [Self] {
        use Call::{
            AddEntry, Create, FindBesideCommon, FindMany, FindOne, FindThousand, Get, ListPage,
            Timeline,
        };
        if extents.iter().all(|extent| extent.practices == 1) {
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

    /// What is said of it in the design: a record, and a search of up to 1,000
    /// matches.
    pub(super) fn is_bounded(self) -> bool {
        use Call::{Create, FindBesideCommon, FindOne, FindThousand};
        matches!(self, Create | FindOne | FindThousand | FindBesideCommon)
    }

    /// Makes it once; tells how long it took, or nothing when there is no client
    /// left to make it for.
    pub(super) async fn make(self, world: &mut World) -> anyhow::Result<Option<Duration>> {
        let took = match self {
            Self::Create => create(world).await?.took,
            Self::AddEntry => return add_entry(world).await,
            Self::Get => get(world).await?.1,
            Self::Timeline => timeline(world).await?,
            Self::ListPage => list_page(world).await?,
            Self::FindOne => find(world, |own, _| own).await?,
            Self::FindThousand => find(world, |_, shared| shared).await?,
            Self::FindMany => find(world, |_, _| names::EVERYBODYS.to_owned()).await?,
            Self::FindBesideCommon => {
                find(world, |own, _| format!("{} {own}", names::EVERYBODYS)).await?
            }
        };
        Ok(Some(took))
    }
}

/// A client that was created.
pub(super) struct Created {
    pub(super) change: String,
    pub(super) took: Duration,
}

/// Creates a client, in one practice after the other.
pub(super) async fn create(world: &mut World) -> anyhow::Result<Created> {
    let practice = world.reads.next().practice;
    let mut clients = clients(world, practice)?;
    let request = sample::request(&Novelty::next());
    let (created, took) = timed(clients.create_client(request)).await?;
    world.note_changes(created.change_ids.len());
    let [change] = <[String; 1]>::try_from(created.change_ids)
        .ok()
        .context("a client whose creation is not one change")?;
    Ok(Created { change, took })
}

/// Reads a client.
pub(super) async fn get(world: &mut World) -> anyhow::Result<(GetClientResponse, Duration)> {
    let pick = world.reads.next();
    timed(
        clients(world, pick.practice)?
            .get_client(GetClientRequest { client: world.id(pick)?.to_owned() }),
    )
    .await
}

async fn timeline(world: &mut World) -> anyhow::Result<Duration> {
    let pick = world.reads.next();
    let mut history = HistoryServiceClient::new(world.wire(pick.practice)?);
    let record = world.id(pick)?.to_owned();
    let request = ListEntriesRequest { record, ..ListEntriesRequest::default() };
    let (listed, took) = timed(history.list_entries(request)).await?;
    ensure!(!listed.entries.is_empty(), "a client without entries");
    Ok(took)
}

async fn list_page(world: &mut World) -> anyhow::Result<Duration> {
    let mut clients = clients(world, 0)?;
    let page_token = page_in_the_middle(world, &mut clients).await?;
    let request = ListClientsRequest { page_size: PAGE, page_token, ..Default::default() };
    let (page, took) = timed(clients.list_clients(request)).await?;
    ensure!(!page.clients.is_empty(), "a page without clients");
    Ok(took)
}

/// A page that begins in the middle half; found once by walking there.
async fn page_in_the_middle(world: &mut World, clients: &mut Clients) -> anyhow::Result<String> {
    if world.pages.is_empty() {
        let mut token = String::new();
        let (all, page) = (world.extent.clients, usize::try_from(WALKED_PAGE)?);
        for walked in (0..all * 3 / 4).step_by(page) {
            let request = ListClientsRequest {
                page_size: WALKED_PAGE,
                page_token: token,
                ..ListClientsRequest::default()
            };
            token = clients.list_clients(request).await?.into_inner().next_page_token;
            if walked + page >= all / 4 && !token.is_empty() {
                world.pages.push(token.clone());
            }
        }
    }
    let next = world.reads.next().number;
    let page = next.checked_rem(world.pages.len()).and_then(|at| world.pages.get(at));
    // A practice of one page has no other than the first.
    Ok(page.cloned().unwrap_or_default())
}

/// Looks for what a client's own word and its shared one make.
async fn find(
    world: &mut World,
    query: impl Fn(String, String) -> String,
) -> anyhow::Result<Duration> {
    let Pick { practice, number } = world.reads.next();
    let mut support = SupportServiceClient::new(world.wire(practice)?);
    let query = query(names::own(number), names::shared(number, world.extent.clients));
    let request = SearchRecordsRequest { query, ..SearchRecordsRequest::default() };
    let (found, took) = timed(support.search_records(request)).await?;
    ensure!(!found.results.is_empty(), "a search that finds nothing");
    Ok(took)
}

async fn add_entry(world: &mut World) -> anyhow::Result<Option<Duration>> {
    let Some(pick) = world.renames.next_new() else { return Ok(None) };
    let record = world.id(pick)?.to_owned();
    let mut clients = clients(world, pick.practice)?;
    let read = clients.get_client(GetClientRequest { client: record.clone() }).await?;
    let current_etag = etag(&read.into_inner().client.context("an answer without its client")?)?;
    let name = names::name(pick.number, world.extent.clients);
    let request = AddEntryRequest {
        record,
        timeline: Timeline::RegisteredName.into(),
        value: Some(Value::Name(name.replace("Limited", "Holdings Limited"))),
        current_etag,
        request_id: new_uuid().to_string(),
        ..AddEntryRequest::default()
    };
    let mut history = HistoryServiceClient::new(world.wire(pick.practice)?);
    let (added, took) = timed(history.add_entry(request)).await?;
    world.note_changes(added.change_ids.len());
    Ok(Some(took))
}

/// Of the registered name of today.
fn etag(client: &Client) -> anyhow::Result<String> {
    let mut entries = client.entries.iter();
    let current = entries.find(|entry| {
        entry.timeline() == Timeline::RegisteredName && entry.status() == EntryStatus::Current
    });
    Ok(current.context("a client without a name")?.etag.clone())
}

fn clients(world: &World, practice: usize) -> anyhow::Result<Clients> {
    Ok(ClientServiceClient::new(world.wire(practice)?))
}

pub(super) async fn timed<T>(
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> anyhow::Result<(T, Duration)> {
    let begun = Instant::now();
    let answer = call.await?;
    Ok((answer.into_inner(), begun.elapsed()))
}
