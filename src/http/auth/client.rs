//! Where a request comes from.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header;

use crate::service::secret;

/// The network address of the client: the peer's, or what a proxy of ours says about it.
///
/// `X-Forwarded-For` is written by anybody: its last address that is no proxy of ours is the first that one of
/// ours has seen.
pub fn address(request: &HttpRequest, trusted: &[IpAddr]) -> String {
    let Some(peer) = request.peer_addr().map(|peer| peer.ip()) else {
        return "unknown".into();
    };
    if !trusted.contains(&peer) {
        return peer.to_string();
    }
    let lines = request.headers().get_all("x-forwarded-for");
    let listed: Vec<&str> = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .collect();
    seen(&listed, trusted).unwrap_or(peer).to_string()
}

fn seen(listed: &[&str], trusted: &[IpAddr]) -> Option<IpAddr> {
    let addresses = listed.iter().rev().map(|text| text.trim().parse().ok());
    // What cannot be read ends the chain: nobody we trust wrote what stands before it.
    addresses
        .map_while(|address: Option<IpAddr>| address)
        .find(|address| !trusted.contains(address))
}

/// A digest that tells clients apart: address and software.
pub fn digest(request: &HttpRequest, trusted: &[IpAddr]) -> Vec<u8> {
    let software = request.headers().get(header::USER_AGENT);
    let software = software.and_then(|value| value.to_str().ok());
    let address = address(request, trusted);
    secret::digest(&format!("{address} {}", software.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_choose_its_address() {
        let trusted: Vec<IpAddr> = ["10.0.0.1", "10.0.0.2"]
            .iter()
            .map(|text| text.parse().expect("an address"))
            .collect();
        let found = |listed: &[&str]| seen(listed, &trusted).map(|address| address.to_string());
        for (listed, address) in [
            (&["203.0.113.7"][..], Some("203.0.113.7")),
            (&["1.1.1.1", " 203.0.113.7"], Some("203.0.113.7")),
            (&["1.1.1.1", "203.0.113.7", "10.0.0.2"], Some("203.0.113.7")),
            (&["2001:db8::1"], Some("2001:db8::1")),
            (&["10.0.0.2"], None),
            (&["1.1.1.1", "x"], None),
            (&[], None),
        ] {
            assert_eq!(found(listed).as_deref(), address, "{listed:?}");
        }
    }
}
