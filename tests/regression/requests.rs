//! Checks of requests from outside.

use std::time::Duration;

use sse_bus::{
    bus::{ClientName, Format, Publication, Start, Subscription},
    limits::{Limits, NAME_MAX},
    protocol::{Ack, ErrorCode, Publish, Refused, Slow, Subscribe},
};

fn refusal<T>(result: Result<T, Refused>) -> (ErrorCode, String) {
    let Err(Refused { code, message, .. }) = result else { panic!("it was accepted") };
    (code, message)
}

#[test]
fn an_invalid_event_is_refused_with_the_reason() {
    let limits = Limits { event_bytes: 10, ..Limits::default() };
    for (publish, code, part) in [
        (Publish::new("a b", ""), ErrorCode::TopicInvalid, "the topic `a b` cannot be used: it contains a space"),
        (Publish::new("$sys/a", ""), ErrorCode::TopicInvalid, "belong to the bus"),
        (Publish::new("a", "").with_type(""), ErrorCode::TypeInvalid, "the type `` cannot be used"),
        (Publish::new("a", "").with_header("a b", ""), ErrorCode::HeadersInvalid, "a b"),
        (Publish::new("a", "x".repeat(11)), ErrorCode::LimitEvent, "has 11 bytes, more than `event_bytes` = 10"),
        (Publish::new("a", "x\0"), ErrorCode::DataInvalid, "byte 1 is NUL"),
        (Publish::new("a", "").retained().to_client("c1"), ErrorCode::RequestInvalid, "cannot be retained"),
    ] {
        let (seen, message) = refusal(Publication::parse(publish, &limits));
        assert!(seen == code && message.contains(part), "expected {code:?}, {part}; saw {seen:?}, {message}");
    }
}

#[test]
fn a_refusal_shows_sixty_characters_of_the_input() {
    for (long, shown) in [("x ".repeat(30), "x ".repeat(30)), ("x ".repeat(31), format!("{}…", "x ".repeat(30)))] {
        let (_, message) = refusal(Publication::parse(Publish::new(long, ""), &Limits::default()));
        assert!(message.starts_with(&format!("the topic `{shown}` ")), "{message}");
    }
    let (_, message) = refusal(Publication::parse(Publish::new("a\u{1b}", ""), &Limits::default()));
    assert!(message.contains(r"`a\u{1b}`"), "{message}");
}

#[test]
fn a_valid_event_keeps_all_fields() {
    let limits = Limits { event_bytes: 4, ..Limits::default() };
    let publish = Publish::new("a/b", "data").with_type("t").with_header("k", "v").with_ttl(Duration::from_millis(7));
    let Publication { topic, event_type, headers, data, retain, ttl, to, durable, .. } =
        Publication::parse(publish.clone(), &limits).expect("legal");
    assert_eq!((topic.as_str(), &*data, retain, to, durable), ("a/b", "data", false, None, false));
    assert_eq!(event_type.map(|name| name.as_str().to_owned()), Some("t".into()));
    assert_eq!((headers.get("k"), ttl), (Some("v"), Some(Duration::from_millis(7))));
    let retained = Publication::parse(publish.clone().retained().with_ack(Ack::Durable), &limits).expect("legal");
    assert_eq!((retained.retain, retained.durable), (true, true));
    let to = Publication::parse(publish.to_client("c7"), &limits).expect("legal").to;
    assert_eq!(to.as_deref(), Some("c7"));
}

#[test]
fn the_start_of_a_subscription_is_a_word_an_id_or_a_duration() {
    for (text, start) in [
        ("now", Start::Now),
        ("latest", Start::Latest),
        ("all", Start::All),
        ("e-7", Start::After("e-7".into())),
        ("10m", Start::Last(Duration::from_mins(10))),
        ("250ms", Start::Last(Duration::from_millis(250))),
    ] {
        assert_eq!(Start::parse(text).expect("legal"), start, "{text}");
    }
    for text in ["", "yesterday", "e-07", "7"] {
        let (code, message) = refusal(Start::parse(text));
        assert_eq!(code, ErrorCode::SinceInvalid);
        assert!(message.contains(&format!("since `{text}`")), "{message}");
    }
}

#[test]
fn a_subscription_keeps_all_fields_and_names_an_invalid_filter() {
    let asked = Subscribe::new(["b", "a/*"]).with_since("all").with_slow(Slow::Latest).with_client("ada").past_only();
    let Subscription { filters, format, start, slow, past_only, description, .. } =
        Subscription::parse(&asked, Format::Json, "peer".into()).expect("legal");
    assert_eq!(filters.to_strings(), ["a/*", "b"]);
    assert_eq!((format, start, slow, past_only), (Format::Json, Start::All, Slow::Latest, true));
    assert_eq!((description.name.as_ref().map(ClientName::as_str), &*description.peer), (Some("ada"), "peer"));
    let plain = Subscription::parse(&Subscribe::default(), Format::Json, String::new()).expect("legal");
    assert_eq!((plain.start, plain.past_only, plain.filters.to_strings()), (Start::Retained, false, vec!["**".into()]));

    let (code, message) = refusal(Subscription::parse(&Subscribe::new(["a", "b*"]), Format::Json, String::new()));
    assert_eq!(code, ErrorCode::FilterInvalid);
    assert!(message.starts_with("the filter `b*` cannot be used"), "{message}");
}

#[test]
fn a_client_name_is_short_printable_and_no_id() {
    let longest = "x".repeat(NAME_MAX);
    for name in ["a", "c", "c01", "c+1", "C1", "é x", &longest] {
        assert_eq!(ClientName::parse(name).expect("legal").as_str(), name);
    }
    let long = "x".repeat(NAME_MAX + 1);
    for (name, part) in
        [("", "empty"), (&*long, "129 bytes"), ("a\nb", "control characters"), ("c12", "the id of a client")]
    {
        let (code, message) = refusal(ClientName::parse(name));
        assert_eq!(code, ErrorCode::ClientInvalid);
        assert!(message.contains(part), "expected {part}, saw {message}");
    }
}

#[test]
fn an_event_for_one_client_cannot_be_durable() {
    let publish = Publish::new("a", "").with_ack(Ack::Durable).to_client("c1");
    let publication = Publication::parse(publish, &Limits::default()).expect("it may be for a consumer");
    let (code, message) = refusal(super::keeping(1).publish(publication, None, super::at(0)));
    assert!(code == ErrorCode::RequestInvalid && message.contains("cannot be durable"), "{code:?} {message}");
}
