//! Frames that earlier versions wrote to the socket: they must be decoded correctly and encoded to the same bytes
//! forever.
//!
//! Each line of `frames-v1.jsonl` and `frames-v2.jsonl`, and of the files of consumers and schedules beside them, contains a frame in
//! hexadecimal and its request or reply as JSON. The files contain all variants. The frames of version 1 were written before version 2 existed. The files of
//! history in this directory are opened by `tests/e2e/earlier_history.rs`.

use std::{collections::HashSet, fmt::Debug, mem::discriminant};

use serde::Deserialize;
use sse_bus::protocol::{
    ErrorCode, Refused, Reply, Request,
    binary::{self, Frame, Message, Version},
};

/// A line: a frame, and its request or reply.
#[derive(Deserialize)]
struct Golden {
    frame: String,
    request: Option<Request>,
    reply: Option<Reply>,
}

impl Golden {
    fn frame(&self) -> Vec<u8> {
        let digits = |at| u8::from_str_radix(&self.frame[at..at + 2], 16).expect("hexadecimal");
        (0..self.frame.len()).step_by(2).map(digits).collect()
    }
}

/// The numbers of the requests that are JSON text.
fn requests_as_text(version: Version) -> &'static [u8] {
    if version == Version::V1 { &[8] } else { &[9] }
}

/// The numbers of the replies that are JSON text: in version 2 the status and the configuration, in both versions others.
fn replies_as_text(version: Version) -> &'static [u8] {
    if version == Version::V1 { &[10] } else { &[7, 9, 12] }
}

/// Returns true if a frame is one of the variants whose content is JSON text.
fn is_text(frame: &[u8], variants: &[u8]) -> bool {
    frame.get(binary::PREFIX).is_some_and(|variant| variants.contains(variant))
}

fn frames(version: Version) -> Vec<Golden> {
    let files: &[&str] = match version {
        Version::V1 => &[
            include_str!("frames-v1.jsonl"),
            include_str!("frames-v1-work.jsonl"),
            include_str!("frames-v1-schedules.jsonl"),
        ],
        Version::V2 => &[
            include_str!("frames-v2.jsonl"),
            include_str!("frames-v2-work.jsonl"),
            include_str!("frames-v2-schedules.jsonl"),
        ],
        other => panic!("there are no frames of {other:?}"),
    };
    files
        .iter()
        .flat_map(|lines| lines.lines())
        .map(|line| serde_json::from_str(line).expect("a frame and its content"))
        .collect()
}

fn decoded<T: Message + Debug>(version: Version, frame: &[u8]) -> T {
    match version.decode(frame) {
        Frame::Whole(message, used) if used == frame.len() => message,
        other => panic!("{version:?}: {other:?}"),
    }
}

fn encoded<T: Message>(version: Version, message: &T) -> Vec<u8> {
    let mut frame = Vec::new();
    version.encode(message, &mut frame).expect("it fits");
    frame
}

fn check<T: Message + PartialEq + Debug>(version: Version, frame: &[u8], expected: &T, may_grow: bool) {
    let message: T = decoded(version, frame);
    assert_eq!(message, *expected, "{version:?}");
    let again = encoded(version, &message);
    // JSON text within a frame may have more fields now.
    if may_grow {
        assert_eq!(decoded::<T>(version, &again), *expected, "{version:?}");
    } else {
        assert_eq!(again, frame, "{version:?}: {expected:?}");
    }
}

#[test]
fn frames_of_all_versions_are_decoded_and_encoded_unchanged() {
    for version in Version::ALL {
        let (mut requests, mut replies) = (HashSet::new(), HashSet::new());
        for golden in frames(version) {
            if let Some(request) = &golden.request {
                requests.insert(discriminant(request));
                check(version, &golden.frame(), request, is_text(&golden.frame(), requests_as_text(version)));
            }
            if let Some(reply) = &golden.reply {
                replies.insert(discriminant(reply));
                check(version, &golden.frame(), reply, is_text(&golden.frame(), replies_as_text(version)));
            }
        }
        assert_eq!((requests.len(), replies.len()), (17, 19), "a variant has no frame of {version:?}");
    }
}

/// Requests and replies, which only version 2 has.
#[test]
fn frames_of_requests_are_decoded_and_encoded_unchanged() {
    let (mut requests, mut replies) = (HashSet::new(), HashSet::new());
    for line in include_str!("frames-v2-requests.jsonl").lines() {
        let golden: Golden = serde_json::from_str(line).expect("a frame and its content");
        if let Some(request) = &golden.request {
            requests.insert(discriminant(request));
            check(Version::V2, &golden.frame(), request, matches!(request, Request::Respond(_)));
        }
        if let Some(reply) = &golden.reply {
            replies.insert(discriminant(reply));
            check(Version::V2, &golden.frame(), reply, matches!(reply, Reply::Responding(_)));
        }
    }
    assert_eq!((requests.len(), replies.len()), (3, 4));
}

#[test]
fn all_versions_can_decode_the_refusal_of_a_version() {
    let mut preface = binary::PREFACE;
    for version in Version::ALL {
        assert_eq!(Version::of(version.preface()), Ok(version));
    }
    preface[5] = 0x63;
    let refused = Version::of(preface).expect_err("there is no version 99");
    assert_eq!(refused.code, ErrorCode::RequestInvalid);
    assert!(refused.message.contains("versions 1 and 2") && refused.message.contains("99"), "{refused}");
    let mut frame = Vec::new();
    binary::refuse_version(&Refused { message: "m".into(), ..refused.clone() }, &mut frame);
    assert_eq!(frame, b"\x14\0\0\0\x08\x0frequest_invalid\x01m\0");
    for version in Version::ALL {
        let reply = Reply::Error(refused.clone());
        assert_eq!(decoded::<Reply>(version, &encoded(Version::V1, &reply)), reply);
    }
}
