//! Checks that the limits in `docs/limits.md` match the code.

use concord_testing::assert_documented;

use super::parse::{MAX_KEY_BYTES, MAX_KEYS};
use crate::{
    config::UploadSettings,
    domain::{
        batch::{
            MAX_BATCH_BYTES, MAX_BATCH_KEY, MAX_BATCH_RECORDS, MAX_FRAME_BYTES, MAX_RECORD_BYTES,
        },
        import::{UPLOAD_IDLE_TIMEOUT, UPLOAD_RETENTION},
    },
    service::{MAX_LABEL, MAX_UPLOADS, UPLOADS_SHARE, create::MAX_OPEN},
};

fn count<T: TryInto<u64>>(limit: T) -> u64 {
    limit.try_into().ok().unwrap()
}

#[test]
fn documented_limits_match_the_code() {
    let upload = UploadSettings::default();
    assert_eq!(upload.min_bytes, 64 * 1_024);
    assert_documented(
        "Of the imports service",
        &[
            ("One batch, the sum of its records", MAX_BATCH_BYTES),
            ("Records of one batch", MAX_BATCH_RECORDS),
            ("One frame, the sum of its records", MAX_FRAME_BYTES),
            ("One record", MAX_RECORD_BYTES),
            ("Characters of a batch key", count(MAX_BATCH_KEY)),
            ("Characters of a label", count(MAX_LABEL)),
            ("Batch keys that an import declares", count(MAX_KEYS)),
            ("All of these keys together", count(MAX_KEY_BYTES)),
            ("Imports of a practice that were not sealed yet", MAX_OPEN),
            ("Batches that a replica reads at the same time", MAX_UPLOADS),
            ("Of these, of one product in one practice", UPLOADS_SHARE.alone(MAX_UPLOADS)),
            ("The header of an upload", upload.header_timeout.as_secs()),
            ("The time of the next 64 KiB of an upload", upload.idle_timeout.as_secs()),
            ("An upload from its header to its commit", upload.total_timeout.as_secs() / 60),
            (
                "An import that is not sealed and gets no batch",
                count(UPLOAD_IDLE_TIMEOUT.num_hours()),
            ),
            ("What was uploaded, after the import has ended", count(UPLOAD_RETENTION.num_days())),
        ],
    );
}
