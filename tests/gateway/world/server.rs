//! A gateway on a real socket, and WebSocket clients.

use super::{LONG, World};
use futures::{SinkExt, StreamExt};
use safe_chat::{
    access::{self, Access},
    gateway::{Config, Handle, Service},
};
use serde_json::Value;
use std::sync::Arc;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        http::{HeaderValue, Response},
    },
};
use tokio_util::sync::CancellationToken;

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) handle: Handle,
    pub(crate) stop: CancellationToken,
    pub(crate) stopped: tokio::task::JoinHandle<()>,
    pub(crate) world: World,
}

pub(crate) struct Still {
    pub(crate) address: String,
    handle: Handle,
    service: Service,
    listener: TcpListener,
    world: World,
}

impl Still {
    pub(crate) fn run(self) -> Server {
        let stop = CancellationToken::new();
        Server {
            stopped: tokio::spawn(self.service.run(self.listener, stop.clone())),
            address: self.address,
            handle: self.handle,
            stop,
            world: self.world,
        }
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        Self::of(World::new().await, config).await.run()
    }

    /// One with a policy for its rooms.
    pub(crate) async fn guarded(config: Config, access: &access::Config) -> Self {
        Self::guarded_in(World::new().await, config, access).await
    }

    pub(crate) async fn guarded_in(
        mut world: World,
        config: Config,
        access: &access::Config,
    ) -> Self {
        access.validate().unwrap();
        let journal = Arc::new(world.database.connect(world.shards));
        let access = Access::load(access).unwrap();
        let service = world.guarded(config, access.clone(), journal);
        let listener = safe_chat::gateway::bind("127.0.0.1", 0).await.unwrap();
        let still = Still {
            address: listener.local_addr().unwrap().to_string(),
            handle: service.handle(),
            service,
            listener,
            world,
        };
        let server = still.run();
        tokio::spawn(access.run(server.stop.clone()));
        server
    }

    /// One that listens and does nothing yet, as a process that stands still.
    pub(crate) async fn still() -> Still {
        Self::of(World::new().await, Config::default()).await
    }

    pub(crate) async fn of(mut world: World, config: Config) -> Still {
        let journal = Arc::new(world.database.connect(world.shards));
        let (gateway, service) = world.service(config, journal);
        let listener = safe_chat::gateway::bind("127.0.0.1", 0).await.unwrap();
        Still {
            address: listener.local_addr().unwrap().to_string(),
            handle: gateway.handle,
            service,
            listener,
            world,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn try_connect(
        &self,
        path: &str,
        protocol: Option<&str>,
    ) -> Result<Socket, Response<Option<Vec<u8>>>> {
        let mut request = format!("ws://{}{path}", self.address)
            .into_client_request()
            .unwrap();
        if let Some(protocol) = protocol {
            request.headers_mut().insert(
                "sec-websocket-protocol",
                HeaderValue::from_str(protocol).unwrap(),
            );
        }
        match timeout(LONG, connect_async(request))
            .await
            .expect("an answer")
        {
            Ok((socket, answer)) => {
                let echoed = answer
                    .headers()
                    .get("sec-websocket-protocol")
                    .map(|name| name.to_str().unwrap());
                assert_eq!(echoed, protocol);
                Ok(socket)
            }
            Err(Error::Http(answer)) => Err(*answer),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn text(&self, user: &str) -> Socket {
        self.try_connect(&format!("/chat/aaa/user/{user}?pub=key"), None)
            .await
            .unwrap()
    }

    pub(crate) async fn json(&self, user: &str, more: &str) -> Socket {
        self.try_connect(
            &format!("/chat/aaa/user/{user}?pub=key{more}"),
            Some("safechat.v1+json"),
        )
        .await
        .unwrap()
    }

    /// The status and the reason of a refused upgrade.
    pub(crate) async fn refused(&self, path: &str, protocol: Option<&str>) -> (u16, String) {
        let answer = self
            .try_connect(path, protocol)
            .await
            .expect_err("it is refused");
        let body: Value = serde_json::from_slice(answer.body().as_ref().unwrap()).unwrap();
        (
            answer.status().as_u16(),
            body["error"]["reason"].as_str().unwrap().to_owned(),
        )
    }
}

pub(crate) async fn next(socket: &mut Socket) -> Message {
    timeout(LONG, socket.next())
        .await
        .expect("something comes")
        .expect("it is open")
        .unwrap()
}

pub(crate) async fn line(socket: &mut Socket) -> String {
    next(socket).await.into_text().unwrap().to_string()
}

pub(crate) async fn frame(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let frame: Value = serde_json::from_str(&line(socket).await).unwrap();
        if frame["type"] == kind {
            return frame;
        }
    }
}

pub(crate) async fn say(socket: &mut Socket, text: impl Into<String>) {
    socket.send(Message::text(text.into())).await.unwrap();
}

/// The code with which the server closes.
pub(crate) async fn code(socket: &mut Socket) -> u16 {
    loop {
        if let Message::Close(frame) = next(socket).await {
            return frame.expect("a code").code.into();
        }
    }
}
