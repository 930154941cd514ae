//! A way to a server that can be closed and opened again.

use std::net::SocketAddr;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

pub(crate) struct Proxy {
    address: SocketAddr,
    open: watch::Sender<bool>,
    /// Ends with the proxy.
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn to(server: &str) -> Self {
        // At the address of the server: a driver that learns the address of a node keeps the port
        // that it was given.
        let at = server
            .rsplit_once(':')
            .map_or("127.0.0.1", |(host, _)| host);
        let listener = TcpListener::bind((at, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let (open, is_open) = watch::channel(true);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, server.to_owned(), is_open));
        Self {
            address,
            open,
            _tasks: tasks,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Cuts every connection, and each new one at once.
    pub(crate) fn close(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }
}

async fn accept(listener: TcpListener, server: String, is_open: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(forward(client, server.clone(), is_open.clone()));
    }
}

async fn forward(mut client: TcpStream, server: String, mut is_open: watch::Receiver<bool>) {
    let closed = async {
        // An error is the end of the proxy.
        let _ = is_open.wait_for(|open| !open).await;
    };
    let through = async {
        if let Ok(mut server) = TcpStream::connect(&server).await {
            let _ = copy_bidirectional(&mut client, &mut server).await;
        }
    };
    tokio::select! {
        biased;
        () = closed => {}
        () = through => {}
    }
}
