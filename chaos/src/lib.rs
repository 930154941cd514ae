//! Real processes of safe-chat under real faults, while clients write down everything that they see.
//!
//! [`report`] is what a run leaves behind, for a person to read. [`proxy`] is a network that can be broken.

pub mod proxy;
pub mod report;
