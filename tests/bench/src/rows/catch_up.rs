//! One stream that begins at the earliest position of a feed with a long past:
//! events a second, until it has caught up.

use std::time::{Duration, Instant};

use prost::Message as _;
use shared::pb::{
    imports::ImportClient,
    records::{Events, StartFrom, SubscribeResponse, subscribe_response::Message},
};

use crate::{
    chunks,
    databases::{Databases, Engine},
    feed::{self, Subscriber},
    measure::{Plan, Spread},
    output,
    process::Process,
    report::{Figure, Target},
    service::{self, PRACTICE, PRODUCTS},
    turns::Turns,
    yardsticks::streaming,
};

/// What is to be reached, in events a second.
const TARGET: f64 = 50_000.0;

/// Messages that the yardstick sends over and over.
const KEPT: usize = 32;

pub(super) async fn measure(
    plan: &Plan,
    databases: &Databases,
    engine: Engine,
) -> anyhow::Result<Vec<Figure>> {
    let past = if plan.quick { 30_000 } else { 200_000 };
    let process = Process::records(databases.place(engine, "catch_up").await?).await?;
    output::note(format_args!("catch-up on {engine}: writing {past} records"));
    let subscriber = fill(&process, past).await?;
    databases.settle(engine).await?;

    // What was read once is in the caches of the database: measured is what Concord
    // adds to them.
    let messages = keep(&subscriber).await?;
    read(&subscriber, past).await?;
    let bytes = average(&messages);
    let bare = streaming::start(messages).await?;
    let bare_subscriber = Subscriber::connect(bare.url()).await?;
    read(&bare_subscriber, past).await?;

    let first = read(&subscriber, past).await?;
    #[expect(clippy::cast_precision_loss, reason = "events of one practice")]
    let amount = past as f64;
    let (what, rounds) = (format!("catch-up on {engine}"), plan.rounds);
    let figure = async |_| read(&subscriber, past).await;
    let yardstick = async |_| read(&bare_subscriber, past).await;
    let turns = Turns::take(what, rounds, amount, first, figure, yardstick).await?;
    process.stop().await?;
    let line = Figure {
        row: "catch-up",
        database: engine,
        of: format!("{past} events of {bytes} bytes"),
        unit: "events/s",
        figure: Spread::default(),
        yardstick: None,
        targets: vec![Target::AtLeast(TARGET)],
    };
    Ok(vec![turns.tell("bare tonic stream", line)])
}

/// Gives the feed its past, and waits until all of it has positions.
async fn fill(process: &Process, records: usize) -> anyhow::Result<Subscriber> {
    let url = process.url();
    service::connect_products(url, PRACTICE, &PRODUCTS).await?;
    let wire = service::wire(url, chunks::importer(PRACTICE)).await?;
    chunks::apply(wire, records, smallest).await?;
    let subscriber = Subscriber::connect(url).await?;
    subscriber.wait_for(records.try_into()?).await?;
    Ok(subscriber)
}

/// As little as a client can be: its event is as small as they come.
fn smallest(number: usize) -> ImportClient {
    ImportClient {
        source_id: format!("C{number}"),
        client_reference: format!("R{number}"),
        client_type: "PRIVATE_LIMITED_COMPANY".to_owned(),
        registered_name: format!("N{number}"),
        ..ImportClient::default()
    }
}

/// The first messages, as the service sends them.
async fn keep(subscriber: &Subscriber) -> anyhow::Result<Vec<SubscribeResponse>> {
    let mut changes = subscriber.subscribe(StartFrom::Earliest).await?;
    let mut messages = Vec::with_capacity(KEPT);
    while messages.len() < KEPT {
        let message = Some(Message::Events(feed::events(&mut changes).await?));
        messages.push(SubscribeResponse { message });
    }
    Ok(messages)
}

/// The bytes of an event, with its part of the message.
fn average(messages: &[SubscribeResponse]) -> usize {
    let events = messages.iter().filter_map(events).map(|events| events.events.len());
    let bytes: usize = messages.iter().map(SubscribeResponse::encoded_len).sum();
    bytes / events.sum::<usize>().max(1)
}

fn events(message: &SubscribeResponse) -> Option<&Events> {
    match &message.message {
        Some(Message::Events(events)) => Some(events),
        _ => None,
    }
}

/// How long it takes to read so many events from the earliest on, with the call that
/// opens the stream.
async fn read(subscriber: &Subscriber, wanted: usize) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    feed::read(&mut subscriber.subscribe(StartFrom::Earliest).await?, wanted).await?;
    Ok(begun.elapsed())
}
