//! The user namespace of this process: the user and group IDs that exist in it.
//!
//! All users without an ID in the namespace appear as `nobody` (65534). Such an ID identifies no user: a client does not
//! trust it, and the daemon ignores it in an allow list.

use std::fs;

/// The map of users: `user_namespaces(7)`.
const USERS: &str = "/proc/self/uid_map";

/// Returns true if a user ID identifies one user. Without a map, all are mapped.
pub fn has_user(uid: u32) -> bool {
    fs::read_to_string(USERS).map_or(true, |map| has(&map, uid))
}

/// Separates the IDs that are mapped from those that are not. Without a map, all are mapped.
pub fn split(map: &str, numbers: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let Ok(map) = fs::read_to_string(map) else { return (numbers.to_vec(), Vec::new()) };
    numbers.iter().partition(|number| has(&map, **number))
}

/// Returns true if an ID inside the namespace is mapped. The lines of a map are described in `user_namespaces(7)`: the first ID
/// inside, the first ID outside, and their number.
fn has(map: &str, number: u32) -> bool {
    map.lines().any(|line| {
        let mut fields = line.split_whitespace().map(str::parse::<u32>);
        let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) = (fields.next(), fields.next(), fields.next()) else {
            return false;
        };
        number.checked_sub(first).is_some_and(|offset| offset < count)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_knows_the_numbers_of_its_ranges() {
        let whole = "         0          0 4294967295\n";
        assert!([0, 1000, 65534].iter().all(|number| has(whole, *number)));
        let private = "         0          0          1\n      1000       1000          1\n";
        assert_eq!(
            [0, 1, 999, 1000, 1001, 65534].map(|number| has(private, number)),
            [true, false, false, true, false, false]
        );
        let container = "         0     100000      65536\n";
        assert_eq!([65534, 65536, 100_000].map(|number| has(container, number)), [true, false, false]);
        assert!(!has("", 0) && !has("0 0\nx y z\n", 0));
    }

    #[test]
    fn without_a_map_all_numbers_are_known() {
        assert_eq!(split("/nowhere/uid_map", &[7, 8]), (vec![7, 8], vec![]));
    }
}
