//! Whose word about a client's address is believed: that of the proxies that the operator names.

use axum::http::HeaderMap;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// Each proxy adds the address that it was asked from at the end.
const FORWARDED: &str = "x-forwarded-for";

/// The trusted proxies.
#[derive(Debug, Clone, Default)]
pub(in crate::gateway) struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Addresses and networks, such as `10.0.0.7` and `10.0.0.0/8`. The error is the first text
    /// that is neither.
    pub(in crate::gateway) fn parse(texts: &[String]) -> Result<Self, String> {
        let net = |text: &String| {
            text.parse()
                .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| text.clone())
        };
        texts.iter().map(net).collect::<Result<_, _>>().map(Self)
    }

    pub(in crate::gateway) fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }

    /// Where a request comes from that a trusted `peer` passes on: the last address in the chain
    /// that is no trusted proxy. What stands before it is what the client says itself. `None`: the
    /// peer is not trusted, or does not say.
    pub(in crate::gateway) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        if !self.trust(peer) {
            return None;
        }
        let lines: Vec<_> = headers.get_all(FORWARDED).iter().collect();
        let hops = lines.iter().rev().flat_map(|line| {
            let hops = line.as_bytes().rsplit(|byte| *byte == b',');
            hops.map(<[u8]>::trim_ascii).filter(|hop| !hop.is_empty())
        });
        // A hop that cannot be read hides all before it: then the proxy that passed it on stands
        // for the client.
        let mut known = hops.map_while(|hop| address(std::str::from_utf8(hop).ok()?));
        let mut nearest = None;
        known.find(|hop| {
            nearest = Some(*hop);
            !self.trust(*hop)
        });
        nearest
    }
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(|| {
        text.parse::<SocketAddr>()
            .ok()
            .map(|with_port| with_port.ip())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn client(proxies: &[&str], peer: &str, forwarded: &[&str]) -> Option<String> {
        let proxies = Proxies::parse(
            &proxies
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>(),
        )
        .unwrap();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(
                FORWARDED,
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        proxies
            .client(peer.parse().unwrap(), &headers)
            .map(|address| address.to_string())
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        assert_eq!(client(&[], "10.0.0.1", &["192.0.2.1"]), None);
        assert_eq!(client(&["10.0.0.0/8"], "11.0.0.1", &["192.0.2.1"]), None);
        assert_eq!(
            client(&["10.0.0.0/8"], "10.0.0.1", &["192.0.2.1"]).as_deref(),
            Some("192.0.2.1")
        );
        assert_eq!(
            client(&["10.0.0.1"], "::ffff:10.0.0.1", &["2001:db8::1"]).as_deref(),
            Some("2001:db8::1")
        );
        assert_eq!(client(&["10.0.0.1"], "10.0.0.1", &[]), None);
    }

    #[test]
    fn what_a_client_says_itself_is_not_believed() {
        let chain = |forwarded: &[&str]| client(&["10.0.0.0/8"], "10.0.0.1", forwarded).unwrap();
        assert_eq!(chain(&["198.51.100.7, 192.0.2.1"]), "192.0.2.1");
        assert_eq!(
            chain(&["198.51.100.7, 192.0.2.1", "10.0.0.2"]),
            "192.0.2.1",
            "two proxies"
        );
        assert_eq!(chain(&["192.0.2.1, nonsense, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(chain(&["198.51.100.7, [2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(
            chain(&["198.51.100.7", "ä, 192.0.2.1, , 10.0.0.2,"]),
            "192.0.2.1"
        );
        assert_eq!(chain(&["198.51.100.7", "ä, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(
            chain(&["10.0.0.3, 10.0.0.2"]),
            "10.0.0.3",
            "a client inside"
        );
    }

    #[test]
    fn what_is_no_network_is_named() {
        assert_eq!(
            Proxies::parse(&["10.0.0.0/8".into(), "proxy".into()]).unwrap_err(),
            "proxy"
        );
    }
}
