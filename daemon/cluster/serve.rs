//! Answering the questions of other nodes.
//!
//! What takes a while runs in a task of its own. Unicasts have [one](super::unicasts) for all of them, so that they keep their
//! order.

use std::{sync::Arc, time::Duration};

use sse_bus::{
    Topic,
    bus::requests::{Answer as ReplyAnswer, RequestTerms},
    limits::NODE_TOPICS_MAX,
    protocol::{ClientInfo, ErrorCode, Refused, ReplyTo, RequestMessage},
};
use tokio::time::Instant;
use tracing::debug;

use super::{
    arrived::Arrived,
    message::{Answer, Body, Question},
    state::Cluster,
};
use crate::{
    access::{Kicked, keep_name_out, kick_for},
    pending_request::PendingRequest,
};

/// Clients in one part of an answer, unless that is too large.
const CLIENTS: usize = 256;

impl Cluster {
    /// Answers a question.
    pub(super) async fn serve(&self, from: String, ask: u64, question: Question) {
        let answer = match question {
            Question::Send { event, after } => {
                // If too many wait, it is not answered, and the other node reports that.
                let _ = self.0.unicasts.try_send(Arrived { from, ask, event, after, at: Instant::now() });
                return;
            }
            Question::Subscribers { topics } => self.subscribers(&topics),
            Question::Responders { topic } => self.responders(&topic),
            Question::Reply(reply) => self.deliver_reply(*reply).unwrap_or_else(Answer::Refused),
            #[cfg(feature = "nats")]
            Question::Workers {} => Answer::Workers(self.0.queue.workers()),
            Question::Request(request) => return self.begin(from, ask, *request),
            question => {
                // A node that does not answer is reported.
                let Ok(permit) = Arc::clone(&self.0.working).try_acquire_owned() else { return };
                let cluster = self.clone();
                tokio::spawn(async move {
                    cluster.work(&from, ask, question).await;
                    drop(permit);
                });
                return;
            }
        };
        self.answer(&from, ask, true, answer).await;
    }

    /// Answers a question that takes a while.
    async fn work(&self, from: &str, ask: u64, question: Question) {
        let (bus, kept_out) = (&self.0.bus, &self.0.kept_out);
        let kicked = match question {
            Question::Clients {} => return self.answer_clients(from, ask, bus.clients().await).await,
            Question::Kick { client } => {
                bus.kick(&client).await.map(|connections| Kicked { connections, ..Kicked::default() })
            }
            Question::KickFor { client, ms } => kick_for(bus, kept_out, &client, Duration::from_millis(ms)).await,
            Question::KeepOut { name, ms } => {
                let connections = keep_name_out(bus, kept_out, &name, Duration::from_millis(ms)).await;
                connections.map(|connections| Kicked { connections, ..Kicked::default() })
            }
            #[cfg(feature = "nats")]
            Question::Settle { tokens, settlement } => {
                let settled = self.settle_here(&tokens, &settlement).await;
                return self.answer(from, ask, true, Answer::Settled(settled)).await;
            }
            // The others are answered at once.
            _ => return,
        };
        let answer = |Kicked { connections, names }| Answer::Kicked { connections, names: names.into_iter().collect() };
        self.answer(from, ask, true, kicked.map_or_else(Answer::Refused, answer)).await;
    }

    pub(super) async fn answer(&self, to: &str, ask: u64, is_last: bool, answer: Answer) {
        let mut message = self.message(Body::Answer { ask, is_last, answer });
        let most = self.0.link.message_max();
        if message.len() > most {
            let why = format!("the answer does not fit into a message of the NATS servers, of at most {most} bytes");
            let answer = Answer::Refused(Refused::new(ErrorCode::LimitEvent, why));
            message = self.message(Body::Answer { ask, is_last, answer });
        }
        if let Err(error) = self.0.link.send(to, message).await {
            // The other node reports that this one did not answer.
            debug!(node = to, %error, "a question of a node is not answered");
        }
    }

    /// Sends clients in parts that fit into a message.
    async fn answer_clients(&self, to: &str, ask: u64, clients: Vec<ClientInfo>) {
        let most = self.0.link.message_max() / 2;
        let mut part = Vec::new();
        let mut bytes = 0;
        for mut client in clients {
            let mut size = size_of(&client);
            if size > most {
                client.filters = vec![format!("… {} more", client.filters.len())];
                size = size_of(&client);
            }
            if part.len() >= CLIENTS || bytes + size > most {
                self.answer(to, ask, false, Answer::Clients(std::mem::take(&mut part))).await;
                bytes = 0;
            }
            bytes += size;
            part.push(client);
        }
        self.answer(to, ask, true, Answer::Clients(part)).await;
    }

    fn subscribers(&self, topics: &[String]) -> Answer {
        let topics = topics.iter().take(NODE_TOPICS_MAX);
        Answer::Subscribers(
            self.0
                .bus
                .with_each(topics, |bus, _, topic| Topic::parse(topic).map_or(0, |topic| bus.subscribers_of(&topic))),
        )
    }

    fn responders(&self, topic: &str) -> Answer {
        let available = Topic::parse(topic).map(|topic| self.0.bus.with(|bus, _| bus.responders_of(&topic)));
        let available = available.unwrap_or_default();
        Answer::Responders { free: available.free as u64, matching: available.matching as u64 }
    }

    fn deliver_reply(&self, reply: ReplyTo) -> Result<Answer, Refused> {
        self.0.bus.with(|bus, now| {
            let (to, answer) = ReplyAnswer::parse(reply, bus.limits())?;
            bus.reply(&to, answer, now).map(|()| Answer::Replied {})
        })
    }

    /// Sends a request of another node to responders of this one. The bus bounds the number of requests.
    fn begin(&self, from: String, ask: u64, request: RequestMessage) {
        let limits = self.0.bus.with(|bus, _| bus.limits().clone());
        let parsed = RequestTerms::parse(request, &limits);
        let begun =
            parsed.and_then(|(publication, terms)| PendingRequest::begin(&self.0.bus, publication, terms, None));
        let (cluster, key) = (self.clone(), (from.clone(), ask));
        // The entry must exist before the task removes it.
        let mut serving = self.0.serving.lock();
        let task = tokio::spawn(async move {
            let result = match begun {
                Ok(pending) => pending.replies().await,
                Err(refused) => Err(refused),
            };
            match result {
                Ok(mut replies) => {
                    // One part each, so that each fits into a message.
                    let last = replies.pop();
                    for reply in replies {
                        cluster.answer(&from, ask, false, Answer::Replies(vec![reply])).await;
                    }
                    cluster.answer(&from, ask, true, Answer::Replies(last.into_iter().collect())).await;
                }
                Err(refused) => cluster.answer(&from, ask, true, Answer::Refused(refused)).await,
            }
            cluster.0.serving.lock().remove(&(from, ask));
        });
        serving.insert(key, task.abort_handle());
    }
}

fn size_of(client: &ClientInfo) -> usize {
    serde_json::to_vec(client).map_or(0, |text| text.len() + 1)
}
