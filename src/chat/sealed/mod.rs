//! A terminal in a sealed room: what its [`Conversation`] wants is stored, sent and asked here.

mod asks;
mod awaited;
pub(super) mod direct;
mod earlier;
mod intents;
mod kept;
pub(super) mod members;
mod publishing;
pub(super) mod said;
pub(crate) mod store;
mod telling;
mod words;

use super::{
    Options,
    foreign::shortened,
    key::Own,
    repeats::{BEHIND_A_GAP, OVERTAKEN, Repeats, UNREADABLE},
};
use crate::fetch::Client as Http;
use anyhow::{Context, Result, anyhow, bail};
use asks::NoWay;
pub(super) use awaited::Claim;
use direct::{News, With};
use futures::{FutureExt, future::BoxFuture};
use kept::{Hash, Kept, Record};
use publishing::Publishing;
use rustls::ClientConfig;
use safe_chat_client::{
    Body, Event, Gateway, KeyPair,
    keys::{self, Keys},
};
use seal::{
    Conversation, DeviceKey, Identity, Member, Name, Public,
    conversation::{Effect, Outgoing, Show, Waits},
    rules::JoinPolicy,
};
use std::{
    collections::{BTreeSet, HashMap},
    mem::Discriminant,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use store::{Store, devices_of};

/// How long a question over HTTP may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of an answer: a welcome and the tree of a group of 1000.
const MOST: usize = 8 * 1024 * 1024;
/// Ticks until what could not be asked is asked again.
const AGAIN: u32 = 5;
/// Key packages that wait for others, at least and after publishing.
const PACKAGES: (usize, usize) = (20, 50);
/// Of them in one request: at first, and at least, where the service needs its time.
const PORTION: (usize, usize) = (20, 5);

/// Who comes into a sealed room by themselves, when this terminal makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Door {
    /// Nobody: a member adds them.
    Invited,
    /// Whoever proves a key.
    Open,
}

/// The answer to a question.
pub(super) enum Found {
    Group(Result<Option<keys::Group>>),
    Welcome(Result<Option<keys::Welcome>>),
    Left(Result<usize>),
    /// Whether key packages of this device were taken.
    Published(Result<()>),
    Packages(Claim, Result<keys::Claimed>),
    /// It is time to ask for them.
    Due(Claim),
    /// Who has added this device to a room of two.
    Invitations(Result<Vec<(String, Public)>>),
    /// Whether somebody has written in another room of two.
    News(Result<Option<News>>),
    /// What was to be done, and whether it was.
    Done(String, Result<()>),
}

/// What is to be done outside, in this order.
pub(super) enum Task {
    /// Send this; what becomes of it comes back under the number.
    Send(u64, Outgoing),
    Ask(BoxFuture<'static, Found>),
    /// Read the room again from behind this place.
    Resume(u64),
    /// An event of the room, as its members see it.
    Event(Event),
    Note(String),
    /// Something that was said will not be in the room, and why.
    NotSent(String),
    /// What was said waits; told beside a pipe only if it may wait for long, and was not told.
    Waits(String, bool),
}

impl Task {
    /// What it follows from is stored before: who reads a warning is to find it heeded, also by a
    /// terminal that is killed at that moment.
    fn needs_the_disk(&self) -> bool {
        match self {
            Self::Send(..) => true,
            Self::Note(text) | Self::NotSent(text) => text.starts_with('!'),
            _ => false,
        }
    }
}

/// See the module.
pub(super) struct Sealed {
    conversation: Conversation,
    identity: Identity,
    store: Store,
    /// Where questions go, and what asks them.
    keys: Keys,
    http: Http,
    tls: Option<Arc<ClientConfig>>,
    own: Public,
    room: String,
    user: String,
    device: Name,
    /// Up to where it was read before this terminal began.
    was_read: Option<u64>,
    /// The last place that said something new of a member's name.
    news: u64,
    /// Places of which it was told, or counted, that they are not in order.
    faulty: BTreeSet<u64>,
    /// Where the room ended when the session began.
    head: u64,
    is_connected: bool,
    /// After so many ticks what could not be asked is asked again.
    again: Option<u32>,
    /// Whose key packages are asked for, now or later.
    claims: Vec<Claim>,
    /// Those that waited when the user went elsewhere, and are asked for anew.
    resumed: Vec<Claim>,
    /// The last change of the group that the user wanted, until it is known what came of it.
    changing: Option<String>,
    /// Who is let in once all of the room is read, with their key packages.
    unadded: Vec<(Claim, keys::Claimed)>,
    publishing: Publishing,
    /// The service does not say how to come in.
    no_way: NoWay,
    /// Why it is not in, or what is in vain, as it was told since it was in.
    told_why: Vec<(Discriminant<Show>, &'static str)>,
    /// What messages wait for, as it was told.
    told_waits: Option<Waits>,
    /// The other one, in a room of two.
    with: Option<With>,
    /// Who has written to this person alone: the name, as they say, and the key.
    invitations: Vec<(String, Public)>,
    /// Up to where it was told that somebody writes in other rooms of two.
    told: HashMap<Name, u64>,
    /// Ticks until it is looked again who has.
    looks: u32,
    /// What was read and said lately, also before this terminal began anew.
    kept: Kept,
    /// Ticks until it is told what was sent before, and is not in the room as far as it was read.
    recheck_in: Option<u32>,
    /// Up to where the room is being read.
    unread: Option<u64>,
    /// Own messages on their way, as they are kept, by the number of the conversation.
    sent: HashMap<u64, Hash>,
    /// So many of it are shared with whom this device lets in.
    shared_history: u8,
    /// What the service shows and nobody can read or take.
    faults: Repeats,
    gaps: Repeats,
    overtaken: Repeats,
    /// What the service says of what it has just refused.
    why: String,
    /// What was not sent, for it could not be written; `None`: all could.
    unwritten: Option<Vec<String>>,
    /// It was told that there was nothing to share with whom this device let in.
    had_nothing_to_share: bool,
}

/// Refuses to go without `--seal` to a room in which the device of this key and name has been, and
/// that was sealed: whatever the service calls it now.
pub(super) fn refuse_plain(options: &Options, own: &Own) -> Result<()> {
    let Own::Pair(identity) = own else {
        return Ok(());
    };
    let file = super::key::path(options.key_file.as_deref())?;
    // A state that cannot be read is none.
    let devices = devices_of(&file, identity).unwrap_or_default();
    let is_own = |one: &&Member| one.certificate().user().as_str() == options.user;
    let mut rooms = devices.iter().filter(is_own).flat_map(Member::rooms);
    if rooms.any(|room| room.as_str() == options.room) {
        bail!(
            "you were in the sealed room {} with this key: start with --seal, or everybody who \
             runs the service could read what you say",
            options.room
        );
    }
    Ok(())
}

impl Sealed {
    /// The device of this key and name, as it is stored beside the key.
    pub(super) fn open(
        (key_file, own): (&Path, &Own),
        (room, user): (&str, &str),
        door: Door,
        gateway: &Gateway,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self> {
        let Own::Pair(identity) = own else {
            bail!(
                "a sealed room needs a key that can be proven, not the one in {}",
                key_file.display()
            );
        };
        let identity = Identity::clone(identity);
        let own = identity.public();
        let name = |text: &str| Name::parse(text).map_err(|why| anyhow!("{text}: {why}"));
        let (of_room, of_user) = (name(room)?, name(user)?);
        let store = Store::open(key_file, identity.clone(), user)?;
        let kept = Kept::open(key_file, identity.clone(), (room, user))?;
        let member = match store.shelf().revision() {
            0 => {
                let key = DeviceKey::from_seed(&rand::random());
                let device = name(&format!("cli-{:08x}", rand::random::<u32>()))?;
                let certificate = identity.certify(of_user, device, &key);
                Member::new(key, certificate)
            }
            _ => Member::restore(store.shelf().clone())?,
        };
        let device = member.certificate().device().clone();
        let policy = match door {
            Door::Invited => JoinPolicy::Invited,
            Door::Open => JoinPolicy::Open,
        };
        let was_read = member.read_up_to(&of_room);
        Ok(Self {
            was_read,
            news: 0,
            faulty: BTreeSet::new(),
            conversation: Conversation::new(member, of_room, policy, rand::random()),
            store,
            keys: Keys::new(KeyPair::from_seed(&identity.seed()), gateway),
            identity,
            http: asks::http(tls.as_ref(), gateway),
            tls,
            own,
            room: room.into(),
            user: user.into(),
            device,
            head: 0,
            is_connected: false,
            again: None,
            claims: Vec::new(),
            resumed: Vec::new(),
            changing: None,
            unadded: Vec::new(),
            publishing: Publishing::default(),
            no_way: NoWay::default(),
            told_why: Vec::new(),
            told_waits: None,
            with: None,
            invitations: Vec::new(),
            told: HashMap::new(),
            looks: 2,
            kept,
            recheck_in: None,
            unread: None,
            sent: HashMap::new(),
            shared_history: 0,
            faults: UNREADABLE,
            gaps: BEHIND_A_GAP,
            overtaken: OVERTAKEN,
            why: String::new(),
            unwritten: None,
            had_nothing_to_share: false,
        })
    }

    pub(super) fn since(&self) -> Option<u64> {
        self.conversation.since()
    }

    pub(super) fn is_in(&self) -> bool {
        let room = Name::parse(&self.room);
        room.is_ok_and(|room| self.conversation.member().is_in(&room))
    }

    /// Up to where it was read, and shown, before this terminal began.
    pub(super) fn was_read(&self) -> Option<u64> {
        self.was_read
    }

    /// The last place of the room that is known to be there.
    pub(super) fn heard_up_to(&self) -> u64 {
        self.conversation.heard_up_to()
    }

    /// What was said waits for others, or for its user.
    pub(super) fn is_stuck(&self) -> bool {
        !self.is_in() || self.conversation.waits_for().is_some_and(telling::is_long)
    }

    /// What was said and never sent.
    pub(super) fn unsent(&self) -> Vec<String> {
        let texts = self.conversation.unsent();
        let waiting = texts.map(|text| String::from_utf8_lossy(text).into_owned());
        self.unwritten
            .iter()
            .flatten()
            .cloned()
            .chain(waiting)
            .collect()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.conversation.is_settled()
    }

    pub(super) fn undecided(&self) -> usize {
        self.conversation.undecided()
    }

    pub(super) fn connected(&mut self, head: u64) -> Result<Vec<Task>> {
        (self.head, self.again, self.is_connected) = (head, None, true);
        self.unread = self.since().filter(|since| *since < head).map(|_| head);
        self.rechecks_later();
        let effects = self.conversation.connected(head, now());
        self.perform(effects, None)
    }

    /// How many key packages of this device wait for others.
    fn ask_for_left(&self) -> Task {
        let device = self.device.to_string();
        let asked = self.ask(self.keys.left(&self.user, now_ms()));
        let left = async move {
            let all: keys::Devices = asks::read(&asked.await?.context("no answer")?)?;
            let own = all.devices.into_iter().find(|one| one.device == device);
            Ok(own.map_or(0, |own| own.one_time))
        };
        Task::Ask(left.map(Found::Left).boxed())
    }

    pub(super) fn disconnected(&mut self) {
        self.is_connected = false;
        self.conversation.disconnected();
    }

    pub(super) fn missed(&mut self) -> Result<Vec<Task>> {
        let effects = self.conversation.missed(now());
        self.perform(effects, None)
    }

    /// The next event; those of the group are shown as what they mean.
    pub(super) fn event(&mut self, event: &Event) -> Result<Vec<Task>> {
        let content = match &event.body {
            Body::Sealed(bytes) => Some(Outgoing::Sealed(bytes.to_vec())),
            Body::Handshake(bytes) => Some(Outgoing::Handshake(bytes.to_vec())),
            _ => None,
        };
        self.note_former(event)?;
        let effects = self.conversation.event(event.seq, content.as_ref(), now());
        self.unread = self.unread.filter(|head| *head > event.seq);
        let before = self.said_before(event, &effects)?;
        let mut tasks = self.perform(effects, Some(event))?;
        tasks.extend(before);
        tasks.extend(self.looked_on(event));
        Ok(tasks)
    }

    pub(super) fn answered(
        &mut self,
        number: u64,
        answer: Result<u64, (String, String)>,
    ) -> Result<Vec<Task>> {
        self.not_taken(number, answer.is_err())?;
        let why = answer.as_ref().err().map(|(_, message)| message.clone());
        let answer = answer.as_ref().map(|seq| *seq);
        let answer = answer.map_err(|(reason, _)| reason.as_str());
        let effects = self.conversation.answered(number, answer, now());
        self.why = why.unwrap_or_default();
        let tasks = self.perform(effects, None);
        self.why.clear();
        tasks
    }

    pub(super) fn room(&self) -> &str {
        &self.room
    }

    pub(super) fn say(&mut self, text: &str) -> Result<Vec<Task>> {
        if self.conversation.is_leaving() {
            return Ok(vec![Task::NotSent(format!(
                "! not sent: you are leaving the group of this room. Who starts again after that \
                 comes back by /agree: {}",
                shortened(text)
            ))]);
        }
        let said = self.conversation.say(text.as_bytes(), now());
        let effects = match said {
            Ok(effects) => effects,
            Err(error) => {
                let note = format!("! not sent: {error}: {}", shortened(text));
                return Ok(vec![Task::NotSent(note)]);
            }
        };
        let mut tasks = self.perform(effects, None)?;
        if let Some(waits) = self.conversation.waits_for() {
            let note = self.waiting(waits, text, 0);
            let was_told = self.told_waits.replace(waits) == Some(waits);
            tasks.push(Task::Waits(note, !was_told && telling::is_long(waits)));
        }
        Ok(tasks)
    }

    pub(super) fn tick(&mut self) -> Result<Vec<Task>> {
        self.write()?;
        let effects = match self.again {
            Some(0) => {
                self.again = None;
                self.conversation.connected(self.head, now())
            }
            _ => self.conversation.tick(now()),
        };
        self.again = self.again.map(|ticks| ticks - 1);
        let mut tasks = self.perform(effects, None)?;
        tasks.extend(self.publishing.is_due().then(|| self.ask_for_left()));
        self.forget_changing();
        for claim in std::mem::take(&mut self.resumed) {
            tasks.push(self.claim(claim));
        }
        for (claim, claimed) in std::mem::take(&mut self.unadded) {
            tasks.extend(self.claimed(claim, Ok(claimed))?);
        }
        tasks.extend(self.look());
        tasks.extend(self.still_waits());
        tasks.extend(self.recheck()?);
        let untold = self.counted().map(Repeats::tick);
        tasks.extend(untold.into_iter().flatten().map(Task::Note));
        Ok(tasks)
    }

    pub(super) fn found(&mut self, found: Found) -> Result<Vec<Task>> {
        if matches!(found, Found::Group(Ok(_)) | Found::Welcome(Ok(Some(_)))) {
            self.no_way = NoWay::default();
        }
        let effects = match found {
            Found::Group(Ok(group)) => {
                let state = group.as_ref().map(|it| (&it.group_info[..], &it.tree[..]));
                self.conversation.group(state, now())
            }
            Found::Welcome(Ok(None)) => self.conversation.welcome(None, now()),
            Found::Welcome(Ok(Some(it))) => {
                let found = Some((it.seq, &it.welcome[..], &it.tree[..]));
                let effects = self.conversation.welcome(found, now());
                let mut tasks = self.perform(effects, None)?;
                // It is asked for again when the user has said yes.
                if self.conversation.is_asking() {
                    return Ok(tasks);
                }
                self.write()?;
                let (user, device) = (&self.user, self.device.as_str());
                let confirm = self.keys.confirm(user, device, &it.id, now_ms());
                let what = "the service keeps the welcome of this device";
                let asked = self.ask(confirm);
                let asked = asked.map(|done| Found::Done(what.into(), done.map(drop)));
                tasks.push(Task::Ask(asked.boxed()));
                return Ok(tasks);
            }
            Found::Left(Ok(left)) => return self.publish(left),
            Found::Published(Ok(())) => {
                self.publishing.looks_in(0);
                return Ok(Vec::new());
            }
            // It is looked again.
            Found::Invitations(Err(_)) | Found::News(Ok(None) | Err(_)) => return Ok(Vec::new()),
            Found::News(Ok(Some(news))) => return Ok(vec![self.heard(news)]),
            Found::Invitations(Ok(by)) => return Ok(self.invited(by)),
            // It was withdrawn.
            Found::Packages(claim, _) | Found::Due(claim) if !self.is_wanted(&claim) => {
                return Ok(Vec::new());
            }
            Found::Packages(claim, claimed) => return self.claimed(claim, claimed),
            Found::Due(claim) => return Ok(vec![self.ask_claim(claim)]),
            Found::Done(_, Ok(())) => return Ok(Vec::new()),
            Found::Group(Err(error)) | Found::Welcome(Err(error)) => {
                return Ok(self.has_no_way(&error));
            }
            Found::Left(Err(error)) | Found::Published(Err(error)) => {
                return Ok(self.publishing.failed(&error).into_iter().collect());
            }
            Found::Done(what, Err(error)) => {
                return Ok(vec![Task::Note(format!("! {what}: {error:#}"))]);
            }
        };
        self.perform(effects, None)
    }

    /// Publishes some key packages, if there are too few: `left`.
    fn publish(&mut self, left: usize) -> Result<Vec<Task>> {
        let Some(count) = self.publishing.portion(left) else {
            return Ok(self.publishing.done().into_iter().collect());
        };
        let step = self.conversation.member_mut().publish(count, now())?;
        self.store.keep(step.changes)?;
        self.write()?;
        let mut tasks = Vec::new();
        for frame in step.frames {
            if let seal::member::Frame::Publish {
                one_time,
                last_resort,
            } = frame
            {
                let (user, device) = (&self.user, self.device.as_str());
                let last_resort = Some(&last_resort[..]);
                let request = self
                    .keys
                    .publish(user, device, &one_time, last_resort, now_ms());
                let asked = self.ask(request);
                let asked = asked.map(|done| Found::Published(done.map(drop)));
                tasks.push(Task::Ask(asked.boxed()));
            }
        }
        Ok(tasks)
    }

    /// Writes what was read since the last time: what is kept of it first, for the shelf does not
    /// open it again.
    pub(super) fn write(&mut self) -> Result<()> {
        self.kept.write()?;
        self.store.write()
    }

    fn perform(&mut self, effects: Vec<Effect>, event: Option<&Event>) -> Result<Vec<Task>> {
        let numbers = effects.iter().filter_map(|effect| match effect {
            Effect::Send(number, _) => Some(*number),
            _ => None,
        });
        let numbers: Vec<_> = numbers.collect();
        self.perform_all(effects, event).inspect_err(|_| {
            let texts = numbers
                .iter()
                .filter_map(|number| self.conversation.said_under(*number));
            let texts = texts.map(|text| String::from_utf8_lossy(text).into_owned());
            self.unwritten.get_or_insert_default().extend(texts);
        })
    }

    fn perform_all(&mut self, effects: Vec<Effect>, event: Option<&Event>) -> Result<Vec<Task>> {
        let records = self.records_of(&effects, event);
        // Nothing else knows after a kill what own questions and shared messages were.
        let is_noted = records.iter().any(|one| matches!(one, Record::Noted(_)));
        self.kept.keep(records)?;
        let (mut tasks, mut let_in) = (Vec::new(), BTreeSet::new());
        for effect in effects {
            match effect {
                Effect::Store(changes) => self.store.keep(changes)?,
                Effect::Send(number, outgoing) => tasks.push(Task::Send(number, outgoing)),
                Effect::AskGroup => tasks.push(Task::Ask(self.group())),
                Effect::AskWelcome => tasks.push(Task::Ask(self.welcome())),
                Effect::Resume(seq) => tasks.push(Task::Resume(seq)),
                Effect::Show(show) => {
                    self.note_who_came(&show)?;
                    self.note_current(&show)?;
                    let_in.extend(self.let_in(&show));
                    tasks.extend(self.shown(&show, event));
                }
            }
        }
        tasks.extend(self.share_with_all(let_in)?);
        if is_noted || tasks.iter().any(Task::needs_the_disk) {
            self.write()?;
        }
        Ok(tasks)
    }

    fn reader(&self) -> words::Own<'_> {
        words::Own {
            identity: self.own,
            user: &self.user,
            device: &self.device,
        }
    }
}

/// Seconds since 1970 UTC.
fn now() -> u64 {
    now_ms() / 1000
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_millis() as u64
}
