//! "My change has not appeared over there": where a change is on its way.

use std::collections::BTreeMap;

use prost::Message as _;
use shared::{
    caller::{Caller, Product},
    ids::{self, IdKind},
    page,
    pb::records::{
        ChangeTrace, Delivery, ErrorReason, FeedPlace, Origin, ProductTrace, SubscriptionState,
        SubscriptionTrace, TraceChangeResponse,
    },
    status::Refusal,
};

use super::{Records, names};
use crate::{
    domain::{
        filter::Verdict,
        record::{RecordRef, id_kind},
        subscription::Subscription,
    },
    error::RecordError,
    feed::subscriber::event::audible,
    image::timestamp,
    store::{
        audit::{self, AuditRow},
        connections,
        feed::{self, FeedRow, Spot},
        subscriptions, trace,
    },
};

/// Subscriptions that are shown of one product.
const MAX_SUBSCRIPTIONS: u64 = 200;

/// Which changes, on their way to whom.
#[derive(Clone, Debug)]
pub(crate) struct TraceCommand {
    pub(crate) what: Traced,
    /// To every product when there is none.
    pub(crate) product: Option<Product>,
}

/// What is traced.
#[derive(Clone, Debug)]
pub(crate) enum Traced {
    Change(String),
    /// The last changes of a record.
    Record {
        name: String,
        max_changes: u64,
    },
}

impl Records {
    /// Where changes are on their way to the products.
    pub(crate) async fn trace(
        &self,
        caller: &Caller,
        command: TraceCommand,
    ) -> Result<TraceChangeResponse, RecordError> {
        self.check_connected(caller).await?;
        let (mut answer, mut room) = (TraceChangeResponse::default(), page::Room::default());
        for change in self.traced(caller, &command.what).await? {
            let mut trace = self.trace_change(caller, change, command.product.as_ref()).await?;
            let products = std::mem::take(&mut trace.products);
            let listed = products.len();
            let fits = room.take(trace.encoded_len());
            let products = products.into_iter().take_while(|one| room.take(one.encoded_len()));
            trace.products = products.collect();
            answer.truncated = !fits || trace.products.len() < listed;
            answer.changes.extend(Some(trace).filter(|_| fits));
            if answer.truncated {
                break;
            }
        }
        Ok(answer)
    }

    async fn traced(&self, caller: &Caller, what: &Traced) -> Result<Vec<AuditRow>, RecordError> {
        let (db, practice) = (self.db.reader(), &caller.practice);
        match what {
            Traced::Change(text) => {
                let id = ids::parse(IdKind::Change, text).ok_or_else(|| {
                    let wrong = "is not the id of a change, which is chg_ and 32 digits";
                    Refusal::invalid_field("change", ErrorReason::InvalidId, wrong)
                })?;
                let found = trace::change(db, practice, id).await?;
                Ok(vec![found.ok_or_else(|| Refusal::not_found("change", text))?])
            }
            Traced::Record { name, max_changes } => {
                let record = if name.starts_with(IdKind::Contact.prefix()) {
                    RecordRef::contact(super::open::parse_contact(name)?)
                } else {
                    names::client_or_person(db, practice, "record", name).await?
                };
                let rows = audit::page(db, practice, Some(record.id), None, *max_changes).await?;
                if rows.is_empty() {
                    let kind = id_kind(record.kind).to_string();
                    return Err(Refusal::not_found(&kind, name).into());
                }
                Ok(rows)
            }
        }
    }

    async fn trace_change(
        &self,
        caller: &Caller,
        change: AuditRow,
        only: Option<&Product>,
    ) -> Result<ChangeTrace, RecordError> {
        let (db, practice) = (self.db.reader(), &caller.practice);
        let found = trace::places(db, practice, change.record.id, change.change_id).await?;
        let (version, places) = found.unwrap_or_default();
        let mut products: BTreeMap<String, Option<trace::Place>> = BTreeMap::new();
        // Those that were not told are named too: it is what support asks about.
        for connection in connections::list(db, practice).await? {
            products.insert(connection.product, None);
        }
        if let Some(product) = only {
            products.insert(product.to_string(), None);
        }
        for place in places {
            products.insert(place.product.clone(), Some(place));
        }
        products.retain(|product, _| only.is_none_or(|only| only.as_str() == product));
        let mut traces = Vec::with_capacity(products.len());
        for (product, place) in products {
            traces.push(self.trace_to(caller, &change, product, place).await?);
        }
        Ok(ChangeTrace {
            change_id: ids::text(IdKind::Change, change.change_id),
            record_kind: change.record.kind.into(),
            record_id: change.record.text(),
            record_version: version,
            kind: change.kind.into(),
            origin: Some(Origin {
                product: change.product,
                account: change.account,
                user: change.user,
                import_id: change
                    .import_id
                    .map(|id| ids::text(IdKind::Import, id))
                    .unwrap_or_default(),
            }),
            change_time: Some(timestamp(change.changed_at)),
            products: traces,
        })
    }

    async fn trace_to(
        &self,
        caller: &Caller,
        change: &AuditRow,
        product: String,
        place: Option<trace::Place>,
    ) -> Result<ProductTrace, RecordError> {
        let mut shown = ProductTrace { product: product.clone(), ..ProductTrace::default() };
        let (place_in_feed, explanation) = match &place {
            Some(trace::Place { row: Some(row), .. }) => {
                (FeedPlace::AtPosition, format!("It stands at position {}.", row.position))
            }
            Some(_) => (FeedPlace::NotSequenced, NOT_SEQUENCED.to_owned()),
            None if change.changed_at < self.clock.now() - self.feed_retention => {
                (FeedPlace::NotKept, NOT_KEPT.to_owned())
            }
            None => (FeedPlace::NotConnected, NOT_CONNECTED.to_owned()),
        };
        shown.place = place_in_feed.into();
        shown.explanation = explanation;
        let Some(place) = place else { return Ok(shown) };
        shown.sequence_time = place.sequenced_at.map(timestamp);
        shown.linked = place.pending.unwrap_or_default();
        if let Some(row) = &place.row {
            (shown.position, shown.linked) = (row.position, row.linked);
            shown.subscriptions = self.deliveries(caller, &product, row).await?;
        }
        Ok(shown)
    }

    /// What became of a change in each subscription that may hear of the practice.
    async fn deliveries(
        &self,
        caller: &Caller,
        product: &str,
        row: &FeedRow,
    ) -> Result<Vec<SubscriptionTrace>, RecordError> {
        let product: Product =
            product.parse().map_err(|_| RecordError::Corrupt("a product's name"))?;
        let (db, now) = (self.db.reader(), self.clock.now());
        let standing = feed::standing(db, &product, Spot::Newest).await?;
        let floor = standing.map_or(1, |standing| standing.ends.floor);
        let (products, practice) = ([product], Some(&caller.practice));
        let found = subscriptions::page(db, &products, practice, None, MAX_SUBSCRIPTIONS).await?;
        let found = found.into_iter().filter(|one| one.filter.wants_practice(&row.practice));
        Ok(found.map(|one| delivery(&one, row, one.state(floor, now))).collect())
    }
}

const NOT_SEQUENCED: &str = "It is written and waits for its position, which takes milliseconds as \
    a rule. When this stays so, no replica of the records service is running its sequencer: look \
    at its log.";
const NOT_KEPT: &str = "It is older than what the feed keeps. Whoever has not heard it by now \
    subscribes from a snapshot.";
const NOT_CONNECTED: &str = "The product was not connected to the practice when the change was \
    made, and is not told of it. Connect it; then it takes a snapshot.";

/// What became of a change that stands at a position.
fn delivery(
    subscription: &Subscription,
    row: &FeedRow,
    state: SubscriptionState,
) -> SubscriptionTrace {
    let (delivery, explanation) = outcome(subscription, row, state);
    SubscriptionTrace {
        subscription: subscription.key.name.clone(),
        account: subscription.key.account.to_string(),
        all_practices: subscription.key.practice.is_none(),
        delivery: delivery.into(),
        explanation: explanation.to_owned(),
        state: state.into(),
        acknowledged_position: subscription.acked.position,
        acknowledge_time: subscription.acked_at.map(timestamp),
    }
}

fn outcome(
    subscription: &Subscription,
    row: &FeedRow,
    state: SubscriptionState,
) -> (Delivery, &'static str) {
    let verdict = subscription.filter.verdict(subscription.key.hearer(), &audible(row));
    let position = row.position;
    match verdict {
        _ if position <= subscription.start => (
            Delivery::BeforeStart,
            "The subscription began after it. If it began with a snapshot, that held the record \
             as it was then.",
        ),
        Verdict::Suppressed => (
            Delivery::Suppressed,
            "Left out: this account made the change itself, and asks not to hear its own changes \
             (echo_mode).",
        ),
        Verdict::OtherPractice => {
            (Delivery::Filtered, "Left out: the subscription does not ask for this practice.")
        }
        Verdict::OtherKind => (
            Delivery::Filtered,
            "Left out: the subscription does not ask for this kind of record (record_kinds).",
        ),
        Verdict::NotLinked => (
            Delivery::Filtered,
            "Left out: the product was not linked to the record, and the subscription asks for \
             linked records only (linked_only).",
        ),
        Verdict::Sent if state == SubscriptionState::Expired => (
            Delivery::Missed,
            "The subscription was away for longer than changes are kept: it must begin anew, with \
             restart, from a snapshot.",
        ),
        Verdict::Sent if position <= subscription.acked.position => {
            (Delivery::Acknowledged, "Sent, and acknowledged by the product.")
        }
        Verdict::Sent if position <= subscription.delivered => (
            Delivery::Delivered,
            "Sent, and not acknowledged: the product has it, and has not said that it is done \
             with it.",
        ),
        Verdict::Sent if state == SubscriptionState::Active => {
            (Delivery::Waiting, "Not sent yet: the stream stands and comes to it.")
        }
        Verdict::Sent => (
            Delivery::Waiting,
            "Not sent: no stream of the subscription stands. Look whether the product runs.",
        ),
    }
}
