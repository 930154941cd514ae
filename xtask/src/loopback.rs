//! Loopback addresses of one run, so that servers can use their usual ports beside any other run on the machine.

use std::net::Ipv4Addr;

/// The address 127.0.0.`number`: what `up` and a person use.
pub(crate) fn numbered(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, number)
}

/// An address that no other process derives while this one lives: the 22 bits of a Linux pid below 127.64.0.0/10.
pub(crate) fn of_pid(pid: u32) -> Ipv4Addr {
    let [_, high, middle, low] = pid.to_be_bytes();
    Ipv4Addr::new(127, 64 | (high & 0x3f), middle, low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pid_has_its_own_loopback_address() {
        assert_eq!(of_pid(1), Ipv4Addr::new(127, 64, 0, 1));
        assert_eq!(of_pid(0x12_3456), Ipv4Addr::new(127, 64 | 0x12, 0x34, 0x56));
        assert_eq!(of_pid((1 << 22) - 1), Ipv4Addr::new(127, 127, 255, 255));
        assert!(of_pid(4711).is_loopback());
    }
}
