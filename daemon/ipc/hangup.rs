//! Whether a peer that has closed its sending half has closed the other half, too.

use std::{ops::Range, time::Duration};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sse_bus::endpoint::Stream;
use tokio::time::sleep;

/// Time between two checks. Most peers close both halves in the same instant; the others are checked ever less often.
const CHECK: Range<Duration> = Duration::from_millis(1)..Duration::from_secs(1);

/// Returns true if the peer takes no more bytes.
pub(super) fn is_closed(stream: &Stream) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::empty())];
    let polled = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    polled.is_err() || fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

/// Waits until the peer takes no more bytes.
pub(super) async fn hangup(stream: &Stream) {
    let mut wait = CHECK.start;
    while !is_closed(stream) {
        sleep(wait).await;
        wait = (wait * 2).min(CHECK.end);
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt as _, time::Instant};

    use super::*;

    /// A dropped connection closes its sending half first, and the other half a moment later.
    #[tokio::test(start_paused = true)]
    async fn a_peer_that_closes_one_half_after_the_other_is_noticed_at_once() {
        let (stream, mut peer) = Stream::pair().unwrap();
        peer.shutdown().await.unwrap();
        let began = Instant::now();
        let watched = tokio::spawn(async move { hangup(&stream).await });
        tokio::task::yield_now().await;
        drop(peer);
        watched.await.unwrap();
        assert!(began.elapsed() < Duration::from_millis(10), "{:?}", began.elapsed());
    }
}
