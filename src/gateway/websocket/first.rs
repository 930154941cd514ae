//! The first words on a WebSocket whose client is not in yet: one message of it, or the reason why
//! it does not come in. Not a byte behind the message is read: what follows is for the session.

use super::{
    connection::{CLOSE_DEADLINE, CLOSE_LINGER},
    encode,
    frame::{Item, Parser},
};
use crate::{
    gateway::{Close, metrics},
    wire::{Encoded, Incoming},
};
use std::io;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// Frames until the message is whole, at most: pings, and fragments.
const FRAMES: usize = 16;

/// Says `greeting` first, if there is one. Then the first message, of `most` bytes per frame, as
/// `read` understands it. The caller's deadline ends the waiting. The error is nothing when the
/// client has left.
pub(in crate::gateway) async fn receive<S, T>(
    io: &mut S,
    greeting: Option<Encoded>,
    most: usize,
    read: impl FnOnce(Incoming<'_>) -> T,
) -> Result<T, Option<Close>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut parser, mut out) = (Parser::default(), Vec::new());
    if let Some(greeting) = greeting {
        encode::put(&mut out, &greeting);
    }
    for _ in 0..FRAMES {
        send(io, &out).await.map_err(|_| None)?;
        out.clear();
        let frame = read_frame(io, most).await.map_err(|_| None)?;
        let mut frame = frame.ok_or(Some(Close::TooBig))?;
        let mut at = 0;
        while at < frame.len() {
            let (count, item) = parser.next(&mut frame[at..]).map_err(Some)?;
            at += count;
            match item {
                None | Some(Item::Pong(_)) => {}
                Some(Item::Ping(payload)) => out = encode::pong(payload),
                Some(Item::Close(why)) => {
                    // It leaves anyway.
                    let _ = send(io, &encode::echo(why)).await;
                    return Err(None);
                }
                Some(Item::Text(text)) => return Ok(read(Incoming::Text(text))),
                Some(Item::Binary(bytes)) => return Ok(read(Incoming::Binary(bytes))),
            }
        }
    }
    Err(Some(Close::Protocol))
}

/// Ends a connection that has no session: the frame, if any, then the reason.
pub(in crate::gateway) async fn say_goodbye<S>(io: &mut S, frame: Option<Encoded>, close: Close)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut out = Vec::new();
    if let Some(frame) = frame {
        encode::put(&mut out, &frame);
    }
    out.extend(encode::close(close));
    metrics::closed(close);
    if !matches!(timeout(CLOSE_DEADLINE, send(io, &out)).await, Ok(Ok(()))) {
        return;
    }
    // A connection that is dropped with unread bytes is reset, and the reason lost with it.
    let linger = async {
        let mut waste = [0; 512];
        io.shutdown().await?;
        while io.read(&mut waste).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    drop(timeout(CLOSE_LINGER, linger).await);
}

async fn send(io: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    io.write_all(bytes).await?;
    io.flush().await
}

/// The bytes of one frame, masked as it came; nothing: it is too long.
async fn read_frame(io: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; 2];
    io.read_exact(&mut bytes).await?;
    let mask = usize::from(bytes[1] >> 7) * 4;
    let more = match bytes[1] & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    bytes.resize(2 + more + mask, 0);
    io.read_exact(&mut bytes[2..]).await?;
    let length = match more {
        0 => u64::from(bytes[1] & 0x7f),
        _ => bytes[2..2 + more]
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    };
    if length > most as u64 {
        return Ok(None);
    }
    let head = bytes.len();
    bytes.resize(head + length as usize, 0);
    io.read_exact(&mut bytes[head..]).await?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    /// A frame of a client, with a mask of zeros.
    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![kind, 0x80 | payload.len() as u8, 0, 0, 0, 0];
        frame.extend(payload);
        frame
    }

    /// What comes of these bytes, and what is left of them.
    async fn said(bytes: &[u8]) -> (Result<Vec<u8>, Option<Close>>, Vec<u8>) {
        let (mut server, mut client) = duplex(64 * 1024);
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let first = receive(&mut server, None, 100, |message| message.bytes().to_vec()).await;
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        (first, rest)
    }

    #[tokio::test]
    async fn nothing_behind_the_first_message_is_read() {
        let parts = [
            frame(0x89, b"ping"),
            frame(0x01, b"tok"),
            frame(0x80, b"en"),
            frame(0x81, b"hello"),
        ];
        let (first, left) = said(&parts.concat()).await;
        assert_eq!(first, Ok(b"token".to_vec()));
        assert_eq!(left, frame(0x81, b"hello"));
    }

    #[tokio::test]
    async fn who_says_nothing_or_too_much_is_let_go() {
        let long = [&[0x81, 0xfe, 0, 101, 0, 0, 0, 0][..], &[b'x'; 101]].concat();
        for (bytes, expected) in [
            (long, Err(Some(Close::TooBig))),
            (frame(0x89, b"").repeat(FRAMES), Err(Some(Close::Protocol))),
            (vec![0x81, 0x01, b'x'], Err(Some(Close::Protocol))),
            (frame(0x88, b""), Err(None)),
            (vec![0x81], Err(None)),
            (Vec::new(), Err(None)),
        ] {
            assert_eq!(said(&bytes).await.0, expected, "{bytes:?}");
        }
    }
}
