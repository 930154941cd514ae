//! The proxy on real sockets. Time is virtual where it matters: it moves on only when nothing else
//! is left to do.

use super::*;
use std::io::ErrorKind;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

const LONG: Duration = Duration::from_secs(60);

/// A proxy, the server behind it, and one connection through both.
struct World {
    proxy: Handle,
    server: TcpListener,
    client: TcpStream,
    peer: TcpStream,
}

async fn world() -> World {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = start(
        "127.0.0.1:0".parse().unwrap(),
        server.local_addr().unwrap(),
        1,
    )
    .await
    .unwrap();
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    let (peer, _) = server.accept().await.unwrap();
    World {
        proxy,
        server,
        client,
        peer,
    }
}

async fn read(socket: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut read = vec![0; bytes];
    socket.read_exact(&mut read).await.unwrap();
    read
}

async fn is_reset(socket: &mut TcpStream) -> bool {
    socket
        .read_u8()
        .await
        .is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

/// Bytes that show when one is missing or in another place.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n % 251) as u8).collect()
}

#[tokio::test]
async fn each_direction_passes_and_ends_for_itself() {
    let World {
        mut client,
        mut peer,
        proxy,
        ..
    } = world().await;
    client.write_all(b"ask").await.unwrap();
    client.shutdown().await.unwrap();
    let mut asked = Vec::new();
    peer.read_to_end(&mut asked).await.unwrap();
    assert_eq!(asked, b"ask");
    peer.write_all(b"answer").await.unwrap();
    drop(peer);
    let mut answered = Vec::new();
    client.read_to_end(&mut answered).await.unwrap();
    assert_eq!(answered, b"answer");
    assert_eq!(proxy.resets(), 0);
}

#[tokio::test(start_paused = true)]
async fn much_more_than_fits_under_way_arrives_whole_and_in_order() {
    for rules in [
        Rules::OPEN,
        Rules::delayed(Duration::from_millis(20), Duration::from_millis(50)),
    ] {
        let World {
            mut client,
            mut peer,
            proxy,
            ..
        } = world().await;
        proxy.set(rules);
        let sent = pattern(4 * 1024 * 1024);
        let (expected, bytes) = (sent.clone(), sent.len());
        let writing = tokio::spawn(async move { client.write_all(&sent).await });
        assert!(read(&mut peer, bytes).await == expected, "{rules:?}");
        writing.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_passes_a_cut_and_everything_goes_on_after_it() {
    let World {
        mut client,
        mut peer,
        proxy,
        server,
    } = world().await;
    proxy.set(Rules::CUT);
    client.write_all(b"there").await.unwrap();
    peer.write_all(b"back").await.unwrap();
    timeout(LONG, peer.read_u8())
        .await
        .expect_err("a byte passed the cut");
    timeout(LONG, client.read_u8())
        .await
        .expect_err("a byte passed the cut");
    let mut second = TcpStream::connect(proxy.address()).await.unwrap();
    second.write_all(b"new").await.unwrap();
    timeout(LONG, server.accept())
        .await
        .expect_err("a connection passed the cut");

    proxy.set(Rules::OPEN);
    assert_eq!(read(&mut peer, 5).await, b"there");
    assert_eq!(read(&mut client, 4).await, b"back");
    let (mut new, _) = server.accept().await.unwrap();
    assert_eq!(read(&mut new, 3).await, b"new");
}

#[tokio::test(start_paused = true)]
async fn nobody_behind_a_cut_hears_that_the_other_side_is_gone() {
    let World {
        client,
        mut peer,
        proxy,
        ..
    } = world().await;
    proxy.set(Rules::CUT);
    drop(client);
    timeout(LONG, peer.read_u8())
        .await
        .expect_err("the end passed the cut");
    proxy.set(Rules::OPEN);
    assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_refusal_resets_what_is_there_and_what_comes() {
    let World {
        mut client,
        mut peer,
        proxy,
        ..
    } = world().await;
    client.write_all(b"x").await.unwrap();
    read(&mut peer, 1).await;
    proxy.set(Rules::REFUSED);
    assert!(is_reset(&mut client).await && is_reset(&mut peer).await);
    let mut second = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(is_reset(&mut second).await);
    proxy.set(Rules::OPEN);
    TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(proxy.resets(), 2);
}

#[tokio::test]
async fn a_cut_connection_can_be_reset_too() {
    let World {
        mut client,
        mut peer,
        proxy,
        ..
    } = world().await;
    proxy.set(Rules::CUT);
    let mut waiting = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.set(Rules::REFUSED);
    assert!(
        is_reset(&mut client).await && is_reset(&mut peer).await && is_reset(&mut waiting).await
    );
}

#[tokio::test(start_paused = true)]
async fn each_direction_has_its_own_delay() {
    let World {
        mut client,
        mut peer,
        proxy,
        ..
    } = world().await;
    let (least, more) = (Duration::from_millis(200), Duration::from_secs(3));
    let jitter = Duration::from_millis(100);
    proxy.set(Rules {
        there: Delay { least, jitter },
        back: Delay {
            least: more,
            jitter,
        },
        ..Rules::OPEN
    });
    let sent = Instant::now();
    client.write_all(b"ping").await.unwrap();
    read(&mut peer, 4).await;
    assert!(sent.elapsed() >= least);
    let sent = Instant::now();
    peer.write_all(b"pong").await.unwrap();
    read(&mut client, 4).await;
    assert!(sent.elapsed() >= more);
}

#[tokio::test(start_paused = true)]
async fn a_throttle_lets_only_so_much_pass() {
    let World {
        mut client,
        mut peer,
        proxy,
        ..
    } = world().await;
    proxy.set(Rules {
        bytes_per_second: Some(10_000),
        ..Rules::OPEN
    });
    let (sent, since) = (pattern(50_000), Instant::now());
    client.write_all(&sent).await.unwrap();
    assert!(read(&mut peer, sent.len()).await == sent);
    // The last part is not waited for.
    assert!(
        since.elapsed() >= Duration::from_millis(4900),
        "{:?}",
        since.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_reset_by_chance() {
    for rules in [
        Rules::resetting(1.0),
        Rules {
            resets_per_kib: 1.0,
            ..Rules::OPEN
        },
    ] {
        let World {
            mut client,
            mut peer,
            proxy,
            ..
        } = world().await;
        proxy.set(rules);
        client.write_all(&pattern(1024)).await.unwrap();
        assert!(is_reset(&mut client).await, "{rules:?}");
        let mut rest = Vec::new();
        assert_eq!(
            peer.read_to_end(&mut rest).await.unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
        assert_eq!(proxy.resets(), 1);
    }
}

#[tokio::test]
async fn a_side_that_breaks_off_resets_the_other() {
    let World {
        client, mut peer, ..
    } = world().await;
    client.set_zero_linger().unwrap();
    drop(client);
    assert!(is_reset(&mut peer).await);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_reset() {
    let World { server, proxy, .. } = world().await;
    drop(server);
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(is_reset(&mut client).await);
}

#[tokio::test]
async fn connections_end_with_the_proxy() {
    let World {
        mut client,
        mut peer,
        proxy,
        ..
    } = world().await;
    assert_eq!(proxy.connections(), 1);
    drop(proxy);
    for side in [&mut client, &mut peer] {
        // By an end or by a reset: both happen when a program is ended.
        assert_eq!(side.read(&mut [0]).await.unwrap_or(0), 0);
    }
}
