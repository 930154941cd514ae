//! Copying the past of a room without what is erased, and removing what was copied.

use super::{Parts, past::Pass};
use crate::{
    journal::{self, Claim},
    room::{RoomId, Seq},
};

/// Pages that are copied at a time, and bytes of content: well under a second, so that a shard that
/// is handed over waits for no more.
const PAGES: usize = 16;
const BYTES: usize = 4 * 1024 * 1024;

impl Parts {
    /// Goes on with a pass, which only reads until it finds something to erase. Until what is
    /// journaled is removed, it is what is read; so everybody who reads leaves out what is erased.
    pub(super) async fn copy(
        &self,
        claim: Claim,
        room: &RoomId,
        mut pass: Pass,
    ) -> Result<Pass, journal::Error> {
        self.check_trims().await?;
        let (last, mut bytes) = (pass.through(), 0);
        for _ in 0..PAGES {
            if bytes >= BYTES {
                break;
            }
            let mut page = match pass.next <= last {
                true => self.journal.read(room, pass.next, last).await?,
                false => Vec::new(),
            };
            let Some(end) = page.last().map(|event| event.seq) else {
                pass.is_copied = true;
                break;
            };
            bytes += page.iter().map(|event| event.size()).sum::<usize>();
            if !pass.is_worth && page.iter().any(|event| pass.erasing.hides(event)) {
                pass.is_found();
                continue;
            }
            pass.erasing.apply(&mut page);
            if pass.is_worth {
                self.journal.rewrite(room, claim, &page).await?;
            }
            let counted = page.iter().filter(|event| event.seq >= pass.counted);
            pass.bytes += counted.map(|event| event.size() as u64).sum::<u64>();
            pass.next = end.next();
        }
        Ok(pass)
    }

    /// Removes what was copied of a room up to a place: `false` while some of it stays.
    pub(super) async fn remove_copied(
        &self,
        claim: Claim,
        room: &RoomId,
        through: Seq,
    ) -> Result<bool, journal::Error> {
        if self.is_held().await? {
            return Ok(false);
        }
        let below = through.next();
        let adopted = self.journal.adopt_rewritten(room, claim, below).await?;
        // Only now what stands for it is stored, so somebody may back up what lacks that.
        if self.is_held().await? {
            return Ok(false);
        }
        let gone = self.journal.drop_rewritten(room, claim, adopted).await?;
        let all = gone && adopted == below;
        if all {
            self.remove_published(room, below).await?;
        }
        Ok(all)
    }
}
