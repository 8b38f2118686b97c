//! The metrics and log lines of one call, from its start to its end.

use std::time::{Duration, Instant};

use tonic::Code;
use tracing::Span;

use crate::{
    meter::{Meter, catalog},
    telemetry,
};
use concord_core::access::POLLED;
use concord_proto::rpc::{Rpc, STREAMS};

/// A call in progress. A call that is dropped before its end was cancelled.
#[derive(Debug)]
pub(super) struct Call {
    rpc: Rpc,
    meter: Meter,
    span: Span,
    started: Instant,
    /// Its response is a stream that has started.
    streams: bool,
    ended: bool,
}

impl Call {
    pub(super) fn begin(rpc: Rpc, meter: &Meter, span: Span) -> Self {
        meter.gauge(&catalog::CALLS_IN_FLIGHT, [rpc.name()]).increment(1.0);
        let (meter, started) = (meter.clone(), Instant::now());
        Self { rpc, meter, span, started, streams: false, ended: false }
    }

    /// The response starts. The start of a stream has a log line of its own.
    pub(super) fn response_starts(&mut self) {
        if STREAMS.contains(&self.rpc) {
            self.streams = true;
            self.meter.gauge(&catalog::STREAMS_OPEN, [self.rpc.name()]).increment(1.0);
            let elapsed_us = micros(self.started.elapsed());
            self.span.in_scope(|| tracing::info!(elapsed_us, "stream started"));
        }
    }

    /// The call has ended, with a reason if it failed.
    pub(super) fn end(&mut self, code: Code, reason: Option<&str>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let (rpc, elapsed) = (self.rpc.name(), self.started.elapsed());
        self.meter.counter(&catalog::CALLS, [rpc, code_name(code)]).increment(1);
        self.meter.gauge(&catalog::CALLS_IN_FLIGHT, [rpc]).decrement(1.0);
        if self.streams {
            self.meter.gauge(&catalog::STREAMS_OPEN, [rpc]).decrement(1.0);
        }
        if !STREAMS.contains(&self.rpc) {
            self.meter.histogram(&catalog::CALL_SECONDS, [rpc]).record(elapsed);
        }
        telemetry::end_of_call(&self.span, code);
        let (code, elapsed_us) = (code_name(code), micros(elapsed));
        self.span.in_scope(|| match (self.streams, reason) {
            (true, _) => tracing::info!(code, elapsed_us, "stream ended"),
            (false, None) if POLLED.contains(&self.rpc) => {
                tracing::debug!(code, elapsed_us, "call");
            }
            (false, None) => tracing::info!(code, elapsed_us, "call"),
            (false, Some(reason)) => tracing::info!(code, reason, elapsed_us, "call"),
        });
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::Cancelled, None);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The name of a code in the gRPC specification.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
