//! Passes: what a right login is given (a cookie), by which its bearer is known to be no stranger.
//! A pass is no login, it lets nobody in; with it a login is heard though others guess from the
//! same address. It is of one operator and of this process, and cannot be guessed.

use super::keyed::Key;
use axum::http::{HeaderMap, HeaderValue, header};
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

/// The name of the cookie.
const COOKIE: &str = "safe-chat-pass";
/// How long a pass counts.
const COUNTS: Duration = Duration::from_secs(12 * 3600);

/// Gives passes, and knows them again.
pub(super) struct Passes {
    key: Key,
    began: Instant,
}

/// A pass that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pass {
    /// Half of its time is over: its bearer is to be given a new one.
    pub(super) is_old: bool,
}

impl Default for Passes {
    fn default() -> Self {
        Self {
            key: Key::default(),
            began: Instant::now(),
        }
    }
}

impl Passes {
    /// A pass for the operator of this name.
    pub(super) fn issue(&self, name: &[u8]) -> HeaderValue {
        let until = (self.began.elapsed() + COUNTS).as_secs();
        let (seal, age) = (self.seal(until, name), COUNTS.as_secs());
        let cookie = format!("{COOKIE}={until}.{seal}; Max-Age={age}; HttpOnly; SameSite=Strict");
        HeaderValue::from_str(&cookie).expect("digits and letters")
    }

    /// The pass of this operator that a request brings, if it counts.
    pub(super) fn shown(&self, headers: &HeaderMap, name: &[u8]) -> Option<Pass> {
        let lines = headers.get_all(header::COOKIE).into_iter();
        let cookies = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'));
        let cookie = cookies
            .filter_map(|cookie| cookie.trim().split_once('='))
            .find_map(|(cookie, value)| (cookie == COOKIE).then_some(value))?;
        let (until, seal) = cookie.split_once('.')?;
        let until: u64 = until.parse().ok()?;
        let own = self.seal(until, name);
        let left = until.checked_sub(self.began.elapsed().as_secs())?;
        bool::from(own.as_bytes().ct_eq(seal.as_bytes())).then_some(Pass {
            is_old: left < COUNTS.as_secs() / 2,
        })
    }

    fn seal(&self, until: u64, name: &[u8]) -> String {
        let tag = self.key.tag([&until.to_be_bytes(), name]);
        tag.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn bring(pass: &HeaderValue) -> HeaderMap {
        let cookie = pass.to_str().unwrap().split(';').next().unwrap();
        let other = HeaderValue::from_str(&format!("a=b; {cookie}")).unwrap();
        HeaderMap::from_iter([(header::COOKIE, other)])
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_is_of_one_operator_and_one_process_and_ends() {
        let passes = Passes::default();
        let brought = bring(&passes.issue(b"alice"));
        assert_eq!(
            passes.shown(&brought, b"alice"),
            Some(Pass { is_old: false })
        );
        assert_eq!(passes.shown(&brought, b"bob"), None);
        assert_eq!(Passes::default().shown(&brought, b"alice"), None);
        advance(COUNTS / 2 + Duration::from_secs(1)).await;
        assert_eq!(
            passes.shown(&brought, b"alice"),
            Some(Pass { is_old: true })
        );
        advance(COUNTS / 2).await;
        assert_eq!(passes.shown(&brought, b"alice"), None);
        for forged in ["", "1", ".", "99999999.", "99999999.00", "x.y"] {
            let cookie = HeaderValue::from_str(&format!("{COOKIE}={forged}")).unwrap();
            let headers = HeaderMap::from_iter([(header::COOKIE, cookie)]);
            assert_eq!(passes.shown(&headers, b"alice"), None, "{forged}");
        }
    }
}
