//! Devices as their hosts run them, against a room with its writer: how they come in, what is said
//! meanwhile, and what is left after a crash between any two effects.

mod world;

use seal::conversation::{Conversation, Effect, MOST_WAITING, Outgoing, Show};
use seal::member::{Error, Frame, Member, Shown};
use seal::rules::JoinPolicy;
use seal::{Handshake, Refusal, Shelf};
use std::collections::{BTreeMap, VecDeque};
use world::{Client, Entry, Random, Server, key_of, now, room};

/// A device and what runs it.
struct Host {
    person: Client,
    conversation: Conversation,
    /// What survives a crash.
    stored: Shelf,
    /// The next event that the room sends, from 1 on; 0: there is no connection.
    next: u64,
    effects: VecDeque<Effect>,
    /// Answers that are on their way.
    answers: VecDeque<(u64, Result<u64, String>)>,
    policy: JoinPolicy,
    /// Whether the room lets it found its group.
    may_found: bool,
    shown: Vec<Show>,
    /// What it has said, and read, in the room.
    said: Vec<(u64, String)>,
}

impl Host {
    fn new(user: &str, seed: u8, policy: JoinPolicy) -> Self {
        let person = Client::new(user, "phone", seed);
        let certificate =
            person
                .identity
                .certify(person.user.clone(), person.device.clone(), &person.key);
        let member = Member::new(person.key.clone(), certificate);
        Self {
            conversation: Conversation::new(member, room(), policy, [seed; 16]),
            person,
            stored: Shelf::default(),
            next: 0,
            effects: VecDeque::new(),
            answers: VecDeque::new(),
            policy,
            may_found: true,
            shown: Vec::new(),
            said: Vec::new(),
        }
    }

    fn publish(&mut self, server: &mut Server) {
        let step = self.conversation.member_mut().publish(3, now()).unwrap();
        self.stored.store(step.changes).unwrap();
        for frame in step.frames {
            let (by, device) = (self.person.proven(), self.person.device.clone());
            server.take(&by, &device, &frame).unwrap();
        }
    }

    fn connect(&mut self, server: &Server) {
        let head = server.journal.len() as u64;
        self.next = self.conversation.since().unwrap_or(head) + 1;
        self.effects
            .extend(self.conversation.connected(head, now()));
    }

    fn disconnect(&mut self) {
        self.next = 0;
        self.conversation.disconnected();
        // Whatever was under way is sent again, and answered, with the next connection.
    }

    /// The program ends without a warning: only what was stored is left.
    fn crash(&mut self) {
        let seed = self.person.identity.seed()[0];
        let member = match self.stored.revision() {
            0 => {
                let (person, key) = (&self.person, &self.person.key);
                let identity = &person.identity;
                let names = (person.user.clone(), person.device.clone());
                Member::new(key.clone(), identity.certify(names.0, names.1, key))
            }
            _ => {
                let shelf = Shelf::decode(&self.stored.encode()).unwrap();
                Member::restore(shelf).unwrap()
            }
        };
        self.conversation = Conversation::new(member, room(), self.policy, [seed; 16]);
        self.next = 0;
        self.effects.clear();
        self.answers.clear();
    }

    fn say(&mut self, text: &str) {
        let effects = self.conversation.say(text.as_bytes(), now()).unwrap();
        self.effects.extend(effects);
    }

    fn add(&mut self, server: &mut Server, other: &Self) -> bool {
        let package = server.claim(&other.person.user, &other.person.device);
        let added = self.conversation.add(&[package], now());
        let is_added = added.is_ok();
        self.effects.extend(added.into_iter().flatten());
        is_added
    }

    fn remove(&mut self, other: &str) {
        let removed = self.conversation.remove(&world::name(other), None, now());
        self.effects.extend(removed.into_iter().flatten());
    }

    /// Does one thing that is to be done; `false`: there is none.
    fn act(&mut self, server: &mut Server) -> bool {
        if self.next == 0 {
            return false;
        }
        if let Some(effect) = self.effects.pop_front() {
            self.effect(effect, server);
            return true;
        }
        if let Some((number, answer)) = self.answers.pop_front() {
            let answer = answer.as_ref().map(|seq| *seq).map_err(String::as_str);
            let effects = self.conversation.answered(number, answer, now());
            self.effects.extend(effects);
            return true;
        }
        let Some(entry) = server.journal.get(self.next as usize - 1) else {
            return false;
        };
        let content = content(entry);
        let effects = self.conversation.event(self.next, Some(&content), now());
        self.next += 1;
        self.effects.extend(effects);
        true
    }

    fn effect(&mut self, effect: Effect, server: &mut Server) {
        match effect {
            Effect::Store(changes) => self.stored.store(changes).unwrap(),
            Effect::Send(number, outgoing) => {
                let is_founding = matches!(frame_of(&outgoing), Ok(Frame::Found { .. }));
                let answer = match is_founding && !self.may_found {
                    true => Err("not_the_maker".into()),
                    false => {
                        let placed = self.place(&outgoing, server);
                        placed.map_err(|refusal| refusal.code().into())
                    }
                };
                self.answers.push_back((number, answer));
            }
            Effect::AskGroup => {
                let state = server.delivery.as_ref().map(seal::Delivery::reentry);
                let state = state.as_ref().map(|(info, tree)| (&info[..], &tree[..]));
                let effects = self.conversation.group(state, now());
                self.effects.extend(effects);
            }
            Effect::AskWelcome => {
                let key = key_of(&self.person.user, &self.person.device);
                let found = server.waiting.remove(&key);
                let found = found.as_ref().map(|waiting| {
                    let admission = &waiting.admission;
                    (
                        waiting.after as u64,
                        &admission.welcome[..],
                        &admission.tree[..],
                    )
                });
                let effects = self.conversation.welcome(found, now());
                self.effects.extend(effects);
            }
            Effect::Resume(seq) => self.next = seq + 1,
            Effect::Show(show) => self.show(show),
        }
    }

    /// The writer decides it; the same again has the same place.
    fn place(&self, outgoing: &Outgoing, server: &mut Server) -> Result<u64, Refusal> {
        let same = |entry: &Entry| content(entry) == *outgoing;
        let frame = frame_of(outgoing)?;
        if server.delivery.is_none() && !matches!(frame, Frame::Found { .. }) {
            return Err(Refusal::NotAMember);
        }
        server.take(&self.person.proven(), &self.person.device, &frame)?;
        let at = server.journal.iter().rposition(same);
        Ok(at.map_or(server.journal.len(), |at| at + 1) as u64)
    }

    fn show(&mut self, show: Show) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        match &show {
            Show::Said { seq, content } => self.said.push((*seq, text(&content.0))),
            Show::Room {
                seq: Some(seq),
                what: Shown::Message { content, .. },
            } => self.said.push((*seq, text(&content.0))),
            Show::Ask(_) => self.effects.extend(self.conversation.agree(now())),
            _ => {}
        }
        self.shown.push(show);
    }

    fn is_in(&self) -> bool {
        self.conversation.member().is_in(&room())
    }

    fn said(&self) -> Vec<&str> {
        self.said.iter().map(|(_, text)| text.as_str()).collect()
    }
}

fn frame_of(outgoing: &Outgoing) -> Result<Frame, Refusal> {
    let room = room();
    Ok(match outgoing {
        Outgoing::Sealed(bytes) => Frame::Message {
            room,
            bytes: bytes.clone(),
        },
        Outgoing::Handshake(bytes) => match Handshake::decode(bytes)? {
            Handshake::Founding(founding) => Frame::Found { room, founding },
            Handshake::Bundle(bundle) => Frame::Change { room, bundle },
            Handshake::Leave(bytes) => Frame::Leave { room, bytes },
            Handshake::Devices(list) => Frame::Devices { room, list },
            Handshake::Report(epoch) => Frame::Report { room, epoch },
        },
    })
}

/// An event as a client gets it. The writer of these tests keeps the parts that devices need.
fn content(entry: &Entry) -> Outgoing {
    let handshake = match entry {
        Entry::Message { bytes, .. } => return Outgoing::Sealed(bytes.clone()),
        Entry::Founded(info) => Handshake::Founding(seal::Founding {
            group_info: info.clone(),
            tree: Vec::new(),
        }),
        Entry::Commit(commit) => Handshake::Bundle(seal::Bundle {
            commit: commit.clone(),
            welcome: None,
            group_info: Vec::new(),
        }),
        Entry::Leave(bytes) => Handshake::Leave(bytes.clone()),
        Entry::Devices(list) => Handshake::Devices(list.clone()),
    };
    Outgoing::Handshake(handshake.encode())
}

fn settle(server: &mut Server, hosts: &mut [Host]) {
    while hosts.iter_mut().any(|host| host.act(server)) {}
}

fn connected(users: &[&str], policy: JoinPolicy) -> (Server, Vec<Host>) {
    let mut server = Server::default();
    let mut hosts: Vec<_> = (1..)
        .zip(users)
        .map(|(seed, user)| Host::new(user, seed, policy))
        .collect();
    for host in &mut hosts {
        host.publish(&mut server);
        host.connect(&server);
        settle(&mut server, std::slice::from_mut(host));
    }
    settle(&mut server, &mut hosts);
    (server, hosts)
}

#[test]
fn who_is_not_invited_waits_until_somebody_adds_him_and_misses_nothing_from_then_on() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Invited);
    assert!(hosts[0].is_in() && !hosts[1].is_in());
    // It says what is to be done, and no refusal that nothing can be done about.
    assert_eq!(hosts[1].shown, [Show::NotIn]);
    hosts[0].say("before");
    settle(&mut server, &mut hosts);
    let (harry, charly) = hosts.split_at_mut(1);
    assert!(harry[0].add(&mut server, &charly[0]));
    // What is said at once after it is for him, too, though he hears it before he knows.
    harry[0].say("after");
    while harry[0].act(&mut server) {}
    settle(&mut server, &mut hosts);
    hosts[1].say("thanks");
    settle(&mut server, &mut hosts);
    assert_eq!(hosts[0].said(), ["before", "after", "thanks"]);
    assert_eq!(hosts[1].said(), ["after", "thanks"]);
    assert!(hosts.iter().all(|host| host.conversation.is_settled()));
}

#[test]
fn a_welcome_that_comes_later_than_its_commit_is_found() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Invited);
    let (harry, charly) = hosts.split_at_mut(1);
    assert!(harry[0].add(&mut server, &charly[0]));
    while harry[0].act(&mut server) {}
    // The writer hands it over when it has stored the commit; members hear of that before.
    let late = std::mem::take(&mut server.waiting);
    assert!(!late.is_empty());
    while charly[0].act(&mut server) {}
    assert!(!charly[0].is_in());
    let base = now();
    assert_eq!(asks_until(&mut charly[0].conversation, base, 10), 3);
    server.waiting = late;
    for later in 11..60 {
        let effects = charly[0].conversation.tick(base + later);
        charly[0].effects.extend(effects);
        while charly[0].act(&mut server) {}
    }
    assert!(charly[0].is_in());
}

#[test]
fn who_waits_outside_asks_now_and_then() {
    let (_server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Invited);
    let asked = asks_until(&mut hosts[1].conversation, now(), 600);
    assert!((20..40).contains(&asked), "{asked}");
}

/// How often it asks for a welcome, which is not there, in so many seconds.
fn asks_until(conversation: &mut Conversation, base: u64, seconds: u64) -> usize {
    let mut asks = |later: u64| {
        let effects = conversation.tick(base + later);
        let is_asked = matches!(effects[..], [Effect::AskWelcome]);
        if is_asked {
            conversation.welcome(None, base + later);
        }
        is_asked
    };
    (1..=seconds).map(&mut asks).filter(|asked| *asked).count()
}

/// The answer of another node may be of before what this device has read; what overtook it is not
/// heard again. So it is after a purge, too.
#[test]
fn who_comes_back_with_a_state_that_was_overtaken_asks_again() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Open);
    let old = server.delivery().reentry();
    hosts[1].disconnect();
    let mut hermione = Host::new("hermione", 3, JoinPolicy::Open);
    hermione.connect(&server);
    while hermione.act(&mut server) {}
    let charly = &mut hosts[1];
    charly.connect(&server);
    let effects = charly.conversation.missed(now());
    charly.next = server.journal.len() as u64 + 1;
    charly.effects.extend(effects);
    while !matches!(charly.effects.front(), Some(Effect::AskGroup)) {
        assert!(charly.act(&mut server), "it asks: {:?}", charly.shown);
    }
    charly.effects.pop_front();
    let (info, tree) = &old;
    let effects = charly.conversation.group(Some((info, tree)), now());
    charly.effects.extend(effects);
    while charly.act(&mut server) {}
    assert!(!charly.is_in(), "somebody was faster");
    let base = now();
    for later in 1..10 {
        let effects = charly.conversation.tick(base + later);
        charly.effects.extend(effects);
        while charly.act(&mut server) {}
    }
    assert!(charly.is_in(), "{:?}", charly.shown);
}

#[test]
fn into_an_open_room_everybody_comes_by_himself() {
    let users = ["harry", "charly", "hermione"];
    let (mut server, mut hosts) = connected(&users, JoinPolicy::Open);
    assert!(hosts.iter().all(Host::is_in));
    hosts[2].say("hello");
    settle(&mut server, &mut hosts);
    assert!(hosts.iter().all(|host| host.said() == ["hello"]));
    let codes = hosts
        .iter()
        .map(|host| host.conversation.member().room_code(&room()));
    let codes: Vec<_> = codes.collect();
    assert!(
        codes
            .windows(2)
            .all(|two| two[0].is_some() && two[0] == two[1])
    );
}

#[test]
fn who_may_not_found_the_group_waits_for_whoever_made_the_room() {
    let mut server = Server::default();
    let mut hosts = vec![
        Host::new("harry", 1, JoinPolicy::Open),
        Host::new("charly", 2, JoinPolicy::Open),
    ];
    hosts[1].may_found = false;
    hosts[1].connect(&server);
    settle(&mut server, &mut hosts);
    assert!(!hosts[1].is_in() && hosts[1].shown.contains(&Show::NotIn));
    hosts[0].connect(&server);
    settle(&mut server, &mut hosts);
    assert!(hosts.iter().all(Host::is_in));

    // Nobody comes: it tries again, and not before a minute is over.
    let mut server = Server::default();
    let mut hosts = vec![Host::new("kim", 3, JoinPolicy::Open)];
    hosts[0].may_found = false;
    hosts[0].connect(&server);
    settle(&mut server, &mut hosts);
    hosts[0].may_found = true;
    let since = now();
    for (later, is_in) in [(30, false), (61, true)] {
        let effects = hosts[0].conversation.tick(since + later);
        hosts[0].effects.extend(effects);
        settle(&mut server, &mut hosts);
        assert_eq!(hosts[0].is_in(), is_in, "after {later} s");
    }
}

#[test]
fn a_change_that_was_refused_is_not_made_again_at_once() {
    let (_, mut hosts) = connected(&["harry"], JoinPolicy::Open);
    let conversation = &mut hosts[0].conversation;
    let later = now() + 8 * 86_400;
    let mut renews = |at| {
        let effects = conversation.tick(at);
        let sent = effects.iter().find_map(|effect| match effect {
            Effect::Send(number, Outgoing::Handshake(_)) => Some(*number),
            _ => None,
        });
        if let Some(number) = sent {
            conversation.answered(number, Err("barred"), at);
        }
        sent.is_some()
    };
    assert!(renews(later));
    assert!(!renews(later + 5) && !renews(later + 599));
    assert!(renews(later + 600));
}

#[test]
fn who_had_to_wait_outside_removes_who_leaves_soon_after() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Invited);
    settle(&mut server, &mut hosts);
    let (harry, charly) = hosts.split_at_mut(1);
    assert!(!charly[0].is_in(), "he asked, and was refused");
    assert!(harry[0].add(&mut server, &charly[0]));
    settle(&mut server, &mut hosts);
    let left = hosts[0].conversation.leave(now()).unwrap();
    hosts[0].effects.extend(left);
    settle(&mut server, &mut hosts);
    let effects = hosts[1].conversation.tick(now() + 1);
    hosts[1].effects.extend(effects);
    settle(&mut server, &mut hosts);
    let delivery = server.delivery.as_ref().unwrap();
    assert_eq!(delivery.members().count(), 1);
}

#[test]
fn who_says_more_than_can_wait_is_told_so_and_not_that_a_change_is_under_way() {
    let mut host = Host::new("harry", 1, JoinPolicy::Open);
    for n in 0..MOST_WAITING {
        host.say(&format!("{n}"));
    }
    let more = host.conversation.say(b"more", now()).map(drop);
    assert_eq!(more, Err(Error::Full));
}

#[test]
fn who_was_away_reads_on_where_he_was() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Open);
    hosts[1].disconnect();
    for text in ["one", "two", "three"] {
        hosts[0].say(text);
        settle(&mut server, &mut hosts);
    }
    hosts[1].crash();
    hosts[1].connect(&server);
    hosts[1].say("four");
    settle(&mut server, &mut hosts);
    assert_eq!(hosts[1].said(), ["one", "two", "three", "four"]);
}

#[test]
fn two_who_found_a_room_at_once_are_in_one() {
    let mut server = Server::default();
    let mut hosts = vec![
        Host::new("harry", 1, JoinPolicy::Open),
        Host::new("charly", 2, JoinPolicy::Open),
    ];
    hosts.iter_mut().for_each(|host| host.connect(&server));
    // Both have learnt that there is none.
    for host in &mut hosts {
        while !matches!(host.effects.front(), Some(Effect::Send(..))) {
            assert!(host.act(&mut server));
        }
    }
    settle(&mut server, &mut hosts);
    hosts[0].say("hello");
    settle(&mut server, &mut hosts);
    assert!(
        hosts.iter().all(|host| host.said() == ["hello"]),
        "{:?}",
        hosts[1].shown
    );
}

#[test]
fn what_a_crash_leaves_goes_on_wherever_it_happens() {
    // The first device founds the room and says something; a crash after each effect of it.
    for crash_after in 0..30 {
        let mut server = Server::default();
        let mut hosts = vec![Host::new("harry", 1, JoinPolicy::Open)];
        hosts[0].connect(&server);
        hosts[0].say("hello");
        for _ in 0..crash_after {
            hosts[0].act(&mut server);
        }
        hosts[0].crash();
        hosts[0].connect(&server);
        settle(&mut server, &mut hosts);
        assert!(
            hosts[0].is_in(),
            "after {crash_after}: {:?}",
            hosts[0].shown
        );
        hosts[0].say("again");
        settle(&mut server, &mut hosts);
        let messages = server.journal.iter();
        let messages = messages.filter(|entry| matches!(entry, Entry::Message { .. }));
        assert!(messages.count() <= 2, "after {crash_after}");
        assert_eq!(
            hosts[0].said().last(),
            Some(&"again"),
            "after {crash_after}"
        );
    }
}

/// Everybody says things, is away, comes back, and crashes; one is added and removed.
fn schedule(seed: u64) {
    let mut random = Random(seed);
    let (mut server, mut hosts) = connected(&["harry", "charly", "hermione"], JoinPolicy::Open);
    let mut texts: BTreeMap<String, usize> = BTreeMap::new();
    for step in 0..120 {
        let at = random.below(hosts.len());
        match random.below(20) {
            0 => hosts[at].disconnect(),
            1 => {
                // Nothing of its own may be undecided, and nothing on its way to the screen: that a
                // crash may lose.
                if hosts[at].conversation.is_settled() && hosts[at].effects.is_empty() {
                    hosts[at].crash();
                }
            }
            2..4 if hosts[at].next == 0 => hosts[at].connect(&server),
            4..8 => {
                let text = format!("{seed}-{step}");
                hosts[at].say(&text);
                texts.insert(text, at);
            }
            8 => {
                let other = ["harry", "charly", "hermione"][random.below(3)];
                hosts[at].remove(other);
            }
            9 => {
                let effects = hosts[at].conversation.tick(now() + 8 * 24 * 3600);
                hosts[at].effects.extend(effects);
            }
            _ => {
                for _ in 0..=random.below(11) {
                    hosts[at].act(&mut server);
                }
            }
        }
    }
    for _ in 0..4 {
        for host in &mut hosts {
            host.disconnect();
            host.connect(&server);
        }
        settle(&mut server, &mut hosts);
    }
    for host in &hosts {
        let what = (seed, host.person.user.as_str());
        assert!(host.is_in(), "{what:?}: {:?}", host.shown.last());
        assert!(host.conversation.is_settled(), "{what:?}");
        // Nothing is shown twice, and everything in the room's order.
        assert!(
            host.said.windows(2).all(|two| two[0].0 < two[1].0),
            "{what:?}: {:?}",
            host.said
        );
    }
    let mut places = BTreeMap::new();
    for (seq, text) in hosts.iter().flat_map(|host| &host.said) {
        places.entry(text.as_str()).or_insert(*seq);
        assert_eq!(
            places[text.as_str()],
            *seq,
            "{seed}: one text has one place"
        );
    }
    // Whoever said something sees it in the room, or that it is not.
    for (text, at) in &texts {
        let is_refused = hosts[*at].shown.iter().any(|shown| match shown {
            Show::Refused { content, .. } => content
                .as_ref()
                .is_some_and(|content| content.0 == text.as_bytes()),
            _ => false,
        });
        let is_said = hosts[*at].said().contains(&text.as_str());
        assert!(
            is_said != is_refused,
            "{seed}: {text}: said {is_said}, refused {is_refused}"
        );
    }
}

#[test]
fn whatever_happens_everybody_is_in_at_the_end_and_nothing_is_said_twice() {
    (0..25).for_each(schedule);
}
