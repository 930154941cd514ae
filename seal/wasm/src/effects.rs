//! What a conversation has the page do and show, as JSON.

use crate::encoded;
use seal::Name;
use seal::content::Earlier;
use seal::conversation::{Outgoing, Question, Show, in_vain, odd};
use seal::member::{Content, Holder, How, Shown};
use serde_json::{Value, json};

/// A frame to send. `text`: what a message says, by which the page knows its own again.
pub(crate) fn send(number: u64, outgoing: &Outgoing, text: Option<&[u8]>) -> Value {
    match outgoing {
        Outgoing::Sealed(bytes) => json!({
            "do": "send",
            "number": number,
            "sealed": encoded(bytes),
            "text": text.map(String::from_utf8_lossy),
        }),
        Outgoing::Handshake(bytes) => json!({
            "do": "send",
            "number": number,
            "handshake": encoded(bytes),
        }),
    }
}

/// Something to show; `what` says which.
pub(crate) fn show(show: &Show) -> Value {
    let mut shown = match show {
        Show::Room { seq, what } => {
            let mut shown = room(what);
            shown["seq"] = json!(seq);
            shown
        }
        Show::Said { seq, content } => json!({ "what": "said", "seq": seq, "text": text(content) }),
        Show::Refused { content, reason } => json!({
            "what": "refused",
            "text": content.as_ref().map(text),
            "reason": reason,
        }),
        Show::NotShared { reason } => json!({ "what": "not_shared", "reason": reason }),
        Show::Unseen { seq, content } => json!({
            "what": "unseen",
            "place": seq,
            "text": content.as_ref().map(text),
        }),
        Show::Unread { seq, content } => json!({
            "what": "unread",
            "place": seq,
            "text": content.as_ref().map(text),
        }),
        Show::Missed { count } => json!({ "what": "missed", "count": count }),
        Show::InVain(why) => json!({ "what": "in_vain", "why": in_vain(why) }),
        Show::NotIn => json!({ "what": "not_in" }),
        Show::Revoked => json!({ "what": "revoked" }),
        Show::NotFounded => json!({ "what": "not_founded" }),
        Show::Shut => json!({ "what": "shut" }),
        Show::Ask(Question::AnotherGroup) => json!({ "what": "ask", "newcomers": null }),
        Show::Ask(Question::Newcomers(who)) => json!({ "what": "ask", "newcomers": holders(who) }),
        Show::Ask(Question::NoGroup) => json!({ "what": "ask", "none": true }),
        Show::Ask(Question::Left) => json!({ "what": "ask", "left": true }),
        Show::Ask(Question::Invited(by)) => json!({ "what": "ask", "invited": holder(by) }),
        Show::Odd(error) => json!({ "what": "odd", "why": odd(error) }),
    };
    shown["do"] = json!("show");
    shown
}

fn room(what: &Shown) -> Value {
    match what {
        Shown::Message { from, content } => json!({
            "what": "message",
            "from": holder(from),
            "text": text(content),
        }),
        Shown::Shared {
            by,
            with,
            with_user,
            count,
            messages,
        } => json!({
            "what": "shared",
            "by": holder(by),
            "with": with.to_string(),
            "user": with_user.as_ref().map(Name::as_str),
            "count": count,
            "messages": messages.iter().map(earlier).collect::<Vec<_>>(),
        }),
        Shown::Asked { by, count } => json!({ "what": "asked", "by": holder(by), "count": count }),
        Shown::Placed { number } => json!({ "what": "placed", "number": number }),
        Shown::Changed {
            how,
            epoch,
            by,
            joined,
            left,
            code,
        } => json!({
            "what": "changed",
            "how": match how {
                How::Founded => "founded",
                How::Change => "change",
                How::Gone => "gone",
                How::CameIn => "in",
                How::CameBack => "back",
                How::LetIn => "let_in",
                How::LetInAgain => "let_in_again",
            },
            "epoch": epoch,
            "by": by.as_ref().map(holder),
            "joined": holders(joined),
            "left": holders(left),
            "code": code,
        }),
        Shown::KeyChanged { user, was, is } => json!({
            "what": "key_changed",
            "user": user.as_str(),
            "was": was.to_string(),
            "is": is.to_string(),
        }),
        Shown::OtherGroup => json!({ "what": "other_group" }),
        Shown::Leaving {
            who, is_revoked, ..
        } => json!({
            "what": "leaving",
            "who": holder(who),
            "revoked": is_revoked,
        }),
        Shown::Unreadable(why) => json!({ "what": "unreadable", "why": why }),
        Shown::Dropped => json!({ "what": "dropped" }),
        Shown::Out { by } => json!({ "what": "out", "by": by.as_ref().map(holder) }),
        Shown::Lost(why) => json!({ "what": "lost", "why": why }),
    }
}

/// Whose device it is.
pub(crate) fn holder(one: &Holder) -> Value {
    json!({
        "user": one.user.as_str(),
        "device": one.device.as_str(),
        "pub": one.identity.to_string(),
    })
}

/// Place, time, author and text.
fn earlier(one: &Earlier) -> Value {
    json!([one.seq, one.at, one.from.as_str(), text(&one.content)])
}

fn holders(all: &[Holder]) -> Value {
    Value::Array(all.iter().map(holder).collect())
}

fn text(content: &Content) -> String {
    String::from_utf8_lossy(&content.0).into_owned()
}
