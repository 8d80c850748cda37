//! Requests and replies with the library, over the local socket and HTTP.

use sse_bus::{
    Client,
    client::{Address, Error, Remote, Responder, ResponderItem},
    protocol::{ErrorCode, ReplyMessage, RequestMessage, Respond},
};
use tokio::task::JoinSet;

use crate::{
    harness::{Daemon, block_on},
    remote::url,
};

fn addresses(daemon: &Daemon) -> [Address; 2] {
    [daemon.endpoint().into(), Remote::parse(&url(daemon)).unwrap().into()]
}

/// Answers requests with their data, each in a task of its own. Drops the request `drop`.
async fn echo(mut responder: Responder) {
    while let Some(item) = responder.next().await {
        let ResponderItem::Request(request) = item.unwrap() else { continue };
        tokio::spawn(async move {
            if request.data != "drop" {
                let data = request.data.clone();
                request.reply_with(data, [("unit", "m")]).await.unwrap();
            }
        });
    }
}

async fn ask(address: Address, data: String) -> Result<Vec<ReplyMessage>, Error> {
    Client::connect(address).await?.request(&RequestMessage::new("a", data)).await
}

#[test]
fn large_requests_are_answered_at_the_same_time() {
    let daemon = Daemon::start(&[]);
    for address in addresses(&daemon) {
        block_on(async {
            let client = Client::connect(address.clone()).await.unwrap();
            let responder = client.respond(Respond::new(["a"]).with_max_in_flight(8).with_client("echo")).await;
            let echo = tokio::spawn(echo(responder.unwrap()));
            // More than the buffers of the sockets, in both directions.
            let large = "x".repeat(250 << 10);
            let mut asking: JoinSet<_> = (0..24).map(|_| ask(address.clone(), large.clone())).collect();
            while let Some(replies) = asking.join_next().await {
                let reply = &replies.unwrap().unwrap()[0];
                assert!(reply.data == large && reply.headers.get("unit") == Some("m") && reply.responder == "echo");
            }
            let failed = ask(address.clone(), "drop".into()).await.unwrap_err();
            assert_eq!(failed.code(), Some(ErrorCode::ResponderFailed), "{failed}");
            echo.abort();
        });
        crate::harness::until("its end", || daemon.get("/clients").json().as_array().unwrap().is_empty().then_some(()));
        let failed = block_on(ask(address, String::new())).unwrap_err();
        assert!(failed.code() == Some(ErrorCode::NoResponder) && failed.is_transient(), "{failed}");
    }
}

#[test]
fn a_reply_that_is_too_late_or_too_large_is_refused() {
    let daemon = Daemon::start(&[]);
    for address in addresses(&daemon) {
        block_on(async {
            let client = Client::connect(address.clone()).await.unwrap();
            let mut responder = client.respond(Respond::new(["a"])).await.unwrap();
            let mut client = Client::connect(address).await.unwrap();
            let request = RequestMessage::new("a", "").with_timeout(std::time::Duration::from_millis(50));
            let refused = client.request(&request).await.unwrap_err();
            assert_eq!(refused.code(), Some(ErrorCode::TimedOut), "{refused}");
            let Some(Ok(ResponderItem::Request(late))) = responder.next().await else { panic!("no request") };
            assert!(late.time_left().is_zero());
            let refused = late.reply("x").await.unwrap_err();
            assert_eq!(refused.code(), Some(ErrorCode::StaleRequest), "{refused}");
            // The connection of the requester can be used again.
            let (reply, refused) = tokio::join!(async { client.request(&RequestMessage::new("a", "")).await }, async {
                let Some(Ok(ResponderItem::Request(request))) = responder.next().await else { panic!("no request") };
                request.reply("x".repeat(300 << 10)).await.unwrap_err()
            });
            assert_eq!(refused.code(), Some(ErrorCode::LimitEvent), "{refused}");
            assert_eq!(reply.unwrap_err().code(), Some(ErrorCode::ResponderFailed));
        });
    }
}
