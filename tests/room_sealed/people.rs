//! A sealed room in its owner, and devices whose frames go through its decisions.

use crate::sealed::{Device, now};
use safe_chat::{
    journal::codec::{decode_snapshot, encode_snapshot},
    room::{
        Action, BatchMessage, Body, Command, CommandId, Event, Identity, Incarnation, Key, Kind,
        Millis, Outcome, Policy, Producer, ProducerSeq, Reason, Rejection, SessionId, State, Turn,
        decide,
    },
};
use seal::{member::Shown, rules::JoinPolicy};
use uuid::Uuid;

fn gateway() -> Incarnation {
    Incarnation::new(Uuid::from_u128(1))
}

/// The session of a device.
fn session(device: &Device) -> SessionId {
    SessionId::new(Uuid::from_u128(u128::from(device.seed)))
}

/// The room in its owner.
pub(crate) struct Room {
    pub(crate) state: State,
    pub(crate) events: Vec<Event>,
    sequence: u64,
    messages: u64,
    /// How much later than now it is, in milliseconds.
    pub(crate) later: u64,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self {
            state: State::default(),
            events: Vec::new(),
            sequence: 0,
            messages: 0,
            later: 0,
        }
    }

    pub(crate) fn act(&mut self, action: Action) -> Outcome {
        let at = Millis(now() * 1_000 + self.later);
        let command = Command { at, action };
        let decision = decide(&self.state, &command);
        let events = self.state.apply_decision(&decision, &command);
        self.events.extend(events);
        decision.outcome
    }

    pub(crate) fn open(&mut self, device: &Device, policy: Option<Policy>) -> Outcome {
        self.open_as(device, device.key(), Identity::Proven, policy)
    }

    pub(crate) fn open_as(
        &mut self,
        device: &Device,
        key: Key,
        identity: Identity,
        policy: Option<Policy>,
    ) -> Outcome {
        self.act(Action::Open {
            session: session(device),
            user: device.user(),
            key,
            identity,
            device: None,
            gateway: gateway(),
            policy,
            former: None,
        })
    }

    pub(crate) fn close(&mut self, device: &Device) {
        let session = session(device);
        let gateway = Some(gateway());
        assert_eq!(self.act(Action::Close { session, gateway }), Outcome::Done);
    }

    /// Messages of a gateway's sessions, in one batch; what became of each.
    pub(crate) fn batch(&mut self, said: &[(&Device, Body)]) -> Vec<Outcome> {
        self.sequence += 1;
        let generation = 1;
        let producer = Producer {
            gateway: gateway(),
            generation,
        };
        let messages = said.iter().map(|(device, body)| {
            self.messages += 1;
            BatchMessage {
                turn: Turn {
                    session: session(device),
                    number: self.messages,
                },
                user: device.user(),
                id: CommandId::parse(&format!("m{}", self.messages)).unwrap(),
                to: None,
                body: body.clone(),
            }
        });
        let messages = messages.collect();
        let sequence = self.sequence;
        let from = ProducerSeq { producer, sequence };
        match self.act(Action::Batch { from, messages }) {
            Outcome::Batch(outcomes) => outcomes,
            outcome => panic!("{outcome:?}"),
        }
    }

    pub(crate) fn say(&mut self, device: &Device, body: Body) -> Result<(), Rejection> {
        match self.batch(&[(device, body)]).pop() {
            Some(Outcome::Done) => Ok(()),
            Some(Outcome::Refused(rejection)) => Err(rejection),
            outcome => panic!("{outcome:?}"),
        }
    }

    /// What was refused, in a word.
    pub(crate) fn refused(&mut self, device: &Device, body: Body) -> Reason {
        self.say(device, body).unwrap_err().reason
    }

    /// A new owner has the same state, from the events alone and from a snapshot.
    pub(crate) fn is_replayed(&self) {
        let mut replayed = State::default();
        self.events.iter().for_each(|event| replayed.evolve(event));
        assert_eq!(replayed.group, self.state.group);
        assert_eq!(replayed.policy, self.state.policy);
        let stored = encode_snapshot(&self.state);
        let restored = decode_snapshot(stored.clone()).unwrap();
        assert_eq!(restored, self.state);
        assert_eq!(encode_snapshot(&restored), stored);
    }

    /// Goes on from a snapshot, as after a takeover.
    pub(crate) fn take_over(&mut self) {
        self.is_replayed();
        self.state = decode_snapshot(encode_snapshot(&self.state)).unwrap();
    }
}

/// A sealed room with these users in its group, all of whom have read everything.
pub(crate) fn room_of(users: &[&str]) -> (Room, Vec<Device>) {
    let mut room = Room::new();
    let mut devices: Vec<_> = (1..)
        .zip(users)
        .map(|(seed, user)| Device::new(user, seed))
        .collect();
    for device in &devices {
        assert_eq!(room.open(device, Some(Policy::Sealed)), Outcome::Done);
    }
    let (first, others) = devices.split_first_mut().unwrap();
    let founding = first.found(JoinPolicy::Invited);
    room.say(first, founding).unwrap();
    read(first, &room);
    if !others.is_empty() {
        let bundle = first.add(&others.iter().collect::<Vec<_>>());
        room.say(first, bundle).unwrap();
        let owed = room.state.take_owed();
        assert_eq!((owed.len(), owed[0].recipients.len()), (1, others.len()));
        for other in others {
            other.join(&owed[0].admission, owed[0].seq.0);
        }
    }
    for device in &mut devices {
        read(device, &room);
    }
    (room, devices)
}

/// Reads on; what is shown.
pub(crate) fn read(device: &mut Device, room: &Room) -> Vec<Shown> {
    for event in room.events.iter().skip(device.cursor as usize) {
        device.cursor = event.seq.0;
        if let Kind::Message { body, .. } = &event.kind {
            device.take(body);
        }
    }
    device.caught_up()
}
