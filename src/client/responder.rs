//! A responder: receives requests, and sends the replies.
//!
//! A task drives the connection, so that requests can be answered at the same time, from any task. It ends when the responder
//! and all of its requests are dropped. The daemon sends at most `max_in_flight` requests at a time; those that the caller has
//! not taken yet are dropped once their time has passed.

use std::{
    collections::VecDeque,
    ops::Deref,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    sync::{
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        oneshot,
    },
    time::{Instant, sleep},
};

use super::{
    address::Address,
    backoff::Backoff,
    error::Error,
    responder_link::{Link, Outcome},
    transport::Transport,
};
use crate::protocol::{EventMessage, ReplyTo, Respond};

/// A request or a notice of a responder.
#[derive(Debug)]
#[non_exhaustive]
pub enum ResponderItem {
    /// A request.
    Request(IncomingRequest),
    /// The connection broke, or an attempt to reconnect failed. The next attempt follows after `wait`. The requests that were
    /// not answered have failed.
    Reconnecting {
        /// The error.
        error: Error,
        /// The time until the next attempt.
        wait: Duration,
    },
    /// The connection is restored.
    Resumed {
        /// The client id of the new connection, such as `c12`.
        client: String,
    },
}

/// A reply on its way, and where its outcome goes.
type Command = (ReplyTo, Outcome);

/// A connection that receives requests.
///
/// ```no_run
/// use sse_bus::{Client, Endpoint, client::ResponderItem, protocol::Respond};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::connect(&Endpoint::find()?).await?;
/// let mut responder = client.respond(Respond::new(["math/*"])).await?.reconnecting(Default::default());
/// while let Some(item) = responder.next().await {
///     if let ResponderItem::Request(request) = item? {
///         let sum: i64 = request.data.split(' ').filter_map(|number| number.parse::<i64>().ok()).sum();
///         request.reply(sum.to_string()).await?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Responder {
    client: String,
    /// Set if the driver reconnects.
    backoff: Arc<OnceLock<Backoff>>,
    items: mpsc::Receiver<Result<ResponderItem, Error>>,
}

impl Responder {
    /// Makes an established connection a responder.
    pub(super) async fn start(transport: Transport, request: Respond) -> Result<Responder, Error> {
        let address = transport.address();
        let (link, client) = Link::start(transport, &request).await?;
        let (sender, items) = mpsc::channel(1);
        let (commands, replies) = mpsc::unbounded_channel();
        let backoff = Arc::default();
        let driver = Driver { address, request, link, backoff: Arc::clone(&backoff), items: sender, commands, replies };
        // At once, because the time of a request counts from when it arrives.
        tokio::spawn(driver.run());
        Ok(Responder { client, backoff, items })
    }

    /// Makes the responder reconnect if its connection breaks.
    #[must_use]
    pub fn reconnecting(self, backoff: Backoff) -> Responder {
        // The first one counts.
        let _ = self.backoff.set(backoff);
        self
    }

    /// Returns the id of the first connection, as a client.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// Returns the next request or notice. Returns `None` after an error. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<ResponderItem, Error>> {
        self.items.recv().await
    }
}

/// A request that waits for a reply. It fails if this is dropped. The fields are those of the event.
#[derive(Debug)]
pub struct IncomingRequest {
    event: EventMessage,
    deadline: Instant,
    /// None once it is answered.
    replies: Option<UnboundedSender<Command>>,
}

impl Deref for IncomingRequest {
    type Target = EventMessage;

    fn deref(&self) -> &EventMessage {
        &self.event
    }
}

impl IncomingRequest {
    /// Replies to the request.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Refused`] with the code `stale_request` if the request has ended, or a code that starts with `limit_` or
    /// ends with `_invalid` if the reply is refused; or [`Error::Disconnected`].
    pub async fn reply(self, data: impl Into<String>) -> Result<(), Error> {
        self.reply_with(data, []).await
    }

    /// Replies to the request with headers.
    ///
    /// # Errors
    ///
    /// See [`reply`](Self::reply).
    pub async fn reply_with<const N: usize>(
        self,
        data: impl Into<String>,
        headers: [(&str, &str); N],
    ) -> Result<(), Error> {
        let reply = ReplyTo::new(self.address(), data.into());
        self.send(headers.into_iter().fold(reply, |reply, (name, value)| reply.with_header(name, value))).await
    }

    /// Reports that the request cannot be answered: it fails with `responder_failed` and this text.
    ///
    /// # Errors
    ///
    /// See [`reply`](Self::reply).
    pub async fn fail(self, why: impl Into<String>) -> Result<(), Error> {
        let reply = ReplyTo::failed(self.address(), why);
        self.send(reply).await
    }

    /// Returns the time that is left for the reply.
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn address(&self) -> String {
        self.event.reply_to.clone().unwrap_or_default()
    }

    async fn send(mut self, reply: ReplyTo) -> Result<(), Error> {
        let (outcome, answered) = oneshot::channel();
        if let Some(replies) = self.replies.take() {
            // The driver has ended: then the receiver reports it.
            let _ = replies.send((reply, outcome));
        }
        answered.await.unwrap_or_else(|_| Err(Error::closed()))
    }
}

impl Drop for IncomingRequest {
    fn drop(&mut self) {
        if let Some(replies) = self.replies.take() {
            let reply = ReplyTo::failed(self.address(), "the responder has not replied");
            let _ = replies.send((reply, oneshot::channel().0));
        }
    }
}

/// Drives the connection of a responder.
#[derive(Debug)]
struct Driver {
    address: Address,
    /// The request for the next connection.
    request: Respond,
    link: Link,
    backoff: Arc<OnceLock<Backoff>>,
    items: mpsc::Sender<Result<ResponderItem, Error>>,
    /// For the requests that are passed on.
    commands: UnboundedSender<Command>,
    replies: UnboundedReceiver<Command>,
}

impl Driver {
    async fn run(self) {
        let Driver { address, request, mut link, backoff, items, commands, mut replies } = self;
        // Without this, the channel would never close.
        let mut commands = Some(commands);
        let mut queue: VecDeque<IncomingRequest> = VecDeque::new();
        loop {
            let error = tokio::select! {
                // All callers have left.
                () = items.closed(), if commands.is_some() => {
                    link.retire();
                    (commands, queue) = (None, VecDeque::new());
                    continue;
                }
                permit = items.reserve(), if !queue.is_empty() => {
                    if let (Ok(permit), Some(request)) = (permit, queue.pop_front()) {
                        permit.send(Ok(ResponderItem::Request(request)));
                    }
                    continue;
                }
                command = replies.recv(), if link.has_room() => match command {
                    Some((reply, outcome)) => {
                        link.reply(reply, outcome).await;
                        continue;
                    }
                    None if link.is_busy() && link.next().await.is_ok() => continue,
                    None => return,
                },
                event = link.next() => match event {
                    Ok(Some(event)) if event.reply_to.is_some() => {
                        let left = Duration::from_millis(event.timeout_ms.unwrap_or_default());
                        let deadline = Instant::now() + left;
                        // Without callers it fails at once.
                        let mut request = IncomingRequest { event, deadline, replies: commands.clone() };
                        if commands.is_none() {
                            request.replies = None;
                            let reply = ReplyTo::failed(request.address(), "the responder ends");
                            link.reply(reply, oneshot::channel().0).await;
                        } else {
                            queue.retain(|request| !request.time_left().is_zero());
                            queue.push_back(request);
                        }
                        continue;
                    }
                    Ok(_) => continue,
                    Err(error) => error,
                },
            };
            // Their addresses are stale.
            for request in &mut queue {
                request.replies = None;
            }
            queue.clear();
            let Some(backoff) = backoff.get().copied().filter(|_| error.is_transient() && commands.is_some()) else {
                let _ = items.send(Err(error)).await;
                return;
            };
            let Some(restored) = reconnect(&address, &request, backoff, error, &items).await else { return };
            link = restored;
        }
    }
}

/// Connects again, and reports each attempt. Returns None if the caller has left, or after an error that is not transient.
async fn reconnect(
    address: &Address,
    request: &Respond,
    backoff: Backoff,
    mut error: Error,
    items: &mpsc::Sender<Result<ResponderItem, Error>>,
) -> Option<Link> {
    let mut failed = 0;
    loop {
        let wait = backoff.wait(failed);
        failed += 1;
        items.send(Ok(ResponderItem::Reconnecting { error, wait })).await.ok()?;
        sleep(wait).await;
        let attempt = async { Link::start(Transport::connect(address).await?, request).await };
        match attempt.await {
            Ok((link, client)) => {
                items.send(Ok(ResponderItem::Resumed { client })).await.ok()?;
                return Some(link);
            }
            Err(again) if again.is_transient() => error = again,
            Err(fatal) => {
                let _ = items.send(Err(fatal)).await;
                return None;
            }
        }
    }
}
