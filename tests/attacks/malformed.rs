//! Bytes that are no request, or claim to be a huge one, in every protocol of the daemon: refused or cut at once,
//! without memory and without an effect on other clients.

use sse_bus::{
    limits::FRAME_MAX,
    protocol::{Request, Subscribe, binary},
};

use crate::{
    attack::{Attack, Reaction, Transport, attack, withstand},
    harness::Daemon,
    measure::alone,
};

/// A frame with a valid length and this body.
fn frame(body: &[u8]) -> Vec<u8> {
    [&binary::PREFACE[..], &(body.len() as u32).to_le_bytes(), body].concat()
}

/// The beginning of a binary subscription, up to the number of its filters.
fn subscribe_frame(filters: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    binary::encode(&Request::Subscribe(Subscribe::new(["f"])), &mut whole).unwrap();
    // The variant, then the number of filters.
    frame(&[&whole[binary::PREFIX..=binary::PREFIX], filters].concat())
}

/// Random bytes.
pub(crate) fn garbage() -> Vec<u8> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 32) as u8
    };
    std::iter::repeat_with(next).take(64 << 10).collect()
}

fn attacks(daemon: &Daemon) -> Vec<Attack> {
    use Reaction::{Answers, Closes, Waits};
    use Transport::{Local, Tcp};
    let head = format!("POST /events/t HTTP/1.1\r\nHost: {}\r\n", daemon.address);
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    // bincode: 253 says that eight bytes follow.
    let huge = [&[253][..], &(1_u64 << 60).to_le_bytes()].concat();
    let preface_and = |rest: &[u8]| [&binary::PREFACE[..], rest].concat();
    let deep = |open: &str| open.repeat(20_000);
    let mut attacks = vec![
        attack("a frame of 4 GiB", Local, preface_and(&[0xff; 4]), Answers("limit_frame_bytes")),
        attack("a frame of 4 MiB, announced only", Local, preface_and(&(FRAME_MAX as u32).to_le_bytes()), Waits),
        attack("2^60 filters in a frame", Local, subscribe_frame(&huge), Answers("request_invalid")),
        attack(
            "a filter of 2^60 bytes in a frame",
            Local,
            subscribe_frame(&[&[1][..], &huge].concat()),
            Answers("request_invalid"),
        ),
        attack("garbage in a frame", Local, frame(&garbage()), Answers("request_invalid")),
        attack("garbage behind the binary preface", Local, preface_and(&garbage()), Answers("limit_frame_bytes")),
        attack("another version of the preface", Local, *b"\0SSEB\xff", Answers("request_invalid")),
        attack("a truncated frame", Local, preface_and(b"\xff\x00\x00\x00\x00\x01t"), Waits),
        attack("garbage", Local, [&b"\xfe"[..], &garbage()].concat(), Answers("request_invalid")),
        attack("an endless line", Local, r#"{"publish":{"topic":"t","data":""#, Answers("limit_line_bytes"))
            .and_again("x".repeat(64 << 10), 256),
        attack("garbage behind a brace", Local, [&b"{"[..], &garbage()].concat(), Answers("request_invalid")),
        attack("a truncated line", Local, r#"{"publish":{"topic":"t","#, Waits),
        attack("deep arrays", Local, format!("{{\"publish\":{}\n", deep("[")), Answers("request_invalid")),
        attack("deep objects", Local, format!("{}\n", deep(r#"{"publish":"#)), Answers("request_invalid")),
        attack("a deep name", Local, format!("{{\"kick\":{{\"client\":{}\n", deep("[")), Answers("request_invalid")),
    ];
    for transport in [Local, Tcp] {
        attacks.extend([
            attack("garbage behind a capital letter", transport, [&b"G"[..], &garbage()].concat(), Closes),
            attack("an endless request line", transport, "GET /", Closes).and_again("a".repeat(64 << 10), 256),
            attack("endless headers", transport, "GET / HTTP/1.1\r\n", Closes)
                .and_again("a: b\r\n".repeat(8 << 10), 256),
            attack("an endless header", transport, "GET / HTTP/1.1\r\na: ", Closes)
                .and_again("a".repeat(64 << 10), 256),
            attack("a truncated head", transport, "GET /events/t HTTP/1.1\r\nHo", Waits),
            attack("a body of 2^63 bytes", transport, format!("{head}Content-Length: {}\r\n\r\n", 1_u64 << 63), Closes)
                .and_again("x".repeat(64 << 10), 256),
            attack(
                "a body of 2^70 bytes",
                transport,
                format!("{head}Content-Length: 1{}\r\n\r\n", "0".repeat(21)),
                Closes,
            ),
            attack("a chunk of 2^63 bytes", transport, format!("{chunked}{:x}\r\n", 1_u64 << 63), Closes)
                .and_again("x".repeat(64 << 10), 256),
            attack("endless chunks", transport, &*chunked, Closes)
                .and_again(format!("40\r\n{:64}\r\n", "").repeat(1000), 256),
            attack("chunks of one byte", transport, &*chunked, Waits).and_again("1\r\nx\r\n".repeat(8 << 10), 5),
            attack("an endless chunk extension", transport, format!("{chunked}1;"), Closes)
                .and_again("x".repeat(64 << 10), 256),
            attack("endless trailers", transport, format!("{chunked}1\r\nx\r\n0\r\n"), Closes)
                .and_again("a: b\r\n".repeat(8 << 10), 256),
            attack("a body that does not come", transport, format!("{head}Content-Length: 200000\r\n\r\n"), Waits),
        ]);
    }
    attacks.push(attack("garbage over TCP", Tcp, garbage(), Closes));
    attacks.push(attack("an endless beginning over TCP", Tcp, "{", Closes).and_again("x".repeat(64 << 10), 256));
    attacks
}

#[test]
fn malformed_and_huge_requests_are_refused_at_once_without_cost_to_others() {
    let _alone = alone();
    let daemon = Daemon::start(&[]);
    withstand(&daemon, &attacks(&daemon));
}
