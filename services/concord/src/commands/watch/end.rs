//! Where a watch has ended, and how to go on.

/// Where a watch has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// After all that came.
    Here,
    /// With changes left that came together with the last one that was shown.
    /// There is no cursor between them: this one is before all of them.
    Amid { before: String },
    /// After all that came, and the acknowledgement of the last has not arrived.
    Unacknowledged,
}

/// How to go on without a name; nothing when no stream has begun. `cursor` is
/// after all that came; none says that the watch broke off.
pub(super) fn by_cursor(end: Option<&End>, cursor: &str) -> Option<String> {
    let cursor = match end {
        Some(End::Amid { before }) => before,
        Some(End::Here | End::Unacknowledged) | None => cursor,
    };
    (!cursor.is_empty()).then(|| format!("go on after this with --cursor {cursor}"))
}

/// Where the subscription stands now.
pub(super) fn by_name(end: &End, name: &str, acknowledges: bool) -> String {
    match end {
        _ if !acknowledges => format!(
            "nothing was acknowledged: --name {name} shows the same again, and with --ack goes on \
             after it"
        ),
        End::Here => format!("go on after this with --name {name}"),
        End::Amid { .. } => format!(
            "what came last was shown in part, and nothing of it is acknowledged: it comes again \
             with --name {name}"
        ),
        End::Unacknowledged => format!(
            "what was shown last may not be acknowledged: it may come again with --name {name}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_that_ends_amid_a_batch_goes_on_before_it() {
        let amid = End::Amid { before: "before".to_owned() };
        let note = by_cursor(Some(&amid), "after").unwrap();
        assert!(note.ends_with("--cursor before"), "{note}");
        assert!(by_cursor(Some(&End::Here), "after").unwrap().ends_with("--cursor after"));
        assert!(by_cursor(None, "after").unwrap().ends_with("--cursor after"));
        assert_eq!(by_cursor(None, ""), None);
    }

    #[test]
    fn a_subscription_says_what_it_has_acknowledged() {
        let amid = End::Amid { before: "before".to_owned() };
        assert!(by_name(&amid, "ledger", true).contains("nothing of it is acknowledged"));
        assert!(by_name(&End::Here, "ledger", false).contains("shows the same again"));
        assert_eq!(by_name(&End::Here, "ledger", true), "go on after this with --name ledger");
    }
}
