//! What is in the memory of a node: what a core dump would hold.

use crate::node::Node;
use loadtest::sealed::Marker;
use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
};

/// Whether a node that stands still has a text in its memory.
pub(crate) async fn holds(node: &Node, marker: &Marker) -> bool {
    node.signal("-STOP").await;
    let (found, searched) = search(node.id(), marker);
    node.signal("-CONT").await;
    assert!(searched > 1 << 20, "only {searched} bytes could be read");
    found
}

/// Whether it is there, and how many bytes were read.
fn search(id: u32, marker: &Marker) -> (bool, u64) {
    let maps = fs::read_to_string(format!("/proc/{id}/maps")).expect("a process of this test");
    let mut memory = File::open(format!("/proc/{id}/mem")).expect("the memory of a child");
    let mut searched = 0;
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else {
            continue;
        };
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').expect("a range");
        let hex = |text| u64::from_str_radix(text, 16).expect("an address");
        let (from, to) = (hex(from), hex(to));
        memory.seek(SeekFrom::Start(from)).expect("an address");
        // What the kernel keeps for itself cannot be read.
        if let Ok(is_there) = marker.is_read_in((&mut memory).take(to - from)) {
            searched += to - from;
            if is_there {
                return (true, searched);
            }
        }
    }
    (false, searched)
}
