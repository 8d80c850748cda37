//! What a connection of the local socket makes of bytes: requests, and refusals of what is none.

use bytes::BytesMut;
use sse_bus::{
    EventType,
    bus::{ClientName, Format, Publication, Subscription},
    limits::{HEADERS_MAX, Limits},
    protocol::Request,
};

use crate::{
    codec::{Codec, Next, Skip},
    refusal,
};

/// However the bytes are cut on their way, the daemon makes the same of them; and what it refuses, it refuses properly.
pub(crate) fn is_read_alike_however_it_is_cut(codec: Codec, bytes: &[u8]) {
    let whole = read(codec, &[bytes]);
    let (front, back) = bytes.split_at(bytes.len() / 2);
    let (second, third) = back.split_at(back.len().min(1));
    assert_eq!(read(codec, &[front, second, third]), whole);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    if single.len() < 256 {
        assert_eq!(read(codec, &single), whole);
    }
}

/// Reads pieces until they end or nothing that follows can be read; returns the outcome in words.
fn read(codec: Codec, pieces: &[&[u8]]) -> Vec<String> {
    let (mut buffer, limits) = (BytesMut::new(), Limits::default());
    let (mut found, mut skipping) = (Vec::new(), Skip::Nothing);
    for at in 0..=pieces.len() {
        let at_end = at == pieces.len();
        buffer.extend_from_slice(pieces.get(at).copied().unwrap_or_default());
        while skipping.take(&mut buffer) {
            match codec.next(&mut buffer, at_end, &limits) {
                Next::Request(request) => {
                    check_request(&request);
                    found.push(format!("{request:?}"));
                }
                Next::Refused(refused) => {
                    refusal::check(&refused);
                    found.push(refused.to_string());
                }
                Next::Broken(refused) => {
                    refusal::check(&refused);
                    found.push(refused.to_string());
                    return found;
                }
                Next::Partial(more) => {
                    assert!(more > 0, "nothing is missing");
                    break;
                }
                Next::Overlong(skip, refused) => {
                    refusal::check(&refused);
                    found.push(refused.to_string());
                    skipping = skip;
                }
            }
        }
    }
    found
}

/// What the bus would make of a request: something legal, or a refusal.
fn check_request(request: &Request) {
    match request {
        Request::Publish(publish) => match Publication::parse(publish.clone(), &Limits::default()) {
            Ok(publication) => {
                assert_eq!(publication.topic.as_str(), publish.topic);
                assert!(!publication.topic.is_system() && !publication.data.contains('\0'));
                assert_eq!(publication.event_type.as_ref().map(EventType::as_str), publish.event_type.as_deref());
                let given: Vec<_> =
                    publish.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_str())).collect();
                let headers: Vec<_> =
                    publication.headers.iter().map(|(name, value)| (name.to_owned(), value)).collect();
                assert_eq!(headers, given);
                assert!(
                    headers.len() <= HEADERS_MAX && !headers.iter().any(|(_, value)| value.contains(char::is_control))
                );
            }
            Err(refused) => refusal::check(&refused),
        },
        Request::Subscribe(subscribe) => match Subscription::parse(subscribe, Format::Json, String::new()) {
            Ok(subscription) => {
                let name = subscription.description.name.as_ref().map(ClientName::as_str);
                assert_eq!(name, subscribe.client.as_deref());
                assert!(!name.is_some_and(|name| name.contains(char::is_control)));
            }
            Err(refused) => refusal::check(&refused),
        },
        _ => {}
    }
}
