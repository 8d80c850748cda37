//! What a request does, the same for every transport: authorize, validate, apply, time, await durability.
//!
//! A transport decodes requests, calls these functions, and encodes what they return. It counts each refusal once, where it
//! encodes it, because it also refuses requests that it cannot decode.

mod admin;
mod consumer_list;
mod consumers;
mod publish;
mod queue;
mod requests;
mod schedules;
mod settle;
mod subscribe;
mod work;

pub(crate) use self::{
    admin::{Admin, health},
    consumers::Consumers,
    publish::{admit, publish, publish_one},
    requests::{WaitingRequest, fail_request, reply, request, resize_responder, responder},
    schedules::{cancel_schedule, schedule, schedules},
    settle::{Settle, release, settle},
    subscribe::{subscribe, subscription},
    work::{Work, WorkerGuard, authorize_work, consume, consume_once},
};
