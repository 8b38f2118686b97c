//! Checks that `docs/limits.md` documents the limits of the code.

use concord_testing::assert_documented;

use super::{changes, clients, parse, support};
use crate::{
    app::MAX_CHUNK_BYTES,
    domain::{
        search::MIN_QUERY,
        timeline::{MAX_DAYS_AHEAD, MAX_ENTRIES},
        window::Window,
    },
    feed::opening::MAX_SUBSCRIPTIONS,
    service::{
        connections::MAX_PRODUCTS, contact_edits, ingest::MAX_CHUNK_RECORDS,
        support::MAX_CANDIDATES,
    },
};

fn count(limit: usize) -> u64 {
    limit.try_into().unwrap()
}

#[test]
fn documented_limits_match_the_code() {
    assert_documented(
        "Of the records service",
        &[
            ("Clients of one BatchGetClients", count(clients::MAX_BATCH)),
            ("Products of a practice", count(MAX_PRODUCTS)),
            ("Roles that come with a contact", count(parse::MAX_ROLES)),
            ("Roles that a contact has had", count(contact_edits::MAX_ROLES)),
            ("Names and addresses of one record, past ones included", count(MAX_ENTRIES)),
            ("Days that an effective date lies ahead", MAX_DAYS_AHEAD),
            ("Characters of a reason", count(parse::MAX_REASON)),
            ("Characters of a query", count(support::MAX_QUERY)),
            ("Letters or digits of a query, at least", count(MIN_QUERY)),
            ("Candidates that a search looks at", MAX_CANDIDATES),
            ("Changes of one TraceChange", support::MAX_TRACED.unsigned_abs().into()),
            ("Characters of the name of a subscription", count(changes::MAX_NAME)),
            ("Subscriptions of a product in one practice, or for all", MAX_SUBSCRIPTIONS),
            ("Practices of a filter", count(changes::MAX_PRACTICES)),
            ("Unacknowledged events of a named stream", count(Window::LARGEST)),
            ("Records of one chunk of an import", count(MAX_CHUNK_RECORDS)),
            ("One message of the imports service", count(MAX_CHUNK_BYTES)),
        ],
    );
}
