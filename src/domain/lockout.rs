//! How long guesses are slowed down.

/// The first wait, in seconds.
const FIRST: u64 = 15;
/// The longest wait: a quarter of an hour.
const LONGEST: u64 = 15 * 60;
/// The same, for comparisons of instants.
pub const LONGEST_SECONDS: i64 = 15 * 60;
/// After this long without a failure, in seconds, counting begins anew.
pub const FORGET_SECONDS: i64 = 24 * 60 * 60;

/// Seconds to wait after this many failures in a row: none below the limit, then 15 s, and twice as long
/// with each further failure, up to 15 minutes.
pub fn wait_seconds(failures: u32, limit: u32) -> Option<u64> {
    let beyond = failures.checked_sub(limit.max(1))?;
    // Beyond six doublings the longest wait is reached anyway.
    Some((FIRST << beyond.min(6)).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_begin_at_the_limit_and_double() {
        for (failures, wait) in [
            (0, None),
            (4, None),
            (5, Some(15)),
            (6, Some(30)),
            (7, Some(60)),
            (10, Some(480)),
            (11, Some(900)),
            (12, Some(900)),
            (u32::MAX, Some(900)),
        ] {
            assert_eq!(wait_seconds(failures, 5), wait, "{failures}");
        }
        assert_eq!(wait_seconds(0, 0), None);
        assert_eq!(wait_seconds(1, 0), Some(15));
    }
}
