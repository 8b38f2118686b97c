//! What a caller says about a change beside the change itself.

use sha2::{Digest as _, Sha256};
use shared::{access::Rpc, caller::Account, pb::records::ErrorReason, status::Refusal};
use uuid::Uuid;

/// How a change is to be made.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    /// The caller's own id of the request.
    pub(crate) request_id: Option<Uuid>,
    /// Of the request and its RPC: the same id may not come with another one.
    pub(crate) payload_digest: [u8; 32],
    /// Check and answer, and write nothing.
    pub(crate) validate_only: bool,
    /// Why, for the audit.
    pub(crate) reason: String,
}

impl Intent {
    /// Reads the request's id, which is required.
    pub(crate) fn parse(
        rpc: Rpc,
        request: &impl prost::Message,
        request_id: &str,
        validate_only: bool,
    ) -> Result<Self, Refusal> {
        let id = Uuid::try_parse(request_id).ok().filter(|id| !id.is_nil()).ok_or_else(|| {
            let text = "give a UUID of your own, the same when you send the call again";
            Refusal::invalid_field("request_id", ErrorReason::InvalidRequestId, text)
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

    /// The same, of one account: what one account was answered is not for
    /// another one of the product.
    pub(super) fn of(mut self, account: &Account) -> Self {
        let mut digest = Sha256::new();
        digest.update(self.payload_digest);
        digest.update(account.as_str());
        self.payload_digest = digest.finalize().into();
        self
    }

    /// The same with a reason.
    pub(crate) fn because(self, reason: String) -> Self {
        Self { reason, ..self }
    }
}
