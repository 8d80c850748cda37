//! The module for pages, in real browsers: many tabs on one connection, whatever becomes of the one that holds it; pages
//! that are not let in; a bus that is not there yet.

mod alone;
mod connection;
mod page;
mod scenario;
