//! The clients of all nodes: listing, kicking, and sending to them.

use std::{collections::BTreeSet, time::Duration};

use sse_bus::{
    bus::{ClientId, Publication},
    limits::NODE_WAIT,
    protocol::{ClientInfo, ErrorCode, Payload, Publish, Refused},
    time::whole_millis,
};

use tracing::warn;

use super::{
    gather::Answers,
    message::{Answer, Question},
    partial::Partial,
    state::Cluster,
};
use crate::access::{Kicked, keep_name_out, kick_for};

impl Cluster {
    /// Returns the clients of all nodes: those of this node by id, then those of the others.
    pub(crate) async fn clients(&self) -> Partial<Vec<ClientInfo>> {
        self.clone().begin_to_watch().await;
        let (mut clients, others) = tokio::join!(self.0.bus.clients(), self.ask(None, Question::Clients {}, NODE_WAIT));
        let parts = others.result.into_values().flatten();
        let of_part = |answer| if let Answer::Clients(clients) = answer { clients } else { Vec::new() };
        clients.extend(parts.flat_map(of_part));
        Partial { result: clients, unreachable: others.unreachable }
    }

    /// Disconnects the connections of a client on all nodes, by id or name, and returns their number.
    ///
    /// # Errors
    ///
    /// No client has this id or name, and all nodes have answered.
    pub(crate) async fn kick(&self, client: &str) -> Result<Partial<u64>, Refused> {
        let question = Question::Kick { client: client.into() };
        let (own, others) = tokio::join!(self.0.bus.kick(client), self.ask_holders(client, question));
        let own = own.map(|connections| Kicked { connections, names: BTreeSet::new() });
        let missing = others.unreachable.clone();
        match Self::sum(own, others) {
            // A node that has not answered may have the client.
            Err(refused) if refused.code == ErrorCode::ClientUnknown && !missing.is_empty() => {
                Ok(Partial { result: 0, unreachable: missing })
            }
            kicked => Ok(kicked?.map(|kicked| kicked.connections)),
        }
    }

    /// Keeps a client out of all nodes for a while, and disconnects its connections. Zero lets it in again.
    ///
    /// # Errors
    ///
    /// As for [`kick`](Self::kick), or a node cannot keep it out.
    pub(crate) async fn kick_for(&self, client: &str, time: Duration) -> Result<Partial<u64>, Refused> {
        let ms = whole_millis(time);
        let question = Question::KickFor { client: client.into(), ms };
        let own = kick_for(&self.0.bus, &self.0.kept_out, client, time);
        let (own, others) = tokio::join!(own, self.ask_holders(client, question));
        let mut kicked = Self::sum(own, others)?;
        // A client with a name may connect to another node.
        for name in std::mem::take(&mut kicked.result.names) {
            let question = Question::KeepOut { name: name.clone(), ms };
            let own = keep_name_out(&self.0.bus, &self.0.kept_out, &name, time);
            let (own, others) = tokio::join!(own, self.ask(None, question, NODE_WAIT));
            let more = Self::sum(own.map(|connections| Kicked { connections, names: BTreeSet::new() }), others)?;
            kicked.result.connections += more.result.connections;
            kicked.unreachable.extend(more.unreachable);
        }
        kicked.unreachable.sort();
        kicked.unreachable.dedup();
        Ok(kicked.map(|kicked| kicked.connections))
    }

    /// Sends a unicast that this node has delivered to its own clients to the clients of other nodes. Returns the number of
    /// connections that took it there.
    pub(crate) async fn unicast(&self, publication: Publication) -> Partial<u64> {
        let Publication { topic, event_type, headers, data, to, dedup_id, sequence, .. } = publication;
        let mut publish = Publish::new(topic.as_str(), Payload(data.into_bytes()));
        publish.event_type = event_type.map(|event_type| event_type.as_str().into());
        publish.headers = headers.iter().map(|(name, value)| (name.into(), value.into())).collect();
        publish.dedup_id = dedup_id.map(|id| id.as_str().into());
        (publish.to, publish.sequence) = (to, sequence);
        let client = publish.to.clone().unwrap_or_default();
        let answers = self
            .ask_holders(
                &client,
                Question::Send { event: Box::new(publish), after: self.0.bus.with(|bus, _| bus.position()) },
            )
            .await;
        let mut sent = Partial { result: 0, unreachable: answers.unreachable };
        for (node, answer) in
            answers.result.into_iter().flat_map(|(node, parts)| parts.into_iter().map(move |part| (node.clone(), part)))
        {
            match answer {
                Answer::Sent { connections } => sent.result += connections,
                Answer::Refused(refused) => {
                    // Its limits may be lower than those of this node.
                    warn!(node, "a node has refused an event for its clients: {refused}");
                    sent.unreachable.push(node);
                }
                _ => {}
            }
        }
        sent
    }

    /// Asks the nodes that may have a client with an id or a name.
    async fn ask_holders(&self, client: &str, question: Question) -> Answers {
        match ClientId::parse_at_node(client) {
            Some((_, node)) if node == self.0.own.name => Partial::default(),
            Some((_, node)) => self.ask(Some(node), question, NODE_WAIT).await,
            // The ids of this node are also valid without its name.
            None if client.parse::<ClientId>().is_ok() => Partial::default(),
            None => self.ask(None, question, NODE_WAIT).await,
        }
    }

    /// Adds up what the nodes have done. A node that does not know the client has done nothing.
    fn sum(own: Result<Kicked, Refused>, others: Answers) -> Result<Partial<Kicked>, Refused> {
        let Partial { result, unreachable } = others;
        let mut sum: Option<Kicked> = None;
        let (mut unknown, mut refused) = (None, None);
        let of_others =
            result.into_iter().flat_map(|(node, parts)| parts.into_iter().map(move |part| (node.clone(), part)));
        let of_others = of_others.filter_map(|(node, answer)| match answer {
            Answer::Kicked { connections, names } => {
                Some(Ok(Kicked { connections, names: names.into_iter().collect() }))
            }
            Answer::Refused(Refused { code: ErrorCode::ClientUnknown, .. }) => None,
            Answer::Refused(Refused { code, message, .. }) => {
                Some(Err(Refused::new(code, format!("{node}: {message}"))))
            }
            _ => None,
        });
        for done in std::iter::once(own).chain(of_others) {
            match done {
                Ok(Kicked { connections, names }) => {
                    let sum = sum.get_or_insert_default();
                    sum.connections += connections;
                    sum.names.extend(names);
                }
                Err(unknown_here) if unknown_here.code == ErrorCode::ClientUnknown => unknown = Some(unknown_here),
                Err(error) => refused = Some(error),
            }
        }
        match (sum, refused, unknown) {
            (_, Some(refused), _) => Err(refused),
            (Some(result), None, _) => Ok(Partial { result, unreachable }),
            (None, None, unknown) => Err(Self::without(unknown, &unreachable)),
        }
    }

    /// Returns the refusal for a client that no node has, which names the nodes that may have it.
    fn without(unknown: Option<Refused>, unreachable: &[String]) -> Refused {
        let unknown = unknown.unwrap_or_else(|| Refused::new(ErrorCode::ClientUnknown, "there is no such client"));
        if unreachable.is_empty() {
            return unknown;
        }
        let message = format!("{}; these nodes did not answer: {}", unknown.message, unreachable.join(", "));
        Refused::new(unknown.code, message)
    }
}
