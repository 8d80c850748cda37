//! Binary frames, as the daemon decodes requests and a client decodes replies: a length is checked before anything is
//! allocated, a frame is used up to its last byte, and what was decoded is the same after another round.
#![no_main]

// The daemon uses more of it.
#[allow(dead_code)]
#[path = "../../../daemon/ipc/codec.rs"]
mod codec;
mod connection;
mod memory;
mod refusal;

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use sse_bus::{
    limits::FRAME_MAX,
    protocol::{
        Reply, Request,
        binary::{self, Frame, Message, Version},
    },
};

use codec::Codec;

/// What a decoder takes at most for a frame, whatever lengths stand in it: some times the frame itself.
fn allowance(frame: usize) -> usize {
    128 * frame + 4096
}

/// A client trusts its daemon with room beforehand for a list, which serde bounds, and for one within it.
const LISTS: usize = 2 << 20;

fuzz_target!(|bytes: &[u8]| {
    // With a length that fits, so that what follows is decoded.
    let frame = [&(bytes.len() as u32).to_le_bytes(), bytes].concat();
    for version in Version::ALL {
        connection::is_read_alike_however_it_is_cut(Codec::Binary(version), bytes);
        for buffer in [bytes, &frame] {
            check::<Request>(version, buffer, 0);
            check::<Reply>(version, buffer, LISTS);
        }
    }
});

fn check<T: Message + PartialEq + Debug>(version: Version, buffer: &[u8], more: usize) {
    let (frame, allocated) = memory::allocated_by(|| version.decode::<T>(buffer));
    match frame {
        Frame::Partial(needed) => {
            assert!(needed > buffer.len() && needed <= binary::PREFIX + FRAME_MAX, "{needed} needed");
            assert_eq!(allocated, 0, "allocated before the frame is there");
        }
        Frame::TooLong(size) => {
            assert!(size > FRAME_MAX, "{size} is not too long");
            assert_eq!(allocated, 0, "allocated for a frame that is too long");
        }
        Frame::Bad(why) => {
            assert!(!why.is_empty());
            assert!(allocated <= allowance(buffer.len()) + more, "{allocated} allocated for a bad frame");
        }
        Frame::Whole(value, used) => {
            assert!(allocated <= allowance(used) + more, "{allocated} allocated for a frame of {used}");
            let length = buffer.first_chunk().map(|prefix| u32::from_le_bytes(*prefix) as usize);
            assert_eq!(length.map(|length| binary::PREFIX + length), Some(used));
            assert!(matches!(version.decode::<T>(&buffer[..used - 1]), Frame::Partial(needed) if needed == used));
            let mut again = Vec::new();
            version.encode(&value, &mut again).expect("what came in a frame fits into one");
            match version.decode::<T>(&again) {
                Frame::Whole(decoded, used) => assert_eq!((decoded, used), (value, again.len())),
                other => panic!("{other:?} of {value:?}"),
            }
        }
    }
}
