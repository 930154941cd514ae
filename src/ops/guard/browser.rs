//! What a browser may ask. One that an operator has logged in with sends the password for every
//! page: what changes something must not come from one, and what it shows is not for other pages.

use super::super::Config;
use axum::http::{HeaderMap, Method, header, uri::Authority};
use std::net::IpAddr;

/// The names of a node that only its own machine may ask.
pub(super) struct Names(Vec<String>);

impl Names {
    pub(super) fn of(config: &Config) -> Self {
        let names = ["localhost", &config.host].into_iter();
        let names = names.chain(config.advertise.as_deref());
        Self(names.map(str::to_owned).collect())
    }

    /// Whether it is asked by one. On loopback the default password is allowed. A web page can have
    /// its own name point there (DNS rebinding) and then ask as the same site; its name shows it.
    pub(super) fn fit(&self, headers: &HeaderMap) -> bool {
        let Some(host) = headers.get(header::HOST) else {
            return true;
        };
        let host = host.to_str().ok().and_then(|host| host.parse().ok());
        host.is_some_and(|host: Authority| {
            let name = host.host().trim_matches(['[', ']']);
            name.parse::<IpAddr>().is_ok()
                || name.ends_with(".localhost")
                || self.0.iter().any(|own| own.eq_ignore_ascii_case(name))
        })
    }
}

/// Whether a page, if it is one that asks, may ask this.
pub(super) fn may(method: &Method, headers: &HeaderMap) -> bool {
    let is_of_another = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site == "cross-site" || site == "same-site");
    let is_page_itself = headers
        .get("sec-fetch-mode")
        .is_some_and(|mode| mode == "navigate");
    let is_read = method == Method::GET;
    !headers.contains_key(header::ORIGIN) && (!is_of_another || is_read && is_page_itself)
}
