//! Publishing to the stream, in the order of the publishers.
//!
//! A publish ends when the bus has applied the event that the stream has returned. It fails at once while there is no connection:
//! the client of NATS would otherwise send it much later. When the servers do not acknowledge it in time, its outcome is unknown:
//! it may be stored.

use std::{
    error::Error as _,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_nats::jetstream::{
    self,
    context::{PublishAckFuture, PublishError, PublishErrorKind},
    message::PublishMessage,
};
use sse_bus::{
    Check, EventId,
    bus::{Admitted, ClientId, Publication},
    protocol::{ErrorCode, Refused, Sequence},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    message::{self, Origin},
    shared::Shared,
};
use crate::log::external::{Mark, Returned, Sent};

/// How long a publisher waits for the servers.
const PATIENCE: Duration = Duration::from_secs(5);

/// What waits for the servers, in order.
enum Waiting {
    Ack(Sending),
    Refused(Mark, Refused),
    Live(Mark, Publication, Option<ClientId>),
    End(CancellationToken),
}

/// An event that the servers have not acknowledged yet.
struct Sending {
    mark: Mark,
    ack: PublishAckFuture,
    check: Check,
    sequence: Option<Sequence>,
    deadline: Instant,
}

/// Publishes what is sent to the log until its end.
pub(super) async fn run(shared: Arc<Shared>, mut sent: UnboundedReceiver<Sent>) {
    let (waiting, acks) = unbounded_channel();
    tokio::spawn(acknowledge(shared.clone(), acks));
    while let Some(sent) = sent.recv().await {
        let next = match sent {
            Sent::Append(mark, admitted) => publish(&shared, mark, &admitted).await,
            Sent::Live(mark, publication, from) => Waiting::Live(mark, publication, from),
            Sent::End(stop) => Waiting::End(stop),
        };
        if waiting.send(next).is_err() {
            return;
        }
    }
}

/// Sends an event to the servers.
async fn publish(shared: &Shared, mark: Mark, admitted: &Admitted) -> Waiting {
    let sequence = admitted.publication().sequence;
    if !shared.failed.may_send(sequence) {
        return Waiting::Refused(mark, Shared::unavailable("an earlier event of this publisher was not stored"));
    }
    if !shared.nats.is_connected() {
        shared.failed.note(sequence);
        let why = shared.nats.error().unwrap_or_else(|| "there is no connection".into());
        return Waiting::Refused(mark, Shared::unavailable(&why));
    }
    let publication = admitted.publication();
    let most = shared.retained_max.load(Ordering::Relaxed);
    let retains = publication.retain && !publication.data.is_empty();
    if retains && !shared.retained.has_room(&publication.topic, publication.data.len(), most) {
        let message = format!(
            "the retained events would need more than `retained_bytes` = {most}; remove some (retain empty data), give them a TTL, \
             or raise the limit"
        );
        return Waiting::Refused(mark, Refused::new(ErrorCode::LimitRetained, message));
    }
    let check = Check::from_seed(fastrand::u32(..));
    let origin = Origin { run: shared.run, mark };
    let message = PublishMessage::build().payload(publication.data.clone().into()).headers(message::headers(
        publication,
        check,
        origin,
    ));
    let subject = shared.nats.names().subject(&publication.topic, publication.retain);
    match shared.nats.jetstream().send_publish(subject, message).await {
        Ok(ack) => Waiting::Ack(Sending { mark, ack, check, sequence, deadline: Instant::now() + PATIENCE }),
        Err(error) => {
            if error.kind() != PublishErrorKind::MaxPayloadExceeded {
                shared.failed.note(sequence);
                return Waiting::Refused(mark, Shared::unavailable(&error.to_string()));
            }
            let most = shared.nats.client().max_payload();
            let message = format!(
                "the event has more than the {most} bytes that the NATS servers allow for a message (max_payload); publish less, \
                 or a reference to it"
            );
            let refused = Refused::new(ErrorCode::LimitEvent, message);
            Waiting::Refused(mark, refused)
        }
    }
}

/// Waits for the acknowledgements, and passes on what is not in the stream at its place.
async fn acknowledge(shared: Arc<Shared>, mut acks: UnboundedReceiver<Waiting>) {
    let mut last = 0;
    let tail: &UnboundedSender<Returned> = &shared.tail;
    let (stored, late) = unbounded_channel();
    tokio::spawn(answer_late(shared.clone(), late));
    while let Some(waiting) = acks.recv().await {
        let returned = match waiting {
            Waiting::Ack(Sending { mark, ack, check, sequence, deadline }) => match timeout_at(deadline, ack).await {
                Ok(Ok(ack)) => {
                    *shared.status.publish_error.lock() = None;
                    last = last.max(ack.sequence);
                    if ack.duplicate {
                        let id = shared.first_id(ack.sequence).await;
                        Returned::Stored { mark, id, duplicate: true }
                    } else {
                        // The stream returns the event. If it does so too late, the publisher must not wait for ever.
                        let id = EventId { check: Some(check), ..shared.position.borrow().at(ack.sequence) };
                        let _ = stored.send((mark, id, deadline));
                        continue;
                    }
                }
                Ok(Err(error)) => Returned::Refused(mark, shared.not_stored(&error, sequence)),
                Err(_) => {
                    shared.failed.note(sequence);
                    Returned::Refused(mark, unknown())
                }
            },
            Waiting::Refused(mark, refused) => Returned::Refused(mark, refused),
            Waiting::Live(mark, publication, from) => {
                shared.wait_for(last).await;
                Returned::Live(mark, publication, from)
            }
            Waiting::End(stop) => {
                shared.wait_for(last).await;
                Returned::End(stop)
            }
        };
        if tail.send(returned).is_err() {
            return;
        }
    }
}

/// Ends the publishes whose events are stored, and that the stream has not returned in time. Their deadlines are in order.
async fn answer_late(shared: Arc<Shared>, mut stored: UnboundedReceiver<(Mark, EventId, Instant)>) {
    let mut position = shared.position.subscribe();
    while let Some((mark, id, deadline)) = stored.recv().await {
        let is_returned = |at: &EventId| at.seq >= id.seq || at.epoch != id.epoch;
        if timeout_at(deadline, position.wait_for(is_returned)).await.is_err() {
            let _ = shared.tail.send(Returned::Stored { mark, id, duplicate: false });
        }
    }
}

fn unknown() -> Refused {
    let message = "the NATS servers have not acknowledged the event in time; it may be stored: publish it again with the same \
                   dedup_id, so that it is stored once";
    Refused::new(ErrorCode::UnknownOutcome, message)
}

impl Shared {
    /// Returns why the servers have not acknowledged an event. They may refuse the event itself, and accept others.
    fn not_stored(&self, error: &PublishError, sequence: Option<Sequence>) -> Refused {
        /// The class of errors in a request, as in HTTP.
        const OF_REQUEST: std::ops::Range<usize> = 400..500;
        let answer = error.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
        if let Some(answer) = answer.filter(|answer| OF_REQUEST.contains(&answer.code())) {
            return Refused::new(ErrorCode::RequestInvalid, format!("the NATS servers refuse the event: {answer}"));
        }
        self.failed.note(sequence);
        let text = answer.map_or_else(|| error.to_string(), ToString::to_string);
        *self.status.publish_error.lock() = Some((format!("an event could not be stored: {text}"), Instant::now()));
        let is_unknown =
            matches!(error.kind(), PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe | PublishErrorKind::Other);
        if is_unknown && answer.is_none() { unknown() } else { Shared::unavailable(&text) }
    }

    /// Waits until everything up to a number was returned, at most for [`PATIENCE`].
    async fn wait_for(&self, seq: u64) {
        let mut position = self.position.subscribe();
        let _ = timeout(PATIENCE, position.wait_for(|at| at.seq >= seq)).await;
    }

    /// Returns the id of an event that was stored before.
    async fn first_id(&self, seq: u64) -> EventId {
        let check = match self.stream.direct_get(seq).await {
            Ok(first) => message::origin(&first.headers).map(|(check, _)| check),
            // It has gone meanwhile.
            Err(_) => None,
        };
        EventId { check, ..self.position.borrow().at(seq) }
    }
}
