//! Lettering codes (codes de lettrage) and the groups that allocations tie together (section 3).

use std::collections::BTreeMap;

/// The n-th code of an account in bijective base 26: 1 = A, 26 = Z, 27 = AA, 703 = AAA (R3.3).
///
/// There is no code 0: it gives an empty text.
pub fn code(n: u32) -> String {
    let mut letters = Vec::new();
    let mut left = n;
    while left > 0 {
        left -= 1;
        // A remainder by 26 fits a byte.
        letters.push(char::from(b'A' + (left % 26) as u8));
        left /= 26;
    }
    letters.iter().rev().collect()
}

/// The rank of a code, the inverse of [`code`]. Capitals and small letters are the same code
/// (R3.3); `None` for anything but letters A to Z and beyond 32 bits.
pub fn number(code: &str) -> Option<u32> {
    if code.is_empty() {
        return None;
    }
    code.bytes().try_fold(0_u32, |n, byte| {
        let letter = byte.to_ascii_uppercase();
        if !letter.is_ascii_uppercase() {
            return None;
        }
        n.checked_mul(26)?.checked_add(u32::from(letter - b'A') + 1)
    })
}

/// A code as it is shown: upper case for a balanced group, lower case for a partial one (R3.2).
pub fn shown(code: &str, complete: bool) -> String {
    if complete {
        code.to_ascii_uppercase()
    } else {
        code.to_ascii_lowercase()
    }
}

/// The groups of items tied together by allocations, directly or through other items (R3.2, R3.4).
///
/// An item without edge is a group of its own; an edge adds its ends when `items` lacks them. Each
/// group is in ascending order, and the groups follow the order of their first items.
pub fn components<K: Ord + Copy>(items: &[K], edges: &[(K, K)]) -> Vec<Vec<K>> {
    let mut keys: Vec<K> = items.to_vec();
    keys.extend(edges.iter().flat_map(|&(a, b)| [a, b]));
    keys.sort_unstable();
    keys.dedup();

    let mut parents: Vec<usize> = (0..keys.len()).collect();
    for (a, b) in edges {
        if let (Ok(a), Ok(b)) = (keys.binary_search(a), keys.binary_search(b)) {
            let (a, b) = (root(&mut parents, a), root(&mut parents, b));
            // The smaller root wins, so that a group is named after its first item.
            parents[a.max(b)] = a.min(b);
        }
    }

    let mut groups: BTreeMap<usize, Vec<K>> = BTreeMap::new();
    for (rank, key) in keys.iter().enumerate() {
        groups
            .entry(root(&mut parents, rank))
            .or_default()
            .push(*key);
    }
    groups.into_values().collect()
}

fn root(parents: &mut [usize], mut rank: usize) -> usize {
    while parents[rank] != rank {
        parents[rank] = parents[parents[rank]];
        rank = parents[rank];
    }
    rank
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn codes_r3_3() {
        let cases = [
            (1, "A"),
            (2, "B"),
            (26, "Z"),
            (27, "AA"),
            (52, "AZ"),
            (53, "BA"),
            (702, "ZZ"),
            (703, "AAA"),
        ];
        for (n, expected) in cases {
            assert_eq!(code(n), expected);
            assert_eq!(number(expected), Some(n));
            assert_eq!(number(&expected.to_lowercase()), Some(n));
        }
        assert_eq!(code(0), "");
        for bad in ["", "A1", "É", "A B", "ZZZZZZZZ"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }

    #[test]
    fn partial_groups_are_in_lower_case_r3_2() {
        assert_eq!(shown("AB", true), "AB");
        assert_eq!(shown("AB", false), "ab");
        assert_eq!(shown("b", true), "B");
    }

    #[test]
    fn groups_r3_2() {
        // F1 and F2 paid by R; F3 paid in part by R2, then by AV.
        let edges = [("R", "F1"), ("F2", "R"), ("F3", "R2"), ("AV", "F3")];
        let items = ["F1", "F2", "F3", "F4", "R", "R2", "AV"];
        let expected = vec![vec!["AV", "F3", "R2"], vec!["F1", "F2", "R"], vec!["F4"]];
        assert_eq!(components(&items, &edges), expected);
        assert_eq!(components::<u8>(&[], &[]), Vec::<Vec<u8>>::new());
        assert_eq!(
            components(&[1, 1], &[(1, 1), (2, 3)]),
            vec![vec![1], vec![2, 3]]
        );
    }

    proptest! {
        /// R3.3: reading undoes writing, and the next code is never the same.
        #[test]
        fn codes_are_read_back_r3_3(n in 1..u32::MAX) {
            prop_assert_eq!(number(&code(n)), Some(n));
            prop_assert_ne!(code(n), code(n + 1));
        }

        /// Every item is in exactly one group, both ends of an edge share it, order is free.
        #[test]
        fn groups_are_a_partition(edges in prop::collection::vec((0..30_u8, 0..30_u8), 0..40)) {
            let items: Vec<u8> = (0..30).collect();
            let groups = components(&items, &edges);
            let mut all: Vec<u8> = groups.concat();
            all.sort_unstable();
            prop_assert_eq!(&all, &items);
            for (a, b) in &edges {
                prop_assert!(groups.iter().any(|group| group.contains(a) && group.contains(b)));
            }
            let back: Vec<(u8, u8)> = edges.iter().rev().map(|(a, b)| (*b, *a)).collect();
            let items: Vec<u8> = items.into_iter().rev().collect();
            prop_assert_eq!(components(&items, &back), groups);
        }
    }
}
