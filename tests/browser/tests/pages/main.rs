//! Pages that are not the bus's own, in a real browser: those of others are kept out, those that are allowed get what they
//! need.

mod allowed;
mod attack;
mod foreign;
