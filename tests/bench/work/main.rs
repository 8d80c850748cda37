//! Work that processes do for each other: `cargo bench --bench work`.

mod requests;

use sse_bus_support::measured::Result;

fn main() -> Result<()> {
    requests::run()
}
