//! Parses requests into the arguments of the service. A violation names the path of its
//! field.

use chrono::DateTime;
use concord_core::{
    caller::Product,
    ids::{self, IdKind},
    page,
    rules::{FieldViolations, ValueError, text},
    status::ApiError,
};
use concord_proto::pb::{
    imports::{
        BatchHeader, CreateImportRequest, DownloadFailuresRequest, ExpectedContent, FailuresFormat,
        ImportRecordKind, ImportState, ListFailuresRequest, ListImportsRequest,
        ListPossibleDuplicatesRequest, RecordStatus, RetryImportRequest, SealImportRequest,
        Severity as WireSeverity, UploadBatchRequest, upload_batch_request::Part,
    },
    records::ErrorReason,
};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::{
    domain::{
        batch::{BatchDigest, BatchError, Declared, MAX_BATCH_KEY},
        enums::{Kind, Severity, State, Status as RecordVerdict, kind_of},
        import::Expected,
    },
    error::ImportError,
    service::{Format, Header, MAX_LABEL, Message, NewImport, Retry, SealCounts},
    store::{failures::Filter, imports::ListFilter},
};

/// Maximum page size of failures. Each may have 0.5 KiB of text, and a page should fit
/// in one message.
const MAX_FAILURES: u64 = page::MAX_PAGE_SIZE;

/// Arguments of `ListFailures`.
#[derive(Debug)]
pub(super) struct ListFailuresArgs {
    pub(super) id: Uuid,
    pub(super) filter: Filter,
    pub(super) size: usize,
    pub(super) token: String,
}

/// Parses the id of an import.
pub(super) fn import_id(field: &str, id: &str) -> Result<Uuid, ApiError> {
    let problem = || invalid(field, ErrorReason::InvalidId, "not the id of an import, imp_…");
    ids::parse(IdKind::Import, id).ok_or_else(problem)
}

/// Limit on the number of batch keys that an import declares.
pub(super) const MAX_KEYS: usize = 10_000;

/// Limit on the total size of the declared keys: every response with the import repeats
/// them.
pub(super) const MAX_KEY_BYTES: usize = 2 * 1_024 * 1_024;

/// Converts `CreateImport`.
pub(super) fn new_import(request: CreateImportRequest) -> Result<NewImport, ApiError> {
    let CreateImportRequest { label, validate_only, expected } = request;
    let label = named("label", text::plain("Label", &label, MAX_LABEL))?;
    let expected = expected.map(self::expected).transpose()?;
    // An import that declares nothing would be complete, and seal itself, at once.
    let expected = expected.filter(|expected| *expected != Expected::default());
    Ok(NewImport { label, validate_only, expected })
}

fn expected(content: ExpectedContent) -> Result<Expected, ApiError> {
    let ExpectedContent { mut batch_keys, batch_count, record_count } = content;
    let count = |field: &str, count: i64| match count {
        ..0 => Err(invalid(field, ErrorReason::UnknownValue, "must not be negative")),
        0 => Ok(None),
        count => Ok(Some(count)),
    };
    let batches = count("expected.batch_count", batch_count.into())?;
    let records = count("expected.record_count", record_count)?;
    if batch_keys.len() > MAX_KEYS {
        let text = format!("at most {MAX_KEYS} keys; declare counts instead");
        return Err(invalid("expected.batch_keys", ErrorReason::ValueTooLong, &text));
    }
    if batch_keys.iter().map(String::len).sum::<usize>() > MAX_KEY_BYTES {
        let text = "the keys are longer than 2 MiB together; declare counts instead";
        return Err(invalid("expected.batch_keys", ErrorReason::ValueTooLong, text));
    }
    for (n, key) in batch_keys.iter_mut().enumerate() {
        *key = batch_key(&format!("expected.batch_keys[{n}]"), key)?;
    }
    batch_keys.sort();
    batch_keys.dedup();
    let batches = batches.filter(|_| batch_keys.is_empty());
    Ok(Expected { batch_keys, batches, records })
}

/// Arguments of `ListImports`.
#[derive(Debug)]
pub(super) struct ListImportsArgs {
    pub(super) filter: ListFilter,
    pub(super) size: u64,
    pub(super) token: String,
}

/// Converts `ListImports`.
pub(super) fn list(request: ListImportsRequest) -> Result<ListImportsArgs, ApiError> {
    let ListImportsRequest { page_size, page_token, product, states, with_failures, created_since } =
        request;
    let mut wanted = Vec::with_capacity(states.len());
    for state in states {
        wanted.push(self::state(state)?.as_str().to_owned());
    }
    if with_failures {
        let failed = [State::CompletedWithFailures, State::FailedInternally];
        let failed = failed.map(|state| state.as_str().to_owned());
        if wanted.is_empty() {
            wanted = failed.to_vec();
        } else {
            wanted.retain(|state| failed.contains(state));
        }
        if wanted.is_empty() {
            let text = "with_failures asks for COMPLETED_WITH_FAILURES and FAILED_INTERNALLY: \
                        leave the states out";
            return Err(invalid("states", ErrorReason::FieldNotApplicable, text));
        }
    }
    let since = created_since.map(|at| {
        let nanos = u32::try_from(at.nanos).ok();
        let instant = nanos.and_then(|nanos| DateTime::from_timestamp(at.seconds, nanos));
        let wrong = || invalid("created_since", ErrorReason::InvalidDate, "not an instant");
        instant.ok_or_else(wrong)
    });
    let filter = ListFilter {
        product: self::product(product)?,
        states: wanted,
        created_since: since.transpose()?,
    };
    Ok(ListImportsArgs { filter, size: page::page_size(page_size)?, token: page_token })
}

/// The product filter; `None` for all products.
fn product(name: String) -> Result<Option<String>, ApiError> {
    if name.is_empty() {
        return Ok(None);
    }
    let product = name.parse::<Product>();
    product.map_err(|text| invalid("product", ErrorReason::InvalidId, text))?;
    Ok(Some(name))
}

fn state(state: i32) -> Result<State, ApiError> {
    let known = match ImportState::try_from(state) {
        Ok(ImportState::Receiving) => Some(State::Receiving),
        Ok(ImportState::Sealed) => Some(State::Sealed),
        Ok(ImportState::Resolving) => Some(State::Resolving),
        Ok(ImportState::Applying) => Some(State::Applying),
        Ok(ImportState::Completed) => Some(State::Completed),
        Ok(ImportState::CompletedWithFailures) => Some(State::CompletedWithFailures),
        Ok(ImportState::Stalled) => Some(State::Stalled),
        Ok(ImportState::Validated) => Some(State::Validated),
        Ok(ImportState::Cancelled) => Some(State::Cancelled),
        Ok(ImportState::Expired) => Some(State::Expired),
        Ok(ImportState::FailedInternally) => Some(State::FailedInternally),
        Ok(ImportState::Unspecified) | Err(_) => None,
    };
    known.ok_or_else(|| unknown("states"))
}

/// Converts one message of an upload stream.
pub(super) fn message(
    received: Result<UploadBatchRequest, Status>,
) -> Result<Message, ImportError> {
    match received.map_err(broken)?.part {
        Some(Part::Header(part)) => Ok(Message::Header(header(&part)?)),
        Some(Part::Frame(part)) => Ok(Message::Frame(part.records)),
        Some(Part::Commit(part)) => Ok(Message::Commit(digest("commit.sha256", &part.sha256)?)),
        None => Err(BatchError::OutOfOrder("one of them was empty").into()),
    }
}

/// Converts `SealImport`.
pub(super) fn seal_counts(request: &SealImportRequest) -> Result<(Uuid, SealCounts), ApiError> {
    let id = import_id("import_id", &request.import_id)?;
    let count = |field: &str, count: Option<i64>| match count {
        Some(..0) => Err(invalid(field, ErrorReason::UnknownValue, "must not be negative")),
        count => Ok(count),
    };
    let seal_counts = SealCounts {
        batches: count("batch_count", Some(request.batch_count.into()))?.unwrap_or_default(),
        records: count("record_count", Some(request.record_count))?.unwrap_or_default(),
        clients: count("client_count", request.client_count)?,
        contacts: count("contact_count", request.contact_count)?,
        addresses: count("address_count", request.address_count)?,
    };
    Ok((id, seal_counts))
}

/// Converts `RetryImport`.
pub(super) fn retry(request: &RetryImportRequest) -> Result<(Uuid, Retry), ApiError> {
    let RetryImportRequest { import_id: id, replacements, round } = request;
    let round = match *round {
        0 => None,
        ..2 => {
            let text = "a retry begins round 2, or a later one; 0 is the next one";
            return Err(invalid("round", ErrorReason::UnknownValue, text));
        }
        round => Some(i64::from(round)),
    };
    Ok((import_id("import_id", id)?, Retry { replacements: *replacements, round }))
}

/// Converts `ListFailures`.
pub(super) fn failures(request: ListFailuresRequest) -> Result<ListFailuresArgs, ApiError> {
    let ListFailuresRequest {
        import_id: id,
        page_size,
        page_token,
        kind,
        status,
        reason,
        severity,
    } = request;
    let size = page::page_size(page_size)?.min(MAX_FAILURES);
    let filter = Filter {
        kind: failed_kind(kind)?.map(|kind| kind.as_str().to_owned()),
        status: failed_status(status)?.map(|status| status.as_str().to_owned()),
        reason: reason_code(reason)?,
        severity: self::severity(severity)?.map(|severity| severity.as_str().to_owned()),
    };
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    Ok(ListFailuresArgs { id: import_id("import_id", &id)?, filter, size, token: page_token })
}

/// Arguments of `ListPossibleDuplicates`.
#[derive(Debug)]
pub(super) struct ListDuplicatesArgs {
    pub(super) id: Uuid,
    pub(super) kind: Option<Kind>,
    pub(super) size: usize,
    pub(super) token: String,
}

/// Converts `ListPossibleDuplicates`. Addresses have no possible duplicates, so that kind
/// is rejected.
pub(super) fn duplicates(
    request: ListPossibleDuplicatesRequest,
) -> Result<ListDuplicatesArgs, ApiError> {
    let ListPossibleDuplicatesRequest { import_id: id, page_size, page_token: token, kind } =
        request;
    let size = usize::try_from(page::page_size(page_size)?).unwrap_or(usize::MAX);
    let kind = failed_kind(kind)?;
    if kind == Some(Kind::Address) {
        return Err(invalid("kind", ErrorReason::UnknownValue, "use CLIENT or CONTACT"));
    }
    Ok(ListDuplicatesArgs { id: import_id("import_id", &id)?, kind, size, token })
}

/// Converts `DownloadFailures`.
pub(super) fn download(request: &DownloadFailuresRequest) -> Result<(Uuid, Format), ApiError> {
    let format = match FailuresFormat::try_from(request.format) {
        Ok(FailuresFormat::Unspecified | FailuresFormat::Csv) => Format::Csv,
        Ok(FailuresFormat::Jsonl) => Format::Jsonl,
        Err(_) => return Err(unknown("format")),
    };
    Ok((import_id("import_id", &request.import_id)?, format))
}

fn header(header: &BatchHeader) -> Result<Header, ApiError> {
    let BatchHeader { import_id: id, batch_key, sha256, size_bytes, record_count } = header;
    let declared = Declared {
        sha256: digest("header.sha256", sha256)?,
        size_bytes: size("header.size_bytes", *size_bytes)?,
        records: size("header.record_count", (*record_count).into())?,
    };
    Ok(Header {
        import_id: import_id("header.import_id", id)?,
        batch_key: self::batch_key("header.batch_key", batch_key)?,
        declared,
    })
}

/// Parses a batch key.
pub(super) fn batch_key(field: &str, key: &str) -> Result<String, ApiError> {
    named(field, key_of_batch(key))
}

/// The batch key without invisible characters. White space is significant: keys that
/// differ in it differ.
fn key_of_batch(key: &str) -> Result<String, ValueError> {
    const LABEL: &str = "Batch key";
    text::required_id(LABEL, key, MAX_BATCH_KEY)?;
    let key: String = key.chars().filter(|c| !text::is_invisible(*c)).collect();
    match key.chars().count() {
        ..=MAX_BATCH_KEY => Ok(key),
        _ => text::plain(LABEL, &"x".repeat(key.len()), MAX_BATCH_KEY),
    }
}

fn digest(field: &str, sha256: &[u8]) -> Result<Option<BatchDigest>, ApiError> {
    if sha256.is_empty() {
        return Ok(None);
    }
    let wrong = |_| invalid(field, ErrorReason::UnknownValue, "a SHA-256 is 32 bytes");
    BatchDigest::try_from(sha256).map(Some).map_err(wrong)
}

fn size(field: &str, size: i64) -> Result<Option<u64>, ApiError> {
    let negative = |_| invalid(field, ErrorReason::UnknownValue, "must not be negative");
    u64::try_from(size).map(|size| Some(size).filter(|size| *size > 0)).map_err(negative)
}

fn failed_kind(kind: i32) -> Result<Option<Kind>, ApiError> {
    let kind = ImportRecordKind::try_from(kind).map_err(|_| unknown("kind"))?;
    Ok(Some(kind_of(kind)).filter(|kind| *kind != Kind::Unknown))
}

/// Accepts only the statuses that a failure may have. A filter on another status would
/// return nothing without an explanation.
fn failed_status(status: i32) -> Result<Option<RecordVerdict>, ApiError> {
    match RecordStatus::try_from(status) {
        Ok(RecordStatus::Unspecified) => Ok(None),
        Ok(RecordStatus::Failed) => Ok(Some(RecordVerdict::Failed)),
        Ok(RecordStatus::Blocked) => Ok(Some(RecordVerdict::Blocked)),
        Ok(RecordStatus::Excluded) => Ok(Some(RecordVerdict::Excluded)),
        Ok(RecordStatus::Skipped) => Ok(Some(RecordVerdict::Skipped)),
        Ok(RecordStatus::Imported) => Ok(Some(RecordVerdict::Imported)),
        Ok(RecordStatus::Linked) => Ok(Some(RecordVerdict::Linked)),
        _ => {
            let text = "use FAILED, BLOCKED, EXCLUDED, SKIPPED, IMPORTED or LINKED";
            Err(invalid("status", ErrorReason::UnknownValue, text))
        }
    }
}

fn severity(severity: i32) -> Result<Option<Severity>, ApiError> {
    match WireSeverity::try_from(severity) {
        Ok(WireSeverity::Unspecified) => Ok(None),
        Ok(WireSeverity::Error) => Ok(Some(Severity::Error)),
        Ok(WireSeverity::Warning) => Ok(Some(Severity::Warning)),
        Err(_) => Err(unknown("severity")),
    }
}

fn reason_code(reason: String) -> Result<Option<String>, ApiError> {
    match concord_core::rules::reason_from_code(&reason) {
        _ if reason.is_empty() => Ok(None),
        Some(_) => Ok(Some(reason)),
        None => Err(unknown("reason")),
    }
}

/// Converts an error of the request stream. A message over the transport's limit is a
/// frame over its own, lower limit.
fn broken(status: Status) -> ImportError {
    match status.code() {
        // Over the limit of a message, compressed or decompressed.
        Code::OutOfRange | Code::ResourceExhausted => BatchError::FrameTooLarge.into(),
        Code::Internal => BatchError::OutOfOrder("one of them could not be read").into(),
        _ => ImportError::Stream(Box::new(status)),
    }
}

fn named<T>(field: &str, read: Result<T, ValueError>) -> Result<T, ApiError> {
    read.map_err(|problem| ApiError::from(FieldViolations::from(problem.at(field))))
}

fn unknown(field: &str) -> ApiError {
    invalid(field, ErrorReason::UnknownValue, "not one of the values that are known")
}

fn invalid(field: &str, reason: ErrorReason, text: &str) -> ApiError {
    ApiError::invalid_field(field, reason, text)
}

#[cfg(test)]
mod tests;
