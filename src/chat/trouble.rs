//! What a person is told when there is no connection, and when it is given up.

use super::{Chat, foreign};
use anyhow::{Result, anyhow, bail};
use safe_chat_client::{End, Gateway, Link, Lost};
use std::time::Duration;
use tokio::time::Instant;

/// How long something may wait for an answer of the server before the prompt says so.
const UNANSWERED: Duration = Duration::from_secs(5);

/// After so long without an answer a pipe is told what it waits for, at the next tick.
const SILENCE: Duration = Duration::from_millis(1_500);

/// The protocol's word for a name that has another key.
const MISMATCH: &str = "key_mismatch";

impl Chat {
    /// What was said can wait for a server that comes back, but not for one that was never there.
    pub(super) fn give_up_in_time(&mut self, why: &str) -> Result<()> {
        let Some(left) = self
            .attempts_left
            .as_mut()
            .filter(|_| !self.console.is_terminal())
        else {
            return Ok(());
        };
        *left = left.saturating_sub(1);
        if *left == 0 {
            bail!("{why}: gave up after {} attempts", self.attempts);
        }
        Ok(())
    }

    /// A server may take its time (it waits for its own servers). A terminal shows it in its
    /// prompt.
    pub(super) fn say_silence(&mut self) -> Result<()> {
        let Some((since, false)) = self.connecting else {
            return Ok(());
        };
        if self.console.is_terminal() || since.elapsed() < SILENCE {
            return Ok(());
        }
        self.connecting = Some((since, true));
        let servers: Vec<_> = self.servers.iter().map(Gateway::to_string).collect();
        self.note(&format!(
            "no answer yet from {}: waiting",
            servers.join(" or ")
        ))
    }

    /// Why the session is over, and what a person can do about it here.
    pub(super) fn ended(&self, end: &End) -> anyhow::Error {
        let said = self.why_ended(end);
        match end {
            End::Final(Lost::Refused(refusal)) if refusal.reason == MISMATCH => self.taken(said),
            _ => anyhow!(said),
        }
    }

    fn why_ended(&self, end: &End) -> String {
        let said = foreign::of_service(&end.to_string());
        let End::Final(Lost::Refused(refusal)) = end else {
            return said;
        };
        let said = match &*refusal.reason {
            // The service tells programs what to do.
            MISMATCH => format!(
                "key_mismatch: the name {} has another key in this room",
                self.user
            ),
            "proof_required" => said,
            // To leave the policy out would be to come unencrypted.
            "other_policy" if self.sealed.is_some() => {
                return "other_policy: there is a room of this name, and it is not sealed: whoever \
                        runs the service reads what is said in it. Take another name for a sealed \
                        room, and ask the others by another way if you were in one of this name"
                    .into();
            }
            _ => return said,
        };
        if let Some(file) = self.keys_before.changed() {
            return format!(
                "{said} than this session, which began before the key in {} was changed: start \
                 again to come with the one of now",
                file.display()
            );
        }
        let note = self.keys_before.note();
        let note = note.map_or_else(String::new, |note| format!(". Your {note}"));
        format!(
            "{said} (the key tried is {}; --key-file FILE brings another one, --user NAME takes \
             another name){note}",
            self.of_key
        )
    }

    pub(super) fn refresh_prompt(&mut self) {
        if let Some(room) = self.goes_to() {
            let prompt = self.view.prompt_of(&room, "on the way", self.typed.len());
            self.console.prompt(prompt);
            return;
        }
        let status = self.client.status();
        let silent = status.unanswered_since.map(|since| since.elapsed());
        let state = match status.link {
            Link::Open => match silent.filter(|silent| *silent > UNANSWERED) {
                Some(silent) => format!("no answer for {} s", silent.as_secs()),
                None => String::new(),
            },
            Link::Connecting => "connecting".into(),
            Link::Waiting(until) => {
                let left = until.saturating_duration_since(Instant::now());
                format!("reconnecting in {} s", left.as_secs_f64().ceil())
            }
        };
        let prompt = self.view.prompt(&state, self.undecided());
        self.console.prompt(prompt);
    }

    /// Once per cause: the prompt counts the seconds of further attempts.
    pub(super) fn say_trouble(&mut self, why: String, wait: Duration) -> Result<()> {
        if self.troubles.contains(&why) {
            return Ok(());
        }
        let again = if self.troubles.is_empty() {
            format!("reconnecting in {:.1} s", wait.as_secs_f64())
        } else {
            "trying on".into()
        };
        self.note(&format!("{why}; {again}"))?;
        self.troubles.push(why);
        Ok(())
    }
}

/// Why there is no connection, for a person at a terminal.
pub(super) fn said(why: &Lost) -> String {
    let why = why.to_string();
    let hint = match why.ends_with("name the authority that vouches for it") {
        true => " with --ca",
        false => "",
    };
    foreign::of_service(&why) + hint
}
