//! Webhooks: where they may go, when a message is sent again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::access::codes;

codes! {
    /// What became of a message.
    DeliveryStatus {
        /// Not tried yet.
        Pending = "PENDING",
        /// Taken: the answer was a 2xx.
        Delivered = "DELIVERED",
        /// Tried, to be tried again.
        Failed = "FAILED",
        /// Given up.
        Dead = "DEAD",
    }
}

/// Tries of a message, the first included.
pub const TRIES: i32 = 10;
/// Longest wait between two tries: three hours.
const LONGEST_WAIT: f64 = 3.0 * 60.0 * 60.0;

/// Seconds to wait after so many tries: one, four, sixteen, …, never more than three hours. `jitter` from 0 to 1
/// spreads them by a quarter, so that those that failed together do not come back together.
pub fn wait_seconds(tries: i32, jitter: f64) -> f64 {
    let wait = 4.0_f64.powi((tries - 1).max(0)).min(LONGEST_WAIT);
    wait * (0.75 + 0.5 * jitter.clamp(0.0, 1.0))
}

/// Whether an address is one of the public internet. Whoever sets up a webhook must not reach what the server
/// alone can reach.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        // This network, shared by carriers, protocol assignments, benchmarks, reserved.
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let part = address.segments();
    let inner = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    // An IPv4 address in another coat: mapped, compatible, translated, 6to4.
    match part {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => return is_public_v4(inner(high, low)),
        _ => {}
    }
    // Only 2000::/3 is given out, and of that not the examples and not the tunnels.
    part[0] & 0xe000 == 0x2000
        && !(part[0] == 0x2001 && (part[1] == 0xdb8 || part[1] < 0x200))
        && part[0] != 0x3fff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for (address, public) in [
            ("8.8.8.8", true),
            ("100.63.0.1", true),
            ("100.64.0.1", false),
            ("172.32.0.1", true),
            ("172.31.255.255", false),
            ("10.0.0.1", false),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("192.168.1.1", false),
            ("192.0.0.8", false),
            ("198.19.0.1", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("2a00:1450:4007::1", true),
            ("::1", false),
            ("::", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("ff02::1", false),
            ("2001:db8::1", false),
            ("2001::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:8.8.8.8", true),
            ("64:ff9b::10.0.0.1", false),
            ("2002:7f00:1::", false),
        ] {
            let parsed: IpAddr = address.parse().expect("an address");
            assert_eq!(is_public(parsed), public, "{address}");
        }
    }

    #[test]
    fn waits_grow_up_to_three_hours() {
        let waits: Vec<f64> = (1..=TRIES).map(|tries| wait_seconds(tries, 0.5)).collect();
        assert_eq!(waits[..4], [1.0, 4.0, 16.0, 64.0]);
        assert!(waits.is_sorted());
        assert_eq!(waits[9], LONGEST_WAIT);
        assert_eq!((wait_seconds(1, 0.0), wait_seconds(1, 1.0)), (0.75, 1.25));
    }
}
