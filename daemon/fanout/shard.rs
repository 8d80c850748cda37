//! The task of a shard: takes what its mailbox has, and gives its streams their turns.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use sse_bus::{bus::ClientId, limits::STALL_CHECK};
use tokio::{task::yield_now, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    mailbox::{Mail, Mailbox},
    streams::{Streams, TURN},
};
use crate::shared_bus::SharedBus;

/// Serves the streams of a mailbox until the daemon stops and all of them have ended.
pub(super) async fn run(mailbox: Arc<Mailbox>, bus: SharedBus, stop: CancellationToken) {
    let mut streams = Streams::new(bus, mailbox.clone());
    let (mut woken, mut turn, mut behind) = (Vec::new(), Vec::new(), VecDeque::<ClientId>::new());
    let (mut checked, mut served) = (Instant::now(), 0);
    loop {
        // Full sockets have a deadline; without them there is nothing to wake up for.
        let is_idle = behind.is_empty() && streams.shared_cursors.is_empty() && streams.multicasts.is_empty();
        let (no_stream, none_full) = (streams.by_client.is_empty(), streams.full.is_empty());
        let wake = async {
            match (is_idle, none_full) {
                (true, true) => mailbox.wake.notified().await,
                (true, false) => drop(timeout(STALL_CHECK, mailbox.wake.notified()).await),
                (false, _) => {}
            }
        };
        if streams.stopping {
            // Without streams there is no waker.
            if !no_stream {
                wake.await;
            }
        } else if stop.run_until_cancelled(wake).await.is_none() {
            streams.stop();
        }
        let may_close = streams.stopping && streams.by_client.is_empty();
        let Some(Mail { new, progress }) = mailbox.take(&mut woken, may_close) else { return };
        woken.extend(new.into_iter().map(|stream| streams.insert(stream)));
        // Turns alternate between shared cursors, streams that were woken just now, and streams that have waited. So no event
        // waits until the many members of a shared cursor have received another event, or until thousands of clients have
        // connected, and no stream starves.
        pause(&mut served, streams.continue_multicasts()).await;
        if !woken.is_empty() {
            let (first, others) = woken.split_at(woken.len().min(TURN));
            streams.take_turn(first);
            pause(&mut served, first.len()).await;
            behind.extend(others);
            woken.clear();
        }
        if !behind.is_empty() {
            turn.extend(behind.drain(..behind.len().min(TURN)));
            streams.take_turn(&turn);
            pause(&mut served, turn.len()).await;
            turn.clear();
        }
        for waiting in progress {
            // It fails if the task no longer waits.
            let _ = waiting.send(());
        }
        if checked.elapsed() >= STALL_CHECK {
            streams.close_full();
            checked = Instant::now();
        }
    }
}

/// Yields to other tasks, and to polling the sockets, after several streams were served. Not after each stream: yielding wakes
/// other threads, and costs as much as several deliveries.
async fn pause(served: &mut usize, more: usize) {
    *served += more;
    if *served >= TURN / 4 {
        *served = 0;
        yield_now().await;
    }
}
