//! A room of two people: nobody else comes into its group, whoever adds them.

mod world;

use seal::member::{Error, Frame};
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

fn found(client: &mut Client, room: &seal::Name, policy: JoinPolicy) -> Frame {
    let step = client.member.found(room, policy, &[1; 16], now()).unwrap();
    step.frames.into_iter().next().expect("a founding")
}

fn take(server: &mut Server, by: &Client, frame: &Frame) -> Result<(), Refusal> {
    server.take(&by.proven(), &by.device, frame)
}
