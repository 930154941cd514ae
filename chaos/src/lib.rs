//! Real processes of safe-chat under real faults, while clients write down everything that they see.
//!
//! [`report`] is what a run leaves behind, for a person to read. [`proxy`] is a network that can be broken. [`soak`] is a long run that breaks
//! nothing, and looks whether anything grows.

pub mod about;
pub mod proxy;
pub mod report;
pub mod soak;
