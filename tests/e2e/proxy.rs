//! A way to a server that can be closed and opened again.

use std::{io, net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream, tcp},
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
        Self::before(server, None).await
    }

    /// One that closes when a client says this, of which the server does not hear the end.
    pub(crate) async fn until(server: &str, said: &str) -> Self {
        Self::before(server, Some(said)).await
    }

    async fn before(server: &str, last: Option<&str>) -> Self {
        // At the address of the server: a driver that learns the address of a node keeps the port
        // that it was given.
        let at = server
            .rsplit_once(':')
            .map_or("127.0.0.1", |(host, _)| host);
        let listener = TcpListener::bind((at, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let (open, is_open) = watch::channel(true);
        let mut tasks = JoinSet::new();
        let way = Way {
            server: server.to_owned(),
            last: last.map(|said| said.as_bytes().into()),
            open: open.clone(),
        };
        tasks.spawn(accept(listener, way, is_open));
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

    pub(crate) fn is_closed(&self) -> bool {
        !*self.open.borrow()
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }
}

#[derive(Clone)]
struct Way {
    server: String,
    /// What closes it.
    last: Option<Arc<[u8]>>,
    open: watch::Sender<bool>,
}

async fn accept(listener: TcpListener, way: Way, is_open: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(forward(client, way.clone(), is_open.clone()));
    }
}

async fn forward(client: TcpStream, way: Way, mut is_open: watch::Receiver<bool>) {
    let closed = async {
        // An error is the end of the proxy.
        let _ = is_open.wait_for(|open| !open).await;
    };
    let through = async {
        if let Ok(server) = TcpStream::connect(&way.server).await {
            let (from_client, mut to_client) = client.into_split();
            let (mut from_server, to_server) = server.into_split();
            let back = async {
                copy(&mut from_server, &mut to_client).await?;
                to_client.shutdown().await
            };
            let _ = tokio::try_join!(way.there(from_client, to_server), back);
        }
    };
    tokio::select! {
        biased;
        () = closed => {}
        () = through => {}
    }
}

impl Way {
    async fn there(
        &self,
        mut client: tcp::OwnedReadHalf,
        mut server: tcp::OwnedWriteHalf,
    ) -> io::Result<()> {
        let Some(last) = &self.last else {
            copy(&mut client, &mut server).await?;
            return server.shutdown().await;
        };
        // The end of what was said before, in which it may begin.
        let (mut said, mut read) = (Vec::new(), [0; 4096]);
        loop {
            let count = client.read(&mut read).await?;
            if count == 0 {
                return server.shutdown().await;
            }
            said.extend_from_slice(&read[..count]);
            if said.windows(last.len()).any(|part| part == &**last) {
                self.open.send_replace(false);
                return Ok(());
            }
            said.drain(..said.len().saturating_sub(last.len()));
            server.write_all(&read[..count]).await?;
        }
    }
}
