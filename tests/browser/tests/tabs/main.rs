//! The browser module, in real browsers: many tabs share one connection, whatever happens to the tab that holds it;
//! refused pages; a bus that does not run yet.

mod alone;
mod connection;
mod page;
mod scenario;
