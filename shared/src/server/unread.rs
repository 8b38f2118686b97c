//! Requests whose message could not be read.
//!
//! The transport calls that its own fault (`INTERNAL`), as the other languages' do,
//! and gives no reason. It is the caller's, who must not send the same again, and
//! no alarm of ours.

use tonic::{Code, Status, body::Body};

use crate::{pb::records::ErrorReason, status::Refusal};

/// Characters of what the decoder says at most: it names fields, and fields in
/// them.
const MAX_SAID: usize = 300;

/// The response; when it says that the message of the request could not be read,
/// with a code and a reason that are for the caller.
///
/// What our own code answers has a reason always, and stays as it is.
pub(super) fn explained(response: http::Response<Body>) -> http::Response<Body> {
    let Some(status) = Status::from_header_map(response.headers()) else { return response };
    if !status.details().is_empty() {
        return response;
    }
    match refusal(&status) {
        Some(refusal) => Status::from(refusal).into_http(),
        None => response,
    }
}

fn refusal(status: &Status) -> Option<Refusal> {
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
    let said: String = status.message().chars().take(MAX_SAID).collect();
    let text = format!("{remedy} ({said})");
    Some(Refusal::new(Code::InvalidArgument, reason, text))
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    fn told(status: Status) -> (Code, String) {
        let response = explained(status.into_http());
        let status = Status::from_header_map(response.headers()).unwrap();
        (status.code(), status.get_details_error_info().map(|it| it.reason).unwrap_or_default())
    }

    #[test]
    fn what_the_transport_cannot_read_is_the_callers_fault() {
        let unread = Status::internal("failed to decode Protobuf message: Client.name: …");
        assert_eq!(told(unread), (Code::InvalidArgument, "UNREADABLE_MESSAGE".to_owned()));
        let large = Status::out_of_range("decoded message length too large");
        assert_eq!(told(large), (Code::InvalidArgument, "MESSAGE_TOO_LARGE".to_owned()));
    }

    #[test]
    fn what_we_say_ourselves_stays() {
        let ours = Status::from(Refusal::internal(&"a bug"));
        assert_eq!(told(ours), (Code::Internal, "INTERNAL".to_owned()));
        assert_eq!(told(Status::unimplemented("no such call")).0, Code::Unimplemented);
    }
}
