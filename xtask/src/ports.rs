//! Whether the addresses that a server wants are free, and who has them if not.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use anyhow::{Result, bail};

use crate::procfs;

/// One message for all that are taken.
pub(crate) fn check(addresses: impl IntoIterator<Item = SocketAddr>) -> Result<()> {
    let taken: Vec<String> = addresses.into_iter().filter_map(why_not).collect();
    if taken.is_empty() {
        return Ok(());
    }
    bail!("{}", taken.join("\n       "))
}

/// Found by trying, because that is what the server will do.
fn why_not(address: SocketAddr) -> Option<String> {
    let error = TcpListener::bind(address).err()?;
    let (ip, port) = (address.ip(), address.port());
    Some(match error.kind() {
        ErrorKind::AddrInUse => match procfs::listener(address) {
            Some((name, pid)) => format!("port {port} of {ip} is in use by {name} (pid {pid})"),
            None => format!("port {port} of {ip} is in use"),
        },
        _ => format!("port {port} of {ip} cannot be used: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_process() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let message = check([address]).unwrap_err().to_string();
        let start = format!("port {} of 127.0.0.1 is in use by ", address.port());
        assert!(message.starts_with(&start), "{message}");
        assert!(
            message.ends_with(&format!("(pid {})", std::process::id())),
            "{message}"
        );
    }

    #[test]
    fn a_closed_port_is_free_again() {
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        check([address]).unwrap();
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        let message = check(["192.0.2.1:80".parse().unwrap()])
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with("port 80 of 192.0.2.1 cannot be used"),
            "{message}"
        );
    }
}
