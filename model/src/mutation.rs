//! What the argument rests on, and can be left out.

/// Something left out or done wrong on purpose, to see that the model notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// A commit is answered without reading the fence.
    NoConfirm,
    /// The fence is read before the commit is written, not after.
    ConfirmBeforeWrite,
    /// The second owner is one of another shard: its epoch says nothing of this fence, which never
    /// shows it. It writes the last commit again before it reads the fence.
    StrangerOpens,
    /// What an opening found is answered without reading the fence once more.
    OpeningNotConfirmed,
    /// An opening does not write the last commit again.
    LastCommitNotRewritten,
    /// An opening writes only the last row of the last commit again.
    OnlyLastRowRewritten,
    /// At each place the lowest epoch counts.
    LowestEpochWins,
    /// The walk goes on where the epoch decreases.
    NoStopAtDecrease,
    /// A commit is confirmed without being written again, though the replicas were killed
    /// meanwhile.
    ConfirmedNotWrittenAgain,
    /// A snapshot is taken before the commit that it includes is confirmed.
    SnapshotUnconfirmed,
    /// A tail is read without having seen the own epoch at a quorum.
    ClaimNotRead,
    /// The reading that shows the own epoch leaves the replicas as they are. Then one of them may
    /// be the only one that has it, and an older owner's confirmation can miss it.
    ClaimNotRepaired,
    /// A reading of the journal repairs what it has read: the rows of a page, which may end within
    /// a commit. Then a replica has a part of what was written as a whole.
    JournalReadRepaired,
    /// An opening whose writing of the last commit has an unknown outcome reads the room again,
    /// under the same epoch, and decides again what to write.
    OpeningReadAgain,
}
