//! One connection through the proxy: from the accept to its end, whoever ends it.

use super::{Counts, Rules, Way, pipe};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{net::TcpStream, sync::watch, time::sleep};

/// Why a connection ended.
enum End {
    /// Both sides have ended it, and have all bytes.
    Closed,
    /// One side is gone; the other is told so by a reset.
    Broken,
    /// The rules want it.
    Reset,
}

/// Counted as long as it lives, however it ends.
struct Open(Arc<Counts>);

impl Open {
    fn new(counts: Arc<Counts>) -> Self {
        counts.open.fetch_add(1, Ordering::Relaxed);
        Self(counts)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) async fn run(
    mut client: TcpStream,
    server: SocketAddr,
    seed: u64,
    rules: watch::Receiver<Rules>,
    counts: Arc<Counts>,
) {
    let open = Open::new(counts);
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut server_side = None;
    let through = async {
        let mut way = rules.clone();
        if way.wait_for(|rules| rules.way == Way::Open).await.is_err() {
            return End::Closed;
        }
        let Ok(server) = TcpStream::connect(server).await else {
            return End::Broken;
        };
        forward(&mut client, server_side.insert(server), &mut rng, &rules).await
    };
    let mut refused = rules.clone();
    // A refusal comes first: no byte passes after it.
    let end = tokio::select! {
        biased;
        Ok(_) = refused.wait_for(|rules| rules.way == Way::Refused) => End::Reset,
        end = through => end,
    };
    if matches!(end, End::Reset) {
        open.0.resets.fetch_add(1, Ordering::Relaxed);
    }
    if !matches!(end, End::Closed) {
        // Closing sends RST instead of FIN. An error: that side has done so itself.
        for side in [Some(&client), server_side.as_ref()].into_iter().flatten() {
            let _ = side.set_zero_linger();
        }
    }
}

async fn forward(
    client: &mut TcpStream,
    server: &mut TcpStream,
    rng: &mut SmallRng,
    rules: &watch::Receiver<Rules>,
) -> End {
    // Otherwise Nagle's algorithm would delay what the ends send at once. An error: that side is
    // gone, which its pipe finds out.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let mut fork = || SmallRng::seed_from_u64(rng.random());
    let (chance, there, back) = (fork(), fork(), fork());
    let there = pipe::run(
        from_client,
        to_server,
        |rules| rules.there,
        there,
        rules.clone(),
    );
    let back = pipe::run(
        from_server,
        to_client,
        |rules| rules.back,
        back,
        rules.clone(),
    );
    tokio::select! {
        biased;
        () = unlucky(chance, rules) => End::Reset,
        ends = async { tokio::try_join!(there, back) } => match ends {
            Ok(_) => End::Closed,
            Err(pipe::Error::Broken) => End::Broken,
            Err(pipe::Error::Reset) => End::Reset,
        },
    }
}

/// Returns when the connection is to be reset, by chance. Nothing is reset while nothing passes.
async fn unlucky(mut rng: SmallRng, rules: &watch::Receiver<Rules>) {
    loop {
        sleep(Duration::from_secs(1)).await;
        let Rules {
            way,
            resets_per_second,
            ..
        } = *rules.borrow();
        if way == Way::Open && rng.random_bool(resets_per_second) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    /// How long a connection lives by chance.
    async fn life(seed: u64, per_second: f64) -> u64 {
        let (_tx, rules) = watch::channel(Rules::resetting(per_second));
        let since = Instant::now();
        unlucky(SmallRng::seed_from_u64(seed), &rules).await;
        since.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn how_long_a_connection_lives_follows_from_its_seed() {
        let mut lives = Vec::new();
        for seed in 0..200 {
            lives.push(life(seed, 0.2).await);
            assert_eq!(lives.last(), Some(&life(seed, 0.2).await), "seed {seed}");
        }
        // One in five each second: five seconds in the mean. The seeds are fixed, so this is too.
        let mean = lives.iter().sum::<u64>() as f64 / 200.0;
        assert!((4.0..6.0).contains(&mean), "{mean}");
    }
}
