//! The context of a mutating request: idempotency key, dry run, reason.

use concord_core::{caller::Account, status::ApiError};
use concord_proto::{pb::records::ErrorReason, rpc::Rpc};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The context of a mutating request.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    /// The idempotency key of the request.
    pub(crate) request_id: Option<Uuid>,
    /// A SHA-256 digest of the RPC, the request and the account. An idempotency key
    /// cannot be reused with a different digest.
    pub(crate) payload_digest: [u8; 32],
    /// True for a dry run: the request is checked and answered, and rolled back.
    pub(crate) validate_only: bool,
    /// The reason of the caller, for the audit.
    pub(crate) reason: String,
}

impl RequestContext {
    /// Parses the idempotency key of a request, which is required.
    pub(crate) fn parse(
        rpc: Rpc,
        request: &impl prost::Message,
        request_id: &str,
        validate_only: bool,
    ) -> Result<Self, ApiError> {
        let id = Uuid::try_parse(request_id).ok().filter(|id| !id.is_nil()).ok_or_else(|| {
            let text = "give a UUID of your own, the same when you send the call again";
            ApiError::invalid_field("request_id", ErrorReason::InvalidRequestId, text)
        })?;
        let mut digest = Sha256::new();
        digest.update(format!("{rpc:?}"));
        digest.update(request.encode_to_vec());
        Ok(Self {
            request_id: Some(id),
            payload_digest: digest.finalize().into(),
            validate_only,
            reason: String::new(),
        })
    }

    /// Adds the account to the digest: an account must not receive the stored answer of
    /// another account of the product.
    pub(super) fn for_account(mut self, account: &Account) -> Self {
        let mut digest = Sha256::new();
        digest.update(self.payload_digest);
        digest.update(account.as_str());
        self.payload_digest = digest.finalize().into();
        self
    }

    /// Sets the reason.
    pub(crate) fn with_reason(self, reason: String) -> Self {
        Self { reason, ..self }
    }
}
