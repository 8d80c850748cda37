//! End to end: the daemon, the command line and `curl` as real processes, told apart by what can be seen of them.
//!
//! One file for each theme; [`harness`] starts and stops what they need. A bug that a test found stays tested where its
//! theme is.
#![cfg(unix)]

mod access;
mod answers;
mod bench;
mod bulk;
mod clocks;
mod completions;
mod configuration;
mod cors;
mod disks;
mod doctor;
mod doctor_proxy;
mod durable;
mod earlier_history;
mod earlier_versions;
mod errors;
mod framing;
mod guards;
mod harness;
mod headers;
mod hosts;
mod http2;
mod idle;
mod injection;
mod ledger;
mod lifecycle;
mod limits;
mod listen;
mod logs;
mod long_history;
mod man;
mod module;
mod page;
mod parameters;
mod places;
mod positions;
mod presence;
mod publish;
mod publishers;
mod refusals;
mod reload;
mod removed_files;
mod replay;
mod rest;
mod restart;
mod rounds;
mod rules;
mod service;
mod service_install;
mod service_manager;
mod slow;
mod starts;
mod stopping;
mod strangers;
mod stream;
mod stress;
mod subscribe;
#[cfg(feature = "tls")]
mod tls;
mod tokens;
mod ways;
