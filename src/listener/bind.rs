//! Opens a port with the longest queue of connections that the kernel gives.

use std::{fs, io, net::IpAddr};
use tokio::net::{TcpListener, TcpSocket, lookup_host};

/// Where the kernel says how many connections may wait to be accepted.
const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";

/// Listens at the first address of `host` that can be listened on. As many connections may wait
/// to be accepted as the kernel allows: a client whose SYN finds the queue full loses a second.
pub(crate) async fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((host, port)).await? {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        // The kernel takes the smaller one of this and its own maximum.
        let listening = socket
            .bind(address)
            .and_then(|()| socket.listen(i32::MAX as u32));
        match listening {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Whether only this machine reaches what listens at a host.
pub(crate) fn is_loopback(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// How many connections may wait to be accepted; `None`: the system does not say.
pub(crate) fn longest_queue() -> Option<usize> {
    fs::read_to_string(SOMAXCONN).ok()?.trim().parse().ok()
}

/// What to do when an address cannot be listened on; `flag` sets its port.
pub(crate) fn advice(why: &io::Error, flag: &str) -> String {
    match why.kind() {
        io::ErrorKind::AddrNotAvailable => {
            "it is no address of this machine: choose one with --host".into()
        }
        io::ErrorKind::PermissionDenied => format!(
            "ports below 1024 are for root, or for a program with CAP_NET_BIND_SERVICE: choose \
             another with {flag}"
        ),
        _ => format!("end what uses it, or choose another with {flag}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::try_join_all;
    use std::time::Duration;
    use tokio::{net::TcpStream, time::timeout};

    #[tokio::test]
    async fn as_many_connections_as_the_kernel_allows_wait_to_be_accepted() {
        let listener = bind("127.0.0.1", 0).await.unwrap();
        let address = listener.local_addr().unwrap();
        // Nobody accepts: whatever does not fit into the queue is never connected.
        let count = longest_queue().unwrap_or(128).min(1000);
        let connections = try_join_all((0..count).map(|_| TcpStream::connect(address)));
        let connected = timeout(Duration::from_secs(60), connections).await;
        assert_eq!(connected.expect("all fit").unwrap().len(), count);
    }

    #[tokio::test]
    async fn what_to_do_about_an_address_is_told_by_what_is_wrong_with_it() {
        let advised = async |host: &str, port| {
            let why = bind(host, port).await.unwrap_err();
            advice(&why, "--http-port")
        };
        let taken = bind("127.0.0.1", 0).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let in_use = "end what uses it, or choose another with --http-port";
        assert_eq!(advised("127.0.0.1", port).await, in_use);
        // For documentation: no machine has it.
        let elsewhere = "it is no address of this machine: choose one with --host";
        assert_eq!(advised("192.0.2.1", 0).await, elsewhere);
        // Root may, so that it cannot be tried.
        let denied = advice(&io::ErrorKind::PermissionDenied.into(), "--http-port");
        assert!(denied.contains("below 1024") && denied.contains("--http-port"));
    }
}
