//! Several machines: nodes that share a log on NATS servers, behind a load balancer, as real processes on loopback.
//!
//! Servers, nodes and the balancer are killed, stopped, suspended and cut off, and what clients have received is checked. The
//! chaos tests run for a short time; `SSE_BUS_CHAOS_SECONDS` is another one.
//!
//! | file | what must hold |
//! |---|---|
//! | `facts` | what the design relies on, of the servers alone |
#![cfg(unix)]

mod facts;
mod js;

use sse_bus_support::harness;
