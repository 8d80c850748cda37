//! The cost of history on disk: durable and accepted publishes, the start after a SIGKILL, and replays from disk.
//!
//! `cargo bench --bench history [-- NAME...]`, where a name is one of `durable`, `accepted`, `million`. Each line has a
//! figure, its ratio to another of the same run, and its target.
//!
//! Files are in Cargo's target directory, which should be on a real disk; the first line names it. Compared runs
//! alternate in rounds, so that other work on machine and disk disturbs both sides. Every wait has a timeout, and the
//! daemon ends with the benchmark. Needs Unix, curl and GNU's df.

mod accepted;
mod daemon;
mod durable;
mod million;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

type Benchmark = fn() -> Result<()>;

fn main() -> Result<()> {
    let all: [(&str, Benchmark); 3] =
        [("durable", durable::run), ("accepted", accepted::run), ("million", million::run)];
    // Cargo adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let Some(unknown) = wanted.iter().find(|name| all.iter().all(|(known, _)| known != name)) {
        return Err(format!("no benchmark `{unknown}`; there are {}", all.map(|(name, _)| name).join(", ")).into());
    }
    println!("files are on {}", daemon::file_system()?);
    line("what", "figure", "ratio", "asked");
    for (name, run) in all {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            run().map_err(|error| format!("{name}: {error}"))?;
        }
    }
    Ok(())
}

/// Prints a figure, its ratio to another, and its target.
fn line(what: &str, figure: &str, ratio: &str, asked: &str) {
    println!("{what:<66} {figure:>16} {ratio:>7}  {asked}");
}

/// The median of an odd number of figures.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}
