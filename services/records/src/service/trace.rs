//! Tracing a change: whether the feeds and subscriptions of the products have delivered it.

use std::collections::BTreeMap;

use concord_core::{
    caller::{Caller, Product},
    ids::{self, IdKind},
    page,
    status::ApiError,
};
use concord_proto::pb::records::{
    ChangeTrace, Delivery, ErrorReason, FeedPlace, Origin, ProductTrace, SubscriptionState,
    SubscriptionTrace, TraceChangeResponse,
};
use prost::Message as _;

use super::{Records, resolve};
use crate::{
    domain::{
        filter::Verdict,
        record::{RecordRef, id_kind},
        subscription::Subscription,
    },
    error::RecordError,
    feed::subscriber::event::change_attributes,
    image::timestamp,
    store::{
        audit::{self, AuditRow},
        connections,
        feed::{self, FeedRow, SeekTarget},
        subscriptions, trace,
    },
};

/// Maximum number of traced subscriptions of a product.
const MAX_SUBSCRIPTIONS: u64 = 200;

/// The changes to trace, and the product.
#[derive(Clone, Debug)]
pub(crate) struct TraceCommand {
    pub(crate) what: Traced,
    /// `None` for all products.
    pub(crate) product: Option<Product>,
}

/// The changes to trace.
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
    /// Traces changes to the products.
    pub(crate) async fn trace(
        &self,
        caller: &Caller,
        command: TraceCommand,
    ) -> Result<TraceChangeResponse, RecordError> {
        self.check_connected(caller).await?;
        let (mut answer, mut budget) =
            (TraceChangeResponse::default(), page::ResponseBudget::default());
        for change in self.traced(caller, &command.what).await? {
            let mut trace = self.trace_change(caller, change, command.product.as_ref()).await?;
            let products = std::mem::take(&mut trace.products);
            let listed = products.len();
            let fits = budget.try_take(trace.encoded_len());
            let products =
                products.into_iter().take_while(|one| budget.try_take(one.encoded_len()));
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
        let db = self.db.reader_of(&caller.practice);
        match what {
            Traced::Change(text) => {
                let id = ids::parse(IdKind::Change, text).ok_or_else(|| {
                    let wrong = "is not the id of a change, which is chg_ and 32 digits";
                    ApiError::invalid_field("change", ErrorReason::InvalidId, wrong)
                })?;
                let found = trace::change(db, id).await?;
                Ok(vec![found.ok_or_else(|| ApiError::not_found("change", text))?])
            }
            Traced::Record { name, max_changes } => {
                let record = if name.starts_with(IdKind::Contact.prefix()) {
                    RecordRef::contact(super::open::parse_contact(name)?)
                } else {
                    resolve::client_or_person(db, "record", name).await?
                };
                let rows = audit::page(db, Some(record.id), None, *max_changes).await?;
                if rows.is_empty() {
                    let kind = id_kind(record.kind).to_string();
                    return Err(ApiError::not_found(&kind, name).into());
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
        let db = self.db.reader_of(&caller.practice);
        let found = trace::feed_statuses(db, change.record.id, change.change_id).await?;
        let (version, statuses) = found.unwrap_or_default();
        let mut products: BTreeMap<String, Option<trace::FeedStatus>> = BTreeMap::new();
        // Includes the products that do not receive the change: support asks about those.
        for connection in connections::list(db).await? {
            products.insert(connection.product, None);
        }
        if let Some(product) = only {
            products.insert(product.to_string(), None);
        }
        for status in statuses {
            products.insert(status.product.clone(), Some(status));
        }
        products.retain(|product, _| only.is_none_or(|only| only.as_str() == product));
        let mut traces = Vec::with_capacity(products.len());
        for (product, status) in products {
            traces.push(self.trace_to(caller, &change, product, status).await?);
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
        status: Option<trace::FeedStatus>,
    ) -> Result<ProductTrace, RecordError> {
        let mut shown = ProductTrace { product: product.clone(), ..ProductTrace::default() };
        let (place, explanation) = match &status {
            Some(trace::FeedStatus { row: Some(row), .. }) => {
                (FeedPlace::AtPosition, format!("It has position {}.", row.position))
            }
            Some(_) => (FeedPlace::NotSequenced, NOT_SEQUENCED.to_owned()),
            None if change.changed_at < self.clock.now() - self.feed_retention => {
                (FeedPlace::NotKept, NOT_KEPT.to_owned())
            }
            None => (FeedPlace::NotConnected, NOT_CONNECTED.to_owned()),
        };
        shown.place = place.into();
        shown.explanation = explanation;
        let Some(status) = status else { return Ok(shown) };
        shown.sequence_time = status.sequenced_at.map(timestamp);
        shown.linked = status.pending.unwrap_or_default();
        if let Some(row) = &status.row {
            (shown.position, shown.linked) = (row.position, row.linked);
            shown.subscriptions = self.deliveries(caller, &product, row).await?;
        }
        Ok(shown)
    }

    /// The delivery of a change by each subscription that includes the practice.
    async fn deliveries(
        &self,
        caller: &Caller,
        product: &str,
        row: &FeedRow,
    ) -> Result<Vec<SubscriptionTrace>, RecordError> {
        let product: Product =
            product.parse().map_err(|_| RecordError::Corrupt("a product's name"))?;
        let (db, now) = (self.db.reader(), self.clock.now());
        let feed_head = feed::seek(db, &product, SeekTarget::Newest).await?;
        let floor = feed_head.map_or(1, |feed_head| feed_head.ends.floor);
        let (products, practice) = ([product], Some(&caller.practice));
        let found = subscriptions::page(db, &products, practice, None, MAX_SUBSCRIPTIONS).await?;
        let found = found.into_iter().filter(|one| one.filter.wants_practice(&row.practice));
        Ok(found.map(|one| delivery(&one, row, one.state(floor, now))).collect())
    }
}

const NOT_SEQUENCED: &str = "It is written and waits for its position, which usually takes \
    milliseconds. If it keeps waiting, no replica of the records service runs its sequencer: \
    check its log.";
const NOT_KEPT: &str = "It is older than the retention of the feed. A subscriber that has not \
    received it restarts from a snapshot.";
const NOT_CONNECTED: &str = "The product was not connected to the practice when the change was \
    made, and does not receive it. Connect it; then it takes a snapshot.";

/// The delivery of a change with a position by a subscription.
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
    let verdict =
        subscription.filter.verdict(subscription.key.recipient(), &change_attributes(row));
    let position = row.position;
    match verdict {
        _ if position <= subscription.start => (
            Delivery::BeforeStart,
            "The subscription started after it. If it started with a snapshot, the snapshot \
             contained the record as it was then.",
        ),
        Verdict::Suppressed => (
            Delivery::Suppressed,
            "Left out: this account made the change itself, and the subscription suppresses its \
             own changes (echo_mode).",
        ),
        Verdict::OtherPractice => {
            (Delivery::Filtered, "Left out: the subscription does not include this practice.")
        }
        Verdict::OtherKind => (
            Delivery::Filtered,
            "Left out: the subscription does not include this kind of record (record_kinds).",
        ),
        Verdict::NotLinked => (
            Delivery::Filtered,
            "Left out: the product was not linked to the record, and the subscription includes \
             linked records only (linked_only).",
        ),
        Verdict::Sent if state == SubscriptionState::Expired => (
            Delivery::Missed,
            "The subscription was idle for longer than changes are retained: it must restart \
             from a snapshot, with restart.",
        ),
        Verdict::Sent if position <= subscription.acked.position => {
            (Delivery::Acknowledged, "Sent, and acknowledged by the product.")
        }
        Verdict::Sent if position <= subscription.delivered => (
            Delivery::Delivered,
            "Sent, not acknowledged: the product has not confirmed yet that it has processed it.",
        ),
        Verdict::Sent if state == SubscriptionState::Active => {
            (Delivery::Waiting, "Not sent yet: the stream is open and will reach it.")
        }
        Verdict::Sent => (
            Delivery::Waiting,
            "Not sent: no stream of the subscription is open. Check whether the product runs.",
        ),
    }
}
