//! Tests of repeats.

use super::*;

fn numbered(publisher: u64, number: u64) -> DedupKeys {
    DedupKeys { id: None, sequence: Some(Sequence { publisher: PublisherId(publisher), number }) }
}

fn first(seq: impl Into<Option<u64>>) -> First {
    First { seq: seq.into() }
}

fn named(id: &str) -> DedupKeys {
    DedupKeys { id: Some(id.into()), sequence: None }
}

/// Publishes unless it is a duplicate. Returns the event that it duplicates.
fn publish(dedup: &mut Dedup, keys: DedupKeys, seq: u64, now: u64) -> Option<First> {
    let found = dedup.find(&keys, now);
    if found.is_none() {
        dedup.note(keys, Some(seq), now, true);
    }
    dedup.self_check();
    found
}

#[test]
fn a_number_that_was_published_is_a_duplicate_and_one_that_was_refused_is_not() {
    let mut dedup = Dedup::default();
    // 2 and 4 to 6 are refused.
    for (number, seq) in [(1, 10), (3, 11), (7, 12)] {
        assert_eq!(publish(&mut dedup, numbered(1, number), seq, 1), None);
    }
    let duplicates = [1, 3, 7].map(|number| publish(&mut dedup, numbered(1, number), 0, 1));
    assert_eq!(duplicates, [Some(first(None)), Some(first(None)), Some(first(12))]);
    for number in [5, 2, 4, 6, 8] {
        assert_eq!(publish(&mut dedup, numbered(1, number), 20, 1), None, "{number}");
    }
    for number in 1..=8 {
        assert!(publish(&mut dedup, numbered(1, number), 0, 1).is_some(), "{number}");
    }
    assert_eq!(publish(&mut dedup, numbered(2, 1), 30, 1), None, "the number of another publisher");
}

#[test]
fn of_many_refused_numbers_none_counts_as_published() {
    let mut dedup = Dedup::default();
    let odd = (1..=4 * GAPS_MAX as u64).filter(|number| number % 2 == 1);
    odd.clone().for_each(|number| assert_eq!(publish(&mut dedup, numbered(1, number), number, 1), None));
    let refused = (1..4 * GAPS_MAX as u64).filter(|number| number % 2 == 0);
    for number in refused {
        assert_eq!(dedup.find(&numbered(1, number), 1), None, "{number}");
    }
    let newest = 4 * GAPS_MAX as u64 - 1;
    assert_eq!(dedup.find(&numbered(1, newest), 1), Some(first(newest)));
}

#[test]
fn at_the_limit_the_publisher_that_was_idle_for_the_longest_time_is_forgotten() {
    let mut dedup = Dedup::default();
    for publisher in 0..PUBLISHERS_MAX as u64 {
        dedup.note(numbered(publisher, 1), Some(publisher + 1), publisher, true);
    }
    dedup.note(numbered(0, 2), Some(1), 1 << 40, true);
    dedup.take_changes(1);
    dedup.note(numbered(1 << 40, 1), Some(1), 1 << 41, true);
    dedup.self_check();
    let known = |dedup: &mut Dedup, publisher| dedup.find(&numbered(publisher, 1), 0).is_some();
    assert_eq!([0, 1, 2, 1 << 40].map(|id| known(&mut dedup, id)), [true, false, true, true]);
    assert_eq!(dedup.take_changes(1).forgotten, [PublisherId(1)]);
}

#[test]
fn an_id_is_a_duplicate_for_two_minutes_and_among_the_last_ten_thousand() {
    let mut dedup = Dedup::default();
    let end = whole_millis(DEDUP_TIME);
    assert_eq!(publish(&mut dedup, named("a"), 1, 0), None);
    assert_eq!(publish(&mut dedup, named("a"), 2, end - 1), Some(first(1)));
    assert_eq!(publish(&mut dedup, named("a"), 3, end), None);
    for number in 0..DEDUP_IDS_MAX as u64 {
        assert_eq!(dedup.find(&named("a"), end), Some(first(3)), "after {number} others");
        dedup.note(named(&number.to_string()), Some(number + 4), end, true);
    }
    assert_eq!(dedup.find(&named("a"), end), None);
    dedup.self_check();
}

#[test]
fn what_was_written_is_recognized_after_a_restart() {
    let mut dedup = Dedup::default();
    let (mut publishers, mut ids) = (FxHashMap::default(), Vec::new());
    let mut write = |dedup: &mut Dedup| {
        let changes = dedup.take_changes(100);
        publishers.extend(changes.publishers.into_iter().map(|record| (record.publisher, record)));
        ids.extend(changes.ids);
        ids.retain(|record: &DedupRecord| record.seq >= changes.ids_from);
    };
    for number in [1, 2, 4] {
        publish(&mut dedup, numbered(1, number), number, 0);
        publish(&mut dedup, named(&number.to_string()), 10 + number, number * 1000);
        write(&mut dedup);
    }
    // The first id expires.
    let now = whole_millis(DEDUP_TIME) + 1500;
    assert_eq!(publish(&mut dedup, named("1"), 20, now), None);
    write(&mut dedup);
    assert_eq!(ids.iter().map(|record| record.seq).collect::<Vec<_>>(), [12, 14, 20]);
    let mut restored = Dedup::default();
    restored.restore(publishers.into_values().collect(), ids);
    restored.self_check();
    assert_eq!(restored.find(&numbered(1, 4), now), Some(first(4)));
    assert_eq!(restored.find(&numbered(1, 3), now), None, "it was refused");
    assert_eq!(restored.find(&named("1"), now), Some(first(20)));
    assert_eq!(restored.find(&named("4"), now), Some(first(14)));
    assert_eq!(restored.take_changes(100).publishers, []);
}
