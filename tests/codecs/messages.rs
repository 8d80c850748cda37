//! Strategies that generate requests and replies.

use proptest::{collection::vec, option, prelude::*};
use serde::de::DeserializeOwned;
use serde_json::json;
use sse_bus::{
    Epoch, EventId, Headers,
    protocol::{
        Ack, ClientInfo, Consume, ConsumerAction, ConsumerConfig, ConsumerInfo, Consuming, DeadLetter, DeadSelection,
        Delivery, ErrorCode, EventMessage, LimitInfo, NodeInfo, OnFull, Publish, Published, PublisherId, Refused,
        Reply, ReplyMessage, ReplyTo, Request, RequestMessage, Respond, Responding, Scheduled, Sequence, Setting, Slow,
        Status, Subscribe, Subscribed, TopicInfo,
    },
};

pub(crate) fn text() -> impl Strategy<Value = String> {
    "(?s)([a-zé \r\n:]|data: |\r\n|\\PC){0,40}"
}

pub(crate) fn id() -> impl Strategy<Value = EventId> {
    ("[a-z0-9]{1,15}", any::<u64>())
        .prop_map(|(epoch, seq)| EventId::new(Epoch::parse(&epoch).expect("a valid epoch"), seq))
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    let ack = prop_oneof![Just(Ack::None), Just(Ack::Accepted), Just(Ack::Durable)];
    let headers = vec((text(), text()), 0..3);
    let rest = (any::<bool>(), option::of(any::<u64>()), option::of(text()), ack);
    let sequence = (any::<u64>(), any::<u64>())
        .prop_map(|(publisher, number)| Sequence { publisher: PublisherId(publisher), number });
    let options = (
        option::of(text()),
        option::of(sequence),
        option::of(any::<u64>()),
        option::of(any::<u64>()),
        option::of(text()),
    );
    let publish = (text(), text(), option::of(text()), headers, rest, option::of(options)).prop_map(
        |(topic, data, kind, headers, (retain, ttl_ms, to, ack), options)| {
            let mut publish = Publish::new(topic, data).with_ack(ack);
            (publish.event_type, publish.headers, publish.retain) = (kind, headers, retain);
            (publish.ttl_ms, publish.to) = (ttl_ms, to);
            if let Some((dedup_id, sequence, in_ms, at, schedule_id)) = options {
                (publish.dedup_id, publish.sequence, publish.schedule_id) = (dedup_id, sequence, schedule_id);
                (publish.in_ms, publish.at) = (in_ms, at);
            }
            Request::Publish(publish)
        },
    );
    let slow = prop_oneof![Just(Slow::Gap), Just(Slow::Latest), Just(Slow::Disconnect)];
    let subscribe = (vec(text(), 0..4), option::of(text()), slow, option::of(text()), any::<bool>()).prop_map(
        |(filters, since, slow, client, past_only)| {
            let mut subscribe = Subscribe::new(filters).with_slow(slow);
            (subscribe.since, subscribe.client, subscribe.past_only) = (since, client, past_only);
            Request::Subscribe(subscribe)
        },
    );
    prop_oneof![
        work_request(),
        publish,
        subscribe,
        Just(Request::Clients {}),
        Just(Request::Nodes {}),
        Just(Request::Topics {}),
        Just(Request::Status {}),
        Just(Request::Config {}),
        (text(), option::of(any::<u64>())).prop_map(|(client, for_ms)| Request::Kick { client, for_ms }),
    ]
}

fn work_request() -> impl Strategy<Value = Request> {
    let config = (vec(text(), 0..3), option::of(text()), option::of(any::<u64>()), vec(text(), 0..3)).prop_map(
        |(filters, text, number, backoff)| {
            let mut config = ConsumerConfig::new(filters);
            (config.from, config.ack_wait, config.inactive_after) = (text.clone(), text.clone(), text);
            (config.max_in_flight, config.max_attempts) = (number, number.map(|number| number as u32));
            config.backoff = number.map(|_| backoff);
            config.on_full = number.map(|number| if number % 2 == 0 { OnFull::Refuse } else { OnFull::Drop });
            ConsumerAction::Create(config)
        },
    );
    let selection = (option::of(id()), option::of(text()), any::<bool>()).prop_map(|(id, filter, all)| {
        let mut selection = DeadSelection::default();
        (selection.id, selection.filter, selection.all) = (id, filter, all);
        selection
    });
    let selection = selection.boxed();
    let action = prop_oneof![
        config,
        Just(ConsumerAction::Show),
        Just(ConsumerAction::Pause),
        Just(ConsumerAction::Resume),
        Just(ConsumerAction::Delete),
        text().prop_map(|to| ConsumerAction::Seek { to }),
        option::of(id()).prop_map(|after| ConsumerAction::Dead { after }),
        selection.clone().prop_map(ConsumerAction::RetryDead),
        selection.prop_map(ConsumerAction::DropDead),
    ];
    let tokens = vec(text(), 0..3).boxed();
    prop_oneof![
        Just(Request::Consumers {}),
        (text(), action).prop_map(|(name, action)| Request::Consumer { name, action }),
        (text(), option::of(any::<u64>()), option::of(text())).prop_map(|(consumer, max_in_flight, client)| {
            let mut consume = Consume::new(consumer);
            (consume.max_in_flight, consume.client) = (max_in_flight, client);
            Request::Consume(consume)
        }),
        tokens.clone().prop_map(|tokens| Request::Ack { tokens }),
        (tokens.clone(), option::of(any::<u64>())).prop_map(|(tokens, delay_ms)| Request::Nak { tokens, delay_ms }),
        tokens.clone().prop_map(|tokens| Request::Extend { tokens }),
        (tokens.clone(), text()).prop_map(|(tokens, reason)| Request::Reject { tokens, reason }),
        tokens.prop_map(|tokens| Request::Release { tokens }),
    ]
}

fn work_reply() -> impl Strategy<Value = Reply> {
    let info = (text(), vec(text(), 0..3), any::<u64>()).prop_map(|(name, filters, number)| {
        let mut info = ConsumerInfo::default();
        (info.name, info.backoff) = (name, filters.clone());
        (info.filters, info.pending, info.oldest_ms) = (filters, number, Some(number / 2));
        info
    });
    let info = info.boxed();
    let letter = (id(), text(), option::of(text()), any::<u32>()).prop_map(|(id, reason, text, attempts)| {
        described::<DeadLetter>(json!({
            "id": id, "reason": reason, "text": text, "attempts": attempts, "worker": text, "since": attempts,
            "topic": text, "data": text,
        }))
    });
    prop_oneof![
        vec(info.clone(), 0..3).prop_map(Reply::Consumers),
        info.prop_map(|info| Reply::Consumer(info.into())),
        vec(letter, 0..3).prop_map(Reply::DeadLetters),
        any::<u64>().prop_map(|count| Reply::Changed { count }),
        (text(), text()).prop_map(|(client, consumer)| Reply::Consuming(Consuming::new(client, consumer))),
        any::<u64>().prop_map(|deliveries| Reply::Settled { deliveries }),
    ]
}

/// Returns requests for responders, and what responders send.
pub(crate) fn exchange_request() -> impl Strategy<Value = Request> {
    let request = (text(), text(), option::of(text()), vec((text(), text()), 0..3), option::of(any::<(u64, u64)>()));
    let request = request.prop_map(|(topic, data, kind, headers, numbers)| {
        let mut request = RequestMessage::new(topic, data);
        (request.event_type, request.headers) = (kind, headers);
        (request.timeout_ms, request.replies) = numbers.unzip();
        Request::Request(request)
    });
    let respond = (vec(text(), 0..3), option::of(any::<u64>()), option::of(text()));
    let respond = respond.prop_map(|(filters, max_in_flight, client)| {
        let mut respond = Respond::new(filters);
        (respond.max_in_flight, respond.client) = (max_in_flight, client);
        Request::Respond(respond)
    });
    let reply = (text(), text(), vec((text(), text()), 0..3), option::of(text()));
    let reply = reply.prop_map(|(to, data, headers, error)| {
        let mut reply = ReplyTo::new(to, data);
        (reply.headers, reply.error) = (headers, error);
        Request::Reply(reply)
    });
    prop_oneof![request, respond, reply]
}

/// Returns replies to requests, and what responders receive.
pub(crate) fn exchange_reply() -> impl Strategy<Value = Reply> {
    let request = (text(), text(), headers(), text(), any::<u64>());
    let request = request.prop_map(|(topic, data, headers, to, timeout)| {
        let mut event = EventMessage::new(None, topic, data, timeout);
        (event.headers, event.reply_to, event.timeout_ms) = (headers, Some(to), Some(timeout));
        Reply::Event(event)
    });
    let reply = (text(), headers(), text()).prop_map(|(data, headers, responder)| {
        let mut reply = ReplyMessage::new(data, responder);
        reply.headers = headers;
        reply
    });
    prop_oneof![
        request,
        vec(reply, 0..3).prop_map(Reply::Replies),
        text().prop_map(|client| Reply::Responding(Responding::new(client))),
        Just(Reply::Replied {}),
    ]
}

pub(crate) fn headers() -> impl Strategy<Value = Headers> {
    vec(("[a-zA-Z!-]{1,9}", "[^\\p{Cc}]{0,9}"), 0..4)
        .prop_filter_map("a duplicate name", |headers| Headers::parse(headers).ok())
}

/// Returns a description from its fields.
pub(crate) fn described<T: DeserializeOwned>(fields: serde_json::Value) -> T {
    serde_json::from_value(fields).expect("all fields are present")
}

/// The names of some nodes, often none.
fn nodes() -> impl Strategy<Value = Vec<String>> {
    vec(text(), 0..3)
}

pub(crate) fn reply() -> impl Strategy<Value = Reply> {
    let event = (option::of(id()), text(), option::of(text()), any::<u64>(), headers(), text()).prop_map(
        |(id, topic, kind, time, headers, data)| {
            let mut event = EventMessage::new(id, topic, data, time);
            (event.event_type, event.headers) = (kind, headers);
            event
        },
    );
    let event = event.boxed();
    let delivered =
        (event.clone(), text(), any::<u32>(), any::<u64>()).prop_map(|(mut event, token, attempt, deadline)| {
            event.delivery = Some(Delivery::new(token, attempt, deadline));
            Reply::Event(event)
        });
    let client = (text(), option::of(text()), vec(text(), 0..3), any::<u64>()).prop_map(|(id, name, filters, n)| {
        let role = ["subscriber", "publisher", "of a later version"][n as usize % 3];
        let via = ["sse", "json", "binary", "of a later version"][n as usize % 4];
        described::<ClientInfo>(json!({
            "id": id, "name": name, "role": role, "via": via, "peer": id, "filters": filters, "connected": n,
            "events": n / 2, "lag": n / 3, "origin": name, "gaps": n / 4,
        }))
    });
    let client = client.boxed();
    let topic = (text(), any::<u64>(), option::of(id())).prop_map(|(topic, n, last_id)| {
        described::<TopicInfo>(json!({
            "topic": topic, "published": n, "events": n / 2, "bytes": n / 3, "retained": n % 2 == 0,
            "subscribers": n / 5, "last_id": last_id, "last_time": last_id.map(|id| id.seq),
        }))
    });
    let refused = (text(), any::<u64>()).prop_map(|(message, request)| {
        Reply::Error(Refused { request, ..Refused::new(ErrorCode::LimitTopics, message) })
    });
    prop_oneof![
        event.prop_map(Reply::Event),
        delivered,
        work_reply(),
        (option::of(id()), any::<u64>(), any::<bool>(), any::<bool>(), nodes()).prop_map(
            |(id, subscribers, duplicate, queued, unreachable)| {
                let mut published = Published::new(id, subscribers);
                (published.duplicate, published.queued, published.unreachable) = (duplicate, queued, unreachable);
                Reply::Published(published)
            }
        ),
        (text(), any::<u64>(), any::<bool>())
            .prop_map(|(schedule, at, persistent)| Reply::Scheduled(Scheduled::new(schedule, at, persistent))),
        (text(), id()).prop_map(|(client, position)| Reply::Subscribed(Subscribed::new(client, position))),
        id().prop_map(|position| Reply::End { position }),
        vec(client.clone(), 0..3).prop_map(Reply::Clients),
        (vec(client, 0..3), nodes()).prop_map(|(clients, unreachable)| Reply::PartialClients { clients, unreachable }),
        nodes().prop_map(|names| Reply::Nodes(names.into_iter().map(NodeInfo::new).collect())),
        vec(topic, 0..3).prop_map(Reply::Topics),
        (any::<u64>(), nodes()).prop_map(|(connections, unreachable)| Reply::Kicked { connections, unreachable }),
        (text(), option::of(text())).prop_map(|(socket, url)| {
            let mut status = Status::default();
            (status.socket, status.url, status.limits) = (socket, url, vec![LimitInfo::new("topics", 1, 2)]);
            Reply::Status(Box::new(status))
        }),
        (text(), text(), any::<f64>()).prop_map(|(key, source, value)| {
            Reply::Config(vec![Setting::new(&*key, json!(value), &*source), Setting::new(key, json!([source]), "")])
        }),
        refused,
    ]
}
