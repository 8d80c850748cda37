//! Requests that are answered one by one: subscribing, working, and what the daemon knows.

use std::time::Duration;

use sse_bus::protocol::{ErrorCode, Refused, Reply, Request};

use super::Session;
use crate::{
    api::{self, Admin, Consumers},
    cluster::Partial,
};

impl Session<'_> {
    /// Returns the reply to a request that is not part of a batch.
    pub(super) async fn reply_to(&mut self, request: Request) -> Result<Reply, Refused> {
        let request = match request {
            Request::Subscribe(subscribe) => return self.subscribe(subscribe).await,
            Request::Consume(consume) => return self.consume(&consume).await,
            Request::Respond(respond) => return self.respond(&respond).await,
            Request::Reply(reply) => return api::reply(self.daemon, reply).await.map(|()| Reply::Replied {}),
            Request::Schedules {} => return api::schedules(self.daemon, &self.caller).await.map(Reply::Schedules),
            Request::CancelSchedule { schedule } => {
                return api::cancel_schedule(self.daemon, &self.caller, &schedule)
                    .await
                    .map(|()| Reply::Cancelled { schedule });
            }
            Request::Consumers {} => return Ok(Reply::Consumers(self.consumers()?.list().await?)),
            Request::Consumer { name, action } => return self.consumers()?.run(&name, action).await,
            request => request,
        };
        let admin = Admin::authorize(self.daemon, &self.caller)?;
        Ok(match request {
            Request::Clients {} => {
                let Partial { result, unreachable } = admin.clients().await;
                Reply::of_clients(result, unreachable)
            }
            Request::Nodes {} => Reply::Nodes(admin.nodes()),
            Request::Topics {} => Reply::Topics(admin.topics().await),
            Request::Kick { client, for_ms } => {
                let Partial { result: connections, unreachable } = match for_ms {
                    None => admin.kick(&client).await?,
                    Some(time) => admin.kick_for(&client, Duration::from_millis(time)).await?,
                };
                Reply::Kicked { connections, unreachable }
            }
            Request::Status {} => Reply::Status(Box::new(admin.status().await)),
            Request::Config {} => Reply::Config(admin.config()),
            // Publishes go through the batch.
            _ => return Err(Refused::new(ErrorCode::RequestInvalid, "this daemon does not support the request")),
        })
    }

    fn consumers(&self) -> Result<Consumers, Refused> {
        Consumers::authorize(self.daemon, &self.caller)
    }
}
