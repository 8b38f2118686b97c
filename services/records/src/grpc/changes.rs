//! `ChangeService`.

use concord_core::{
    access,
    caller::{PracticeId, Subscriber},
    page::page_size,
    rules::{
        FieldViolations, ValueError,
        text::{blank, too_many},
    },
    status::ApiError,
};
use concord_proto::{
    pb::records::{
        AcknowledgeRequest, AcknowledgeResponse, DeleteSubscriptionRequest,
        DeleteSubscriptionResponse, EchoMode, ErrorReason, GetSubscriptionRequest,
        GetSubscriptionResponse, ListSubscriptionsRequest, ListSubscriptionsResponse, RecordKind,
        StartFrom, SubscribeRequest, change_service_server::ChangeService,
    },
    rpc::Rpc,
};
use concord_server::{ConnectionAge, identity::check_roles};
use tonic::{Request, Response, Status};

use super::Api;
use crate::{
    domain::{filter::Filter, window::Window},
    feed::{
        cursor::Cursor,
        opening::{NamedSubscription, Start, SubscribeCommand},
        subscriber::{self, Messages},
    },
    service::reading::PageRequest,
};

/// Maximum length of the name of a subscription, in characters.
pub(super) const MAX_NAME: usize = 64;
/// Maximum number of practices of a filter.
pub(super) const MAX_PRACTICES: usize = 100;

#[tonic::async_trait]
impl ChangeService for Api {
    type SubscribeStream = Messages;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let subscriber = Subscriber::of(request.extensions())?;
        let closes_at = ConnectionAge::ends_at(request.extensions());
        let asked = subscribing(&request.into_inner())?;
        if asked.named.is_some() {
            // A new stream of a named subscription ends its older stream, so it needs the
            // roles that may acknowledge.
            check_roles(&subscriber.roles, access::rule(Rpc::ChangeAcknowledge).roles)?;
        }
        let messages = subscriber::open(&self.records.feed, subscriber, asked, closes_at).await?;
        Ok(Response::new(messages))
    }

    async fn acknowledge(
        &self,
        request: Request<AcknowledgeRequest>,
    ) -> Result<Response<AcknowledgeResponse>, Status> {
        let subscriber = Subscriber::of(request.extensions())?;
        let AcknowledgeRequest { subscription, cursor } = request.into_inner();
        let name = required_name(subscription)?;
        if cursor.is_empty() {
            let text = "is missing: give a cursor that a stream of the subscription has sent";
            let reason = ErrorReason::RequiredFieldBlank;
            return Err(ApiError::invalid_field("cursor", reason, text).into());
        }
        let cursor = Cursor::decode(&cursor);
        let position = self.records.acknowledge(subscriber, name, cursor).await?;
        Ok(Response::new(AcknowledgeResponse { position }))
    }

    async fn get_subscription(
        &self,
        request: Request<GetSubscriptionRequest>,
    ) -> Result<Response<GetSubscriptionResponse>, Status> {
        let subscriber = Subscriber::of(request.extensions())?;
        let name = required_name(request.into_inner().subscription)?;
        let subscription = Some(self.records.subscription(&subscriber, name).await?);
        Ok(Response::new(GetSubscriptionResponse { subscription }))
    }

    async fn list_subscriptions(
        &self,
        request: Request<ListSubscriptionsRequest>,
    ) -> Result<Response<ListSubscriptionsResponse>, Status> {
        let subscriber = Subscriber::of(request.extensions())?;
        let ListSubscriptionsRequest { product, page_size: size, page_token: token } =
            request.into_inner();
        let product = super::parse::product(&product)?;
        let page = PageRequest { size: page_size(size)?, token };
        let listed = self.records.list_subscriptions(&subscriber, product, page).await?;
        let (subscriptions, next_page_token) = listed;
        Ok(Response::new(ListSubscriptionsResponse { subscriptions, next_page_token }))
    }

    async fn delete_subscription(
        &self,
        request: Request<DeleteSubscriptionRequest>,
    ) -> Result<Response<DeleteSubscriptionResponse>, Status> {
        let subscriber = Subscriber::of(request.extensions())?;
        let name = required_name(request.into_inner().subscription)?;
        self.records.delete_subscription(&subscriber, name).await?;
        Ok(Response::new(DeleteSubscriptionResponse {}))
    }
}

fn subscribing(request: &SubscribeRequest) -> Result<SubscribeCommand, ApiError> {
    let mut wrong = FieldViolations::new();
    let start = start(&mut wrong, request);
    let filter = filter(&mut wrong, request);
    let named = named(&mut wrong, request);
    let asked = start.zip(filter).map(|(start, filter)| SubscribeCommand { start, filter, named });
    Ok(wrong.finish(asked)?)
}

fn start(wrong: &mut FieldViolations, request: &SubscribeRequest) -> Option<Start> {
    let Ok(start_from) = StartFrom::try_from(request.start_from) else {
        let text = "is not known; use EARLIEST, NOW or SNAPSHOT";
        wrong.push("start_from", ErrorReason::UnknownValue, text);
        return None;
    };
    match (start_from, request.cursor.as_str()) {
        (StartFrom::Unspecified | StartFrom::Earliest, "") => Some(Start::Earliest),
        (StartFrom::Now, "") => Some(Start::Now),
        (StartFrom::Snapshot, "") => Some(Start::Snapshot),
        // A malformed cursor is rejected later, with the ends of the feed, as a cursor of
        // another database.
        (StartFrom::Unspecified, cursor) => Some(Start::After(Cursor::decode(cursor))),
        (_, _) => {
            let text = "give either a cursor or start_from";
            wrong.push("cursor", ErrorReason::FieldNotApplicable, text);
            None
        }
    }
}

fn filter(wrong: &mut FieldViolations, request: &SubscribeRequest) -> Option<Filter> {
    let echo = EchoMode::try_from(request.echo_mode).ok();
    if echo.is_none() {
        let text = "is not known; use SUPPRESS, MARK or INCLUDE";
        wrong.push("echo_mode", ErrorReason::UnknownValue, text);
    }
    let kinds = kinds(wrong, &request.record_kinds);
    let practices = practices(wrong, &request.practices);
    Some(Filter {
        echo: echo.map(|echo| match echo {
            EchoMode::Unspecified => EchoMode::Suppress,
            echo => echo,
        })?,
        kinds: kinds?,
        linked_only: request.linked_only,
        practices: practices?,
    })
}

fn kinds(wrong: &mut FieldViolations, kinds: &[i32]) -> Option<Vec<RecordKind>> {
    let mut known: Vec<RecordKind> = Vec::new();
    for kind in kinds {
        match RecordKind::try_from(*kind) {
            Ok(kind) if kind != RecordKind::Unspecified => {
                // Removes duplicates, so that the list stays bounded.
                if !known.contains(&kind) {
                    known.push(kind);
                }
            }
            _ => {
                let text = "is not known; use CLIENT, PERSON or CONTACT";
                wrong.push("record_kinds", ErrorReason::UnknownValue, text);
                return None;
            }
        }
    }
    Some(known)
}

fn practices(wrong: &mut FieldViolations, names: &[String]) -> Option<Vec<PracticeId>> {
    if names.len() > MAX_PRACTICES {
        let text = format!("at most {MAX_PRACTICES}; leave it out for all");
        wrong.push("practices", ErrorReason::ValueTooLong, text);
        return None;
    }
    let mut practices = Vec::with_capacity(names.len());
    for (n, name) in names.iter().enumerate() {
        match name.parse() {
            Ok(practice) => practices.push(practice),
            Err(text) => wrong.push(format!("practices[{n}]"), ErrorReason::InvalidId, text),
        }
    }
    (practices.len() == names.len()).then_some(practices)
}

fn named(wrong: &mut FieldViolations, request: &SubscribeRequest) -> Option<NamedSubscription> {
    if request.subscription.is_empty() {
        let text = "is of a subscription: give its name";
        for (field, given) in
            [("restart", request.restart), ("max_unacknowledged", request.max_unacknowledged != 0)]
        {
            if given {
                wrong.push(field, ErrorReason::FieldNotApplicable, text);
            }
        }
        return None;
    }
    let window = match usize::try_from(request.max_unacknowledged) {
        Ok(0) => Some(Window::DEFAULT),
        Ok(window) if window <= Window::LARGEST => Some(window),
        _ => {
            let text = format!("must be 1 to {}; leave it out for 1,000", Window::LARGEST);
            wrong.push("max_unacknowledged", ErrorReason::UnknownValue, text);
            None
        }
    };
    let name = wrong.field("subscription", subscription_name(request.subscription.clone()));
    Some(NamedSubscription { name: name?, restart: request.restart, window: window? })
}

/// The name of a subscription, which the call requires.
fn required_name(name: String) -> Result<String, ApiError> {
    subscription_name(name).map_err(|wrong| ApiError::invalid(vec![wrong.at("subscription")]))
}

fn subscription_name(name: String) -> Result<String, ValueError> {
    if name.is_empty() {
        return Err(blank("Subscription"));
    }
    if name.len() > MAX_NAME {
        return Err(too_many("Characters", name.len(), MAX_NAME));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        let text = "A name has letters, digits, dots, hyphens and underscores only";
        return Err(ValueError::new(ErrorReason::InvalidCharacter, text));
    }
    Ok(name)
}
