//! One stream from the earliest position of a long feed: events per second until it has
//! caught up.

use std::time::{Duration, Instant};

use concord_proto::pb::{
    imports::ImportClient,
    records::{Events, StartFrom, SubscribeResponse, subscribe_response::Message},
};
use prost::Message as _;

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

/// The target, in events per second.
const TARGET: f64 = 50_000.0;

/// Number of messages that the yardstick repeats.
const SAMPLE_MESSAGES: usize = 32;

pub(super) async fn measure(
    plan: &Plan,
    databases: &Databases,
    engine: Engine,
) -> anyhow::Result<Vec<Figure>> {
    let events = if plan.quick { 30_000 } else { 200_000 };
    let process = Process::records(databases.location(engine, "catch_up").await?).await?;
    output::note(format_args!("catch-up on {engine}: writing {events} records"));
    let subscriber = fill(&process, events).await?;
    databases.analyze(engine).await?;

    // The first read fills the caches of the database, so that the measurement shows the
    // cost of Concord.
    let messages = sample_messages(&subscriber).await?;
    read(&subscriber, events).await?;
    let bytes = average_event_size(&messages);
    let bare = streaming::start(messages).await?;
    let bare_subscriber = Subscriber::connect(bare.url()).await?;
    read(&bare_subscriber, events).await?;

    let first = read(&subscriber, events).await?;
    #[expect(clippy::cast_precision_loss, reason = "events of one practice")]
    let amount = events as f64;
    let (what, rounds) = (format!("catch-up on {engine}"), plan.rounds);
    let figure = async |_| read(&subscriber, events).await;
    let yardstick = async |_| read(&bare_subscriber, events).await;
    let turns = Turns::run(what, rounds, amount, first, figure, yardstick).await?;
    process.stop().await?;
    let line = Figure {
        row: "catch-up",
        database: engine,
        of: format!("{events} events of {bytes} bytes"),
        unit: "events/s",
        figure: Spread::default(),
        yardstick: None,
        targets: vec![Target::AtLeast(TARGET)],
    };
    Ok(vec![turns.into_figure("bare tonic stream", line)])
}

/// Fills the feed, and waits until all changes are sequenced.
async fn fill(process: &Process, records: usize) -> anyhow::Result<Subscriber> {
    let url = process.url();
    service::connect_products(url, PRACTICE, &PRODUCTS).await?;
    let wire = service::wire(url, chunks::importer(PRACTICE)).await?;
    chunks::apply(wire, records, smallest).await?;
    let subscriber = Subscriber::connect(url).await?;
    subscriber.wait_for(records.try_into()?).await?;
    Ok(subscriber)
}

/// A client with the required fields only, for the smallest possible event.
fn smallest(number: usize) -> ImportClient {
    ImportClient {
        source_id: format!("C{number}"),
        client_reference: format!("R{number}"),
        client_type: "PRIVATE_LIMITED_COMPANY".to_owned(),
        registered_name: format!("N{number}"),
        ..ImportClient::default()
    }
}

/// The first messages of the service.
async fn sample_messages(subscriber: &Subscriber) -> anyhow::Result<Vec<SubscribeResponse>> {
    let mut changes = subscriber.subscribe(StartFrom::Earliest).await?;
    let mut messages = Vec::with_capacity(SAMPLE_MESSAGES);
    while messages.len() < SAMPLE_MESSAGES {
        let message = Some(Message::Events(feed::events(&mut changes).await?));
        messages.push(SubscribeResponse { message });
    }
    Ok(messages)
}

/// The average size of an event, including its share of the message.
fn average_event_size(messages: &[SubscribeResponse]) -> usize {
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

/// Reads events from the earliest position. Returns the duration, including the opening of
/// the stream.
async fn read(subscriber: &Subscriber, wanted: usize) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    feed::read(&mut subscriber.subscribe(StartFrom::Earliest).await?, wanted).await?;
    Ok(begun.elapsed())
}
