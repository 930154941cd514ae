//! What clients may do: decided here, before the bus, so that deciding a command again cannot
//! differ.
//!
//! Token buckets per session, per user and per client address, one for joins per address, and how
//! many connections and rooms an address may have at a time. All of it is this gateway's own: a
//! client that spreads over n gateways has n times as much. What counts is every frame and request,
//! understood or not, and the bytes of what is in it; questions count for more than messages.

mod address;
mod bucket;
mod claims;
pub(super) mod keyed;
mod proxies;
mod session_limits;
mod token_buckets;

pub(super) use address::{Connection, Entered};
pub(super) use proxies::Proxies;
pub(super) use session_limits::SessionLimits;
pub(super) use token_buckets::Cost;

use super::{Config, metrics};
use crate::{
    listener::Origin,
    room::{Key, Reason, Rejection, RoomId, UserId},
};
use address::Address;
use bucket::{Bucket, Per, Rate};
use claims::{Askers, KeyRates};
use keyed::Keyed;
use std::{net::IpAddr, sync::Arc, time::Duration};
use token_buckets::TokenBuckets;

/// The least time that a client is told to wait: one that was refused much should not come back for
/// every single token.
const WAIT_LEAST: Duration = Duration::from_millis(100);

/// The limits in the form in which they are used.
#[derive(Debug, Clone, Copy)]
struct Settings {
    session: Rate,
    session_bytes: Rate,
    user: Rate,
    user_bytes: Rate,
    address: Rate,
    address_bytes: Rate,
    joins: Rate,
    connections: usize,
    rooms: usize,
    /// Rooms that an address makes, and a user.
    made: Rate,
    made_by_user: Rate,
    /// Names that an address brings to rooms.
    names: Rate,
    keys: KeyRates,
}

impl Settings {
    fn of(config: &Config) -> Self {
        let rate = |count, burst| Rate {
            count,
            per: Per::Second,
            burst,
        };
        let hourly = |count, burst| Rate {
            count,
            per: Per::Hour,
            burst,
        };
        let most = |count: usize| if count == 0 { usize::MAX } else { count };
        Self {
            session: rate(config.session_rate, config.session_burst),
            session_bytes: rate(config.session_bytes_rate, config.session_bytes_burst),
            user: rate(config.user_rate, config.user_burst),
            user_bytes: rate(config.user_bytes_rate, config.user_bytes_burst),
            address: rate(config.address_rate, config.address_burst),
            address_bytes: rate(config.address_bytes_rate, config.address_bytes_burst),
            joins: rate(config.join_rate, config.join_burst),
            connections: most(config.connections_per_address),
            rooms: most(config.rooms_per_address),
            made: hourly(config.new_rooms_rate, config.new_rooms_burst),
            made_by_user: hourly(config.user_new_rooms_rate, config.user_new_rooms_burst),
            names: hourly(config.new_names_rate, config.new_names_burst),
            keys: KeyRates {
                claims: hourly(config.key_claims_rate, config.key_claims_burst),
                address_claims: hourly(
                    config.address_key_claims_rate,
                    config.address_key_claims_burst,
                ),
                publishes: hourly(config.key_publish_rate, config.key_publish_burst),
            },
        }
    }
}

/// Which limit was reached, in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// Frames of a session.
    Session,
    /// Bytes that a session sends.
    SessionBytes,
    /// Frames of all sessions of a user.
    User,
    /// Bytes that all sessions of a user send.
    UserBytes,
    /// Frames and requests of an address.
    Address,
    /// Bytes that an address sends.
    AddressBytes,
    /// Joins of an address.
    Joins,
    /// Connections of an address.
    Connections,
    /// Rooms of an address.
    Rooms,
    /// Rooms that a user makes.
    UserNewRooms,
    /// Rooms that an address makes.
    NewRooms,
    /// Rooms of the cluster.
    ClusterRooms,
    /// Names that an address brings to rooms that do not know them.
    NewNames,
    /// Key packages that an identity asks for.
    KeyClaims,
    /// Key packages that an address asks for.
    AddressKeyClaims,
    /// Key packages that devices of an address publish.
    KeyPublish,
}

impl Limit {
    fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::SessionBytes => "session_bytes",
            Self::User => "user",
            Self::UserBytes => "user_bytes",
            Self::Address => "address",
            Self::AddressBytes => "address_bytes",
            Self::Joins => "joins",
            Self::Connections => "connections",
            Self::Rooms => "rooms",
            Self::UserNewRooms => "user_new_rooms",
            Self::NewRooms => "new_rooms",
            Self::ClusterRooms => "cluster_rooms",
            Self::NewNames => "new_names",
            Self::KeyClaims => "key_claims",
            Self::AddressKeyClaims => "address_key_claims",
            Self::KeyPublish => "key_publish",
        }
    }

    /// Takes tokens from a bucket, or says when they are there.
    fn take(self, bucket: &Bucket, count: u32, message: &str) -> Result<(), Rejection> {
        bucket.take(count).map_err(|wait| self.late(wait, message))
    }

    fn late(self, wait: Duration, message: &str) -> Rejection {
        self.reached(message, wait.max(WAIT_LEAST).as_millis() as u64)
    }

    pub(super) fn reached(self, message: &str, retry_after_ms: u64) -> Rejection {
        metrics::limited(self.as_str());
        Rejection::retry(Reason::RateLimited, message, retry_after_ms)
    }
}

/// All limits of a gateway.
pub(super) struct Limits {
    settings: Settings,
    addresses: Keyed<Origin, Address>,
    /// A user is a name with a key: the same name may be somebody else in another room.
    users: Keyed<(UserId, Key), TokenBuckets>,
    /// Those who have made rooms lately.
    makers: Keyed<(UserId, Key), Bucket>,
    askers: Askers,
}

impl Limits {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            settings: Settings::of(config),
            addresses: Keyed::default(),
            users: Keyed::default(),
            makers: Keyed::default(),
            askers: Askers::default(),
        }
    }

    /// A client at an address.
    pub(super) fn client(&self, address: IpAddr) -> Client {
        Client(
            self.addresses
                .get(Origin::of(address), || Address::new(&self.settings)),
        )
    }

    /// Forgets those who have left long enough ago.
    pub(super) fn tidy(&self) {
        self.addresses.tidy();
        self.users.tidy();
        self.makers.tidy();
        self.askers.tidy();
    }

    /// What a session of a user may send, from an address if that is known.
    pub(super) fn meter(&self, user: &UserId, key: &Key, client: Option<&Client>) -> SessionLimits {
        SessionLimits::new(self, user, key, client)
    }

    /// Takes what a message without a session costs. Its address has paid for it already.
    pub(super) fn post(&self, user: &UserId, key: &Key, cost: Cost) -> Result<(), Rejection> {
        self.user(user, key)
            .take(cost, "too much at once of this user: send it again later")
    }

    /// Takes what making a room costs: the narrowest first.
    pub(super) fn make_room(
        &self,
        whose: (&UserId, &Key),
        client: Option<&Client>,
    ) -> Result<(), Rejection> {
        self.may_make(whose, client, |bucket| bucket.take(1))
    }

    /// Whether that would be let through now; takes nothing.
    pub(super) fn may_make_room(
        &self,
        whose: (&UserId, &Key),
        client: Option<&Client>,
    ) -> Result<(), Rejection> {
        self.may_make(whose, client, |bucket| bucket.has(1))
    }

    fn may_make(
        &self,
        (user, key): (&UserId, &Key),
        client: Option<&Client>,
        is_there: impl Fn(&Bucket) -> Result<(), Duration>,
    ) -> Result<(), Rejection> {
        let made_by_user = self.settings.made_by_user;
        let maker = (user.clone(), key.clone());
        let maker = self.makers.get(maker, || Bucket::new(made_by_user));
        let message = "this user makes too many rooms: go to one that is there, or try later";
        let refused = |limit: Limit, message| move |wait| limit.late(wait, message);
        is_there(&maker).map_err(refused(Limit::UserNewRooms, message))?;
        let message = "too many rooms are made from this address: go to one that is there, or try \
                       later";
        client.map_or(Ok(()), |client| {
            is_there(&client.0.made).map_err(refused(Limit::NewRooms, message))
        })
    }

    fn user(&self, user: &UserId, key: &Key) -> Arc<TokenBuckets> {
        self.users.get((user.clone(), key.clone()), || {
            TokenBuckets::user(&self.settings)
        })
    }
}

/// A client as far as limits are concerned: its address.
#[derive(Clone)]
pub struct Client(Arc<Address>);

impl Client {
    /// Takes what a request costs.
    pub(super) fn request(&self, cost: Cost) -> Result<(), Rejection> {
        self.take(cost, "too much at once from this address: try again later")
    }

    /// Takes what the body of a request costs, whatever is in it.
    pub(super) fn read(&self, bytes: usize) -> Result<(), Rejection> {
        self.request(Cost::bytes(bytes).beyond_a_frame())
    }

    fn take(&self, cost: Cost, message: &str) -> Result<(), Rejection> {
        self.0.allowance.take(cost, message)
    }

    /// Takes what a join costs, and a place in the room.
    pub(super) fn join(&self, room: &RoomId) -> Result<Entered, Rejection> {
        Limit::Joins.take(
            &self.0.joins,
            1,
            "too many joins from this address: try again later",
        )?;
        self.0.enter(room)
    }

    /// Takes what a name costs that a room may not know; otherwise what to tell one that it does
    /// not know.
    pub(super) fn bring_name(&self) -> Result<(), impl FnOnce() -> Rejection + use<>> {
        self.0.names.take(1).map_err(unknown_name)
    }

    /// Whether a name would be let through now that a room does not know; takes nothing.
    pub(super) fn may_bring_name(&self) -> Result<(), Rejection> {
        let has = self.0.names.has(1);
        has.map_err(|wait| unknown_name(wait)())
    }

    /// A connection more of this address.
    pub(super) fn connect(&self) -> Result<Connection, Rejection> {
        self.0.connect()
    }
}

/// What to tell an address that has brought too many names to rooms that do not know them.
fn unknown_name(wait: Duration) -> impl FnOnce() -> Rejection {
    move || {
        let message = "too many names that rooms do not know come from this address: take one that \
                       you had in this room, or try later";
        Limit::NewNames.late(wait, message)
    }
}
