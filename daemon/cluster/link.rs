//! The connection to the other nodes: core NATS, without a stream. Nothing is kept for a node that is away.
//!
//! All nodes of a bus receive what is sent to `ssebus.<bus>.ctl.all`, and each node what is sent to `ssebus.<bus>.ctl.to.<node>`.

#[cfg(feature = "nats")]
pub(crate) use self::nats::{Incoming, Link};
#[cfg(not(feature = "nats"))]
pub(crate) use self::none::{Incoming, Link};

/// A message was not sent.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotSent(pub(super) String);

#[cfg(feature = "nats")]
mod nats {
    use async_nats::{Client, Subject, Subscriber, connection::State};
    use bytes::Bytes;
    use futures_util::StreamExt as _;

    use super::NotSent;

    /// Sends messages to other nodes.
    pub(crate) struct Link {
        client: Client,
        /// `ssebus.<bus>.ctl`.
        prefix: String,
        all: Subject,
    }

    /// Receives messages of all nodes, also of this one.
    pub(crate) struct Incoming {
        all: Subscriber,
        own: Subscriber,
    }

    impl Link {
        /// `prefix` begins the subjects, such as `ssebus.<bus>.ctl`.
        pub(crate) fn new(client: Client, prefix: String) -> Link {
            Link { client, all: format!("{prefix}.all").into(), prefix }
        }

        pub(crate) fn is_connected(&self) -> bool {
            self.client.connection_state() == State::Connected
        }

        /// Subscribes to the messages for all nodes, and for the node with a name.
        pub(crate) async fn receive(&self, name: &str) -> Result<Incoming, NotSent> {
            let not_sent = |error: async_nats::SubscribeError| NotSent(error.to_string());
            let all = self.client.subscribe(self.all.clone()).await.map_err(not_sent)?;
            let own = self.client.subscribe(self.to(name)).await.map_err(not_sent)?;
            Ok(Incoming { all, own })
        }

        fn to(&self, node: &str) -> Subject {
            format!("{}.to.{node}", self.prefix).into()
        }

        /// Returns the subjects of all messages.
        pub(crate) fn subjects(&self) -> String {
            format!("{}.>", self.prefix)
        }

        /// Returns the bytes that a message may have.
        pub(crate) fn message_max(&self) -> usize {
            self.client.max_payload()
        }

        pub(crate) async fn send_to_all(&self, payload: Vec<u8>) -> Result<(), NotSent> {
            self.publish(self.all.clone(), payload).await
        }

        pub(crate) async fn send(&self, node: &str, payload: Vec<u8>) -> Result<(), NotSent> {
            self.publish(self.to(node), payload).await
        }

        async fn publish(&self, subject: Subject, payload: Vec<u8>) -> Result<(), NotSent> {
            if payload.len() > self.message_max() {
                let most = self.message_max();
                return Err(NotSent(format!("{} bytes are more than the {most} of `max_payload`", payload.len())));
            }
            // The client would send it after it has connected again, when nobody waits for it any more.
            if !self.is_connected() {
                return Err(NotSent("the NATS servers cannot be reached".into()));
            }
            self.client.publish(subject, Bytes::from(payload)).await.map_err(|error| NotSent(error.to_string()))
        }

        /// Waits until everything is written.
        pub(crate) async fn flush(&self) {
            // It fails if the connection has ended, and then there is nothing to wait for.
            let _ = self.client.flush().await;
        }
    }

    impl Incoming {
        /// Returns the next message, or None once the connection has been closed for good. Messages for all nodes come first: a node
        /// announces itself to all before it asks one. Cancel-safe.
        pub(crate) async fn next(&mut self) -> Option<Bytes> {
            tokio::select! {
                biased;
                message = self.all.next() => message.map(|message| message.payload),
                message = self.own.next() => message.map(|message| message.payload),
            }
        }
    }
}

/// Without the feature `nats` there is no connection.
#[cfg(not(feature = "nats"))]
mod none {
    use std::future::Ready;

    use bytes::Bytes;

    use super::NotSent;

    pub(crate) enum Link {}

    pub(crate) enum Incoming {}

    impl Link {
        pub(crate) fn is_connected(&self) -> bool {
            match *self {}
        }

        pub(crate) fn subjects(&self) -> String {
            match *self {}
        }

        pub(crate) fn receive(&self, _: &str) -> Ready<Result<Incoming, NotSent>> {
            match *self {}
        }

        pub(crate) fn message_max(&self) -> usize {
            match *self {}
        }

        pub(crate) fn send_to_all(&self, _: Vec<u8>) -> Ready<Result<(), NotSent>> {
            match *self {}
        }

        pub(crate) fn send(&self, _: &str, _: Vec<u8>) -> Ready<Result<(), NotSent>> {
            match *self {}
        }

        pub(crate) fn flush(&self) -> Ready<()> {
            match *self {}
        }
    }

    impl Incoming {
        pub(crate) fn next(&mut self) -> Ready<Option<Bytes>> {
            match *self {}
        }
    }
}
