//! Carries messages between two rooms: `... --example bridge -- http://127.0.0.1:8080 tea coffee`

use safe_chat_client::{Client, Event, Handle, Message, SendError};
use std::{env, error::Error};

/// The bridge reads its own messages, too, and does not carry them back.
const ME: &str = "bridge";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let [gateway, one, other]: [String; 3] =
        (env::args().skip(1).collect::<Vec<_>>())
            .try_into()
            .map_err(|_| "bridge GATEWAY[,GATEWAY...] ROOM ROOM")?;
    let (mut here, mut there) = tokio::try_join!(join(&gateway, &one), join(&gateway, &other))?;
    let (to_here, to_there) = (here.handle(), there.handle());
    loop {
        tokio::select! {
            Some(event) = here.next_event() => carry(event, &one, &to_there).await?,
            Some(event) = there.next_event() => carry(event, &other, &to_here).await?,
            else => return Err("both sessions ended for good".into()),
        }
    }
}

async fn join(gateways: &str, room: &str) -> Result<Client, Box<dyn Error>> {
    let client = Client::builder().gateways(gateways.split(',')).room(room);
    Ok(client
        .user(ME)
        .key("the-key-of-this-bridge")
        .connect()
        .await?)
}

async fn carry(event: Event, from: &str, to: &Handle) -> Result<(), SendError> {
    if let (Some(text), false) = (event.text(), event.from == ME) {
        let carried = Message::text(format!("{}@{from}: {text}", event.from));
        to.send(carried.with_id(format!("{from}-{}", event.seq)))
            .await?;
    }
    Ok(())
}
