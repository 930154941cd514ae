//! What these tests share with others.

#[path = "../support/devices.rs"]
pub(crate) mod devices;
#[path = "../support/issuer.rs"]
pub(crate) mod issuer;
#[path = "../support/sealed.rs"]
pub(crate) mod sealed;
