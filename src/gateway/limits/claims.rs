//! Key packages: how many somebody may ask for, and publish. Identities cost nothing, so what holds
//! back is the address. How fast those of one device go, whoever asks, is kept with them
//! (`bus::packages`).

use super::{
    Client, Limit, Limits,
    bucket::{Bucket, Per, Rate},
    keyed::Keyed,
};
use crate::room::{Key, Rejection, UserId};

/// How often one identity may ask for packages of the same person: a few rooms in a row, and then
/// one now and then.
const OF_ONE: Rate = Rate {
    count: 20,
    per: Per::Hour,
    burst: 10,
};

/// What the configuration says.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyRates {
    pub(super) claims: Rate,
    pub(super) address_claims: Rate,
    pub(super) publishes: Rate,
}

/// Those who have asked lately, and for whose.
#[derive(Default)]
pub(super) struct Askers {
    of_all: Keyed<Key, Bucket>,
    of_one: Keyed<(Key, (Key, UserId)), Bucket>,
}

impl Askers {
    pub(super) fn tidy(&self) {
        self.of_all.tidy();
        self.of_one.tidy();
    }
}

impl Limits {
    /// Takes what asking for somebody's key packages costs: the narrowest first.
    pub(in crate::gateway) fn claim_keys(
        &self,
        asker: &Key,
        whose: (Key, UserId),
        client: &Client,
    ) -> Result<(), Rejection> {
        // Whoever uses up its own packages takes nothing from others.
        if whose.0 != *asker {
            let of_one = (asker.clone(), whose);
            let of_one = self.askers.of_one.get(of_one, || Bucket::new(OF_ONE));
            let message = "you have asked for this person's key packages often: try again later";
            Limit::KeyClaims.take(&of_one, 1, message)?;
        }
        let rate = self.settings.keys.claims;
        let of_all = self.askers.of_all.get(asker.clone(), || Bucket::new(rate));
        let message = "you have asked for many key packages: try again later";
        Limit::KeyClaims.take(&of_all, 1, message)?;
        let message = "too many key packages are asked for from this address: try again later";
        Limit::AddressKeyClaims.take(&client.0.key_claims, 1, message)
    }

    /// Takes what publishing key packages costs.
    pub(in crate::gateway) fn publish_keys(&self, client: &Client) -> Result<(), Rejection> {
        let message = "too many devices publish key packages from this address: try again later";
        Limit::KeyPublish.take(&client.0.key_publishes, 1, message)
    }
}
