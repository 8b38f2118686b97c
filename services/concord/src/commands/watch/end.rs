//! How a watch ended, and how to resume it.

/// How a watch ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WatchEnd {
    /// Everything received was printed, and acknowledged where requested.
    Complete,
    /// Only part of the last batch was printed. A batch has one cursor, so that a later
    /// watch resumes before the batch, at `before`.
    MidBatch { before: String },
    /// Everything received was printed, and the last acknowledgement is not confirmed.
    Unacknowledged,
}

/// How to resume a watch without a subscription; none when no stream was connected.
/// `cursor` is after everything received. `end` is none when the watch failed.
pub(super) fn resume_hint(end: Option<&WatchEnd>, cursor: &str) -> Option<String> {
    let cursor = match end {
        Some(WatchEnd::MidBatch { before }) => before,
        Some(WatchEnd::Complete | WatchEnd::Unacknowledged) | None => cursor,
    };
    (!cursor.is_empty()).then(|| format!("resume after this with --cursor {cursor}"))
}

/// How to resume the watch of a subscription, and what it acknowledged.
pub(super) fn subscription_hint(end: &WatchEnd, name: &str, acknowledges: bool) -> String {
    match end {
        _ if !acknowledges => format!(
            "nothing was acknowledged: --name {name} prints the same changes again; with --ack it \
             then resumes after them"
        ),
        WatchEnd::Complete => format!("resume after this with --name {name}"),
        WatchEnd::MidBatch { .. } => format!(
            "the last batch was printed in part and is not acknowledged: --name {name} receives it \
             again"
        ),
        WatchEnd::Unacknowledged => {
            format!("the last batch may not be acknowledged: --name {name} may receive it again")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resume_hint_mid_batch_has_the_cursor_before_it() {
        let partial = WatchEnd::MidBatch { before: "before".to_owned() };
        let note = resume_hint(Some(&partial), "after").unwrap();
        assert!(note.ends_with("--cursor before"), "{note}");
        let complete = resume_hint(Some(&WatchEnd::Complete), "after").unwrap();
        assert!(complete.ends_with("--cursor after"));
        assert!(resume_hint(None, "after").unwrap().ends_with("--cursor after"));
        assert_eq!(resume_hint(None, ""), None);
    }

    #[test]
    fn subscription_hint_reports_what_was_acknowledged() {
        let partial = WatchEnd::MidBatch { before: "before".to_owned() };
        let hint = |end, acknowledges| subscription_hint(end, "ledger", acknowledges);
        assert!(hint(&partial, true).contains("printed in part and is not acknowledged"));
        assert!(hint(&WatchEnd::Complete, false).contains("prints the same changes again"));
        assert_eq!(hint(&WatchEnd::Complete, true), "resume after this with --name ledger");
    }
}
