//! Streams that resume while the purge removes the changes that they would read.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use chrono::{DateTime, TimeDelta, Utc};
use concord_core::{clock::Clock, ids::new_uuid};
use concord_db::{Database, TenantScope};
use concord_proto::pb::records::EchoMode;
use concord_testing::{TestDb, storage_tests};
use sea_orm::{ConnectionTrait as _, Statement};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::*;
use crate::{
    domain::subscription::{Subscription, SubscriptionKey},
    feed::{
        StreamIntervals,
        opening::{NamedSubscription, Start},
    },
    migrations::Migrator,
    store::{
        feed::{SeekTarget, retention, seek, sequence},
        subscriptions,
    },
};

mod catch_up;
mod fixture;
mod replaced_history;

storage_tests! {
    purge_during_resume_leaves_no_gap,
    purge_keeps_changes_of_other_feeds,
}

/// Number of changes that one step writes and sequences, at a time of its own.
const STEP: i64 = 10;
/// Number of steps that are retained: the purge is that far behind the writer.
const RETAINED_STEPS: i64 = 15;
/// Total number of streams that are opened.
const RESUMES: usize = 600;

/// What the streams have received: the change at each position, and the cursors.
#[derive(Default)]
struct Deliveries {
    changes: HashMap<i64, String>,
    cursors: Vec<(i64, String)>,
}

async fn feed_of(t: &TestDb, products: &[&str]) -> Feed {
    let db = t.database().await;
    db.migrate::<Migrator>().await.unwrap();
    let feed = Feed::new(db, Clock::fixed(time(0)), CancellationToken::new());
    for product in products {
        let sql = "INSERT INTO feed_product(product, epoch, head, floor, last_practice, secret) \
                   VALUES ($1, $2, 0, 1, '', $3)";
        let values = vec![(*product).into(), Uuid::nil().into(), vec![7_u8; 32].into()];
        write(&feed, sql, values).await;
    }
    feed
}

fn time(step: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_772_000_000, 0).unwrap() + TimeDelta::seconds(step)
}

async fn write(feed: &Feed, sql: &'static str, values: Vec<sea_orm::Value>) {
    let engine = feed.db().engine();
    let written = feed.db().write(TenantScope::AllPractices, move |tx| {
        let values = values.clone();
        async move {
            tx.execute_raw(Statement::from_sql_and_values(engine, sql, values)).await?;
            Ok::<_, RecordError>(())
        }
    });
    written.await.unwrap();
}

/// Writes some changes for `products`, and sequences them.
async fn step(feed: &Feed, number: i64, products: &[&'static str]) {
    for _ in 0..STEP {
        let sql = "INSERT INTO feed_change (id, practice_id, record_kind, record_id, \
                   record_version, kind, changed_fields, companions, origin_product, \
                   origin_account, origin_user, transaction_id, transaction_index, \
                   transaction_count, changed_at) \
                   VALUES ($1, 'p1', 'CLIENT', $1, 1, 'UPDATED', '[]', '[]', 'manager', 'main', \
                   '', $1, 0, 1, $2)";
        let id = new_uuid();
        write(feed, sql, vec![id.into(), time(number).into()]).await;
        for product in products {
            let sql = "INSERT INTO feed_pending (product, practice_id, seq, linked) \
                       SELECT $1, 'p1', seq, false FROM feed_change WHERE id = $2";
            write(feed, sql, vec![(*product).into(), id.into()]).await;
        }
    }
    for product in products {
        sequence_at(feed, product, number).await;
    }
}

async fn sequence_at(feed: &Feed, product: &'static str, number: i64) {
    let sequenced = feed.db().write(TenantScope::AllPractices, move |tx| async move {
        sequence::sequence(&*tx, product, time(number)).await
    });
    sequenced.await.unwrap();
}

async fn purge(feed: &Feed, product: &'static str, before: i64) -> i64 {
    let purged = feed.db().write(TenantScope::AllPractices, move |tx| async move {
        retention::purge(&*tx, product, time(before)).await
    });
    purged.await.unwrap()
}

/// Opens a stream after a cursor, or from the earliest change, and reads some messages.
/// Returns the status if the stream was rejected or failed.
async fn read_some(
    feed: &Feed,
    cursor: Option<&str>,
    deliveries: &Mutex<Deliveries>,
) -> Option<Status> {
    let start = match cursor {
        Some(cursor) => Start::After(Cursor::decode(cursor)),
        None => Start::Earliest,
    };
    let filter = Filter {
        echo: EchoMode::Include,
        kinds: Vec::new(),
        linked_only: false,
        practices: Vec::new(),
    };
    let subscriber = Subscriber {
        practice: None,
        product: "books".parse().unwrap(),
        account: "main".parse().unwrap(),
        roles: Vec::new(),
    };
    let command = SubscribeCommand { start, filter, named: None };
    let mut messages = match open(feed, subscriber, command, None).await {
        Ok(messages) => messages,
        Err(error) => return Some(error.into()),
    };
    let mut last = None;
    for _ in 0..3 {
        let message = match messages.recv().await? {
            Ok(message) => message.message.unwrap(),
            Err(status) => return Some(status),
        };
        match message {
            Message::Handshake(handshake) => last = Some(handshake.position),
            Message::Events(batch) => {
                let mut deliveries = deliveries.lock().unwrap();
                for event in batch.events {
                    assert_eq!(last.map(|last| last + 1), Some(event.position), "a gap");
                    last = Some(event.position);
                    let known = deliveries.changes.insert(event.position, event.change_id.clone());
                    assert!(known.is_none_or(|known| known == event.change_id), "another change");
                }
                deliveries.cursors.push((last.unwrap(), batch.cursor));
            }
            Message::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    }
    None
}

async fn purge_during_resume_leaves_no_gap(t: TestDb) {
    let feed = feed_of(&t, &["books"]).await;
    let (deliveries, now) =
        (Arc::new(Mutex::new(Deliveries::default())), Arc::new(AtomicI64::new(0)));
    let (done, too_old) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let writer = {
        let (feed, now, done) = (feed.clone(), now.clone(), done.clone());
        tokio::spawn(async move {
            while done.load(Ordering::SeqCst) < RESUMES {
                let number = now.fetch_add(1, Ordering::SeqCst) + 1;
                step(&feed, number, &["books"]).await;
            }
        })
    };
    let purger = {
        let (feed, now, done) = (feed.clone(), now.clone(), done.clone());
        tokio::spawn(async move {
            while done.load(Ordering::SeqCst) < RESUMES {
                purge(&feed, "books", now.load(Ordering::SeqCst) - RETAINED_STEPS).await;
            }
        })
    };
    let mut readers = Vec::new();
    for reader in 0..4_usize {
        let (feed, deliveries) = (feed.clone(), deliveries.clone());
        let (done, too_old) = (done.clone(), too_old.clone());
        readers.push(tokio::spawn(async move {
            while done.fetch_add(1, Ordering::SeqCst) < RESUMES {
                // A cursor near the floor.
                let cursor = {
                    let deliveries = deliveries.lock().unwrap();
                    let from = deliveries.cursors.len().saturating_sub(40);
                    let pick = from + (done.load(Ordering::SeqCst) * 7 + reader) % 40;
                    deliveries.cursors.get(pick).map(|(_, cursor)| cursor.clone())
                };
                if let Some(status) = read_some(&feed, cursor.as_deref(), &deliveries).await {
                    assert_eq!(status.code(), Code::OutOfRange, "{status}");
                    let reason = status.get_error_details().error_info().unwrap().reason.clone();
                    assert_eq!(reason, "CURSOR_TOO_OLD", "{status}");
                    too_old.fetch_add(1, Ordering::SeqCst);
                }
            }
        }));
    }
    for task in readers.into_iter().chain([writer, purger]) {
        task.await.unwrap();
    }
    assert!(too_old.load(Ordering::SeqCst) > 0, "no stream was behind the purge");
    feed.stop().cancel();
}

async fn purge_keeps_changes_of_other_feeds(t: TestDb) {
    let feed = feed_of(&t, &["ap", "books"]).await;
    step(&feed, 1, &["ap", "books"]).await;
    step(&feed, 2, &["books"]).await;
    let count = async |table: &str| -> i64 {
        let sql = format!("SELECT COUNT(*) AS n FROM {table}");
        let row = feed.db().reader().query_one_raw(Statement::from_string(feed.db().engine(), sql));
        row.await.unwrap().unwrap().try_get("", "n").unwrap()
    };
    let product: concord_core::caller::Product = "books".parse().unwrap();
    let at = async |target| seek(feed.db().reader(), &product, target).await.unwrap().unwrap();
    let tenth = at(SeekTarget::At(STEP)).await.change;
    assert!(!retention::has_expired(feed.db().reader(), "books", time(1)).await.unwrap());
    assert_eq!(purge(&feed, "books", 1).await, 0, "not old enough");
    assert_eq!(purge(&feed, "books", 2).await, STEP);
    assert_eq!((count("feed_change").await, count("feed_entry").await), (2 * STEP, 2 * STEP));
    let ends = at(SeekTarget::Newest).await.ends;
    assert_eq!((ends.floor, ends.head, ends.floor_change), (STEP + 1, 2 * STEP, tenth));
    assert_eq!(purge(&feed, "ap", 2).await, STEP);
    assert_eq!((count("feed_change").await, count("feed_entry").await), (STEP, STEP));
    assert_eq!(purge(&feed, "books", 3).await, STEP, "all of them");
    assert_eq!((count("feed_change").await, count("feed_entry").await), (0, 0));
    assert_eq!(purge(&feed, "books", 9).await, 0);
    step(&feed, 4, &["books"]).await;
    assert_eq!(at(SeekTarget::Newest).await.position, 3 * STEP, "positions continue");
}
