//! Errors of decoding a request message, reported as errors of the caller.
//!
//! The gRPC transport reports them as `INTERNAL` without a reason, as in other
//! languages. The caller causes them and must not retry; they must not raise an alarm.

use tonic::{Code, Status, body::Body};

use concord_core::status::ApiError;
use concord_proto::pb::records::ErrorReason;

/// The maximum number of characters of the decoder's message, which names nested fields.
const MAX_DECODER_MESSAGE: usize = 300;

/// The response, in which a decoding error of the transport has a code and a reason for
/// the caller.
///
/// A status of our own code always has details, and is not changed.
pub(super) fn explained(response: http::Response<Body>) -> http::Response<Body> {
    let Some(status) = Status::from_header_map(response.headers()) else { return response };
    if !status.details().is_empty() {
        return response;
    }
    match decode_error(&status) {
        Some(error) => Status::from(error).into_http(),
        None => response,
    }
}

fn decode_error(status: &Status) -> Option<ApiError> {
    let (reason, remedy) = match status.code() {
        Code::Internal => (
            ErrorReason::UnreadableMessage,
            "the message of the request cannot be read; build it from the .proto files",
        ),
        Code::OutOfRange | Code::ResourceExhausted => (
            ErrorReason::MessageTooLarge,
            "the message of the request is too large; send less in one message",
        ),
        _ => return None,
    };
    let cause: String = status.message().chars().take(MAX_DECODER_MESSAGE).collect();
    let text = format!("{remedy} ({cause})");
    Some(ApiError::new(Code::InvalidArgument, reason, text))
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    fn reported(status: Status) -> (Code, String) {
        let response = explained(status.into_http());
        let status = Status::from_header_map(response.headers()).unwrap();
        (status.code(), status.get_details_error_info().map(|it| it.reason).unwrap_or_default())
    }

    #[test]
    fn transport_decode_error_is_invalid_argument() {
        let undecodable = Status::internal("failed to decode Protobuf message: Client.name: …");
        assert_eq!(reported(undecodable), (Code::InvalidArgument, "UNREADABLE_MESSAGE".to_owned()));
        let large = Status::out_of_range("decoded message length too large");
        assert_eq!(reported(large), (Code::InvalidArgument, "MESSAGE_TOO_LARGE".to_owned()));
    }

    #[test]
    fn own_status_is_unchanged() {
        let ours = Status::from(ApiError::internal(&"a bug"));
        assert_eq!(reported(ours), (Code::Internal, "INTERNAL".to_owned()));
        assert_eq!(reported(Status::unimplemented("no such call")).0, Code::Unimplemented);
    }
}
