//! End to end: the daemon, the command line and `curl` as real processes, checked by what they print, send and log.
//!
//! One file for each theme; the harness starts and stops the processes. A regression test belongs to the theme of its
//! fault.
#![cfg(unix)]

mod access;
mod bench;
mod clocks;
mod command_line;
mod completions;
mod concurrent_starts;
mod configuration;
mod cors;
mod crashes;
mod delivery_check;
mod disks;
mod doctor;
mod doctor_proxy;
mod durable;
mod earlier_history;
mod earlier_versions;
mod errors;
mod exit_codes;
mod finding;
mod finding_as_users;
mod framing;
mod guards;
mod headers;
mod history_rules;
mod hosts;
mod http2;
mod idle;
mod injection;
mod kick;
mod lifecycle;
mod limits;
mod listen;
mod log_lines;
#[cfg(feature = "delayed-log")]
mod log_outage;
mod logs;
mod long_history;
mod man;
mod module;
mod other_users;
mod page;
mod pages;
mod parameters;
mod positions;
mod presence;
mod publish;
mod publish_lines;
mod publishers;
mod refusals;
mod reload;
mod remote;
mod remote_stream;
mod removed_files;
mod replay;
mod requests;
mod requests_ctl;
mod requests_http;
mod rest;
mod restart;
mod restart_lines;
mod secrets;
mod service;
mod service_install;
mod service_manager;
mod shared_feeds;
mod slow;
mod socket_paths;
mod stopping;
mod stream;
mod stress;
mod subscribe;
mod terminal;
#[cfg(feature = "tls")]
mod tls;
mod tokens;
mod transports;
mod unresponsive;
mod work;
mod work_durable;
mod work_library;

use sse_bus_support::harness;
