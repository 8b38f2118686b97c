//! A channel with backpressure: the producer creates a message only when the transport
//! polls for one.
//!
//! A bounded channel alone is filled before the transport reads: each stream would hold
//! one more message, and the data that it was created from. Here the producer waits until
//! the transport has taken the previous message.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;
use tokio::sync::{mpsc, watch};

/// A channel of one message: its sender, the demand of its reader, and its reader.
pub fn channel<T>() -> (mpsc::Sender<T>, Demand, OnDemand<T>) {
    let (sender, messages) = mpsc::channel(1);
    let (demand, requested) = watch::channel(false);
    (sender, Demand(requested), OnDemand { messages, demand, has_returned: false })
}

/// The demand of the reader: `true` while it waits for a message.
#[derive(Clone, Debug)]
pub struct Demand(watch::Receiver<bool>);

/// The reader has been dropped.
#[derive(Clone, Copy, Debug)]
pub struct Gone;

impl Demand {
    /// Returns `true` if the reader waits for a message.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the reader waits for a message. Cancel safe.
    ///
    /// # Errors
    ///
    /// If the reader has been dropped.
    pub async fn requested(&mut self) -> Result<(), Gone> {
        self.0.wait_for(|requested| *requested).await.map(drop).map_err(|_| Gone)
    }
}

/// The reading half of the channel, for the transport.
#[derive(Debug)]
pub struct OnDemand<T> {
    messages: mpsc::Receiver<T>,
    demand: watch::Sender<bool>,
    /// The last poll returned a message.
    has_returned: bool,
}

impl<T> OnDemand<T> {
    /// The next message; `None` after the last one.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        // The encoder polls for another message while it holds a small one, to join them.
        // It must send the one that it holds first.
        if std::mem::take(&mut self.has_returned) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let message = self.messages.poll_recv(context);
        self.has_returned = matches!(message, Poll::Ready(Some(_)));
        let requested = message.is_pending();
        self.demand.send_if_modified(|now| std::mem::replace(now, requested) != requested);
        message
    }
}

impl<T> Stream for OnDemand<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.poll_recv(context)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn message_is_requested_after_previous_is_taken() {
        let (sender, mut demand, mut messages) = channel();
        assert!(demand.requested().now_or_never().is_none(), "the reader has not polled");
        sender.try_send(1).unwrap();
        assert!(demand.requested().now_or_never().is_none(), "the first one was not taken");
        assert_eq!(messages.recv().await, Some(1));
        assert!(demand.requested().now_or_never().is_none(), "the encoder may hold it");
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(messages.poll_recv(&mut context).is_pending(), "the encoder sends it");
        assert!(demand.requested().now_or_never().is_none());
        assert!(messages.poll_recv(&mut context).is_pending());
        demand.requested().now_or_never().unwrap().unwrap();
        sender.try_send(2).unwrap();
        assert_eq!(messages.recv().await, Some(2));
        assert!(demand.requested().now_or_never().is_none());
        drop(messages);
        demand.requested().now_or_never().unwrap().unwrap_err();
    }
}
