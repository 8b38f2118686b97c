//! Cursors: opaque positions that check themselves.
//!
//! A cursor holds the epoch of the database, a position, and a tag of the
//! change that stands there. One of another database, of a backup that was
//! restored, or made up, is recognised.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use shared::{caller::Product, pb::records::ErrorReason, status::Refusal};
use tonic::Code;
use uuid::Uuid;

use crate::store::feed::FeedEnds;

const VERSION: u8 = 1;
const LENGTH: usize = 1 + 16 + 8 + 8;

/// A position with what is needed to check it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) epoch: Uuid,
    pub(crate) position: i64,
    tag: [u8; 8],
}

impl Cursor {
    /// The cursor after `change`, which stands at `position`; `change` is none
    /// before the first position, and where it is not kept any longer.
    pub(crate) fn new(product: &Product, epoch: Uuid, position: i64, change: Option<Uuid>) -> Self {
        Self { epoch, position, tag: tag(product, epoch, position, change) }
    }

    /// As callers see it.
    pub(crate) fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.push(VERSION);
        bytes.extend(self.epoch.as_bytes());
        bytes.extend(self.position.to_be_bytes());
        bytes.extend(self.tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        // Longer text is no cursor, whatever it decodes to.
        let bytes = if text.len() > 2 * LENGTH { None } else { URL_SAFE_NO_PAD.decode(text).ok() }?;
        let bytes: [u8; LENGTH] = bytes.try_into().ok()?;
        let (version, rest) = bytes.split_first()?;
        let (epoch, rest) = rest.split_first_chunk::<16>()?;
        let (position, tag) = rest.split_first_chunk::<8>()?;
        let position = i64::from_be_bytes(*position);
        (*version == VERSION && position >= 0).then_some(Self {
            epoch: Uuid::from_bytes(*epoch),
            position,
            tag: tag.try_into().ok()?,
        })
    }

    /// Whether the feed can go on after this cursor. `change_at` is the change
    /// that stands at its position now.
    pub(crate) fn check(
        &self,
        product: &Product,
        ends: &FeedEnds,
        change_at: Option<Uuid>,
    ) -> Result<(), ErrorReason> {
        if self.epoch != ends.epoch {
            return Err(ErrorReason::CursorForeign);
        }
        if self.position > ends.head {
            return Err(ErrorReason::CursorTooNew);
        }
        if self.position < ends.floor - 1 {
            return Err(ErrorReason::CursorTooOld);
        }
        // Just before the floor nothing stands any longer to compare with.
        let comparable = self.position >= ends.floor || self.position == 0;
        if comparable && self.tag != tag(product, self.epoch, self.position, change_at) {
            return Err(ErrorReason::CursorForeign);
        }
        Ok(())
    }
}

fn tag(product: &Product, epoch: Uuid, position: i64, change: Option<Uuid>) -> [u8; 8] {
    let mut digest = Sha256::new();
    digest.update(product.as_str());
    digest.update(epoch.as_bytes());
    digest.update(position.to_be_bytes());
    digest.update(change.unwrap_or_default().as_bytes());
    let mut tag = [0; 8];
    for (to, from) in tag.iter_mut().zip(digest.finalize()) {
        *to = from;
    }
    tag
}

/// The cursor cannot be used; `earliest` and `latest` can.
pub(crate) fn refused(reason: ErrorReason, earliest: &Cursor, latest: &Cursor) -> Refusal {
    let what = match reason {
        ErrorReason::CursorTooOld => "changes after the cursor are not kept any longer",
        ErrorReason::CursorTooNew => "the cursor is ahead of the feed, as after a restored backup",
        _ => "the cursor is of another database or product, or was made up",
    };
    let message = format!("{what}; read all records again, then go on from the latest cursor");
    Refusal::new(Code::OutOfRange, reason, message)
        .with("earliest_cursor", earliest.encode())
        .with("latest_cursor", latest.encode())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn product() -> Product {
        "books".parse().unwrap()
    }

    fn ends(head: i64, floor: i64) -> FeedEnds {
        FeedEnds { epoch: Uuid::from_u128(7), head, floor }
    }

    fn cursor(position: i64, change: u128) -> Cursor {
        Cursor::new(&product(), Uuid::from_u128(7), position, Some(Uuid::from_u128(change)))
    }

    #[test]
    fn a_cursor_goes_on_where_its_change_still_stands() {
        let check =
            |c: Cursor, at: u128| c.check(&product(), &ends(9, 3), Some(Uuid::from_u128(at)));
        assert_eq!(check(cursor(5, 50), 50), Ok(()));
        assert_eq!(check(cursor(5, 50), 51), Err(ErrorReason::CursorForeign));
        assert_eq!(check(cursor(10, 50), 50), Err(ErrorReason::CursorTooNew));
        assert_eq!(check(cursor(1, 50), 50), Err(ErrorReason::CursorTooOld));
        assert_eq!(check(cursor(2, 50), 0), Ok(()), "just before the floor");
    }

    #[test]
    fn a_cursor_of_another_product_or_database_is_foreign() {
        let change = Some(Uuid::from_u128(50));
        let manager: Product = "manager".parse().unwrap();
        assert_eq!(
            cursor(5, 50).check(&manager, &ends(9, 1), change),
            Err(ErrorReason::CursorForeign)
        );
        let other = FeedEnds { epoch: Uuid::from_u128(8), ..ends(9, 1) };
        assert_eq!(
            cursor(5, 50).check(&product(), &other, change),
            Err(ErrorReason::CursorForeign)
        );
    }

    proptest! {
        #[test]
        fn a_cursor_reads_back(position in 0_i64.., change: u128) {
            let cursor = cursor(position, change);
            prop_assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        }

        #[test]
        fn no_text_is_a_cursor_by_chance_or_panics(text in ".{0,100}") {
            prop_assert_eq!(Cursor::decode(&text), None);
        }
    }
}
