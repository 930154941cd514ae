//! A room of two people: nobody else comes into its group, whoever adds them.

mod world;

use seal::content::Earlier;
use seal::conversation::{Conversation, Effect, Outgoing, Waits};
use seal::member::{Content, Error, Frame, Member, Shown};
use seal::rules::JoinPolicy;
use seal::{Refusal, direct};
use world::{Client, Server, name, now, people_of};

#[test]
fn nobody_else_comes_into_a_room_of_two() {
    let mut server = Server::default();
    let people = [("harry", 1), ("charly", 2), ("kim", 3)];
    let mut clients: Vec<_> = people
        .into_iter()
        .map(|(user, seed)| {
            let mut client = Client::new(user, "phone", seed);
            client.publish(2);
            client.flush(&mut server);
            client
        })
        .collect();
    let [harry, charly] = [0, 1].map(|n: usize| clients[n].identity.public());
    let room = direct::room_of(&harry, &charly);
    // Not as one that anybody comes into.
    let open = found(&mut clients[2], &room, JoinPolicy::Open);
    assert_eq!(
        take(&mut server, &clients[2], &open),
        Err(Refusal::NotTheirs)
    );
    let founding = found(&mut clients[0], &room, JoinPolicy::Invited);
    take(&mut server, &clients[0], &founding).unwrap();
    let Frame::Found { founding, .. } = &founding else {
        panic!("{founding:?}");
    };
    let founded = seal::member::Event::Founded(&founding.group_info);
    drop(clients[0].member.receive(&room, founded).unwrap());

    let [charlys, kims] = ["charly", "kim"].map(|user| server.claim(&name(user), &name("phone")));
    let refused = Error::Refused(Refusal::NotTheirs);
    for packages in [vec![kims.clone()], vec![charlys.clone(), kims]] {
        let added = clients[0]
            .member
            .add(&room, &people_of(&packages), &packages, now());
        assert_eq!(added.map(drop), Err(refused.clone()));
    }
    let charlys = [charlys];
    let added = clients[0]
        .member
        .add(&room, &people_of(&charlys), &charlys, now())
        .unwrap();
    for frame in added.frames {
        take(&mut server, &clients[0], &frame).unwrap();
    }
    assert_eq!(server.delivery().members().count(), 2);
}

/// What a conversation sends, of which each has the next place of the room.
struct Room {
    conversation: Conversation,
    seq: u64,
}

impl Room {
    /// Does what is to be done, in a room that takes all of it; the messages among it.
    fn perform(&mut self, effects: Vec<Effect>) -> usize {
        let mut messages = 0;
        for effect in effects {
            let then = match effect {
                Effect::AskWelcome => self.conversation.welcome(None, now()),
                Effect::AskGroup => self.conversation.group(None, now()),
                Effect::Send(number, sent) => {
                    messages += usize::from(matches!(sent, Outgoing::Sealed(_)));
                    self.seq += 1;
                    let mut then = self.conversation.event(self.seq, Some(&sent), now());
                    then.extend(self.conversation.answered(number, Ok(self.seq), now()));
                    then
                }
                _ => continue,
            };
            messages += self.perform(then);
        }
        messages
    }
}

#[test]
fn what_is_said_in_a_room_of_two_waits_until_the_other_one_can_read_it() {
    let (mut server, harry) = (Server::default(), Client::new("harry", "phone", 1));
    let mut charly = Client::new("charly", "phone", 2);
    charly.publish(1);
    charly.flush(&mut server);
    let device = (harry.user.clone(), harry.device.clone());
    let certificate = harry.identity.certify(device.0, device.1, &harry.key);
    let member = Member::new(harry.key.clone(), certificate);
    let name_of_both = direct::room_of(&harry.identity.public(), &charly.identity.public());
    let policy = JoinPolicy::Invited;
    let mut room = Room {
        conversation: Conversation::new(member, name_of_both.clone(), policy, [1; 16]),
        seq: 0,
    };
    let effects = room.conversation.say(b"first words", now()).unwrap();
    assert_eq!(room.perform(effects), 0);
    let effects = room.conversation.connected(0, now());
    assert_eq!(room.perform(effects), 0);
    assert!(room.conversation.member().is_in(&name_of_both));
    let effects = room.conversation.ask_for_earlier(5, now()).unwrap();
    assert_eq!(room.perform(effects), 0);
    assert_eq!(room.conversation.waits_for(), Some(Waits::Other));
    assert_eq!(
        room.conversation.unsent().collect::<Vec<_>>(),
        [b"first words"]
    );
    let others = room.conversation.undecided_others();
    assert!(
        matches!(others[..], [Shown::Asked { count: 5, .. }]),
        "{others:?}"
    );

    let packages = [server.claim(&name("charly"), &name("phone"))];
    let added = room.conversation.add(&charly.person(), &packages, now());
    assert_eq!(room.perform(added.unwrap()), 2);
    assert_eq!(room.conversation.waits_for(), None);
    assert_eq!(room.conversation.undecided_others(), []);

    // Two messages, whose answers do not come.
    let charlys = charly.identity.public();
    let long = (1..=2).map(|seq| Earlier {
        seq,
        at: 0,
        from: name("harry"),
        content: Content(vec![b'x'; 40_000]),
    });
    let long: Vec<_> = long.collect();
    let shared = room.conversation.share(&charlys, &long, now()).unwrap();
    let is_message = |effect: &&Effect| matches!(effect, Effect::Send(..));
    assert_eq!(shared.iter().filter(is_message).count(), 2);
    let others = room.conversation.undecided_others();
    assert!(
        matches!(others[..], [Shown::Shared { with, count: 2, .. }] if with == charlys),
        "{others:?}"
    );
}

fn found(client: &mut Client, room: &seal::Name, policy: JoinPolicy) -> Frame {
    let step = client.member.found(room, policy, &[1; 16], now()).unwrap();
    step.frames.into_iter().next().expect("a founding")
}

fn take(server: &mut Server, by: &Client, frame: &Frame) -> Result<(), Refusal> {
    server.take(&by.proven(), &by.device, frame)
}
