//! Several machines: nodes that share a log on NATS servers, behind a load balancer, as real processes on loopback.
//!
//! Servers, nodes and the balancer are killed, stopped, suspended and cut off, and what clients have received is checked. The
//! chaos tests run for a short time; `SSE_BUS_CHAOS_SECONDS` is another one.
//!
//! | file | what must hold |
//! |---|---|
//! | `starting` | a node that starts while the servers elect a leader waits for them |
//! | `exactly_once` | every client receives every event once and in order, while everything is killed at random |
//! | `nodes`, `nodes_foreign`, `nodes_live` | two nodes are one bus: clients, kicks, unicast, presence, requests, nodes that are away |
//! | `facts` | what the design relies on, of the servers alone |
#![cfg(unix)]

mod away;
mod deleted;
mod exactly_once;
mod facts;
mod js;
mod late_joiner;
mod listeners;
mod load;
mod nodes;
mod nodes_foreign;
mod nodes_live;
mod partition;
mod rewritten_tail;
mod security;
mod site;
mod slow_node;
mod starting;

use sse_bus_support::harness;
