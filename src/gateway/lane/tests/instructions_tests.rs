//! What a lane takes for a message, in instructions.

use super::*;
use crate::instructions;

#[test]
fn a_message_goes_out_and_is_answered() {
    let test = "a_message_goes_out_and_is_answered";
    instructions::check(module_path!(), test, || {
        let (mut lane, now) = (lane(), Instant::now());
        let mut seq = 0;
        let mut send = move || {
            seq += 1;
            say_bytes(&mut lane, 1, &format!("id-{seq}"), 256).unwrap();
            let (id, _) = submit(&mut lane, now);
            stored(&mut lane, id, now);
            assert_eq!(seen(&mut lane, 1, seq, seq).len(), 1);
        };
        // The first one makes what the others find.
        send();
        send
    });
}
