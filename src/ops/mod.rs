//! Operating a node: the internal port (`/live`, `/ready`, `/metrics`, and management), who may
//! manage ([`Accounts`]), the banner, and what the machine gives the process.
//!
//! `/live` answers from the first moment, `/ready` says why not. Metrics are named `safechat_...`
//! where they happen and never carry a room or a user as a label. The internal port is for
//! operators only: it belongs on an address that clients cannot reach.

pub mod accounts;
pub mod answer;
mod audit;
pub mod banner;
mod cgroup;
mod config;
mod dashboard;
mod document;
mod guard;
pub mod host;
mod manage;
mod places;
mod probes;
mod process;
mod readiness;
mod service;
mod vitals;

pub use accounts::Accounts;
pub use config::Config;
pub use manage::{ApiError, DomainEvent, Operator, OperatorSlot, Whom};
pub use readiness::{Check, Described, Readiness, Warnings, distinct};
pub use service::{Error, Service};
pub use vitals::Vitals;
