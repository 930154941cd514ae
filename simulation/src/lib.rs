//! Whole clusters of safe-chat in one thread, in virtual time: the real room, writer, cluster,
//! gateway and journal code over the memory adapters, with everything that goes wrong, and when,
//! drawn from one seed. The same seed does the same again, to the letter.
//!
//! ```text
//! seed -> plan (which faults, when) ---> cluster of nodes --- weather (each call and delivery:
//! delayed, refused, lost, repeated)
//!                                           | wires
//!                                        clients -> record -> judge (every promise of the protocol, then the journal itself)
//! ```
//!
//! Every tenth seed has a sealed room as well, with real MLS: its bytes are random and its clock
//! begins when the process did, for OpenMLS asks the system's; what happens is the seed's.
//!
//! A run has three parts: faults for [`run::ROUGH`], then calm weather while clients go on talking,
//! then silence until everything has settled, which must happen within bounded time. `mutations/`
//! has patches that each break one rule; a run of seeds must notice every one.

mod board;
mod client;
mod cluster;
mod count;
mod judge;
mod lives;
mod node;
mod orders;
mod passing;
mod plan;
mod poster;
mod random;
mod reader;
pub mod run;
mod sealed;
pub mod seeds;
mod talk;
pub mod trace;
mod visitor;
mod weather;
mod wire;
