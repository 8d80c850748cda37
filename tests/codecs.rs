//! Properties of what is said and how: topics, filters, ids, the encoding of streams, and both codecs of the local
//! socket. Whatever comes in, nothing panics.

#[path = "common/filters.rs"]
mod filters;
#[path = "common/matching.rs"]
mod matching;
#[path = "common/sse_parser.rs"]
mod sse_parser;

use proptest::{collection::vec, option, prelude::*};
use sse_bus::{
    Epoch, Event, EventId, EventType, Filter, FilterSet, Topic,
    event::check_data,
    limits::{FILTERS_MAX, FRAME_MAX},
    protocol::{
        Ack, ClientInfo, ErrorCode, EventMessage, Payload, Publish, Published, Refused, Reply, Request, Slow, Status,
        Subscribe, Subscribed, TopicInfo,
        binary::{self, Frame},
        json, sse,
    },
    topic::TopicError,
};

fn text() -> impl Strategy<Value = String> {
    "(?s)([a-zé \r\n:]|data: |\r\n|\\PC){0,40}"
}

fn id() -> impl Strategy<Value = EventId> {
    ("[a-z0-9]{1,15}", any::<u64>())
        .prop_map(|(epoch, seq)| EventId { epoch: Epoch::parse(&epoch).expect("a legal epoch"), seq })
}

fn request() -> impl Strategy<Value = Request> {
    let ack = prop_oneof![Just(Ack::None), Just(Ack::Accepted), Just(Ack::Durable)];
    let publish =
        (text(), text(), option::of(text()), any::<bool>(), option::of(any::<u64>()), option::of(text()), ack)
            .prop_map(|(topic, data, kind, retain, ttl_ms, to, ack)| {
                Request::Publish(Publish { topic, data: Payload(data.into()), kind, retain, ttl_ms, to, ack })
            });
    let slow = prop_oneof![Just(Slow::Gap), Just(Slow::Latest), Just(Slow::Disconnect)];
    let subscribe = (vec(text(), 0..4), option::of(text()), slow, option::of(text()), any::<bool>()).prop_map(
        |(filters, since, slow, client, past_only)| {
            Request::Subscribe(Subscribe { filters, since, slow, client, past_only })
        },
    );
    prop_oneof![
        publish,
        subscribe,
        Just(Request::Clients {}),
        Just(Request::Topics {}),
        Just(Request::Status {}),
        Just(Request::Config {}),
        text().prop_map(|client| Request::Kick { client }),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let event = (id(), text(), option::of(text()), any::<u64>(), text())
        .prop_map(|(id, topic, kind, time, data)| Reply::Event(EventMessage { id, topic, kind, time, data }));
    let client = (text(), option::of(text()), vec(text(), 0..3), any::<u64>()).prop_map(|(id, name, filters, n)| {
        let (role, via, peer) = ("subscriber".into(), "sse".into(), id.clone());
        let (origin, gaps) = (name.clone(), n / 4);
        ClientInfo { id, name, role, via, peer, filters, connected: n, events: n / 2, lag: n / 3, origin, gaps }
    });
    let topic = (text(), any::<u64>(), option::of(id())).prop_map(|(topic, n, last_id)| TopicInfo {
        topic,
        published: n,
        events: n / 2,
        bytes: n / 3,
        retained: n % 2 == 0,
        subscribers: n / 5,
        last_id,
        last_time: last_id.map(|id| id.seq),
    });
    let refused = (text(), any::<u64>()).prop_map(|(message, request)| {
        Reply::Error(Refused { request, ..Refused::new(ErrorCode::LimitTopics, message) })
    });
    prop_oneof![
        event,
        (id(), any::<u64>()).prop_map(|(id, subscribers)| Reply::Published(Published { id, subscribers })),
        (text(), id()).prop_map(|(client, position)| Reply::Subscribed(Subscribed { client, position })),
        id().prop_map(|position| Reply::End { position }),
        vec(client, 0..3).prop_map(Reply::Clients),
        vec(topic, 0..3).prop_map(Reply::Topics),
        any::<u64>().prop_map(|connections| Reply::Kicked { connections }),
        (text(), option::of(text())).prop_map(|(socket, url)| Reply::Status(Box::new(Status {
            socket,
            url,
            ..Status::default()
        }))),
        refused,
    ]
}

fn encoded<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    binary::encode(value, &mut out).expect("it fits a frame");
    out
}

/// A frame comes whole, or the decoder says how many bytes it needs, and that is never more than the frame has.
fn check_frames<T>(value: &T, cut: usize) -> Result<(), TestCaseError>
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let mut bytes = encoded(value);
    let size = bytes.len();
    match binary::decode::<T>(&bytes[..cut % size]) {
        Frame::Partial(needed) if cut % size < binary::PREFIX => prop_assert_eq!(needed, binary::PREFIX),
        Frame::Partial(needed) => prop_assert_eq!(needed, size),
        other => prop_assert!(false, "{:?} of a part", other),
    }
    bytes.extend_from_slice(b"next");
    match binary::decode::<T>(&bytes) {
        Frame::Whole(decoded, used) => {
            prop_assert_eq!(&decoded, value);
            prop_assert_eq!(used, size);
        }
        other => prop_assert!(false, "{:?}", other),
    }
    Ok(())
}

fn check_line<T>(value: &T, cut: usize) -> Result<(), TestCaseError>
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let mut line = Vec::new();
    json::encode(value, &mut line);
    prop_assert_eq!(line.pop(), Some(b'\n'));
    prop_assert!(!line.contains(&b'\n'));
    let decoded = json::decode::<T>(&line);
    prop_assert_eq!(decoded.as_ref(), Ok(value));
    prop_assert!(json::decode::<T>(&line[..cut % line.len()]).is_err());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn filters_match_as_the_glossary_says(filter in filters::filter(), topic in filters::topic()) {
        let (parsed, of) = (Filter::parse(&filter).expect("legal"), Topic::parse(&topic).expect("legal"));
        prop_assert_eq!(parsed.matches(&of), matching::matches(&filter, &topic), "{} on {}", filter, topic);
    }

    #[test]
    fn a_set_matches_if_one_of_its_filters_does(filters in vec(filters::filter(), 1..6), topic in filters::topic()) {
        let set = FilterSet::parse(&filters).expect("legal");
        let expected = filters.iter().any(|filter| matching::matches(filter, &topic));
        prop_assert_eq!(set.matches(&Topic::parse(&topic).expect("legal")), expected);
        let mut turned = filters.clone();
        turned.reverse();
        prop_assert_eq!(FilterSet::parse(&turned), Ok(set.clone()));
        prop_assert_eq!(FilterSet::parse(&set.to_strings()), Ok(set));
    }

    #[test]
    fn a_legal_topic_is_a_filter_that_matches_itself(text in "([a-z$*#?/ é\u{0}\u{85}]|\\PC){0,12}") {
        if let Ok(topic) = Topic::parse(&text) {
            let forbidden = text.contains(['*', '#', '?', ' ', '\0', '\u{85}']);
            prop_assert!(!text.is_empty() && !forbidden);
            prop_assert!(!text.split('/').any(str::is_empty));
            let filter = Filter::parse(&text).expect("a topic is a filter");
            prop_assert_eq!(filter.as_topic(), Some(&*text));
            prop_assert!(filter.matches(&topic));
        }
    }

    #[test]
    fn ids_come_back_as_they_were(id in id(), garbage in "[-a-z0-9A-Z+_é]{0,24}") {
        prop_assert_eq!(id.to_string().parse::<EventId>(), Ok(id));
        if let Ok(parsed) = garbage.parse::<EventId>() {
            prop_assert_eq!(parsed.to_string(), garbage);
        }
        prop_assert_eq!(Epoch::parse(Epoch::from_seed(id.seq).as_str()), Some(Epoch::from_seed(id.seq)));
    }

    #[test]
    fn browsers_get_the_data_with_its_line_breaks(id in id(), kind in option::of("[^\r\n\u{0}$][^\r\n\u{0}]{0,9}"), data in text()) {
        let topic = Topic::parse("a").expect("legal");
        let parsed = kind.as_deref().map(|kind| EventType::parse(kind).expect("legal"));
        let data = String::from_utf8(check_data(data.into_bytes()).expect("legal").into_bytes()).expect("UTF-8");
        let event = Event { id, topic, kind: parsed, data: data.clone(), time: 7 };
        let mut out = Vec::new();
        sse::encode_data(&event, &mut out);
        out.extend_from_slice(sse::HEARTBEAT);
        sse::encode_json(&event, &mut out);
        let stream = String::from_utf8(out).expect("UTF-8");
        prop_assert!(!stream.contains('\r'));
        let (events, rest) = sse_parser::parse(&stream);
        prop_assert_eq!((events.len(), rest), (2, ""));
        let normal = data.replace("\r\n", "\n").replace('\r', "\n");
        prop_assert_eq!((&events[0].id, &events[0].kind), (&id.to_string(), &kind));
        // The envelope carries the type.
        prop_assert_eq!((&events[1].id, &events[1].kind), (&id.to_string(), &None));
        prop_assert_eq!(&events[0].data, &normal);
        let envelope: serde_json::Value = serde_json::from_str(&events[1].data).expect("JSON");
        let expected = serde_json::json!({ "id": id.to_string(), "topic": "a", "type": kind, "time": 7, "data": data });
        prop_assert_eq!(envelope, expected);
    }

    #[test]
    fn requests_come_back_as_they_were(request in request(), cut in any::<usize>()) {
        check_frames(&request, cut)?;
        check_line(&request, cut)?;
    }

    #[test]
    fn replies_come_back_as_they_were(reply in reply(), cut in any::<usize>()) {
        check_frames(&reply, cut)?;
        check_line(&reply, cut)?;
    }

    #[test]
    fn garbage_is_refused_and_nothing_more(bytes in vec(any::<u8>(), 0..200), request in request(), at in any::<usize>()) {
        let decode = |bytes: &[u8]| {
            let _ = json::decode::<Request>(bytes);
            let _ = json::decode::<Reply>(bytes);
            let _ = binary::decode::<Reply>(bytes);
            binary::decode::<Request>(bytes)
        };
        decode(&bytes);
        // With a length that fits, what follows is decoded.
        let mut frame = (bytes.len() as u32).to_le_bytes().to_vec();
        frame.extend_from_slice(&bytes);
        prop_assert!(!matches!(decode(&frame), Frame::Partial(_) | Frame::TooLong(_)));
        // One byte of a good frame is wrong.
        let mut frame = encoded(&request);
        let at = at % frame.len();
        frame[at] ^= bytes.first().map_or(1, |b| b | 1);
        decode(&frame);
        let mut line = Vec::new();
        json::encode(&request, &mut line);
        line[0] = bytes.first().copied().unwrap_or(0);
        decode(&line);
    }

    #[test]
    fn lengths_beyond_the_limit_are_refused_before_anything_else(length in FRAME_MAX as u32 + 1..) {
        let refused = matches!(binary::decode::<Request>(&length.to_le_bytes()), Frame::TooLong(n) if n == length as usize);
        prop_assert!(refused);
    }
}

#[test]
fn whatever_fits_a_frame_can_be_read_from_it() {
    let last_id = Some(EventId { epoch: Epoch::from_seed(1), seq: 1 });
    let (published, events, bytes, subscribers, last_time) = (1, 1, 1, 0, Some(1));
    let topic = |n| TopicInfo {
        topic: format!("{n}"),
        published,
        events,
        bytes,
        retained: false,
        subscribers,
        last_id,
        last_time,
    };
    // As many as the bus knows by default, and many more; the last reply has the size of the largest frame.
    for topics in [1, 10, 100, 1000, 10_000, 100_000, 160_000] {
        let reply = Reply::Topics((0..topics).map(topic).collect());
        let frame = encoded(&reply);
        let read = matches!(binary::decode::<Reply>(&frame), Frame::Whole(decoded, _) if decoded == reply);
        assert!(read, "{topics} topics in {} bytes", frame.len());
    }
}

#[test]
fn filters_that_no_subscription_has_room_for_take_no_memory() {
    let filters = vec![String::new(); 1_000_000];
    let request = Request::Subscribe(Subscribe { filters, ..Subscribe::default() });
    let mut line = Vec::new();
    json::encode(&request, &mut line);
    let Frame::Whole(from_frame, _) = binary::decode::<Request>(&encoded(&request)) else { panic!("it fits a frame") };
    let from_line = json::decode::<Request>(&line).expect("it fits a line");
    for decoded in [from_frame, from_line] {
        let Request::Subscribe(Subscribe { filters, .. }) = decoded else { panic!("{decoded:?}") };
        // One more than allowed tells that there are too many.
        assert_eq!(filters.len(), FILTERS_MAX + 1);
        assert!(filters.capacity() < 1000, "room for {}", filters.capacity());
        assert_eq!(FilterSet::parse(&vec!["a"; filters.len()]), Err(TopicError::TooManyFilters));
    }
}
