//! Answers to `!ping`: `cargo run -p safe-chat-client --example bot -- http://127.0.0.1:8080 lobby`

use safe_chat_client::{Client, Message};
use std::{env, error::Error};

const ME: &str = "ping-bot";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let gateways = args.next().ok_or("bot GATEWAY[,GATEWAY...] ROOM")?;
    let room = args.next().ok_or("which room?")?;
    let mut client = Client::builder()
        .gateways(gateways.split(','))
        .room(room)
        .user(ME)
        .key("the-key-that-keeps-the-name-of-this-bot")
        .connect()
        .await?;
    while let Some(event) = client.next_event().await {
        if event.from != ME && event.text() == Some("!ping") {
            // The id makes it one answer, even if this bot is started again and reads it twice.
            let answer = Message::text("pong").with_id(format!("pong-{}", event.seq));
            client.send(answer.to(event.from)).await?;
        }
    }
    Err("the session ended for good".into())
}
