//! Real processes of safe-chat under real faults, while clients write down everything that they
//! see.
//!
//! A [`site::Site`] is a running system: servers, nodes, and a network between them that can be
//! broken ([`proxy`]). A [`scenario::Scenario`] says which [`fault::Fault`] happens when, to whom.
//! [`run`] puts clients on a site, lets a scenario happen, and judges with the checker of
//! `loadtest` what the clients saw; [`sealed`] has the encrypted rooms of a run, [`order`] what an
//! [`operator`] has removed meanwhile.
//! [`soak`] is a long run that breaks nothing, and looks whether anything grows; [`growth`] has
//! rooms, and numbers of rooms, at the sizes that they may reach. [`next`] makes the version after
//! this one. [`report`] is what runs leave behind, for a person to read. [`command`] is the command
//! line.

pub mod about;
pub mod command;
pub mod fault;
pub mod figures;
pub mod growth;
pub mod next;
pub mod operator;
pub mod order;
pub mod proxy;
pub mod report;
pub mod run;
pub mod scenario;
pub mod sealed;
pub mod site;
pub mod soak;
