//! JSON lines, as the daemon decodes requests: memory is taken only for what was sent, and what was decoded is the same
//! after another round.
#![no_main]

// The daemon uses more of it.
#[allow(dead_code)]
#[path = "../../../daemon/ipc/codec.rs"]
mod codec;
mod connection;
mod memory;
mod refusal;

use libfuzzer_sys::fuzz_target;
use sse_bus::protocol::{Request, json};

use codec::Codec;

fuzz_target!(|bytes: &[u8]| {
    connection::is_read_alike_however_it_is_cut(Codec::Json, bytes);
    bytes.split(|byte| *byte == b'\n').for_each(check);
});

fn check(line: &[u8]) {
    let (decoded, allocated) = memory::allocated_by(|| json::decode::<Request>(line));
    // Texts grow by doubling, and an error repeats what is wrong.
    assert!(allocated <= 32 * line.len() + 4096, "{allocated} allocated for a line of {}", line.len());
    let Ok(request) = decoded else { return };
    let mut again = Vec::new();
    json::encode(&request, &mut again);
    assert_eq!(again.pop(), Some(b'\n'));
    assert!(!again.contains(&b'\n') && !again.contains(&b'\r'), "a line break within {again:?}");
    assert_eq!(json::decode::<Request>(&again), Ok(request));
}
