//! HTTP/2 attacks: floods of frames that are cheap for their sender, endless headers, zero windows.

use crate::{
    attack::{Attack, Reaction, Transport, attack, withstand},
    harness::Daemon,
    malformed::garbage,
    measure::alone,
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = &(payload.len() as u32).to_be_bytes()[1..];
    [length, &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The preface and the peer's settings.
fn begin(settings: &[u8]) -> Vec<u8> {
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, settings)].concat()
}

/// The fields of a request for a path; names are numbers of HPACK's table (RFC 7541, appendix A).
fn get(daemon: &Daemon, path: &str) -> Vec<u8> {
    let text = |name: u8, value: &str| [&[name, value.len() as u8], value.as_bytes()].concat();
    [&[0x82, 0x86][..], &text(4, path), &text(1, &daemon.address.to_string())].concat()
}

/// As many requests as one connection may have, each on a stream of its own.
fn requests(daemon: &Daemon, path: &str, many: u32) -> Vec<u8> {
    let fields = get(daemon, path);
    (0..many).flat_map(|n| frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, &fields)).collect()
}

fn attacks(daemon: &Daemon) -> Vec<Attack> {
    use Reaction::{Closes, Waits};
    let settings = begin(b"");
    let and = |frames: &[u8]| [&settings, frames].concat();
    let headers = |fields: &[u8]| and(&frame(HEADERS, END_STREAM, 1, fields));
    // A field of 4,000 bytes enters the table, and is then repeated with one byte each.
    let bomb = [&[0x40, 1, b'a', 0x7f, 0xa1, 0x1e][..], &[b'x'; 4000], &[0xbe; 12_000]].concat();
    let mut resets = Vec::new();
    for n in 0..50_000 {
        let stream = 2 * n + 1;
        resets.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &get(daemon, "/healthz")));
        resets.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
    }
    let tcp = Transport::Tcp;
    vec![
        attack("HTTP/2: garbage", tcp, and(&garbage()), Closes),
        attack("HTTP/2: a frame of 16 MiB", tcp, and(&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1]), Closes),
        attack("HTTP/2: a truncated frame", tcp, and(&[0, 1, 0, HEADERS, 0, 0, 0, 0, 1, 0x82]), Waits),
        attack("HTTP/2: requests that are reset at once", tcp, and(&resets), Closes),
        attack("HTTP/2: endless continuations", tcp, headers(&get(daemon, "/")), Closes)
            .and_again(frame(CONTINUATION, 0, 1, b"").repeat(5000), 256),
        attack("HTTP/2: endless headers", tcp, headers(&get(daemon, "/")), Closes)
            .and_again(frame(CONTINUATION, 0, 1, &b"\0\x01a\x01b".repeat(3000)), 1000),
        attack("HTTP/2: a header that grows", tcp, headers(&bomb), Closes)
            .and_again(frame(CONTINUATION, 0, 1, &[0xbe; 16_000]), 1000),
        attack("HTTP/2: settings without end", tcp, &*settings, Waits)
            .and_again(frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]).repeat(4000), 20),
        attack("HTTP/2: pings without end", tcp, &*settings, Waits)
            .and_again(frame(PING, 0, 0, b"whatever").repeat(4000), 20),
        attack("HTTP/2: windows without end", tcp, &*settings, Closes)
            .and_again(frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0]), 3),
        attack("HTTP/2: more streams than allowed", tcp, and(&requests(daemon, "/events/t", 2000)), Waits),
        attack(
            "HTTP/2: no window for 100 responses",
            tcp,
            [begin(&[0, 4, 0, 0, 0, 0]), requests(daemon, "/metrics", 100)].concat(),
            Waits,
        ),
    ]
}

#[test]
fn floods_of_frames_cost_neither_memory_nor_latency_of_others() {
    let _alone = alone();
    let daemon = Daemon::start(&["--log", "warn"]);
    withstand(&daemon, &attacks(&daemon));
    assert_eq!(daemon.get("/healthz").status, 200);
}
