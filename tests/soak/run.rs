//! One run: all clients start, the daemon is sampled, all clients finish, and the totals are checked.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    delivery_check::{DeliveryCheck, PUBLISHERS, Wanted},
    harness::{Daemon, until},
    load,
    memory::Memory,
    readers::{Habit, Reader, Way},
};

/// Small bounds, reached all the time.
const CONFIGURATION: &str = "
log = \"warn\"
history_events = 1000
history_bytes = \"1MiB\"
history_budget = \"6MiB\"
history_age = \"10s\"
[limits]
feed_buffer = 65536
topics = 1000
";

/// The part of the run, at most half of it, that the trend of memory leaves out.
const WARM_UP: Duration = Duration::from_mins(5);

const KICKED: [&str; 3] = ["kicked", "kicked-locally", "kicked-library"];

const READERS: [Reader; 14] = {
    use Habit::{Leaves, Pauses, Reads};
    use Wanted::{All, Publisher, Slot};
    use Way::{Library, Lines, Local, Sse};
    const fn reader(name: &'static str, way: Way, wanted: Wanted, habit: Habit) -> Reader {
        Reader { name, wanted, way, slow: "gap", habit }
    }
    let slow = Pauses(400, Duration::from_secs(4));
    [
        reader("steady", Sse, All, Reads),
        reader("steady-locally", Local, Slot(1), Reads),
        reader("steady-lines", Lines, All, Reads),
        reader("steady-library", Library, Publisher(PUBLISHERS - 1), Reads),
        reader("leaving", Sse, All, Leaves(200)),
        reader("leaving-locally", Local, All, Leaves(300)),
        reader("leaving-slot", Sse, Slot(2), Leaves(10)),
        reader(KICKED[0], Sse, Publisher(0), Reads),
        reader(KICKED[1], Local, All, Reads),
        reader(KICKED[2], Library, Slot(3), Reads),
        reader("slow", Sse, All, slow),
        Reader { slow: "latest", ..reader("slow-latest", Local, All, slow) },
        Reader { slow: "disconnect", ..reader("slow-disconnect", Sse, All, slow) },
        reader("stalled", Sse, All, Pauses(2000, Duration::from_secs(36))),
    ]
};

/// Duration and rate.
struct Asked {
    time: Duration,
    rate: u64,
}

impl Asked {
    fn read() -> Result<Asked, String> {
        let mut asked = Asked { time: Duration::from_hours(1), rate: 400 };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let number = arguments.next().and_then(|number| number.parse::<u64>().ok());
            match (&*name, number) {
                ("--seconds", Some(seconds)) => asked.time = Duration::from_secs(seconds),
                ("--minutes", Some(minutes)) => asked.time = Duration::from_mins(minutes),
                ("--rate", Some(rate)) => asked.rate = rate.max(8),
                _ => return Err(format!("{name}: write --minutes N, --seconds N or --rate N")),
            }
        }
        if asked.time < Duration::from_secs(30) { Err("half a minute at least".into()) } else { Ok(asked) }
    }
}

/// Stops all clients if a part of the run fails.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

pub(crate) fn main() -> ExitCode {
    let asked = match Asked::read() {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("soak: {error}");
            return ExitCode::from(2);
        }
    };
    // A failing part has printed why.
    match std::panic::catch_unwind(|| run(&asked)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(asked: &Asked) {
    let daemon = &Daemon::configured(CONFIGURATION);
    let mut memory = Memory::of(daemon.pid());
    let open_before = memory.open();
    load::fill(daemon);
    let start = daemon.publish("start", "").parse().expect("an id");
    let stop = &AtomicBool::new(false);
    let (began, rate) = (Instant::now(), asked.rate);
    println!("soak: {} readers, {rate} events a second, for {:?}", READERS.len(), asked.time);

    let (published, checks, addressed, retained) = thread::scope(|scope| {
        macro_rules! go {
            ($action:expr) => {
                scope.spawn(move || {
                    let _alarm = Alarm(stop);
                    $action
                })
            };
        }
        let readers = READERS.map(|reader| go!(reader.run(daemon, start, stop)));
        let publishers: [_; PUBLISHERS] =
            std::array::from_fn(|publisher| go!(load::publish(daemon, publisher, rate, stop)));
        let others = [go!(load::come_and_go(daemon, stop)), go!(load::kick(daemon, &KICKED, stop))];
        let counted = [go!(load::address(daemon, stop)), go!(load::retain(daemon, stop))];
        watch(&mut memory, asked, began, stop);
        stop.store(true, Ordering::Relaxed);
        for other in others {
            other.join().expect("see its message");
        }
        let [addressed, retained] = counted.map(|other| other.join().expect("see its message"));
        let published: u64 = publishers.into_iter().map(|publisher| publisher.join().expect("see its message")).sum();
        (published, readers.map(|reader| reader.join().expect("see its message")), addressed, retained)
    });

    println!("{published} events, each checked at every subscriber; {addressed} to one client, {retained} retained");
    for (reader, DeliveryCheck { events, gaps, lost, .. }) in READERS.iter().zip(&checks) {
        println!("  {:<16} {events:>9} events, {lost} missing in {gaps} gaps", reader.name);
    }
    daemon.wait_for_subscribers(0);
    until("all descriptors are closed again", || (memory.open() <= open_before + 1).then_some(()));
    let ((fewest, most), trend) = (memory.descriptors, memory.trend());
    println!("descriptors: {fewest} to {most} under load, {open_before} before, {} after", memory.open());
    println!("{trend}");
    assert!(checks.iter().any(|check| check.gaps > 0), "no subscriber fell behind: gaps were not tested");
    assert!(most < fewest + 40, "descriptors pile up");
    assert!(trend.is_flat(), "memory grows");
}

/// Samples the daemon until the time has passed, or a part has failed.
fn watch(memory: &mut Memory, asked: &Asked, began: Instant, stop: &AtomicBool) {
    let warm_up = WARM_UP.min(asked.time / 2);
    let every = (asked.time / 360).max(Duration::from_millis(500));
    let mut printed = Duration::ZERO;
    while began.elapsed() < asked.time && !stop.load(Ordering::Relaxed) {
        thread::sleep(every);
        if began.elapsed() > warm_up {
            memory.sample(began.elapsed());
        }
        if began.elapsed() > printed + asked.time / 12 {
            printed = began.elapsed();
            println!("after {:>4} s: {:.2} MiB, {} descriptors", printed.as_secs(), memory.resident(), memory.open());
        }
    }
}
