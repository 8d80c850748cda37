//! Several machines: nodes that share a log on NATS servers, behind a load balancer, as real processes on loopback.
//!
//! Servers, nodes and the balancer are killed, stopped, suspended and cut off, and what clients have received is checked. The
//! chaos tests run for a short time; `SSE_BUS_CHAOS_SECONDS` is another one.
//!
//! | file | what must hold |
//! |---|---|
//! | `exactly_once` | every client receives every event once and in order, while everything is killed at random |
//! | `rewritten_tail` | clients that have received events that the log has lost receive a gap, and nothing is skipped silently |
//! | `deleted` | after streams or consumers are deleted or replaced, nodes recover or notify within ten seconds |
//! | `away` | without a server publishes fail, streams stay open, and everything resumes |
//! | `partition` | a node that is cut off delivers only what the log has |
//! | `pipelining` | replies to many publishes at once follow in order, also when a server dies |
//! | `bench` | a benchmark on a server leaves nothing there |
//! | `late_joiner` | a fresh node serves all of a long log in bounded memory |
//! | `slow_node` | a suspended node delays no other, and catches up |
//! | `jobs` | workers of all nodes share the events of a consumer, and any node settles their deliveries |
//! | `jobs_chaos` | no job is lost, and none is done by a token that was not current, while everything is killed |
//! | `schedules` | the servers publish what is scheduled once, and any node lists, replaces and cancels it |
//! | `starting` | a node that starts while the servers elect a leader waits for them |
//! | `security` | nodes that the servers refuse say why; messages of others are skipped |
//! | `nodes`, `nodes_foreign`, `nodes_live` | two nodes are one bus: clients, kicks, unicast, presence, requests, nodes that are away |
//! | `facts` | what the design relies on, of the servers alone |
#![cfg(unix)]

mod away;
mod bench;
mod deleted;
mod exactly_once;
mod facts;
mod jobs;
mod jobs_chaos;
mod js;
mod late_joiner;
mod listeners;
mod load;
mod nodes;
mod nodes_foreign;
mod nodes_live;
mod partition;
mod pipelining;
mod rewritten_tail;
mod schedules;
mod security;
mod site;
mod slow_node;
mod starting;

use sse_bus_support::harness;
