//! The values of the protocol: their texts, exact limits, and what a client derives from them.

use std::str::FromStr as _;

use sse_bus::{
    Epoch, EventId, EventType, Headers,
    event::TypeError,
    gap::GapReason,
    limits::{FRAME_MAX, LINE_MAX, Limits, MESSAGE_MAX, TYPE_MAX},
    protocol::{
        ErrorCode, LimitInfo, Payload, Refused, RefusedOrigin, Reply, Request, Slow,
        binary::{self, Frame, Version},
        json,
    },
};

#[test]
fn an_epoch_is_the_low_forty_bits_of_its_seed() {
    for (seed, text) in [
        (0, "00000000"),
        (35, "0000000z"),
        (36, "00000010"),
        (1 << 40, "00000000"),
        ((1 << 40) - 1, "e13wu1of"),
        (u64::MAX, "e13wu1of"),
    ] {
        assert_eq!(Epoch::from_seed(seed).as_str(), text, "{seed}");
    }
    for (text, is_epoch) in
        [("", false), ("a", true), ("A", false), ("é", false), ("a-", false), ("0123456789ab", true)]
    {
        assert_eq!(Epoch::parse(text).is_some(), is_epoch, "{text:?}");
    }
    assert_eq!(Epoch::parse(&"a".repeat(Epoch::MAX)).map(|epoch| epoch.as_str().len()), Some(Epoch::MAX));
    assert_eq!(Epoch::parse(&"a".repeat(Epoch::MAX + 1)), None);
    let id = EventId::new(Epoch::from_seed(36), 7);
    assert_eq!(format!("{id:?}"), "EventId { epoch: 00000010, seq: 7, check: None }");
}

#[test]
fn a_value_of_another_kind_is_refused_with_what_is_expected() {
    for json in ["7", "{}"] {
        let error = serde_json::from_str::<EventId>(json).expect_err("it is no text");
        assert!(error.to_string().contains("expected an event id"), "{error}");
    }
    let error = serde_json::from_str::<Headers>("7").expect_err("it is no object");
    assert!(error.to_string().contains("expected an object of headers"), "{error}");
    let error = json::decode::<Request>(br#"{"publish":{"topic":"t","data":"","headers":7}}"#).expect_err("no object");
    assert!(error.to_string().contains("expected an object of headers"), "{error}");
    let error = json::decode::<Request>(br#"{"subscribe":{"filters":7}}"#).expect_err("it is no list");
    assert!(error.to_string().contains("expected a list"), "{error}");
}

#[test]
fn an_event_type_has_an_exact_limit_and_no_reserved_first_character() {
    let of = |bytes: usize| EventType::parse(&"x".repeat(bytes)).map(|parsed| parsed.as_str().len());
    assert_eq!([of(1), of(TYPE_MAX)], [Ok(1), Ok(TYPE_MAX)]);
    assert_eq!([of(0), of(TYPE_MAX + 1)], [Err(TypeError::Empty), Err(TypeError::TooLong(TYPE_MAX + 1))]);
    assert_eq!(of(TYPE_MAX + 100), Err(TypeError::TooLong(TYPE_MAX + 100)));
    let refused = |text| EventType::parse(text).expect_err("it is refused");
    assert_eq!(refused("$gap"), TypeError::Reserved);
    assert_eq!(["\r", "a\n", "\0"].map(refused), [TypeError::LineBreak; 3]);
    assert_eq!(EventType::parse("a$").map(|parsed| parsed.as_str().to_owned()), Ok("a$".into()));
}

#[test]
fn a_gap_has_the_same_reason_as_text_and_in_json() {
    for reason in [GapReason::Evicted, GapReason::Lagged, GapReason::Restarted, GapReason::UnknownId] {
        assert_eq!(serde_json::to_value(reason).expect("text"), reason.as_str());
    }
}

#[test]
fn headers_show_their_names_and_values_for_debugging() {
    let headers = Headers::parse([("a", "1"), ("b", "2")]).expect("legal");
    assert_eq!(format!("{headers:?}"), r#"{"a": "1", "b": "2"}"#);
}

#[test]
fn a_policy_for_slow_subscribers_is_read_as_it_is_written() {
    for (text, slow) in [("gap", Slow::Gap), ("latest", Slow::Latest), ("disconnect", Slow::Disconnect)] {
        assert_eq!(Slow::from_str(text), Ok(slow));
    }
    let refused = Slow::from_str("Gap").expect_err("it is refused");
    assert_eq!(refused.to_string(), "`Gap` is not one of gap, latest, disconnect");
}

#[test]
fn data_is_given_as_bytes_or_text() {
    assert_eq!([Payload::from(b"\xff".to_vec()).0, Payload::from("x").0], [vec![0xff], vec![b'x']]);
}

#[test]
fn requests_may_be_as_large_as_the_largest_event_and_its_fields() {
    let limits = |event_bytes| Limits { event_bytes, ..Limits::default() };
    let (none, some) = (limits(0), limits(1000));
    assert!(none.line_bytes() > 1000 && none.frame_bytes() > 1000);
    assert_eq!(some.line_bytes() - none.line_bytes(), 1000);
    assert_eq!(some.frame_bytes() - none.frame_bytes(), 1000);
    assert_eq!([limits(usize::MAX).line_bytes(), limits(usize::MAX).frame_bytes()], [LINE_MAX, FRAME_MAX]);
}

#[test]
fn a_limit_deserves_a_warning_from_four_fifths_on() {
    for (used, bound, is_near) in
        [(0, 0, false), (1, 0, false), (79, 100, false), (80, 100, true), (100, 100, true), (0, 1, false), (1, 1, true)]
    {
        assert_eq!(LimitInfo::new("topics", used, bound).is_near(), is_near, "{used} of {bound}");
    }
}

#[test]
fn a_page_with_an_origin_can_be_allowed() {
    for (origin, can_be) in
        [("http://localhost:3000", true), ("https://a.example", true), ("null", false), ("file://", false), ("", false)]
    {
        assert_eq!(RefusedOrigin::new(origin, 1, 0).can_be_allowed(), can_be, "{origin}");
    }
}

#[test]
fn the_codes_of_limits_are_distinguished_from_others() {
    assert!(
        [ErrorCode::LimitEvent, ErrorCode::LimitTopics, ErrorCode::LimitTickets].iter().all(|code| code.is_limit())
    );
    assert!(![ErrorCode::Denied, ErrorCode::Other, ErrorCode::Unavailable].iter().any(|code| code.is_limit()));
}

#[test]
fn the_message_of_a_refusal_is_one_line_and_bounded() {
    let message = |text: &str| Refused::new(ErrorCode::Other, text).message;
    assert_eq!(message("a\u{e9}\n\u{1b}[2J\u{85}b"), r"aé\n\u{1b}[2J\u{85}b");
    assert_eq!(message("\"'\\\n"), r#""'\\n"#, "quotes and backslashes are not escaped");
    let long = |bytes: usize| message(&"x".repeat(bytes));
    assert_eq!(long(MESSAGE_MAX), "x".repeat(MESSAGE_MAX));
    let cut = format!("{}…", "x".repeat(MESSAGE_MAX));
    assert_eq!([long(MESSAGE_MAX + 1), long(10 * MESSAGE_MAX)], [cut.clone(), cut]);
}

/// The largest frame of each version, and one that is a byte too large.
#[test]
fn a_frame_has_an_exact_limit() {
    let reply = |bytes: usize| {
        let mut refused = Refused::new(ErrorCode::Other, "");
        refused.message = "x".repeat(bytes);
        Reply::Error(refused)
    };
    for version in Version::ALL {
        let encoded = |bytes| {
            let mut frame = b"before".to_vec();
            let result = version.encode(&reply(bytes), &mut frame);
            (result, frame)
        };
        let (result, frame) = encoded(FRAME_MAX - 100);
        result.expect("it fits");
        let overhead = frame.len() - b"before".len() - (FRAME_MAX - 100);
        // The four bytes of the length do not count.
        let most = FRAME_MAX + 4 - overhead;
        let (result, frame) = encoded(most);
        assert_eq!((result, frame.len()), (Ok(()), FRAME_MAX + 4 + b"before".len()), "{version:?}");
        let Frame::Whole(decoded, used) = version.decode::<Reply>(&frame[b"before".len()..]) else {
            panic!("the largest frame is decoded")
        };
        assert_eq!((decoded == reply(most), used), (true, FRAME_MAX + 4));
        assert_eq!(encoded(most + 1), (Err(FRAME_MAX + 1), b"before".to_vec()), "{version:?}");
    }
}

#[test]
fn a_frame_with_bytes_after_its_value_is_refused() {
    let mut frame = Vec::new();
    binary::encode(&Reply::Error(Refused::new(ErrorCode::Other, "x")), &mut frame).expect("it fits");
    frame.push(0);
    frame[0] += 1;
    let Frame::Bad(why) = binary::decode::<Reply>(&frame) else { panic!("it was decoded") };
    assert!(why.contains(&format!("the frame has {} bytes, but its value only {}", frame.len() - 4, frame.len() - 5)));
}
