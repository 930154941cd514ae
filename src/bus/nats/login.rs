//! Users and passwords that stand in the addresses of servers. They are taken out before the client library gets the addresses: it does not use
//! them there, and logs addresses at level debug.

use crate::bus::Error;
use async_nats::{ConnectOptions, ServerAddr};
use percent_encoding::percent_decode_str;

/// Where the servers are, and how to log in there.
#[derive(Debug, PartialEq)]
pub(super) struct Servers {
    pub(super) addresses: Vec<String>,
    login: Option<Login>,
}

/// `user:password@`, or `token@`.
#[derive(PartialEq)]
enum Login {
    User { name: String, password: String },
    Token(String),
}

impl Servers {
    /// From `nats://[user:password@]host:port`. One login counts for all servers of a cluster.
    pub(super) fn parse(servers: &[String]) -> Result<Self, Error> {
        let mut login = None;
        let mut addresses = Vec::new();
        for server in servers {
            let (scheme, rest) = server.split_once("://").unwrap_or(("nats", server));
            let (found, host) = rest
                .rsplit_once('@')
                .map_or((None, rest), |(login, host)| (Some(login), host));
            if let Some(found) = found.map(Login::parse).transpose()? {
                if login.as_ref().is_some_and(|login| *login != found) {
                    return Err(Error::Unusable("the addresses in bus.servers have different users or passwords: use one for all".into()));
                }
                login = Some(found);
            }
            let address = format!("{scheme}://{host}");
            // Not quoted: where one is misspelt, a password may stand anywhere.
            if host.is_empty() || address.parse::<ServerAddr>().is_err() {
                let number = addresses.len() + 1;
                return Err(Error::Unusable(format!(
                    "bus.servers: address {number} is not nats://[user:password@]host:port; percent-encode \
                     a comma (%2C), slash (%2F) or @ (%40) in a user or password"
                )));
            }
            addresses.push(address);
        }
        Ok(Self { addresses, login })
    }

    pub(super) fn log_in(&self, options: ConnectOptions) -> ConnectOptions {
        match &self.login {
            None => options,
            Some(Login::User { name, password }) => {
                options.user_and_password(name.clone(), password.clone())
            }
            Some(Login::Token(token)) => options.token(token.clone()),
        }
    }
}

impl Login {
    fn parse(text: &str) -> Result<Self, Error> {
        let decoded = |part: &str| {
            let text = percent_decode_str(part)
                .decode_utf8()
                .map(|text| text.into_owned());
            text.map_err(|_| {
                Error::Unusable(
                    "a user or password in bus.servers is not UTF-8 after percent-decoding".into(),
                )
            })
        };
        Ok(match text.split_once(':') {
            Some((name, password)) => Self::User {
                name: decoded(name)?,
                password: decoded(password)?,
            },
            None => Self::Token(decoded(text)?),
        })
    }
}

/// Shows no secret.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(servers: &[&str]) -> Result<Servers, Error> {
        Servers::parse(
            &servers
                .iter()
                .map(|server| (*server).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn a_login_is_taken_out_of_addresses() {
        let servers = parse(&["nats://me:p%40ss:w@a:4222", "tls://b:4222", "c:4222"]).unwrap();
        assert_eq!(
            servers.addresses,
            ["nats://a:4222", "tls://b:4222", "nats://c:4222"]
        );
        assert!(
            servers.login
                == Some(Login::User {
                    name: "me".into(),
                    password: "p@ss:w".into()
                })
        );
        assert!(
            parse(&["nats://secret@a:4222"]).unwrap().login == Some(Login::Token("secret".into()))
        );
        assert!(!format!("{servers:?}").contains("p@ss"));
    }

    #[test]
    fn an_address_that_cannot_be_one_is_refused_by_its_number_and_not_quoted() {
        for bad in [
            "nats://me:secret",
            "nats://me:secret@host:port",
            "nats://me:secret@",
            "nats://me:sec/ret@host:x",
            "secret://me@host:1",
            "",
        ] {
            let why = parse(&["nats://a:4222", bad]).unwrap_err().to_string();
            assert!(
                why.contains("address 2") && !why.contains("secret"),
                "{bad}: {why}"
            );
        }
    }

    #[test]
    fn different_logins_are_refused() {
        let why = parse(&[
            "nats://me:first-secret@a:4222",
            "nats://me:second-secret@b:4222",
        ])
        .unwrap_err()
        .to_string();
        assert!(
            why.contains("bus.servers") && !why.contains("secret"),
            "{why}"
        );
    }
}
