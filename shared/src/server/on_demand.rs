//! Messages of a stream that are made when the transport asks for them.
//!
//! A channel alone is filled before anybody reads: each stream would hold a message more
//! than the transport has taken, and what it was read from. Here the producer waits
//! until the transport has taken what was sent before, and only then reads for the next
//! message.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;
use tokio::sync::{mpsc, watch};

/// A channel of one message, and what tells its producer that a message is wanted.
pub fn channel<T>() -> (mpsc::Sender<T>, Demand, OnDemand<T>) {
    let (sender, messages) = mpsc::channel(1);
    let (demand, wanted) = watch::channel(false);
    (sender, Demand(wanted), OnDemand { messages, demand, has_given: false })
}

/// Tells whether the reader wants a message.
#[derive(Clone, Debug)]
pub struct Demand(watch::Receiver<bool>);

/// The reader has gone away.
#[derive(Clone, Copy, Debug)]
pub struct Gone;

impl Demand {
    /// Whether the reader wants a message that it does not have yet.
    pub fn is_wanted(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the reader wants a message that it does not have yet. May be given up.
    ///
    /// # Errors
    ///
    /// When the reader has gone away.
    pub async fn wanted(&mut self) -> Result<(), Gone> {
        self.0.wait_for(|wanted| *wanted).await.map(drop).map_err(|_| Gone)
    }
}

/// The messages, for the transport.
#[derive(Debug)]
pub struct OnDemand<T> {
    messages: mpsc::Receiver<T>,
    demand: watch::Sender<bool>,
    has_given: bool,
}

impl<T> OnDemand<T> {
    /// The next message; none after the last.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        // The encoder asks for another message while it holds a small one, to join them.
        // It has to hand on the one it has first.
        if std::mem::take(&mut self.has_given) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let message = self.messages.poll_recv(context);
        self.has_given = matches!(message, Poll::Ready(Some(_)));
        let wanted = message.is_pending();
        self.demand.send_if_modified(|now| std::mem::replace(now, wanted) != wanted);
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
    async fn nothing_is_wanted_until_what_was_sent_is_taken() {
        let (sender, mut demand, mut messages) = channel();
        assert!(demand.wanted().now_or_never().is_none(), "nobody has asked yet");
        sender.try_send(1).unwrap();
        assert!(demand.wanted().now_or_never().is_none(), "the first one was not taken");
        assert_eq!(messages.recv().await, Some(1));
        assert!(demand.wanted().now_or_never().is_none(), "it may be at hand still");
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(messages.poll_recv(&mut context).is_pending(), "it is handed on");
        assert!(demand.wanted().now_or_never().is_none());
        assert!(messages.poll_recv(&mut context).is_pending());
        demand.wanted().now_or_never().unwrap().unwrap();
        sender.try_send(2).unwrap();
        assert_eq!(messages.recv().await, Some(2));
        assert!(demand.wanted().now_or_never().is_none());
        drop(messages);
        demand.wanted().now_or_never().unwrap().unwrap_err();
    }
}
