//! Cursors: opaque, signed positions in a feed.
//!
//! A cursor contains the epoch of the feed, a position, the position in a snapshot if
//! the stream is in one, and the id of the named subscription if there is one. Its tag is
//! a truncated HMAC-SHA-256 over these and the change at the position, keyed with a secret
//! that does not leave the database. The check detects cursors of another database or
//! product, of a restored backup, of another subscription, and forged ones.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use concord_core::{
    caller::{PracticeId, Product},
    status::ApiError,
};
use concord_proto::pb::records::ErrorReason;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tonic::Code;
use uuid::Uuid;

use crate::domain::{
    feed_head::{FeedEnds, FeedHead},
    resume_point::{ResumePoint, SnapshotPosition, SnapshotStage},
};

const VERSION: u8 = 2;
const TAG: usize = 8;
/// Version, epoch, position, subscription.
const HEAD: usize = 1 + 16 + 8 + 16;
/// Stage and record id; the practice follows.
const SNAPSHOT: usize = 1 + 16;
/// With a practice of maximum length.
const LONGEST: usize = HEAD + SNAPSHOT + 64 + TAG;

/// A resume point with what the check needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) resume_point: ResumePoint,
    /// The id of the subscription whose stream sent it; nil for an unnamed stream.
    pub(crate) subscription: Uuid,
    epoch: Uuid,
    tag: [u8; TAG],
}

impl Cursor {
    /// Encodes the cursor as URL-safe base64.
    pub(crate) fn encode(&self) -> String {
        let mut bytes = self.signed_bytes();
        bytes.extend(self.tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Decodes the text of [`encode`](Self::encode); `None` if it is malformed.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        // Bounds the work: no cursor is longer.
        let bytes = if text.len() > 2 * LONGEST { None } else { URL_SAFE_NO_PAD.decode(text).ok() };
        let bytes = bytes?;
        let (version, rest) = bytes.split_first()?;
        let (epoch, rest) = rest.split_first_chunk::<16>()?;
        let (position, rest) = rest.split_first_chunk::<8>()?;
        let (subscription, rest) = rest.split_first_chunk::<16>()?;
        let (snapshot, tag) = rest.split_last_chunk::<TAG>()?;
        let position = i64::from_be_bytes(*position);
        if *version != VERSION || position < 0 {
            return None;
        }
        let snapshot = if snapshot.is_empty() { None } else { Some(read_snapshot(snapshot)?) };
        Some(Self {
            resume_point: ResumePoint { position, snapshot },
            subscription: Uuid::from_bytes(*subscription),
            epoch: Uuid::from_bytes(*epoch),
            tag: *tag,
        })
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LONGEST);
        bytes.push(VERSION);
        bytes.extend(self.epoch.as_bytes());
        bytes.extend(self.resume_point.position.to_be_bytes());
        bytes.extend(self.subscription.as_bytes());
        if let Some(SnapshotPosition { practice, stage, id }) = &self.resume_point.snapshot {
            bytes.push(stage.number());
            bytes.extend(id.as_bytes());
            bytes.extend(practice.as_bytes());
        }
        bytes
    }
}

fn read_snapshot(bytes: &[u8]) -> Option<SnapshotPosition> {
    let (stage, rest) = bytes.split_first()?;
    let (id, practice) = rest.split_first_chunk::<16>()?;
    Some(SnapshotPosition {
        practice: String::from_utf8(practice.to_vec()).ok()?,
        stage: SnapshotStage::of_number(*stage)?,
        id: Uuid::from_bytes(*id),
    })
}

/// Signs and checks the cursors of one feed, for subscribers of one practice or of all.
#[derive(Clone)]
pub(crate) struct CursorSigner {
    product: Product,
    connection: Option<ConnectionIdentity>,
    epoch: Uuid,
    secret: Vec<u8>,
}

/// A connection of the product to one practice, identified by its start time. Cursors of
/// subscribers of one practice include it: changes between two connections are in no
/// feed, so a cursor is valid within one connection only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionIdentity {
    pub(crate) practice: PracticeId,
    pub(crate) since: DateTime<Utc>,
}

impl fmt::Debug for CursorSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CursorSigner").field("product", &self.product).finish_non_exhaustive()
    }
}

impl CursorSigner {
    /// `connection` is `None` for subscribers of all practices of the product.
    pub(crate) fn of(
        product: &Product,
        connection: Option<ConnectionIdentity>,
        feed_head: &FeedHead,
    ) -> Self {
        let FeedHead { epoch, secret, .. } = feed_head.clone();
        Self { product: product.clone(), connection, epoch, secret }
    }

    /// The connection of the practice; `None` for subscribers of all practices.
    pub(crate) fn connection(&self) -> Option<&ConnectionIdentity> {
        self.connection.as_ref()
    }

    /// Signs the cursor of a resume point for a stream of `subscription`. `change` is the
    /// change at its position; `None` before the first position.
    pub(crate) fn cursor(
        &self,
        resume_point: ResumePoint,
        subscription: Uuid,
        change: Option<Uuid>,
    ) -> Cursor {
        let unsigned = Cursor { resume_point, subscription, epoch: self.epoch, tag: [0; TAG] };
        Cursor { tag: self.tag(&unsigned, change), ..unsigned }
    }

    /// Checks that the feed can be resumed after this cursor. `change_at` is the current
    /// change at its position.
    pub(crate) fn check(
        &self,
        cursor: &Cursor,
        ends: &FeedEnds,
        change_at: Option<Uuid>,
    ) -> Result<(), ErrorReason> {
        check_position(self.epoch, ends, cursor.epoch, cursor.resume_point.position)?;
        if cursor.tag == self.tag(cursor, change_at) {
            Ok(())
        } else {
            Err(ErrorReason::CursorForeign)
        }
    }

    /// Checks that the feed still has the history that a stream has sent. `change` was
    /// sent at the position; `change_at` is the current change there. `epoch` is the
    /// current epoch of the feed.
    pub(crate) fn check_history(
        &self,
        (epoch, ends): (Uuid, &FeedEnds),
        position: i64,
        change: Option<Uuid>,
        change_at: Option<Uuid>,
    ) -> Result<(), ErrorReason> {
        check_position(epoch, ends, self.epoch, position)?;
        if change == change_at { Ok(()) } else { Err(ErrorReason::CursorForeign) }
    }

    fn tag(&self, cursor: &Cursor, change: Option<Uuid>) -> [u8; TAG] {
        // HMAC accepts keys of any length, so this never fails.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.secret) else { return [0; TAG] };
        let (practice, since) = match &self.connection {
            Some(ConnectionIdentity { practice, since }) => {
                (practice.as_str(), since.timestamp_micros())
            }
            None => ("", 0),
        };
        for part in [
            self.product.as_str().as_bytes(),
            &[0],
            practice.as_bytes(),
            &[0],
            &since.to_be_bytes(),
            change.unwrap_or_default().as_bytes(),
            &cursor.signed_bytes(),
        ] {
            mac.update(part);
        }
        let mut tag = [0; TAG];
        for (to, from) in tag.iter_mut().zip(mac.finalize().into_bytes()) {
            *to = from;
        }
        tag
    }
}

/// Checks that a position of the feed with `epoch` is in this feed, and that the changes
/// after it are retained.
fn check_position(
    feed: Uuid,
    ends: &FeedEnds,
    epoch: Uuid,
    position: i64,
) -> Result<(), ErrorReason> {
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

/// The error of an unusable cursor, with usable ones for both ends of the feed.
pub(crate) fn unusable(reason: ErrorReason, earliest: &Cursor, latest: &Cursor) -> ApiError {
    let what = match reason {
        ErrorReason::CursorTooOld => "the changes after the cursor are no longer retained",
        ErrorReason::CursorTooNew => "the cursor is ahead of the feed, as after a restored backup",
        _ => {
            "the cursor is of another database, product or practice, of a connection before the \
             product was disconnected, or forged"
        }
    };
    let message = format!(
        "{what}; subscribe with start_from START_FROM_SNAPSHOT, and with restart when it is a \
         subscription: the stream sends every record, then the changes"
    );
    ApiError::new(Code::OutOfRange, reason, message)
        .with("earliest_cursor", earliest.encode())
        .with("latest_cursor", latest.encode())
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::resume_point::tests::resume_points;

    fn signer_of(product: &str, epoch: u128) -> CursorSigner {
        let (product, epoch) = (product.parse().unwrap(), Uuid::from_u128(epoch));
        CursorSigner { product, connection: None, epoch, secret: vec![7; 32] }
    }

    pub(super) fn signer() -> CursorSigner {
        signer_of("books", 7)
    }

    pub(super) fn ends(head: i64, floor: i64) -> FeedEnds {
        FeedEnds { head, floor, floor_change: None }
    }

    fn connection(practice: &str, since: i64) -> ConnectionIdentity {
        let since = DateTime::from_timestamp(since, 0).unwrap();
        ConnectionIdentity { practice: practice.parse().unwrap(), since }
    }

    #[test]
    fn cursor_of_another_connection_is_foreign() {
        let of = |practice, since| CursorSigner {
            connection: Some(connection(practice, since)),
            ..signer()
        };
        let cursor = of("p1", 1).cursor(ResumePoint::after(5), Uuid::nil(), None);
        assert_eq!(of("p1", 1).check(&cursor, &ends(9, 1), None), Ok(()));
        for other in [of("p1", 2), of("p2", 1), signer()] {
            let checked = other.check(&cursor, &ends(9, 1), None);
            assert_eq!(checked, Err(ErrorReason::CursorForeign));
        }
    }

    fn cursor(position: i64, change: u128) -> Cursor {
        signer().cursor(ResumePoint::after(position), Uuid::nil(), Some(Uuid::from_u128(change)))
    }

    #[test]
    fn cursor_is_valid_while_its_change_is_at_its_position() {
        let check =
            |c: Cursor, at: u128| signer().check(&c, &ends(9, 3), Some(Uuid::from_u128(at)));
        assert_eq!(check(cursor(5, 50), 50), Ok(()));
        assert_eq!(check(cursor(5, 50), 51), Err(ErrorReason::CursorForeign));
        assert_eq!(check(cursor(10, 50), 50), Err(ErrorReason::CursorTooNew));
        assert_eq!(check(cursor(1, 50), 50), Err(ErrorReason::CursorTooOld));
        assert_eq!(check(cursor(2, 20), 20), Ok(()), "just before the floor");
        assert_eq!(check(cursor(2, 20), 21), Err(ErrorReason::CursorForeign), "there too");
    }

    #[test]
    fn cursor_of_another_product_or_database_is_foreign() {
        let change = Some(Uuid::from_u128(50));
        for other in [
            signer_of("manager", 7),
            signer_of("books", 8),
            CursorSigner { secret: vec![8; 32], ..signer() },
            CursorSigner { connection: Some(connection("p1", 1)), ..signer() },
        ] {
            let checked = other.check(&cursor(5, 50), &ends(9, 1), change);
            assert_eq!(checked, Err(ErrorReason::CursorForeign));
        }
    }

    #[test]
    fn cursor_of_another_subscription_is_foreign() {
        let change = Some(Uuid::from_u128(50));
        let own = signer().cursor(ResumePoint::after(5), Uuid::from_u128(1), change);
        let forged = Cursor { subscription: Uuid::from_u128(2), ..own };
        assert_eq!(signer().check(&forged, &ends(9, 1), change), Err(ErrorReason::CursorForeign));
    }

    proptest! {
        #[test]
        fn cursor_round_trips(resume_point in resume_points(), subscription: u128, change: u128) {
            let change = Some(Uuid::from_u128(change));
            let cursor = signer().cursor(resume_point, Uuid::from_u128(subscription), change);
            prop_assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        }

        #[test]
        fn tampered_cursor_is_rejected(
            resume_point in resume_points(), at in 0_usize..200, bit in 0_u8..8,
        ) {
            let cursor = signer().cursor(resume_point.clone(), Uuid::nil(), None);
            let mut bytes = URL_SAFE_NO_PAD.decode(cursor.encode()).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            if let Some(forged) = Cursor::decode(&URL_SAFE_NO_PAD.encode(bytes)) {
                let ends = ends(i64::MAX, 1);
                prop_assert!(signer().check(&forged, &ends, None).is_err());
            }
        }

        #[test]
        fn decode_of_arbitrary_text_returns_none(text in ".{0,300}") {
            prop_assert_eq!(Cursor::decode(&text), None);
        }
    }
}
