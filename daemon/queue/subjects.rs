//! The subjects of a consumer's filters.
//!
//! A filter is one pattern of subjects, or two: `x/**` is `x` and `x.>`. The patterns of one consumer must not overlap, or the
//! servers refuse it. Patterns that do are widened to what they have in common, and the node leaves out what the filters do not
//! match.

use sse_bus::{Filter, FilterSet};

use crate::nats::{Names, level};

/// The subjects that a consumer receives.
pub(super) struct Subjects {
    pub(super) subjects: Vec<String>,
    /// They also match topics that the filters do not.
    pub(super) is_wider: bool,
}

/// Returns the subjects of the events that a consumer with these filters receives, without those that are for it alone.
pub(super) fn subjects(names: &Names, filters: &FilterSet) -> Subjects {
    let mut patterns: Vec<Vec<String>> = filters.iter().flat_map(patterns).collect();
    let mut is_wider = false;
    'widen: loop {
        for first in 0..patterns.len() {
            for second in 0..patterns.len() {
                if first == second || !overlap(&patterns[first], &patterns[second]) {
                    continue;
                }
                if !covers(&patterns[first], &patterns[second]) {
                    if covers(&patterns[second], &patterns[first]) {
                        continue;
                    }
                    patterns[first] = common(&patterns[first], &patterns[second]);
                    is_wider = true;
                }
                patterns.remove(second);
                continue 'widen;
            }
        }
        break;
    }
    let subjects = patterns.iter().flat_map(|pattern| names.patterns(&pattern.join("."))).collect();
    Subjects { subjects, is_wider }
}

/// Returns the patterns of subjects of a filter, as levels.
fn patterns(filter: &Filter) -> Vec<Vec<String>> {
    let mut levels: Vec<String> =
        filter.levels().map(|text| if matches!(text, "*" | "**") { text.to_owned() } else { level(text) }).collect();
    if levels.last().is_none_or(|last| last != "**") {
        return vec![levels];
    }
    levels.pop();
    let below = [levels.clone(), vec![">".to_owned()]].concat();
    if levels.is_empty() { vec![below] } else { vec![levels, below] }
}

/// Returns true if every subject of `narrow` is one of `wide`.
fn covers(wide: &[String], narrow: &[String]) -> bool {
    match (wide.split_first(), narrow.split_first()) {
        (None, None) => true,
        (Some((last, [])), Some(_)) if last == ">" => true,
        (Some((wide, wider)), Some((narrow, narrower))) => {
            narrow != ">" && (wide == "*" || wide == narrow) && covers(wider, narrower)
        }
        _ => false,
    }
}

/// Returns true if there is a subject that matches both.
fn overlap(a: &[String], b: &[String]) -> bool {
    match (a.split_first(), b.split_first()) {
        (None, None) => true,
        (Some((last, _)), Some(_)) | (Some(_), Some((last, _))) if last == ">" => true,
        (Some((first, a)), Some((second, b))) => {
            (first == second || first == "*" || second == "*" || second == ">") && (second == ">" || overlap(a, b))
        }
        _ => false,
    }
}

/// Returns a pattern that covers both: what their beginnings have in common, and everything below. Both have more levels.
fn common(a: &[String], b: &[String]) -> Vec<String> {
    let mut common: Vec<String> = a.iter().zip(b).take_while(|(a, b)| a == b).map(|(a, _)| a.clone()).collect();
    common.push(">".into());
    common
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sse_bus::Topic;

    use super::*;

    fn of(filters: &[&str]) -> (Vec<String>, bool) {
        let Subjects { mut subjects, is_wider } = subjects(&Names::new("b"), &FilterSet::parse(filters).unwrap());
        subjects.retain(|subject| subject.starts_with("ssebus.b.ev."));
        subjects.sort();
        (subjects.into_iter().map(|subject| subject.replace("ssebus.b.ev.", "")).collect(), is_wider)
    }

    #[test]
    fn filters_become_subjects() {
        assert_eq!(of(&["a/b"]), (vec!["a.b".into()], false));
        assert_eq!(of(&["a.b/**"]), (vec!["a%2Eb".into(), "a%2Eb.>".into()], false));
        assert_eq!(of(&["**", "a"]), (vec![">".into()], false));
        assert_eq!(of(&["a/*", "a/b", "a/b/**"]), (vec!["a.*".into(), "a.b.>".into()], false));
        assert_eq!(of(&["a/*/c", "a/b/*"]), (vec!["a.>".into()], true));
    }

    fn levels() -> impl Strategy<Value = String> {
        proptest::collection::vec(prop_oneof!["[a-c]", Just("*".to_owned())], 1..4).prop_map(|levels| levels.join("/"))
    }

    proptest! {
        /// The servers refuse patterns that overlap, and no event may be left out.
        #[test]
        fn subjects_do_not_overlap_and_cover_the_filters(
            filters in proptest::collection::vec((levels(), any::<bool>()), 1..5),
            topics in proptest::collection::vec("[a-c](/[a-c]){0,3}", 1..8),
        ) {
            let filters: Vec<_> =
                filters.into_iter().map(|(text, below)| if below { format!("{text}/**") } else { text }).collect();
            let filters = FilterSet::parse(&filters).unwrap();
            let Subjects { subjects, is_wider } = subjects(&Names::new("b"), &filters);
            let patterns: Vec<Vec<String>> =
                subjects.iter().map(|text| text.split('.').map(String::from).collect()).collect();
            for (at, one) in patterns.iter().enumerate() {
                for other in &patterns[at + 1..] {
                    prop_assert!(!overlap(one, other), "{one:?} {other:?}");
                }
            }
            for topic in topics {
                let topic = Topic::parse(&topic).unwrap();
                let subject = Names::new("b").subject(&topic, false);
                let subject: Vec<String> = subject.split('.').map(String::from).collect();
                let is_covered = patterns.iter().any(|pattern| covers(pattern, &subject));
                prop_assert!(is_covered || !filters.matches(&topic), "{topic}");
                prop_assert!(is_wider || is_covered == filters.matches(&topic), "{topic}");
            }
        }
    }
}
