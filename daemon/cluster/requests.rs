//! Requests to responders of all nodes.
//!
//! A responder of this node that is free comes first. Otherwise this node counts the responders of the others, and passes the
//! request on: to free responders before busy ones, and to the nodes in turn. The node of a responder selects it, waits for the
//! reply, and sends it back. A request for several replies is divided among the nodes, so that no responder receives it twice.

use std::{pin::Pin, sync::Arc, time::Duration};

use parking_lot::Mutex;
use sse_bus::{
    bus::{
        ClientId, Publication,
        requests::{AvailableResponders, RequestTerms},
    },
    limits::{NODE_WAIT, REQUESTS_BYTES, REQUESTS_MAX},
    protocol::{ErrorCode, Payload, Refused, ReplyMessage, ReplyTo, RequestMessage},
    time::whole_millis,
};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::Instant,
};

use super::{
    message::{Answer, Question},
    state::Cluster,
};
use crate::pending_request::PendingRequest;

/// Number of times that a request is passed on if its responder has disconnected before it received the request.
const ROUNDS: usize = 3;
/// How much longer than its responder's node this node waits for a reply.
const LATER: Duration = Duration::from_millis(500);

/// A request to responders of all nodes. Dropping it cancels the request.
pub(crate) struct SharedRequest(Mutex<JoinHandle<Result<Vec<ReplyMessage>, Refused>>>);

impl SharedRequest {
    /// Waits for the replies. Cancel-safe.
    ///
    /// # Errors
    ///
    /// There are none: in time, or because the responders or their nodes have left or failed.
    pub(crate) async fn replies(&self) -> Result<Vec<ReplyMessage>, Refused> {
        let result = std::future::poll_fn(|cx| Pin::new(&mut *self.0.lock()).poll(cx)).await;
        result.unwrap_or_else(|_| Err(Refused::new(ErrorCode::Stopping, "the daemon is stopping")))
    }
}

impl Drop for SharedRequest {
    fn drop(&mut self) {
        self.0.lock().abort();
    }
}

/// A part of a request: the number of replies, from this node or from another one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Share {
    node: Option<String>,
    replies: usize,
}

impl Cluster {
    /// Sends a request to responders of all nodes, unless those of this node are enough, which the bus then serves alone. `client`
    /// is its publisher, if that is a client.
    pub(crate) fn request(
        &self,
        publication: &Publication,
        terms: RequestTerms,
        client: Option<ClientId>,
    ) -> Option<SharedRequest> {
        let here = self.0.bus.with(|bus, _| bus.responders_of(&publication.topic));
        if here.free >= terms.replies || self.0.nodes.lock().is_empty() {
            return None;
        }
        let (cluster, publication) = (self.clone(), publication.clone());
        // The bus of a node charges the requests that it gives to responders; this charges those that wait for nodes.
        let charged = Arc::clone(&self.0.passed_on).try_acquire_many_owned(cost(&publication));
        let task = tokio::spawn(async move {
            let _charged = charged.map_err(|_| {
                let message = format!(
                    "the requests that wait for other nodes would have more than {REQUESTS_BYTES} bytes; try again later"
                );
                Refused::new(ErrorCode::LimitRequests, message)
            })?;
            cluster.spread(publication, terms, client).await
        });
        Some(SharedRequest(Mutex::new(task)))
    }

    /// Passes a request on, and collects the replies.
    async fn spread(
        self,
        publication: Publication,
        terms: RequestTerms,
        client: Option<ClientId>,
    ) -> Result<Vec<ReplyMessage>, Refused> {
        self.0.bus.with(|bus, _| {
            bus.refuse_when_closed()?;
            bus.count_published(client, None);
            Ok::<_, Refused>(())
        })?;
        let deadline = Instant::now() + terms.timeout;
        let mut last = None;
        for _ in 0..ROUNDS {
            let (shares, silent) = self.divide(&publication, terms.replies, deadline).await;
            if shares.is_empty() {
                return Err(last.unwrap_or_else(|| no_responder(&publication, &silent)));
            }
            let mut parts = JoinSet::new();
            for share in shares {
                parts.spawn(self.clone().take_share(share, publication.clone(), deadline));
            }
            let (mut replies, mut failure) = (Vec::new(), None);
            while let Some(part) = parts.join_next().await {
                match part {
                    Ok(Ok(more)) => replies.extend(more),
                    Ok(Err(refused)) if refused.code == ErrorCode::NoResponder => last = Some(refused),
                    Ok(Err(refused)) => failure = Some(refused),
                    Err(_) => failure = Some(Refused::new(ErrorCode::Stopping, "the daemon is stopping")),
                }
            }
            if !replies.is_empty() {
                replies.truncate(terms.replies);
                return Ok(replies);
            }
            if let Some(failure) = failure {
                return Err(failure);
            }
            // Every responder had left before it received the request.
        }
        Err(last.unwrap_or_else(|| no_responder(&publication, &[])))
    }

    /// Divides a request among the nodes. Also returns the nodes that have not answered.
    async fn divide(&self, publication: &Publication, replies: usize, deadline: Instant) -> (Vec<Share>, Vec<String>) {
        let wait = deadline.saturating_duration_since(Instant::now()).min(NODE_WAIT);
        let question = Question::Responders { topic: publication.topic.to_string() };
        let answers = self.ask(None, question, wait).await;
        let here = self.0.bus.with(|bus, _| bus.responders_of(&publication.topic));
        let mut nodes = self.0.nodes.lock();
        let of_answer = |answer: &Answer| match *answer {
            Answer::Responders { free, matching } => {
                let (free, matching) = (free.min(matching) as usize, usize::try_from(matching).ok()?);
                Some(AvailableResponders { free, matching })
            }
            _ => None,
        };
        let offers = answers.result.into_iter().filter_map(|(node, parts)| {
            let available = parts.iter().find_map(of_answer)?;
            Some((nodes.turn(&node), node, available))
        });
        let mut offers: Vec<_> = offers.collect();
        offers.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let offers = offers.into_iter().map(|(_, node, available)| (Some(node), available));
        let offers: Vec<_> = std::iter::once((None, here)).chain(offers).collect();
        let shares = shares(&offers, replies);
        for node in shares.iter().filter_map(|share| share.node.as_deref()) {
            nodes.take_turn(node);
        }
        (shares, answers.unreachable)
    }

    /// Sends a part of a request to one node, and waits for the replies.
    async fn take_share(
        self,
        share: Share,
        publication: Publication,
        deadline: Instant,
    ) -> Result<Vec<ReplyMessage>, Refused> {
        let Share { node, replies } = share;
        let timeout = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let Some(node) = node else {
            let terms = RequestTerms { timeout, replies };
            return PendingRequest::begin(&self.0.bus, publication, terms, None)?.replies().await;
        };
        let question = Question::Request(Box::new(message(publication, timeout, replies)));
        let answers = self.ask(Some(&node), question, timeout + LATER).await;
        let mut replies = Vec::new();
        for answer in answers.result.into_values().flatten() {
            match answer {
                Answer::Replies(more) => replies.extend(more),
                Answer::Refused(refused) if replies.is_empty() => return Err(refused),
                _ => {}
            }
        }
        if !answers.unreachable.is_empty() {
            return Err(if Instant::now() >= deadline {
                let message = "no reply has arrived in time; allow more with a longer timeout";
                Refused::new(ErrorCode::TimedOut, message)
            } else {
                let message = format!("the node {node} of the responder has left before there was a reply");
                Refused::new(ErrorCode::ResponderGone, message)
            });
        }
        Ok(replies)
    }

    /// Passes the reply of a responder to the node whose request it answers.
    ///
    /// # Errors
    ///
    /// The request has ended, the reply is not valid, or the node does not answer.
    pub(crate) async fn reply(&self, node: &str, reply: ReplyTo) -> Result<(), Refused> {
        let answers = self.ask(Some(node), Question::Reply(Box::new(reply)), NODE_WAIT).await;
        match answers.result.into_values().flatten().next() {
            Some(Answer::Replied {}) => Ok(()),
            Some(Answer::Refused(refused)) => Err(refused),
            _ => {
                let message = format!("the node {node} of the request did not answer, and may not have the reply");
                Err(Refused::new(ErrorCode::Unavailable, message))
            }
        }
    }
}

/// Returns what a request is charged: so that there are at most [`REQUESTS_MAX`], and their bytes at most [`REQUESTS_BYTES`].
fn cost(publication: &Publication) -> u32 {
    let bytes = publication.data.len() + publication.headers.as_lines().len() + REQUESTS_BYTES / REQUESTS_MAX;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Divides a number of replies: first the free responders, this node's before those of others, then the busy ones.
fn shares(offers: &[(Option<String>, AvailableResponders)], replies: usize) -> Vec<Share> {
    let mut left = replies;
    let mut take = |most: usize| {
        let taken = most.min(left);
        left -= taken;
        taken
    };
    let mut shares: Vec<_> =
        offers.iter().map(|(node, offer)| Share { node: node.clone(), replies: take(offer.free) }).collect();
    for ((_, offer), share) in offers.iter().zip(&mut shares) {
        share.replies += take(offer.matching - offer.free);
    }
    shares.retain(|share| share.replies > 0);
    shares
}

fn message(publication: Publication, timeout: Duration, replies: usize) -> RequestMessage {
    let Publication { topic, event_type, headers, data, .. } = publication;
    let mut message = RequestMessage::new(topic.as_str(), Payload(data.into_bytes()));
    message.event_type = event_type.map(|event_type| event_type.as_str().into());
    message.headers = headers.iter().map(|(name, value)| (name.into(), value.into())).collect();
    (message.timeout_ms, message.replies) = (Some(whole_millis(timeout)), Some(replies as u64));
    message
}

fn no_responder(publication: &Publication, silent: &[String]) -> Refused {
    let mut message =
        format!("no responder for `{}` is connected; start one with `sse-busctl reply`", publication.topic);
    if !silent.is_empty() {
        message = format!("{message}; these nodes did not answer: {}", silent.join(", "));
    }
    Refused::new(ErrorCode::NoResponder, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_responders_come_first_and_those_of_this_node_before_others() {
        let offer =
            |node: Option<&str>, free, matching| (node.map(String::from), AvailableResponders { free, matching });
        let divided = |offers: &[_], replies| -> Vec<(Option<String>, usize)> {
            shares(offers, replies).into_iter().map(|share| (share.node, share.replies)).collect()
        };
        let a = || Some("a".to_owned());
        assert_eq!(divided(&[offer(None, 1, 1), offer(Some("a"), 1, 1)], 1), [(None, 1)]);
        assert_eq!(divided(&[offer(None, 0, 1), offer(Some("a"), 1, 1)], 1), [(a(), 1)]);
        assert_eq!(divided(&[offer(None, 0, 1), offer(Some("a"), 0, 1)], 1), [(None, 1)]);
        assert_eq!(divided(&[offer(None, 0, 0), offer(Some("a"), 0, 1)], 1), [(a(), 1)]);
        assert_eq!(divided(&[offer(None, 1, 2), offer(Some("a"), 2, 5)], 4), [(None, 2), (a(), 2)]);
        assert_eq!(divided(&[offer(None, 1, 2), offer(Some("a"), 2, 5)], 100), [(None, 2), (a(), 5)]);
        assert_eq!(divided(&[offer(None, 0, 0), offer(Some("a"), 0, 0)], 3), []);
    }
}
