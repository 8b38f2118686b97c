//! Encodes the responses.

use chrono::{DateTime, Utc};
use concord_core::ids::{self, IdKind};
use concord_proto::pb::imports::{
    BatchReceipt, ExpectedContent, Failure as WireFailure, Import, ImportCounters, ImportState,
    KindCounters, ListFailuresResponse, ListImportsResponse, ListPossibleDuplicatesResponse,
    PossibleDuplicate, RecordCounts, RecordStatus, Severity as WireSeverity, UploadBatchResponse,
    WatchImportResponse,
};
use prost_types::Timestamp;
use uuid::Uuid;

use crate::{
    domain::{
        counters::Counters,
        duplicate::OtherRecord,
        enums::{Kind, Severity, State, Status, wire_kind},
        failure::Failure,
        import::{
            self as domain, Expected, ImportView, Receipt, UPLOAD_IDLE_TIMEOUT, UPLOAD_RETENTION,
        },
    },
    service::{DuplicateView, DuplicatesPage, FailuresPage, ImportsPage, Progress, Uploaded},
};

pub(super) fn import(view: &ImportView) -> Import {
    let ImportView { import, counters } = view;
    let of_kind = |kind: Kind| KindCounters {
        kind: wire_kind(kind).into(),
        counters: Some(encode_counters(counters, Some(kind))),
    };
    Import {
        id: import_id(import.key.id),
        product: import.product.clone(),
        account: import.account.clone(),
        label: import.label.clone(),
        created_by: import.created_by.clone(),
        state: state(import.state).into(),
        counters: Some(encode_counters(counters, None)),
        counters_by_kind: counters.kinds().into_iter().map(of_kind).collect(),
        batch_count: i32::try_from(import.batch_count).unwrap_or(i32::MAX),
        create_time: Some(timestamp(import.created_at)),
        seal_time: import.sealed_at.map(timestamp),
        end_time: import.ended_at.map(timestamp),
        status_message: import.note.clone(),
        round: i32::try_from(import.round).unwrap_or(i32::MAX),
        validate_only: import.validate_only,
        expected: import.expected.as_ref().map(expected),
        expire_time: expires_at(import).map(timestamp),
        cancel_requested: import.cancel_requested,
        purge_time: import.ended_at.map(|ended| timestamp(ended + UPLOAD_RETENTION)),
        possible_duplicates: import.possible_duplicates,
    }
}

fn expected(expected: &Expected) -> ExpectedContent {
    ExpectedContent {
        batch_keys: expected.batch_keys.clone(),
        batch_count: i32::try_from(expected.batches.unwrap_or_default()).unwrap_or(i32::MAX),
        record_count: expected.records.unwrap_or_default(),
    }
}

fn expires_at(import: &domain::Import) -> Option<DateTime<Utc>> {
    (import.state == State::Receiving).then_some(import.touched_at + UPLOAD_IDLE_TIMEOUT)
}

pub(super) fn imports(page: ImportsPage) -> ListImportsResponse {
    let imports = page.imports.iter().map(import).collect();
    ListImportsResponse { imports, next_page_token: page.next_page_token }
}

pub(super) fn uploaded(uploaded: Uploaded) -> UploadBatchResponse {
    let Uploaded { receipt, already_staged } = uploaded;
    UploadBatchResponse { receipt: Some(self::receipt(receipt)), already_staged }
}

pub(super) fn receipt(receipt: Receipt) -> BatchReceipt {
    let Receipt { import_id: id, batch_key, sha256, size_bytes, counts, staged_at, .. } = receipt;
    let counts = RecordCounts {
        records: counts.records(),
        clients: counts.clients,
        contacts: counts.contacts,
        addresses: counts.addresses,
        unreadable: counts.unreadable,
    };
    BatchReceipt {
        import_id: import_id(id),
        batch_key,
        sha256: sha256.to_vec().into(),
        size_bytes,
        counts: Some(counts),
        stage_time: Some(timestamp(staged_at)),
    }
}

pub(super) fn progress(progress: &Progress) -> WatchImportResponse {
    WatchImportResponse {
        import_job: Some(import(&progress.view)),
        records_per_second: progress.per_second,
        estimated_end_time: progress.estimated_end.map(timestamp),
    }
}

pub(super) fn failures(page: FailuresPage) -> ListFailuresResponse {
    let FailuresPage { import, failures, next_page_token } = page;
    let failures = failures.into_iter().map(|one| failure(&import, one)).collect();
    ListFailuresResponse { failures, next_page_token }
}

fn failure(import: &str, failure: Failure) -> WireFailure {
    let Failure { row, source_id, record_name, client_reference, batch_key } = failure;
    WireFailure {
        status: status(row.status).into(),
        kind: wire_kind(row.kind).into(),
        source_id,
        record_name,
        client_reference,
        field: row.issue.field,
        reason: row.issue.reason,
        reason_text: row.issue.text,
        root_cause: row.issue.root_cause,
        batch_key,
        row: i32::try_from(row.at.row).unwrap_or(i32::MAX),
        round: i32::try_from(row.round).unwrap_or(i32::MAX),
        severity: severity(row.issue.severity).into(),
        row_token: row.at.token(import).to_string(),
    }
}

fn severity(severity: Severity) -> WireSeverity {
    match severity {
        Severity::Error => WireSeverity::Error,
        Severity::Warning => WireSeverity::Warning,
    }
}

pub(super) fn duplicates(page: DuplicatesPage) -> ListPossibleDuplicatesResponse {
    let possible_duplicates = page.duplicates.into_iter().map(duplicate).collect();
    ListPossibleDuplicatesResponse { possible_duplicates, next_page_token: page.next_page_token }
}

fn duplicate(duplicate: DuplicateView) -> PossibleDuplicate {
    let DuplicateView { row, record_id, record_name, client_reference, batch_key } = duplicate;
    let OtherRecord { kind: other_kind, record_id: other_record_id, source_id, name, reference } =
        row.duplicate.other;
    PossibleDuplicate {
        kind: wire_kind(row.kind).into(),
        source_id: row.source_id,
        record_id,
        record_name,
        client_reference,
        field: row.duplicate.field,
        other_kind: wire_kind(other_kind).into(),
        other_record_id,
        other_name: name,
        other_client_reference: reference,
        other_source_id: source_id,
        batch_key,
        row: i32::try_from(row.at.row).unwrap_or(i32::MAX),
    }
}

fn encode_counters(counters: &Counters, kind: Option<Kind>) -> ImportCounters {
    ImportCounters {
        received: counters.received(kind),
        imported: counters.of(kind, Status::Imported),
        linked: counters.of(kind, Status::Linked),
        skipped: counters.of(kind, Status::Skipped),
        excluded: counters.of(kind, Status::Excluded),
        failed: counters.failed(kind),
        blocked: counters.of(kind, Status::Blocked),
        unprocessed: counters.unprocessed(kind),
        warnings: counters.warned(kind),
    }
}

fn state(state: State) -> ImportState {
    match state {
        State::Receiving => ImportState::Receiving,
        State::Sealed => ImportState::Sealed,
        State::Resolving => ImportState::Resolving,
        State::Applying => ImportState::Applying,
        State::Completed => ImportState::Completed,
        State::CompletedWithFailures => ImportState::CompletedWithFailures,
        State::Stalled => ImportState::Stalled,
        State::FailedInternally => ImportState::FailedInternally,
        State::Validated => ImportState::Validated,
        State::Cancelled => ImportState::Cancelled,
        State::Expired => ImportState::Expired,
    }
}

fn status(status: Status) -> RecordStatus {
    match status {
        Status::Staged => RecordStatus::Staged,
        Status::Ready => RecordStatus::Ready,
        Status::Imported => RecordStatus::Imported,
        Status::Linked => RecordStatus::Linked,
        Status::Skipped => RecordStatus::Skipped,
        Status::Excluded => RecordStatus::Excluded,
        Status::Failed => RecordStatus::Failed,
        Status::Blocked => RecordStatus::Blocked,
        Status::Unprocessed | Status::Replaced => RecordStatus::Unprocessed,
    }
}

pub(super) fn import_id(id: Uuid) -> String {
    ids::text(IdKind::Import, id)
}

fn timestamp(at: DateTime<Utc>) -> Timestamp {
    let nanos = i32::try_from(at.timestamp_subsec_nanos()).unwrap_or_default();
    Timestamp { seconds: at.timestamp(), nanos }
}
