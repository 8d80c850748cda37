//! Pages of other origins, in a real browser: foreign ones are refused, allowed ones work.

mod allowed;
mod attack;
mod foreign;
