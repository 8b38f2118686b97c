//! Cursors: opaque places in a feed that check themselves.
//!
//! A cursor holds the epoch of the feed, a position, where it stands in a
//! snapshot if it does, and the subscription whose stream sent it if it was one
//! of a subscription. Its tag seals all of this together with the change that
//! stands at the position, under a secret that does not leave the database. A
//! cursor of another database or product, of a backup that was restored, of
//! another subscription, or made up, is recognised.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use shared::{
    caller::{PracticeId, Product},
    pb::records::ErrorReason,
    status::Refusal,
};
use tonic::Code;
use uuid::Uuid;

use crate::{
    domain::place::{Place, Stage, Walk},
    store::feed::{FeedEnds, Standing},
};

const VERSION: u8 = 2;
const TAG: usize = 8;
/// Version, epoch, position, subscription.
const HEAD: usize = 1 + 16 + 8 + 16;
/// Kind and id of a record, in front of the name of its practice.
const WALK: usize = 1 + 16;
/// With the longest name of a practice.
const LONGEST: usize = HEAD + WALK + 64 + TAG;

/// A place with what is needed to check it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) place: Place,
    /// The subscription whose stream sent it; nil for a stream without a name.
    pub(crate) subscription: Uuid,
    epoch: Uuid,
    tag: [u8; TAG],
}

impl Cursor {
    /// As callers see it.
    pub(crate) fn encode(&self) -> String {
        let mut bytes = self.unsealed();
        bytes.extend(self.tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        // Longer text is no cursor, whatever it decodes to.
        let bytes = if text.len() > 2 * LONGEST { None } else { URL_SAFE_NO_PAD.decode(text).ok() };
        let bytes = bytes?;
        let (version, rest) = bytes.split_first()?;
        let (epoch, rest) = rest.split_first_chunk::<16>()?;
        let (position, rest) = rest.split_first_chunk::<8>()?;
        let (subscription, rest) = rest.split_first_chunk::<16>()?;
        let (walk, tag) = rest.split_last_chunk::<TAG>()?;
        let position = i64::from_be_bytes(*position);
        if *version != VERSION || position < 0 {
            return None;
        }
        let walk = if walk.is_empty() { None } else { Some(read_walk(walk)?) };
        Some(Self {
            place: Place { position, walk },
            subscription: Uuid::from_bytes(*subscription),
            epoch: Uuid::from_bytes(*epoch),
            tag: *tag,
        })
    }

    fn unsealed(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LONGEST);
        bytes.push(VERSION);
        bytes.extend(self.epoch.as_bytes());
        bytes.extend(self.place.position.to_be_bytes());
        bytes.extend(self.subscription.as_bytes());
        if let Some(Walk { practice, stage, id }) = &self.place.walk {
            bytes.push(stage.number());
            bytes.extend(id.as_bytes());
            bytes.extend(practice.as_bytes());
        }
        bytes
    }
}

fn read_walk(bytes: &[u8]) -> Option<Walk> {
    let (stage, rest) = bytes.split_first()?;
    let (id, practice) = rest.split_first_chunk::<16>()?;
    Some(Walk {
        practice: String::from_utf8(practice.to_vec()).ok()?,
        stage: Stage::of_number(*stage)?,
        id: Uuid::from_bytes(*id),
    })
}

/// What seals and checks the cursors of one feed, for those who hear one practice
/// or all.
#[derive(Clone)]
pub(crate) struct Seal {
    product: Product,
    connection: Option<Connection>,
    epoch: Uuid,
    secret: Vec<u8>,
}

/// A practice whose product is connected, and since when. It is part of the
/// cursors of those who hear that practice alone: what happened between two
/// connections is in no feed, and no cursor leads over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(crate) practice: PracticeId,
    pub(crate) since: DateTime<Utc>,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("product", &self.product).finish_non_exhaustive()
    }
}

impl Seal {
    /// `connection` is none for those who hear all practices of the product.
    pub(crate) fn of(
        product: &Product,
        connection: Option<Connection>,
        standing: &Standing,
    ) -> Self {
        let Standing { epoch, secret, .. } = standing.clone();
        Self { product: product.clone(), connection, epoch, secret }
    }

    /// Since when the practice is connected whose cursors these are.
    pub(crate) fn connection(&self) -> Option<&Connection> {
        self.connection.as_ref()
    }

    /// The cursor of a place, as a stream of `subscription` sends it. `change` is
    /// the one that stands at its position; none before the first position.
    pub(crate) fn cursor(&self, place: Place, subscription: Uuid, change: Option<Uuid>) -> Cursor {
        let unsealed = Cursor { place, subscription, epoch: self.epoch, tag: [0; TAG] };
        Cursor { tag: self.tag(&unsealed, change), ..unsealed }
    }

    /// Whether the feed can go on after this cursor. `change_at` is the change
    /// that stands at its position now.
    pub(crate) fn check(
        &self,
        cursor: &Cursor,
        ends: &FeedEnds,
        change_at: Option<Uuid>,
    ) -> Result<(), ErrorReason> {
        check_place(self.epoch, ends, cursor.epoch, cursor.place.position)?;
        if cursor.tag == self.tag(cursor, change_at) {
            Ok(())
        } else {
            Err(ErrorReason::CursorForeign)
        }
    }

    /// Whether a feed is still the one that a stream has sent. `change` was at the
    /// position up to which it was sent; `change_at` is the change at that position
    /// now. `epoch` is the current epoch of the feed.
    pub(crate) fn check_past(
        &self,
        (epoch, ends): (Uuid, &FeedEnds),
        position: i64,
        change: Option<Uuid>,
        change_at: Option<Uuid>,
    ) -> Result<(), ErrorReason> {
        check_place(epoch, ends, self.epoch, position)?;
        if change == change_at { Ok(()) } else { Err(ErrorReason::CursorForeign) }
    }

    fn tag(&self, cursor: &Cursor, change: Option<Uuid>) -> [u8; TAG] {
        // A key of any length will do for this code; it never fails.
        let Ok(mut seal) = Hmac::<Sha256>::new_from_slice(&self.secret) else { return [0; TAG] };
        let (practice, since) = match &self.connection {
            Some(Connection { practice, since }) => (practice.as_str(), since.timestamp_micros()),
            None => ("", 0),
        };
        for part in [
            self.product.as_str().as_bytes(),
            &[0],
            practice.as_bytes(),
            &[0],
            &since.to_be_bytes(),
            change.unwrap_or_default().as_bytes(),
            &cursor.unsealed(),
        ] {
            seal.update(part);
        }
        let mut tag = [0; TAG];
        for (to, from) in tag.iter_mut().zip(seal.finalize().into_bytes()) {
            *to = from;
        }
        tag
    }
}

/// Whether a position of the feed of `epoch` is one of this feed, and what follows it
/// is kept.
fn check_place(feed: Uuid, ends: &FeedEnds, epoch: Uuid, position: i64) -> Result<(), ErrorReason> {
    if epoch != feed {
        Err(ErrorReason::CursorForeign)
    } else if position > ends.head {
        Err(ErrorReason::CursorTooNew)
    } else if position < ends.floor - 1 {
        Err(ErrorReason::CursorTooOld)
    } else {
        Ok(())
    }
}

/// The cursor cannot be used; `earliest` and `latest` can.
pub(crate) fn refused(reason: ErrorReason, earliest: &Cursor, latest: &Cursor) -> Refusal {
    let what = match reason {
        ErrorReason::CursorTooOld => "changes after the cursor are not kept any longer",
        ErrorReason::CursorTooNew => "the cursor is ahead of the feed, as after a restored backup",
        _ => {
            "the cursor is of another database, product or practice, of a connection before the \
             product was disconnected, or was made up"
        }
    };
    let message = format!(
        "{what}; subscribe with start_from START_FROM_SNAPSHOT, and with restart when it is a \
         subscription: every record comes again, then the changes"
    );
    Refusal::new(Code::OutOfRange, reason, message)
        .with("earliest_cursor", earliest.encode())
        .with("latest_cursor", latest.encode())
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::place::tests::places;

    fn seal_of(product: &str, epoch: u128) -> Seal {
        let (product, epoch) = (product.parse().unwrap(), Uuid::from_u128(epoch));
        Seal { product, connection: None, epoch, secret: vec![7; 32] }
    }

    pub(super) fn seal() -> Seal {
        seal_of("books", 7)
    }

    pub(super) fn ends(head: i64, floor: i64) -> FeedEnds {
        FeedEnds { head, floor, floor_change: None }
    }

    fn connection(practice: &str, since: i64) -> Connection {
        let since = DateTime::from_timestamp(since, 0).unwrap();
        Connection { practice: practice.parse().unwrap(), since }
    }

    #[test]
    fn a_cursor_does_not_lead_over_a_disconnection() {
        let of = |practice, since| Seal { connection: Some(connection(practice, since)), ..seal() };
        let cursor = of("p1", 1).cursor(Place::after(5), Uuid::nil(), None);
        assert_eq!(of("p1", 1).check(&cursor, &ends(9, 1), None), Ok(()));
        for other in [of("p1", 2), of("p2", 1), seal()] {
            let checked = other.check(&cursor, &ends(9, 1), None);
            assert_eq!(checked, Err(ErrorReason::CursorForeign));
        }
    }

    fn cursor(position: i64, change: u128) -> Cursor {
        seal().cursor(Place::after(position), Uuid::nil(), Some(Uuid::from_u128(change)))
    }

    #[test]
    fn a_cursor_goes_on_where_its_change_still_stands() {
        let check = |c: Cursor, at: u128| seal().check(&c, &ends(9, 3), Some(Uuid::from_u128(at)));
        assert_eq!(check(cursor(5, 50), 50), Ok(()));
        assert_eq!(check(cursor(5, 50), 51), Err(ErrorReason::CursorForeign));
        assert_eq!(check(cursor(10, 50), 50), Err(ErrorReason::CursorTooNew));
        assert_eq!(check(cursor(1, 50), 50), Err(ErrorReason::CursorTooOld));
        assert_eq!(check(cursor(2, 20), 20), Ok(()), "just before the floor");
        assert_eq!(check(cursor(2, 20), 21), Err(ErrorReason::CursorForeign), "there too");
    }

    #[test]
    fn a_cursor_of_another_product_or_database_is_foreign() {
        let change = Some(Uuid::from_u128(50));
        for other in [
            seal_of("manager", 7),
            seal_of("books", 8),
            Seal { secret: vec![8; 32], ..seal() },
            Seal { connection: Some(connection("p1", 1)), ..seal() },
        ] {
            let checked = other.check(&cursor(5, 50), &ends(9, 1), change);
            assert_eq!(checked, Err(ErrorReason::CursorForeign));
        }
    }

    #[test]
    fn a_cursor_cannot_be_given_to_another_subscription() {
        let change = Some(Uuid::from_u128(50));
        let own = seal().cursor(Place::after(5), Uuid::from_u128(1), change);
        let forged = Cursor { subscription: Uuid::from_u128(2), ..own };
        assert_eq!(seal().check(&forged, &ends(9, 1), change), Err(ErrorReason::CursorForeign));
    }

    proptest! {
        #[test]
        fn a_cursor_reads_back(place in places(), subscription: u128, change: u128) {
            let change = Some(Uuid::from_u128(change));
            let cursor = seal().cursor(place, Uuid::from_u128(subscription), change);
            prop_assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        }

        #[test]
        fn a_cursor_that_was_tampered_with_is_refused(
            place in places(), at in 0_usize..200, bit in 0_u8..8,
        ) {
            let cursor = seal().cursor(place.clone(), Uuid::nil(), None);
            let mut bytes = URL_SAFE_NO_PAD.decode(cursor.encode()).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            if let Some(forged) = Cursor::decode(&URL_SAFE_NO_PAD.encode(bytes)) {
                let ends = ends(i64::MAX, 1);
                prop_assert!(seal().check(&forged, &ends, None).is_err());
            }
        }

        #[test]
        fn no_text_is_a_cursor_by_chance_or_panics(text in ".{0,300}") {
            prop_assert_eq!(Cursor::decode(&text), None);
        }
    }
}
