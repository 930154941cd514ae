//! Why servers that are there do not let this node in, and what to do. Who is not there at all is
//! waited for; of these somebody has to mend something.

use super::login::{Access, Login};
use crate::{bus::Error, tls};
use async_nats::{ConnectError, ConnectErrorKind, ServerError};
use std::error::Error as _;

/// A failed attempt to connect. `servers`: their addresses, without credentials.
pub(super) fn of_connecting(error: &ConnectError, access: &Access, servers: &str) -> Error {
    let said = error
        .source()
        .and_then(|it| it.downcast_ref::<ServerError>());
    let what = match (error.kind(), tls::fault(error), said) {
        (ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication, ..) => {
            let todo = of_login(access.login());
            format!("NATS at {servers} refuses the login ({error}): {todo}")
        }
        (_, Some(fault), _) => {
            let todo = tls::advice(fault, "bus");
            format!("TLS with NATS at {servers} fails ({error}): {todo}")
        }
        (ConnectErrorKind::Tls, ..) => format!(
            "TLS with NATS at {servers} fails ({error}): does it speak TLS (bus.tls, tls:// in \
             bus.servers), and when does it begin (bus.tls_first)?"
        ),
        (_, _, Some(said)) => format!(
            "NATS at {servers} lets nobody in now ({said}): look at its limits and at its log"
        ),
        _ => return Error::Unavailable(format!("no connection to NATS at {servers}: {error}")),
    };
    Error::Denied(what)
}

/// What to do about a login that is refused.
fn of_login(login: &Login) -> String {
    match login {
        Login::ByAddress => {
            "it wants one, and none is set: bus.user and bus.password, or bus.token, \
                             bus.creds_file, bus.nkey_file, or user:password@ in bus.servers"
                .into()
        }
        Login::User { .. } => "is that the user and the password that it knows (bus.user and \
                               bus.password, or user:password@ in bus.servers)?"
            .into(),
        Login::Token(_) => {
            "is that the token that it knows (bus.token, or token@ in bus.servers)?".into()
        }
        Login::Creds(path) => format!(
            "are the credentials in {} of an account that it knows, not revoked and not expired \
             (bus.creds_file)?",
            path.display()
        ),
        Login::Nkey(path) => format!(
            "does it know the public key of the seed in {} (bus.nkey_file)?",
            path.display()
        ),
    }
}

/// What to do when the login may not do what it must.
pub(super) fn of_rights(said: &str) -> String {
    format!("the server says: {said}: give the login that right (nats/cluster.conf has all)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::nats::Config;
    use std::io;

    fn told(error: &ConnectError, login: Login) -> Error {
        let config = Config {
            login,
            ..Config::default()
        };
        of_connecting(error, &Access::open(&config).unwrap(), "a:4222")
    }

    #[test]
    fn what_to_do_is_told_by_what_is_wrong() {
        let user = || Login::User {
            name: "me".into(),
            password: "topsecret".into(),
        };
        let absent = io::Error::from(io::ErrorKind::ConnectionRefused);
        let absent = told(&absent.into(), user());
        assert!(matches!(absent, Error::Unavailable(_)), "{absent}");
        let of_kind = |kind, login| match told(&ConnectError::new(kind), login) {
            Error::Denied(why) => why,
            other => panic!("{other}"),
        };
        let violation = ConnectErrorKind::AuthorizationViolation;
        for (login, named) in [
            (user(), "bus.password"),
            (Login::Token("topsecret".into()), "bus.token"),
            (Login::ByAddress, "none is set"),
        ] {
            let why = of_kind(violation, login);
            let fits = why.contains("refuses the login") && why.contains(named);
            assert!(fits && !why.contains("topsecret"), "{why}");
        }
        assert!(of_kind(ConnectErrorKind::Tls, user()).contains("speak TLS"));
        let said = ServerError::Other("maximum connections exceeded".into());
        let said = ConnectError::with_source(ConnectErrorKind::Io, said);
        let Error::Denied(why) = told(&said, user()) else {
            panic!("{said}")
        };
        assert!(why.contains("maximum connections exceeded"), "{why}");
    }
}
