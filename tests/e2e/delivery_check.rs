//! Checks the delivery promise: every event arrives once and in order, or a gap covers it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::Sse;

/// Checks that every published event was delivered in order and once, or lies in a gap. Returns the gaps.
pub(crate) fn account(published: &BTreeMap<u64, String>, events: &[Sse]) -> Vec<Value> {
    let seq = |id: &Value| id.as_str().unwrap().rsplit_once('-').unwrap().1.parse::<u64>().unwrap();
    let mut left = published.clone();
    let mut last = 0;
    let mut gaps = Vec::new();
    let mut missed = Some(0);
    for event in events {
        let is_gap = event.kind.as_deref() == Some("$gap");
        // A gap's position is after everything that was delivered before it.
        assert!(event.seq() > last || (is_gap && event.seq() == last), "{} after {last}", event.id);
        last = event.seq();
        if is_gap {
            let gap = event.json();
            // The missing range may extend past events that history still has; those follow the gap, in order.
            assert!(last <= seq(&gap["to"]), "{gap} at {last}");
            // A subscriber that leaves right after a gap may receive it again.
            if gaps.last().is_some_and(|before: &Value| seq(&gap["from"]) <= seq(&before["to"])) {
                missed = None;
            }
            missed = missed.zip(gap["missed"].as_u64()).map(|(all, here)| all + here);
            gaps.push(gap);
        } else {
            assert_eq!(left.remove(&event.seq()).as_deref(), Some(event.data.as_str()), "{}", event.id);
        }
    }
    // Not every gap has a number; those that are given are right.
    assert_eq!(missed.unwrap_or(left.len() as u64), left.len() as u64);
    let is_covered = |lost: &u64| gaps.iter().any(|gap| (seq(&gap["from"])..=seq(&gap["to"])).contains(lost));
    if let Some(silent) = left.keys().find(|lost| !is_covered(lost)) {
        let near = events.iter().filter(|event| event.seq().abs_diff(*silent) < 40);
        let near: Vec<_> = near.map(|event| format!("{} {:?} {:.80}", event.id, event.kind, event.data)).collect();
        panic!("event {silent} ({:.20}) is neither delivered nor covered by a gap:\n{}", left[silent], near.join("\n"));
    }
    gaps
}
