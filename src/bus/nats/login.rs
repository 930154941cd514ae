//! Who comes, and to whom: how a connection logs in, and how it knows the servers.
//!
//! Users and passwords that stand in the addresses of servers are taken out before the client
//! library gets the addresses: it does not use them there, and logs addresses at level debug. Files
//! are read at each login, so that what was renewed meanwhile counts.

use super::Config;
use crate::{
    bus::Error,
    secret,
    tls::{self, Trust},
};
use async_nats::{Auth, AuthError, ConnectOptions, ServerAddr};
use nkeys::KeyPair;
use percent_encoding::percent_decode_str;
use rustls::ClientConfig;
use std::path::{Path, PathBuf};

/// How a node logs in. Not both here and in the addresses of servers.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Login {
    /// As the addresses say, or as nobody.
    #[default]
    ByAddress,
    /// A user and the password.
    User {
        /// Its name.
        name: String,
        /// Its password.
        password: String,
    },
    /// A token.
    Token(String),
    /// A file with a user's JWT and seed, as `nsc` and `nats auth` write it.
    Creds(PathBuf),
    /// A file with a user's seed (`SU...`).
    Nkey(PathBuf),
}

/// TLS to the servers. The names in their addresses are those that their certificates must carry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Whom to trust, and what to show.
    pub trust: Trust,
    /// It begins before the server says anything (`handshake_first` there).
    pub first: bool,
}

/// Where the servers are, how to log in there, and how they are known.
pub(super) struct Access {
    pub(super) addresses: Vec<String>,
    login: Login,
    /// Whether TLS begins before the server says anything.
    tls_first: bool,
    tls: Option<ClientConfig>,
}

impl Access {
    /// [`Error::Unusable`]: an address or a file cannot be used.
    pub(super) fn open(config: &Config) -> Result<Self, Error> {
        // A server may ask for TLS that nothing here says anything about.
        tls::install();
        let Servers { addresses, login } = Servers::parse(&config.servers)?;
        let login = login.unwrap_or_else(|| config.login.clone());
        login.try_out()?;
        let by_address = addresses
            .iter()
            .any(|address| address.starts_with("tls://"));
        let wanted = match &config.tls {
            None if by_address => Some(&Tls::default()),
            wanted => wanted.as_ref(),
        };
        let settings = wanted.map(|tls| tls::client(&tls.trust)).transpose();
        Ok(Self {
            addresses,
            login,
            tls_first: wanted.is_some_and(|tls| tls.first),
            tls: settings.map_err(|error| Error::Unusable(format!("TLS with NATS: {error}")))?,
        })
    }

    /// How it logs in.
    pub(super) fn login(&self) -> &Login {
        &self.login
    }

    /// What every connection begins with.
    pub(super) fn options(&self) -> ConnectOptions {
        let mut options = self.login.options();
        if let Some(tls) = &self.tls {
            options = options.require_tls(true).tls_client_config(tls.clone());
        }
        if self.tls_first {
            options = options.tls_first();
        }
        options
    }
}

/// Addresses, and the login that may stand in them.
#[derive(Debug, PartialEq)]
pub(super) struct Servers {
    pub(super) addresses: Vec<String>,
    /// `user:password@`, or `token@`.
    pub(super) login: Option<Login>,
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
}

impl Login {
    fn options(&self) -> ConnectOptions {
        match self.clone() {
            Self::ByAddress => ConnectOptions::new(),
            Self::User { name, password } => ConnectOptions::with_user_and_password(name, password),
            Self::Token(token) => ConnectOptions::with_token(token),
            Self::Creds(_) | Self::Nkey(_) => {
                let login = self.clone();
                ConnectOptions::with_auth_callback(move |nonce| {
                    let signed = login.sign(&nonce).map_err(AuthError::new);
                    async move { signed }
                })
            }
        }
    }

    /// Says at once what is wrong with a file, not as a connection that is refused.
    fn try_out(&self) -> Result<(), Error> {
        self.sign(&[]).map(drop).map_err(Error::Unusable)
    }

    /// What answers a server's challenge. No error quotes a file.
    fn sign(&self, nonce: &[u8]) -> Result<Auth, String> {
        let mut auth = Auth::new();
        let path = match self {
            Self::Creds(path) | Self::Nkey(path) => path,
            _ => return Ok(auth),
        };
        let bytes = secret::read(path).map_err(|error| unusable(path, &error.to_string()))?;
        // The text of the error would quote bytes of the secret.
        let text = String::from_utf8(bytes).map_err(|_| unusable(path, "it is not UTF-8"))?;
        // Seeds and tokens stand on lines of their own, whatever is written around them.
        let line = |begin: &str| {
            text.lines()
                .map(str::trim)
                .find(|line| line.starts_with(begin))
        };
        let seed =
            line("SU").ok_or_else(|| unusable(path, "there is no seed of a user in it (SU...)"))?;
        let pair =
            KeyPair::from_seed(seed).map_err(|_| unusable(path, "the seed in it is damaged"))?;
        if matches!(self, Self::Creds(_)) {
            let jwt =
                line("eyJ").ok_or_else(|| unusable(path, "there is no JWT of a user in it"))?;
            auth.jwt = Some(jwt.to_owned());
        } else {
            auth.nkey = Some(pair.public_key());
        }
        let signature = pair
            .sign(nonce)
            .map_err(|_| unusable(path, "the seed in it cannot sign"))?;
        auth.signature = Some(signature);
        Ok(auth)
    }

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

fn unusable(path: &Path, why: &str) -> String {
    format!("the login file {} cannot be used: {why}", path.display())
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
