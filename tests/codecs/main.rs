//! Properties of topics, filters, ids, the encoding of streams, and both codecs of the local socket. No input causes a
//! panic.

mod messages;

use std::fmt::Debug;

use proptest::{collection::vec, option, prelude::*};
use serde_json::json;
use sse_bus::{
    Epoch, Event, EventId, EventType, Filter, FilterSet, Headers, Topic,
    event::check_data,
    limits::{FILTERS_MAX, FRAME_MAX, HEADERS_MAX},
    protocol::{
        Publish, Reply, Request, Setting, Subscribe, TopicInfo,
        binary::{self, Frame, Message, Version},
        json, sse,
    },
    topic::TopicError,
};

use sse_bus_support::{matching, sse_parser, strategies};

use messages::{described, exchange_reply, exchange_request, headers, id, reply, request, text};

fn encoded<T: Message>(version: Version, message: &T) -> Vec<u8> {
    let mut out = Vec::new();
    version.encode(message, &mut out).expect("it fits a frame");
    out
}

/// A whole frame is decoded; for a part of it the decoder returns the required size, which never exceeds the frame.
fn check_frames<T: Message + PartialEq + Debug>(
    version: Version,
    message: &T,
    expected: &T,
    cut: usize,
) -> Result<(), TestCaseError> {
    let mut bytes = encoded(version, message);
    let size = bytes.len();
    match version.decode::<T>(&bytes[..cut % size]) {
        Frame::Partial(needed) if cut % size < binary::PREFIX => prop_assert_eq!(needed, binary::PREFIX),
        Frame::Partial(needed) => prop_assert_eq!(needed, size),
        other => prop_assert!(false, "{:?} of a part", other),
    }
    bytes.extend_from_slice(b"next");
    match version.decode::<T>(&bytes) {
        Frame::Whole(decoded, used) => {
            prop_assert_eq!(&decoded, expected);
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
    fn filters_match_as_specified(filter in strategies::filter(), topic in strategies::topic()) {
        let (parsed, of) = (Filter::parse(&filter).expect("valid"), Topic::parse(&topic).expect("valid"));
        prop_assert_eq!(parsed.matches(&of), matching::matches(&filter, &topic), "{} on {}", filter, topic);
    }

    #[test]
    fn a_set_matches_if_one_of_its_filters_matches(filters in vec(strategies::filter(), 1..6), topic in strategies::topic()) {
        let set = FilterSet::parse(&filters).expect("valid");
        let expected = filters.iter().any(|filter| matching::matches(filter, &topic));
        prop_assert_eq!(set.matches(&Topic::parse(&topic).expect("valid")), expected);
        let mut reversed = filters.clone();
        reversed.reverse();
        prop_assert_eq!(FilterSet::parse(&reversed), Ok(set.clone()));
        prop_assert_eq!(FilterSet::parse(&set.to_strings()), Ok(set));
    }

    #[test]
    fn a_valid_topic_is_a_filter_that_matches_itself(text in "([a-z$*#?/ é\u{0}\u{85}]|\\PC){0,12}") {
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
    fn an_id_equals_its_parsed_text(id in id(), garbage in "[-a-z0-9A-Z+_é]{0,24}") {
        prop_assert_eq!(id.to_string().parse::<EventId>(), Ok(id));
        if let Ok(parsed) = garbage.parse::<EventId>() {
            prop_assert_eq!(parsed.to_string(), garbage);
        }
        prop_assert_eq!(Epoch::parse(Epoch::from_seed(id.seq).as_str()), Some(Epoch::from_seed(id.seq)));
    }

    #[test]
    fn an_encoded_event_has_the_same_data_and_line_breaks(id in id(), kind in option::of("[^\r\n\u{0}$][^\r\n\u{0}]{0,9}"), data in text(), headers in headers()) {
        let topic = Topic::parse("a").expect("valid");
        let parsed = kind.as_deref().map(|kind| EventType::parse(kind).expect("valid"));
        let data = String::from_utf8(check_data(data.into_bytes()).expect("valid").into_bytes()).expect("UTF-8");
        let mut event = Event::new(id, topic, data.clone(), 7);
        (event.event_type, event.headers) = (parsed, headers.clone());
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
        // The envelope contains the type.
        prop_assert_eq!((&events[1].id, &events[1].kind), (&id.to_string(), &None));
        prop_assert_eq!(&events[0].data, &normal);
        let envelope: serde_json::Value = serde_json::from_str(&events[1].data).expect("JSON");
        let mut expected = json!({ "id": id.to_string(), "topic": "a", "type": kind, "time": 7, "data": data });
        if !headers.is_empty() {
            expected["headers"] = json!(headers);
        }
        prop_assert_eq!(envelope, expected);
    }

    #[test]
    fn a_decoded_request_equals_the_encoded_one(request in request(), cut in any::<usize>()) {
        check_frames(Version::V2, &request, &request, cut)?;
        check_line(&request, cut)?;
        let mut without = request.clone();
        if let Request::Publish(publish) = &mut without {
            publish.headers.clear();
            (publish.dedup_id, publish.sequence, publish.schedule_id) = (None, None, None);
            (publish.in_ms, publish.at) = (None, None);
        }
        check_frames(Version::V1, &request, &without, cut)?;
    }

    #[test]
    fn a_decoded_reply_equals_the_encoded_one(reply in reply(), cut in any::<usize>()) {
        check_frames(Version::V2, &reply, &reply, cut)?;
        check_line(&reply, cut)?;
        // There everything has an id.
        let of_no_log = EventId::new(Epoch::from_seed(0), 0);
        let mut without = reply.clone();
        match &mut without {
            Reply::Event(event) if event.delivery.is_none() => {
                event.headers = Headers::default();
                event.id.get_or_insert(of_no_log);
            }
            Reply::Published(published) => {
                published.id.get_or_insert(of_no_log);
                (published.duplicate, published.queued) = (false, false);
                published.unreachable.clear();
            }
            _ => {}
        }
        check_frames(Version::V1, &reply, &without, cut)?;
    }

    // Version 1 has none of these.
    #[test]
    fn decoded_requests_and_replies_equal_the_encoded_ones(
        request in exchange_request(), reply in exchange_reply(), cut in any::<usize>()
    ) {
        check_frames(Version::V2, &request, &request, cut)?;
        check_frames(Version::V2, &reply, &reply, cut)?;
        check_line(&request, cut)?;
        check_line(&reply, cut)?;
    }

    #[test]
    fn invalid_bytes_cause_no_panic(bytes in vec(any::<u8>(), 0..200), request in request(), at in any::<usize>()) {
        let decode = |bytes: &[u8]| {
            let _ = json::decode::<Request>(bytes);
            let _ = json::decode::<Reply>(bytes);
            let _ = Version::V1.decode::<Reply>(bytes);
            let _ = Version::V1.decode::<Request>(bytes);
            let _ = binary::decode::<Reply>(bytes);
            binary::decode::<Request>(bytes)
        };
        decode(&bytes);
        // With a matching length the bytes are decoded.
        let mut frame = (bytes.len() as u32).to_le_bytes().to_vec();
        frame.extend_from_slice(&bytes);
        prop_assert!(!matches!(decode(&frame), Frame::Partial(_) | Frame::TooLong(_)));
        // A valid frame with one invalid byte.
        for version in Version::ALL {
            let mut frame = encoded(version, &request);
            let at = at % frame.len();
            frame[at] ^= bytes.first().map_or(1, |b| b | 1);
            decode(&frame);
        }
        let mut line = Vec::new();
        json::encode(&request, &mut line);
        line[0] = bytes.first().copied().unwrap_or(0);
        decode(&line);
    }

    #[test]
    fn lengths_above_the_limit_are_refused_first(length in FRAME_MAX as u32 + 1..) {
        let refused = matches!(binary::decode::<Request>(&length.to_le_bytes()), Frame::TooLong(n) if n == length as usize);
        prop_assert!(refused);
    }
}

#[test]
fn a_value_that_fits_a_frame_can_be_decoded() {
    let last_id = EventId::new(Epoch::from_seed(1), 1);
    let mut info = described::<TopicInfo>(json!({
        "topic": "", "published": 1, "events": 1, "bytes": 1, "retained": false, "subscribers": 0, "last_id": last_id,
        "last_time": 1,
    }));
    let mut topic = |n: u32| {
        info.topic = n.to_string();
        info.clone()
    };
    // The default limit of topics, and more; the last reply has almost the maximum size of a frame.
    for topics in [1, 10, 100, 1000, 10_000, 100_000, 160_000] {
        let reply = Reply::Topics((0..topics).map(&mut topic).collect());
        let frame = encoded(Version::CURRENT, &reply);
        let read = matches!(binary::decode::<Reply>(&frame), Frame::Whole(decoded, _) if decoded == reply);
        assert!(read, "{topics} topics in {} bytes", frame.len());
    }
}

#[test]
fn filters_above_the_limit_use_no_memory() {
    let filters = vec![String::new(); 1_000_000];
    let request = Request::Subscribe(Subscribe::new(filters));
    let mut line = Vec::new();
    json::encode(&request, &mut line);
    let frame = encoded(Version::CURRENT, &request);
    let Frame::Whole(from_frame, _) = binary::decode::<Request>(&frame) else { panic!("it fits a frame") };
    let from_line = json::decode::<Request>(&line).expect("it fits a line");
    for decoded in [from_frame, from_line] {
        let Request::Subscribe(Subscribe { filters, .. }) = decoded else { panic!("{decoded:?}") };
        // One more than allowed, so that the subscription is refused.
        assert_eq!(filters.len(), FILTERS_MAX + 1);
        assert!(filters.capacity() < 1000, "room for {}", filters.capacity());
        assert_eq!(FilterSet::parse(&vec!["a"; filters.len()]), Err(TopicError::TooManyFilters));
    }
}

#[test]
fn numbers_in_the_configuration_keep_all_their_digits() {
    // Found by the fuzz target `binary_frame`.
    let value = serde_json::from_str("133333333333333333333333333333333333333333333333333").expect("a number");
    let reply = Reply::Config(vec![Setting::new("k", value, "")]);
    for version in Version::ALL {
        let Frame::Whole(decoded, _) = version.decode::<Reply>(&encoded(version, &reply)) else { panic!("{reply:?}") };
        assert_eq!(decoded, reply);
    }
    let mut line = Vec::new();
    json::encode(&reply, &mut line);
    assert_eq!(json::decode::<Reply>(&line), Ok(reply));
}

#[test]
fn headers_above_the_limit_use_no_memory() {
    let publish = (0..10_000).fold(Publish::new("t", ""), |publish, _| publish.with_header("", ""));
    let request = Request::Publish(publish);
    let mut line = Vec::new();
    json::encode(&request, &mut line);
    let frame = encoded(Version::CURRENT, &request);
    let Frame::Whole(from_frame, _) = binary::decode::<Request>(&frame) else { panic!("it fits a frame") };
    for decoded in [from_frame, json::decode::<Request>(&line).expect("it fits a line")] {
        let Request::Publish(Publish { headers, .. }) = decoded else { panic!("{decoded:?}") };
        assert_eq!(headers.len(), HEADERS_MAX + 1);
        assert!(headers.capacity() < 100, "room for {}", headers.capacity());
    }
}

#[test]
fn json_data_is_the_content_of_a_string_or_the_text_of_another_value() {
    for (written, data) in [
        (r#""a\nb""#, "a\nb"),
        (
            r#"{ "z": [1.10, 1e400, 12345678901234567890123], "a": null }"#,
            r#"{ "z": [1.10, 1e400, 12345678901234567890123], "a": null }"#,
        ),
        ("7.0", "7.0"),
        ("null", "null"),
        ("[]", "[]"),
        (r#""""#, ""),
    ] {
        let line = format!(r#"{{"publish":{{"data": {written} ,"topic":"t"}}}}"#);
        assert_eq!(
            json::decode::<Request>(line.as_bytes()),
            Ok(Request::Publish(Publish::new("t", data))),
            "{written}"
        );
    }
    let error = |data: &str| {
        json::decode::<Request>(format!(r#"{{"publish":{{"data":{data}}}}}"#).as_bytes()).unwrap_err().to_string()
    };
    assert_eq!(error(r#""\ud800""#), "unexpected end of hex escape in the data at column 28");
    assert!(error("{a}").contains("at column"), "{}", error("{a}"));
}
