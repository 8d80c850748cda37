//! Work that grows with requests and responders is done in bounded steps.

use sse_bus::{
    Topic,
    bus::{Description, Format, Publication, Subscription, requests::RequestTerms},
    limits::REQUESTS_AT_ONCE,
    protocol::Respond,
};

use super::{at, keeping};

#[test]
fn the_responders_that_are_compared_with_waiting_requests_count_towards_a_step() {
    let mut bus = keeping(1);
    let responders: Vec<_> = (0..=REQUESTS_AT_ONCE)
        .map(|_| {
            let subscription = Subscription::respond(&Respond::new(["a"]), Format::Json, Description::default());
            bus.subscribe(subscription.expect("valid"), at(0)).expect("a responder").0
        })
        .collect();
    let topic = Topic::parse("a").expect("legal");
    // All responders are busy, and three requests wait.
    for _ in 0..responders.len() + 3 {
        bus.request(Publication::new(topic.clone(), "x"), RequestTerms::default(), None, at(0)).expect("a responder");
    }
    bus.disconnect(responders[0], at(0));
    let mut steps = 1;
    while bus.next_request_timer() == Some(0) {
        bus.tick_requests(at(0));
        steps += 1;
    }
    assert!(steps >= 3, "{steps}");
}
