//! Loopback addresses of one run, so that servers can use their usual ports beside any other run on
//! the machine.

use std::net::Ipv4Addr;

/// The address 127.0.0.`number`: what `up` and a person use.
pub fn numbered(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, number)
}

/// An address that no other process derives while this one lives: the 22 bits of a Linux pid below
/// 127.64.0.0/10.
pub fn of_pid(pid: u32) -> Ipv4Addr {
    three_of_pid(pid)[0]
}

/// As many as there are: the same bits below 127.64.0.0/10, 127.128.0.0/10 and 127.192.0.0/10.
pub fn three_of_pid(pid: u32) -> [Ipv4Addr; 3] {
    let [_, high, middle, low] = pid.to_be_bytes();
    [64, 128, 192].map(|quarter| Ipv4Addr::new(127, quarter | (high & 0x3f), middle, low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pid_has_its_own_loopback_address() {
        assert_eq!(of_pid(1), Ipv4Addr::new(127, 64, 0, 1));
        assert_eq!(of_pid(0x12_3456), Ipv4Addr::new(127, 64 | 0x12, 0x34, 0x56));
        assert_eq!(of_pid((1 << 22) - 1), Ipv4Addr::new(127, 127, 255, 255));
        assert!(three_of_pid(4711).iter().all(Ipv4Addr::is_loopback));
        assert_eq!(three_of_pid(1)[2], Ipv4Addr::new(127, 192, 0, 1));
    }
}
