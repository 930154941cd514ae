//! What a person is told when there is no connection, and when it is given up.

use super::{Chat, foreign};
use anyhow::{Result, bail};
use safe_chat_client::{End, Gateway, Lost};
use std::time::Duration;

/// After so long without an answer a pipe is told what it waits for, at the next tick.
const SILENCE: Duration = Duration::from_millis(1_500);

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

    /// What a person can do about it here.
    pub(super) fn hint(&self, end: &End) -> String {
        match end {
            End::Final(Lost::Refused(refusal))
                if matches!(&*refusal.reason, "key_mismatch" | "proof_required") =>
            {
                format!(
                    " (the key tried is {}; --key-file FILE brings another one, --user NAME takes \
                     another name)",
                    self.of_key
                )
            }
            _ => String::new(),
        }
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
