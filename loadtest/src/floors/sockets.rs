//! Sockets over loopback.

use super::{Floor, Pace, repeat};
use anyhow::Result;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

/// What a message takes to another thread and back.
pub(super) fn round_trip(pace: Pace, bytes: usize, core: Option<usize>) -> Result<Floor> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut here = TcpStream::connect(listener.local_addr()?)?;
    let (mut there, _) = listener.accept()?;
    here.set_nodelay(true)?;
    there.set_nodelay(true)?;
    let echo = thread::spawn(move || {
        if let Some(core) = core {
            // Where it is not possible, the figure is that of one core.
            let _ = stay_on(core);
        }
        let mut message = vec![0; bytes];
        while there.read_exact(&mut message).is_ok() && there.write_all(&message).is_ok() {}
    });
    let mut message = vec![0; bytes];
    let floor = repeat("loopback: a message there and back", pace, || {
        here.write_all(&message)?;
        here.read_exact(&mut message)?;
        Ok(1)
    });
    drop(here);
    let _ = echo.join();
    floor
}

/// What it takes to write a message to each of many sockets, one write each: the fan-out that no
/// server can be faster than, on one core.
pub(super) fn writes(pace: Pace, bytes: usize, members: usize) -> Result<Floor> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut sockets = Vec::new();
    for _ in 0..members {
        let reader = TcpStream::connect(address)?;
        reader.set_nonblocking(true)?;
        let (writer, _) = listener.accept()?;
        writer.set_nodelay(true)?;
        sockets.push((writer, reader));
    }
    let (message, mut read) = (vec![0; bytes], vec![0; 64 * 1024]);
    let mut rounds = 0;
    let name = format!("bare writes to {members} sockets, per round");
    repeat(&name, pace, || {
        for (writer, _) in &mut sockets {
            writer.write_all(&message)?;
        }
        rounds += 1;
        // Their readers empty them now and then, outside of what is counted per write.
        if rounds % 64 == 0 {
            for (_, reader) in &mut sockets {
                while !matches!(reader.read(&mut read), Err(error) if error.kind() == ErrorKind::WouldBlock)
                {
                }
            }
        }
        Ok(members as u64)
    })
}

/// Keeps this thread on a core.
fn stay_on(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cores)?)
}
