//! What Linux tells in /proc: whether a process lives, since when, and who listens on a port.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

/// What `/proc/PID/stat` says of a process or thread.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) name: String,
    /// R, S, D, T (stopped), Z (zombie), X (dead) ...
    pub(crate) state: char,
    /// Clock ticks from the boot to the start of the process.
    pub(crate) start: u64,
}

/// Clock ticks per second in /proc: the kernel's USER_HZ, the same on every architecture that these
/// commands run on.
pub(crate) const TICKS: u64 = 100;

/// How long ago the machine was booted.
pub(crate) fn uptime() -> Option<Duration> {
    let text = fs::read_to_string("/proc/uptime").ok()?;
    let seconds = text.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// These commands tell processes apart by /proc and use 127.0.0.2 and up, which only Linux has
/// without setup.
pub(crate) fn required() -> Result<()> {
    ensure!(
        Path::new("/proc/self/stat").exists(),
        "cargo xtask needs Linux (/proc and the addresses 127.0.0.x)"
    );
    Ok(())
}

pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Whether a thread of it still runs. After SIGKILL the first thread may be a zombie while others
/// hold the sockets.
pub(crate) fn has_running_thread(pid: i32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    threads
        .flatten()
        .filter_map(|thread| parse_stat(&fs::read_to_string(thread.path().join("stat")).ok()?))
        .any(|stat| !matches!(stat.state, 'Z' | 'X'))
}

/// Name and pid of the process that listens on this address, where /proc lets us see it.
pub(crate) fn listener(address: SocketAddr) -> Option<(String, i32)> {
    let inodes: Vec<u64> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, address))
        .collect();
    let sockets: Vec<String> = inodes
        .iter()
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let pids = fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| holds_any(pid, &sockets))
        .find_map(|pid| Some((stat(pid)?.name, pid)))
}

fn holds_any(pid: i32, sockets: &[String]) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|target| sockets.iter().any(|socket| target == Path::new(socket)))
}

/// `PID (NAME) STATE ...`, where NAME may hold spaces and brackets; the start time is field 22.
fn parse_stat(text: &str) -> Option<Stat> {
    let open = text.find('(')?;
    let close = text.rfind(')')?;
    let mut fields = text.get(close + 1..)?.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some(Stat {
        name: text.get(open + 1..close)?.to_owned(),
        state,
        start,
    })
}

/// Inodes of the sockets that listen on the address, or on its port of all addresses.
fn listening_inodes(table: &str, address: SocketAddr) -> Vec<u64> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| listening(line, address))
        .collect()
}

fn listening(line: &str, address: SocketAddr) -> Option<u64> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (ip, port) = fields.get(1)?.split_once(':')?;
    let ip = parse_ip(ip)?;
    let here = u16::from_str_radix(port, 16).ok()? == address.port()
        && (ip == address.ip() || ip.is_unspecified());
    if here && *fields.get(3)? == LISTEN {
        fields.get(9)?.parse().ok()
    } else {
        None
    }
}

/// The kernel prints addresses as 32-bit words in the byte order of the machine.
fn parse_ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        u32::from_str_radix(hex.get(at..at + 8)?, 16)
            .ok()
            .map(u32::to_ne_bytes)
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let bytes = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            let ip = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
            Some(ip.to_ipv4_mapped().map_or(ip.into(), IpAddr::V4))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const STAT: &str = "4711 (tokio) run (x)) T 1 4711 4711 0 -1 4194304 99 0 0 0 1 2 0 0 20 0 9 0 123456 1000 50 \
                        18446744073709551615 0 0 0 0 0 0 0";
    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:107E 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0
   1: 0200007F:107E 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1 0 100 0 0 10 0
   2: 0100007F:107E 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 333 1 0 100 0 0 10 0
   3: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 444 1 0 100 0 0 10 0";

    #[test]
    fn a_process_name_may_hold_brackets_and_spaces() {
        let stat = parse_stat(STAT).unwrap();
        assert_eq!(
            stat,
            Stat {
                name: "tokio) run (x)".into(),
                state: 'T',
                start: 123_456
            }
        );
    }

    #[test]
    fn a_torn_stat_line_is_no_process() {
        assert_eq!(parse_stat(""), None);
        assert_eq!(parse_stat("4711 (x) S 1 2 3"), None);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn only_listening_sockets_of_the_address_count() {
        assert_eq!(
            listening_inodes(TCP, "127.0.0.1:4222".parse().unwrap()),
            [111]
        );
        assert_eq!(
            listening_inodes(TCP, "127.0.0.3:4222".parse().unwrap()),
            [0; 0]
        );
        assert_eq!(
            listening_inodes(TCP, "127.0.0.3:8080".parse().unwrap()),
            [444],
            "0.0.0.0 covers every address"
        );
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn an_ipv6_socket_may_cover_an_ipv4_address() {
        assert_eq!(
            parse_ip("00000000000000000000000000000000"),
            Some(Ipv6Addr::UNSPECIFIED.into())
        );
        assert_eq!(
            parse_ip("0000000000000000FFFF00000100007F"),
            Some(Ipv4Addr::LOCALHOST.into())
        );
        assert_eq!(parse_ip("0100"), None);
    }

    #[test]
    fn the_listener_of_a_port_is_found() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let (_, pid) = listener(socket.local_addr().unwrap()).unwrap();
        assert_eq!(pid, std::process::id().cast_signed());
    }
}
