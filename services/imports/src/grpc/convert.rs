//! Requests as the service takes them; what is wrong with a request is told by
//! the path of the field.

use chrono::DateTime;
use shared::{
    caller::Product,
    ids::{self, IdKind},
    page,
    pb::{
        imports::{
            BatchHeader, CreateImportRequest, DownloadFailuresRequest, ExpectedContent,
            FailuresFormat, ImportRecordKind, ImportState, ListFailuresRequest, ListImportsRequest,
            ListPossibleDuplicatesRequest, RecordStatus, RetryImportRequest, SealImportRequest,
            Severity as WireSeverity, UploadBatchRequest, upload_batch_request::Part,
        },
        records::ErrorReason,
    },
    rules::{Problem, Violations, text},
    status::Refusal,
};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::{
    domain::{
        batch::{BatchDigest, BatchFault, Declared, MAX_BATCH_KEY},
        import::Expected,
        words::{Kind, Severity, State, Status as RecordVerdict, kind_of},
    },
    error::ImportError,
    service::{Announced, Format, Header, MAX_LABEL, Message, NewImport, Retry},
    store::{failures::Filter, imports::ListFilter},
};

/// The largest page of failures. Each may have half a kilobyte of text in it,
/// and a page should fit in one message.
const MAX_FAILURES: u64 = page::MAX_PAGE_SIZE;

/// What a caller asks of the list of failures.
#[derive(Debug)]
pub(super) struct FailuresAsked {
    pub(super) id: Uuid,
    pub(super) filter: Filter,
    pub(super) size: usize,
    pub(super) token: String,
}

/// The id of an import.
pub(super) fn import_id(field: &str, id: &str) -> Result<Uuid, Refusal> {
    let problem = || invalid(field, ErrorReason::InvalidId, "not the id of an import, imp_…");
    ids::parse(IdKind::Import, id).ok_or_else(problem)
}

/// Batch keys that an import may declare.
pub(super) const MAX_KEYS: usize = 10_000;

/// Bytes of them together: every answer about the import repeats them.
pub(super) const MAX_KEY_BYTES: usize = 2 * 1_024 * 1_024;

/// What a new import is to be.
pub(super) fn new_import(request: CreateImportRequest) -> Result<NewImport, Refusal> {
    let CreateImportRequest { label, validate_only, expected } = request;
    let label = named("label", text::plain("Label", &label, MAX_LABEL))?;
    let expected = expected.map(self::expected).transpose()?;
    // One that declares nothing would seal itself with nothing.
    let expected = expected.filter(|expected| *expected != Expected::default());
    Ok(NewImport { label, validate_only, expected })
}

fn expected(content: ExpectedContent) -> Result<Expected, Refusal> {
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

/// What a caller asks of the list of imports.
#[derive(Debug)]
pub(super) struct ImportsAsked {
    pub(super) filter: ListFilter,
    pub(super) size: u64,
    pub(super) token: String,
}

/// What a caller asks of the list of imports.
pub(super) fn list(request: ListImportsRequest) -> Result<ImportsAsked, Refusal> {
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
    Ok(ImportsAsked { filter, size: page::page_size(page_size)?, token: page_token })
}

/// A product to look at; all of them when it is left out.
fn product(name: String) -> Result<Option<String>, Refusal> {
    if name.is_empty() {
        return Ok(None);
    }
    let product = name.parse::<Product>();
    product.map_err(|text| invalid("product", ErrorReason::InvalidId, text))?;
    Ok(Some(name))
}

fn state(state: i32) -> Result<State, Refusal> {
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

/// One message of an upload.
pub(super) fn message(
    received: Result<UploadBatchRequest, Status>,
) -> Result<Message, ImportError> {
    match received.map_err(broken)?.part {
        Some(Part::Header(part)) => Ok(Message::Header(header(&part)?)),
        Some(Part::Frame(part)) => Ok(Message::Frame(part.records)),
        Some(Part::Commit(part)) => Ok(Message::Commit(digest("commit.sha256", &part.sha256)?)),
        None => Err(BatchFault::OutOfOrder("one of them was empty").into()),
    }
}

/// What a seal announces.
pub(super) fn announced(request: &SealImportRequest) -> Result<(Uuid, Announced), Refusal> {
    let id = import_id("import_id", &request.import_id)?;
    let count = |field: &str, count: Option<i64>| match count {
        Some(..0) => Err(invalid(field, ErrorReason::UnknownValue, "must not be negative")),
        count => Ok(count),
    };
    let announced = Announced {
        batches: count("batch_count", Some(request.batch_count.into()))?.unwrap_or_default(),
        records: count("record_count", Some(request.record_count))?.unwrap_or_default(),
        clients: count("client_count", request.client_count)?,
        contacts: count("contact_count", request.contact_count)?,
        addresses: count("address_count", request.address_count)?,
    };
    Ok((id, announced))
}

/// Which round a caller begins, and how.
pub(super) fn retry(request: &RetryImportRequest) -> Result<(Uuid, Retry), Refusal> {
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

/// What a caller asks of the list of failures.
pub(super) fn failures(request: ListFailuresRequest) -> Result<FailuresAsked, Refusal> {
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
    Ok(FailuresAsked { id: import_id("import_id", &id)?, filter, size, token: page_token })
}

/// What a caller asks of the list of possible duplicates.
#[derive(Debug)]
pub(super) struct DuplicatesAsked {
    pub(super) id: Uuid,
    pub(super) kind: Option<Kind>,
    pub(super) size: usize,
    pub(super) token: String,
}

/// What a caller asks of the list of possible duplicates. No address looks like
/// another one: to ask for those would find nothing.
pub(super) fn duplicates(
    request: ListPossibleDuplicatesRequest,
) -> Result<DuplicatesAsked, Refusal> {
    let ListPossibleDuplicatesRequest { import_id: id, page_size, page_token: token, kind } =
        request;
    let size = usize::try_from(page::page_size(page_size)?).unwrap_or(usize::MAX);
    let kind = failed_kind(kind)?;
    if kind == Some(Kind::Address) {
        return Err(invalid("kind", ErrorReason::UnknownValue, "use CLIENT or CONTACT"));
    }
    Ok(DuplicatesAsked { id: import_id("import_id", &id)?, kind, size, token })
}

/// What file a caller asks for.
pub(super) fn download(request: &DownloadFailuresRequest) -> Result<(Uuid, Format), Refusal> {
    let format = match FailuresFormat::try_from(request.format) {
        Ok(FailuresFormat::Unspecified | FailuresFormat::Csv) => Format::Csv,
        Ok(FailuresFormat::Jsonl) => Format::Jsonl,
        Err(_) => return Err(unknown("format")),
    };
    Ok((import_id("import_id", &request.import_id)?, format))
}

fn header(header: &BatchHeader) -> Result<Header, Refusal> {
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

/// The key of a batch.
pub(super) fn batch_key(field: &str, key: &str) -> Result<String, Refusal> {
    named(field, key_of_batch(key))
}

/// The batch key as given, without invisible characters: two keys that differ in
/// white space differ.
fn key_of_batch(key: &str) -> Result<String, Problem> {
    const LABEL: &str = "Batch key";
    text::required_id(LABEL, key, MAX_BATCH_KEY)?;
    let key: String = key.chars().filter(|c| !text::is_invisible(*c)).collect();
    match key.chars().count() {
        ..=MAX_BATCH_KEY => Ok(key),
        _ => text::plain(LABEL, &"x".repeat(key.len()), MAX_BATCH_KEY),
    }
}

fn digest(field: &str, sha256: &[u8]) -> Result<Option<BatchDigest>, Refusal> {
    if sha256.is_empty() {
        return Ok(None);
    }
    let wrong = |_| invalid(field, ErrorReason::UnknownValue, "a SHA-256 is 32 bytes");
    BatchDigest::try_from(sha256).map(Some).map_err(wrong)
}

fn size(field: &str, size: i64) -> Result<Option<u64>, Refusal> {
    let negative = |_| invalid(field, ErrorReason::UnknownValue, "must not be negative");
    u64::try_from(size).map(|size| Some(size).filter(|size| *size > 0)).map_err(negative)
}

fn failed_kind(kind: i32) -> Result<Option<Kind>, Refusal> {
    let kind = ImportRecordKind::try_from(kind).map_err(|_| unknown("kind"))?;
    Ok(Some(kind_of(kind)).filter(|kind| *kind != Kind::Unknown))
}

/// Only the statuses that a failure may have; others would find nothing, and
/// leave the caller wondering.
fn failed_status(status: i32) -> Result<Option<RecordVerdict>, Refusal> {
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

fn severity(severity: i32) -> Result<Option<Severity>, Refusal> {
    match WireSeverity::try_from(severity) {
        Ok(WireSeverity::Unspecified) => Ok(None),
        Ok(WireSeverity::Error) => Ok(Some(Severity::Error)),
        Ok(WireSeverity::Warning) => Ok(Some(Severity::Warning)),
        Err(_) => Err(unknown("severity")),
    }
}

fn reason_code(reason: String) -> Result<Option<String>, Refusal> {
    match shared::rules::reason_from_code(&reason) {
        _ if reason.is_empty() => Ok(None),
        Some(_) => Ok(Some(reason)),
        None => Err(unknown("reason")),
    }
}

/// A message that could not be taken. One over the limit of all messages must be
/// a frame over its own limit, which is lower.
fn broken(status: Status) -> ImportError {
    match status.code() {
        // Over the limit of a message, as it came or inflated.
        Code::OutOfRange | Code::ResourceExhausted => BatchFault::FrameTooLarge.into(),
        Code::Internal => BatchFault::OutOfOrder("one of them could not be read").into(),
        _ => ImportError::Stream(Box::new(status)),
    }
}

fn named<T>(field: &str, read: Result<T, Problem>) -> Result<T, Refusal> {
    read.map_err(|problem| Refusal::from(Violations::from(problem.at(field))))
}

fn unknown(field: &str) -> Refusal {
    invalid(field, ErrorReason::UnknownValue, "not one of the values that are known")
}

fn invalid(field: &str, reason: ErrorReason, text: &str) -> Refusal {
    Refusal::invalid_field(field, reason, text)
}

#[cfg(test)]
mod tests;
