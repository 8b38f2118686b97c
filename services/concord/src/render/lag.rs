//! Subscriptions with their lag, as a table or as JSON.

use std::fmt;

use concord_proto::pb::records::{Subscription, SubscriptionState};
use serde_json::{Value, json};

use super::{
    json::list_json,
    names::{seconds, words},
    output::Table,
};

const HEADINGS: [&str; 10] = [
    "product",
    "practice",
    "account",
    "name",
    "state",
    "#acknowledged",
    "#newest",
    "#changes behind",
    "#oldest waits for",
    "expires",
];

/// The placeholder for a missing value.
const NONE: &str = "–";

/// Subscriptions with their lag.
#[derive(Debug)]
pub(crate) struct Subscriptions(pub(crate) Vec<Subscription>);

impl Subscriptions {
    /// As a JSON object.
    pub(crate) fn json(&self) -> anyhow::Result<Value> {
        let subscriptions = list_json("concord.records.v1.Subscription", &self.0)?;
        Ok(json!({ "subscriptions": subscriptions }))
    }
}

impl fmt::Display for Subscriptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Table::new(HEADINGS, self.0.iter().map(row)).fmt(f)
    }
}

fn row(subscription: &Subscription) -> [String; HEADINGS.len()] {
    let practice = match subscription.practice_id.as_str() {
        "" => "all",
        practice => practice,
    };
    [
        subscription.product.clone(),
        practice.to_owned(),
        subscription.account.clone(),
        subscription.name.clone(),
        state(subscription),
        subscription.acknowledged_position.to_string(),
        subscription.head_position.to_string(),
        changes_behind(subscription),
        waiting_for(subscription),
        subscription.expire_time.as_ref().map_or_else(|| NONE.to_owned(), seconds),
    ]
}

fn state(subscription: &Subscription) -> String {
    let state = words::<SubscriptionState>(subscription.state);
    if subscription.in_snapshot { format!("{state}, in a snapshot") } else { state }
}

fn changes_behind(subscription: &Subscription) -> String {
    let more = if subscription.lag_changes_truncated { "+" } else { "" };
    format!("{}{more}", subscription.lag_changes)
}

fn waiting_for(subscription: &Subscription) -> String {
    if subscription.lag_changes == 0 { NONE.to_owned() } else { duration(subscription.lag_seconds) }
}

/// Formats a duration in its two largest units, `2 m 10 s`.
fn duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let (large, small) = if days > 0 {
        (format!("{days} d"), format!("{} h", hours % 24))
    } else if hours > 0 {
        (format!("{hours} h"), format!("{} m", minutes % 60))
    } else if minutes > 0 {
        (format!("{minutes} m"), format!("{} s", seconds % 60))
    } else {
        return format!("{seconds} s");
    };
    format!("{large} {small}")
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    fn behind() -> Subscription {
        Subscription {
            name: "ledger".to_owned(),
            product: "books".to_owned(),
            account: "main".to_owned(),
            practice_id: "p1".to_owned(),
            state: SubscriptionState::Idle.into(),
            acknowledged_position: 12,
            head_position: 349,
            lag_changes: 337,
            lag_seconds: 130,
            expire_time: Some(Timestamp { seconds: 61, nanos: 0 }),
            ..Subscription::default()
        }
    }

    #[test]
    fn table_shows_the_lag_of_each_subscription() {
        let ahead = Subscription {
            practice_id: String::new(),
            name: "warehouse".to_owned(),
            state: SubscriptionState::Active.into(),
            acknowledged_position: 349,
            lag_changes: 0,
            lag_seconds: 0,
            in_snapshot: true,
            expire_time: None,
            ..behind()
        };
        assert_eq!(
            Subscriptions(vec![behind(), ahead]).to_string(),
            "product  practice  account  name       state                  acknowledged  newest  changes behind  oldest waits for  expires\n\
             books    p1        main     ledger     idle                             12     349             337          2 m 10 s  1970-01-01 00:01:01Z\n\
             books    all       main     warehouse  active, in a snapshot           349     349               0                 –  –"
        );
    }

    #[test]
    fn truncated_lag_is_marked_with_plus() {
        let truncated =
            Subscription { lag_changes: 10_000, lag_changes_truncated: true, ..behind() };
        assert_eq!(changes_behind(&truncated), "10000+");
    }

    #[test]
    fn duration_has_two_units() {
        let texts = [0, 59, 60, 130, 3_600, 90_061].map(duration);
        assert_eq!(texts, ["0 s", "59 s", "1 m 0 s", "2 m 10 s", "1 h 0 m", "1 d 1 h"]);
    }

    #[test]
    fn json_output_is_one_object() {
        let json = Subscriptions(vec![behind()]).json().unwrap();
        let one = &json["subscriptions"][0];
        assert_eq!((&one["state"], &one["lag_seconds"]), (&json!("idle"), &json!(130)));
        assert_eq!(one["acknowledge_time"], Value::Null);
    }
}
