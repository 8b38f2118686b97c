//! The delivery state of changes by product, as a page of text or as JSON.

use std::fmt::{self, Formatter};

use concord_proto::pb::records::{
    ChangeKind, ChangeTrace, Delivery, FeedPlace, ProductTrace, RecordKind, SubscriptionTrace,
    TraceChangeResponse,
};
use serde_json::Value;

use super::{
    event_text::made_by,
    json::message_json,
    names::{seconds, words},
    output::{Table, escaped},
};

const HEADINGS: [&str; 4] = ["product", "place", "#position", "explanation"];

/// The indentation of subscriptions below their product.
const INDENT: &str = "    ";

/// Changes with their delivery state, the latest first.
#[derive(Debug)]
pub(crate) struct TracePage(pub(crate) TraceChangeResponse);

impl TracePage {
    /// As a JSON object.
    pub(crate) fn json(&self) -> anyhow::Result<Value> {
        message_json("concord.records.v1.TraceChangeResponse", &self.0).map(Value::from)
    }
}

impl fmt::Display for TracePage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (at, change) in self.0.changes.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "\n\n" })?;
            write_change(f, change)?;
        }
        Ok(())
    }
}

fn write_change(f: &mut Formatter<'_>, change: &ChangeTrace) -> fmt::Result {
    f.write_str(&escaped(&heading(change)))?;
    if change.products.is_empty() {
        return write!(f, "\n  no product receives it");
    }
    let table = Table::new(HEADINGS, change.products.iter().map(product_row));
    let mut lines = table.lines();
    write!(f, "\n  {}", lines.next().unwrap_or_default())?;
    for (product, line) in change.products.iter().zip(lines) {
        write!(f, "\n  {line}")?;
        write_subscriptions(f, &product.subscriptions)?;
    }
    Ok(())
}

/// A change as a line: kind, record, origin, time and id.
fn heading(change: &ChangeTrace) -> String {
    let version = match change.record_version {
        0 => String::new(),
        version => format!(" version {version}"),
    };
    format!(
        "{}: {} {}{version}, {}, {}  [{}]",
        words::<ChangeKind>(change.kind),
        words::<RecordKind>(change.record_kind),
        change.record_id,
        change.origin.as_ref().map(made_by).unwrap_or_default(),
        change.change_time.as_ref().map(seconds).unwrap_or_default(),
        change.change_id,
    )
}

fn product_row(trace: &ProductTrace) -> [String; HEADINGS.len()] {
    let position = if trace.position == 0 { "–".to_owned() } else { trace.position.to_string() };
    [trace.product.clone(), place(trace), position, trace.explanation.clone()]
}

fn place(trace: &ProductTrace) -> String {
    match trace.place() {
        FeedPlace::NotConnected => "not connected".to_owned(),
        FeedPlace::NotSequenced => "not sequenced".to_owned(),
        FeedPlace::AtPosition => "in the feed".to_owned(),
        FeedPlace::NotKept => "not kept".to_owned(),
        FeedPlace::Unspecified => words::<FeedPlace>(trace.place),
    }
}

fn write_subscriptions(f: &mut Formatter<'_>, traces: &[SubscriptionTrace]) -> fmt::Result {
    if traces.is_empty() {
        return Ok(());
    }
    let rows = traces.iter().map(|trace| {
        [subscription_name(trace), words::<Delivery>(trace.delivery), trace.explanation.clone()]
    });
    // Without headings, because the rows are nested in another table.
    let table = Table::new(["", "", ""], rows);
    table.lines().skip(1).try_for_each(|line| write!(f, "\n  {INDENT}{line}"))
}

/// The name of a subscription, with the account unless it is the default one, and whether it
/// is for all practices.
fn subscription_name(trace: &SubscriptionTrace) -> String {
    let account = match trace.account.as_str() {
        concord_core::caller::DEFAULT_ACCOUNT => String::new(),
        account => format!(" of {account}"),
    };
    let all = if trace.all_practices { " (all practices)" } else { "" };
    format!("{}{account}{all}", trace.subscription)
}

#[cfg(test)]
mod tests {
    use concord_proto::pb::records::Origin;
    use prost_types::Timestamp;

    use super::*;

    fn subscription(name: &str, delivery: Delivery, explanation: &str) -> SubscriptionTrace {
        SubscriptionTrace {
            subscription: name.to_owned(),
            account: "main".to_owned(),
            delivery: delivery.into(),
            explanation: explanation.to_owned(),
            ..SubscriptionTrace::default()
        }
    }

    fn page() -> TracePage {
        let ledger = subscription("ledger", Delivery::Acknowledged, "sent and acknowledged");
        let audit = SubscriptionTrace {
            account: "second".to_owned(),
            all_practices: true,
            ..subscription("audit", Delivery::BeforeStart, "began after it")
        };
        let books = ProductTrace {
            product: "books".to_owned(),
            place: FeedPlace::AtPosition.into(),
            position: 12,
            explanation: "subscribers receive it".to_owned(),
            subscriptions: vec![ledger, audit],
            ..ProductTrace::default()
        };
        let payroll = ProductTrace {
            product: "payroll".to_owned(),
            place: FeedPlace::NotConnected.into(),
            explanation: "was not connected".to_owned(),
            ..ProductTrace::default()
        };
        let change = ChangeTrace {
            change_id: "chg_1".to_owned(),
            record_kind: RecordKind::Client.into(),
            record_id: "cli_1".to_owned(),
            record_version: 2,
            kind: ChangeKind::EntryAdded.into(),
            origin: Some(Origin {
                product: "manager".to_owned(),
                account: "main".to_owned(),
                user: "sam".to_owned(),
                ..Origin::default()
            }),
            change_time: Some(Timestamp { seconds: 61, nanos: 0 }),
            products: vec![books, payroll],
        };
        TracePage(TraceChangeResponse { changes: vec![change], truncated: false })
    }

    #[test]
    fn text_shows_the_delivery_state_by_product() {
        assert_eq!(
            page().to_string(),
            "entry added: client cli_1 version 2, manager/main, by sam, 1970-01-01 00:01:01Z  [chg_1]\n  \
             product  place          position  explanation\n  \
             books    in the feed          12  subscribers receive it\n      \
             ledger                           acknowledged  sent and acknowledged\n      \
             audit of second (all practices)  before start  began after it\n  \
             payroll  not connected         –  was not connected"
        );
    }

    #[test]
    fn json_output_is_one_object() {
        let json = page().json().unwrap();
        let books = &json["changes"][0]["products"][0];
        assert_eq!(books["place"], "at_position");
        assert_eq!(books["subscriptions"][1]["delivery"], "before_start");
    }

    #[test]
    fn change_without_recipients_is_reported() {
        let mut page = page();
        page.0.changes[0].products.clear();
        assert!(page.to_string().ends_with("no product receives it"));
    }
}
