//! Limits of the standard gRPC services, health and reflection. Admission control does not
//! count them, so that an overloaded server still reports its health.
//!
//! Health needs no token. To prevent abuse, each call is limited: the length of its
//! message, its time, the number of open calls (in total and for one client address), and
//! the time of an unread response. Reflection has the same limits, and needs a token where
//! tokens are checked.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, future::BoxFuture};
use http::Request;
use http_body::Frame;
use http_body_util::{BodyStream, StreamBody};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tonic::{
    Status,
    body::Body,
    service::{LayerExt as _, RoutesBuilder},
};
use tonic_health::{
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};
use tonic_reflection::server::Builder;

use super::{
    connections::{StreamContext, StreamDeadline},
    limits::{
        HEALTH_MESSAGE_TIME, MAX_HEALTH_CHECKS, MAX_HEALTH_WATCHES, MAX_REFLECTIONS,
        MAX_STANDARD_MESSAGE_BYTES, REFLECTION_TIME, STANDARD_SHARE, UNREAD_TIME,
    },
    middleware::{Answer, HttpService, Middleware, MiddlewareLayer, Next, rejected},
    quota::{Quota, QuotaPermit},
    rejection_log::RejectionLog,
};
use crate::identity::Credentials;
use concord_core::status::ApiError;
use concord_proto::pb;

/// The retry delay of a call that exceeds a quota.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The maximum number of unread bytes in the transport of a stream that has ended.
const MAX_UNREAD_BYTES: usize = 1_024;

/// The timeouts of calls.
#[derive(Clone, Copy, Debug)]
struct Times {
    health_message: Duration,
    reflection: Duration,
    unread: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            health_message: HEALTH_MESSAGE_TIME,
            reflection: REFLECTION_TIME,
            unread: UNREAD_TIME,
        }
    }
}

/// The kind of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    HealthCheck,
    HealthWatch,
    Reflection,
}

impl Kind {
    fn of(path: &str) -> Self {
        match path {
            "/grpc.health.v1.Health/Watch" => Self::HealthWatch,
            path if path.starts_with("/grpc.reflection.") => Self::Reflection,
            _ => Self::HealthCheck,
        }
    }

    /// The name of its quota.
    fn quota(self) -> &'static str {
        match self {
            Self::HealthCheck => "health checks",
            Self::HealthWatch => "health watches",
            Self::Reflection => "reflection streams",
        }
    }
}

/// The limits of the standard services of one server.
#[derive(Debug)]
pub(super) struct Bounds {
    credentials: Credentials,
    checks: Arc<Quota>,
    watches: Arc<Quota>,
    reflections: Arc<Quota>,
    rejections: RejectionLog,
    times: Times,
}

impl Bounds {
    pub(super) fn new(credentials: Credentials) -> Self {
        let quota = |total: u32| Quota::new(total, total / STANDARD_SHARE);
        Self {
            credentials,
            checks: quota(MAX_HEALTH_CHECKS),
            watches: quota(MAX_HEALTH_WATCHES),
            reflections: quota(MAX_REFLECTIONS),
            rejections: RejectionLog::new("calls of health and reflection"),
            times: Times::default(),
        }
    }

    fn admit(&self, request: &Request<Body>, kind: Kind) -> Result<QuotaPermit, ApiError> {
        if kind == Kind::Reflection {
            self.credentials.check_token(request.headers(), request.extensions())?;
        }
        let quota = match kind {
            Kind::HealthCheck => &self.checks,
            Kind::HealthWatch => &self.watches,
            Kind::Reflection => &self.reflections,
        };
        let context = request.extensions().get::<StreamContext>();
        quota.acquire(context.and_then(|context| context.network)).map_err(|_| {
            self.rejections.record();
            let message = "too many are open at this replica, or by this address; retry later";
            ApiError::limit_reached(kind.quota(), message, RETRY_AFTER)
        })
    }

    /// The timeout of all request messages of a call.
    fn message_time(&self, kind: Kind) -> Duration {
        match kind {
            Kind::HealthCheck | Kind::HealthWatch => self.times.health_message,
            Kind::Reflection => self.times.reflection,
        }
    }
}

/// Adds health, and reflection if it is `reflected`, to the services with these names.
///
/// # Errors
///
/// If the descriptors cannot be decoded.
pub(super) fn add_to(
    services: &mut RoutesBuilder,
    health: HealthReporter,
    reflected: Option<&[&'static str]>,
    bounds: Bounds,
) -> Result<(), tonic_reflection::server::Error> {
    let bounded = MiddlewareLayer(Arc::new(bounds));
    let health = HealthServer::new(HealthService::from_health_reporter(health))
        .max_decoding_message_size(MAX_STANDARD_MESSAGE_BYTES);
    services.add_service(bounded.named_layer(health));
    let Some(names) = reflected else { return Ok(()) };
    let builder = || {
        let builder = Builder::configure()
            .register_encoded_file_descriptor_set(pb::PUBLIC_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that a caller can decode the details of an error by reflection.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET);
        // The descriptors cover both services; this server reports its own.
        let standard = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];
        names.iter().copied().chain(standard).fold(builder, Builder::with_service_name)
    };
    let v1 = builder().build_v1()?.max_decoding_message_size(MAX_STANDARD_MESSAGE_BYTES);
    // For older versions of evans and Postman.
    let v1alpha = builder().build_v1alpha()?;
    let v1alpha = v1alpha.max_decoding_message_size(MAX_STANDARD_MESSAGE_BYTES);
    services.add_service(bounded.named_layer(v1)).add_service(bounded.named_layer(v1alpha));
    Ok(())
}

/// Limits the calls of a standard service.
impl<S: HttpService> Middleware<S> for Arc<Bounds> {
    type Future = BoxFuture<'static, Answer>;

    fn call(&self, request: Request<Body>, next: Next<'_, S>) -> Self::Future {
        let kind = Kind::of(request.uri().path());
        let permit = match self.admit(&request, kind) {
            Ok(permit) => permit,
            Err(error) => return rejected(error),
        };
        let context = request.extensions().get::<StreamContext>();
        let deadline = context.map(|context| context.deadline.clone()).unwrap_or_default();
        let unread_time = self.times.unread;
        let end = Instant::now() + self.message_time(kind);
        let (open, over) = oneshot::channel();
        let answer = next.call(request.map(|body| ending_at(body, end, over)));
        Box::pin(async move {
            let answer = answer.await?;
            let unread = UnreadTimer { deadline, time: unread_time };
            Ok(answer.map(|body| {
                Body::new(ResponseBody {
                    body,
                    held_back: None,
                    unread,
                    _permit: permit,
                    _open: open,
                })
            }))
        })
    }
}

/// A request body that ends at the instant `end`, complete or not, and when the response
/// is over.
///
/// A unary call then has no message, and a reflection stream ends as after its last
/// request. Progress of the caller does not extend the time.
fn ending_at(body: Body, end: Instant, over: oneshot::Receiver<()>) -> Body {
    let end = timeout_at(end, over);
    Body::new(StreamBody::new(BodyStream::new(body).take_until(end)))
}

/// A response body, whose stream is reset if the client does not read it in time.
struct ResponseBody {
    body: Body,
    /// The end of the last frame, which is not sent yet.
    held_back: Option<Bytes>,
    unread: UnreadTimer,
    _permit: QuotaPermit,
    /// Ends the request body when it is dropped.
    _open: oneshot::Sender<()>,
}

/// The timer of unread bytes.
struct UnreadTimer {
    deadline: StreamDeadline,
    time: Duration,
}

impl UnreadTimer {
    /// Starts the timer.
    fn start(&self) {
        self.deadline.set(Some(Instant::now() + self.time));
    }

    /// Stops the timer.
    fn stop(&self) {
        self.deadline.set(None);
    }
}

impl ResponseBody {
    /// Holds the last byte of a large frame back, and returns the rest.
    ///
    /// hyper passes a whole frame to the transport as soon as the client's window has room
    /// for one byte, and drops a stream after its last frame. The byte that is held back
    /// keeps the stream, with its deadline and its permit, until the client has read the
    /// rest.
    fn all_but_last_byte(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_data() {
            Ok(mut data) => {
                if data.len() > MAX_UNREAD_BYTES {
                    self.held_back = Some(data.split_off(data.len() - 1));
                }
                Frame::data(data)
            }
            Err(trailers) => trailers,
        }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // The transport had room for the frame before this one.
        self.unread.stop();
        let frame = if let Some(rest) = self.held_back.take() {
            Some(Ok(Frame::data(rest)))
        } else {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
            frame.map(|frame| frame.map(|frame| self.all_but_last_byte(frame)))
        };
        self.unread.start();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.held_back.is_none() && self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests;
