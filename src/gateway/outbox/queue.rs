//! The outbox of a client that is written to by copying: a queue of frames, bounded by bytes and
//! number. What takes them out (a task with a socket, an event stream, a client of a simulation)
//! takes all that waits at once.

use super::{Form, Limits, OVERHEAD, Taken};
use crate::{
    gateway::{Close, metrics},
    room::{RoomId, Seq},
    wire::{Encoded, ServerFrame, SharedEvent},
};
use futures::task::AtomicWaker;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};
use tokio::sync::Notify;

/// Bytes that are taken out at once, unless a single frame is larger: what one write to a socket
/// carries well.
pub(in crate::gateway) const BATCH: usize = 32 * 1024;

/// Frames on their way to one client. Clones are the same queue; one of them takes out.
#[derive(Clone)]
pub(super) struct Queue(Arc<Inner>);

struct Inner {
    room: RoomId,
    form: Form,
    limits: Limits,
    state: Mutex<State>,
    taker: AtomicWaker,
    space: Notify,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Encoded>,
    bytes: usize,
    close: Option<Close>,
    /// Nobody takes out any more.
    gone: bool,
}

impl Queue {
    pub(super) fn new(room: RoomId, form: Form, limits: Limits) -> Self {
        let (state, taker, space) = (Mutex::default(), AtomicWaker::new(), Notify::new());
        Self(Arc::new(Inner {
            room,
            form,
            limits,
            state,
            taker,
            space,
        }))
    }

    /// How its client gets what it gets.
    pub(super) fn form(&self) -> Form {
        self.0.form
    }

    /// All frames that wait, up to about 32 KiB; then, once none is left, why to end. One task at a
    /// time.
    pub(super) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Taken> {
        self.0.taker.register(cx.waker());
        let mut state = self.state();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while let Some(size) = state.frames.front().map(|frame| frame.bytes().len()) {
            if bytes > 0 && bytes + size > BATCH {
                break;
            }
            bytes += size;
            state.bytes -= size + OVERHEAD;
            taken.extend(state.frames.pop_front());
        }
        if !taken.is_empty() {
            if self.has_space(&state) {
                self.0.space.notify_waiters();
            }
            return Poll::Ready(Taken::Frames(taken));
        }
        state
            .close
            .map_or(Poll::Pending, |close| Poll::Ready(Taken::Close(close)))
    }

    /// Why to end at once, without taking out what waits. Wakes the same task as
    /// [`Self::poll_take`].
    pub(super) fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<Close> {
        self.0.taker.register(cx.waker());
        match self.state().close {
            Some(close) if close.drops_backlog() => Poll::Ready(close),
            _ => Poll::Pending,
        }
    }

    /// Puts a frame in, if the client's form has such a frame.
    pub(super) fn push(&self, frame: &ServerFrame) {
        if let Some(encoded) = self.0.form.frame(&self.0.room, frame) {
            self.extend(std::slice::from_ref(&encoded));
        }
    }

    /// Tells an event stream the place that it begins after, should it break before its first
    /// event. A session knows that from its welcome.
    pub(super) fn begin_after(&self, seq: Seq) {
        if self.0.form == Form::EventStream {
            let id = Encoded::Text(format!("id: {seq}\n\n").into());
            self.extend(std::slice::from_ref(&id));
        }
    }

    /// Puts frames in.
    pub(super) fn extend(&self, frames: &[Encoded]) {
        let mut state = self.state();
        if state.close.is_some() || state.gone {
            return;
        }
        for frame in frames {
            state.put(frame.clone());
        }
        // A single frame may be larger: the members of a large room.
        if state.frames.len() > 1
            && (state.bytes > self.0.limits.bytes() || state.frames.len() > self.0.limits.frames)
        {
            metrics::slow();
            state.end(Close::Slow);
            self.0.space.notify_waiters();
        }
        drop(state);
        self.0.taker.wake();
    }

    /// Puts events in as long as at least half of the space is free; returns how many. The rest is
    /// for live events.
    pub(super) fn fill<'a>(&self, events: impl Iterator<Item = &'a SharedEvent>) -> usize {
        let mut state = self.state();
        let mut count = 0;
        for event in events {
            if !self.has_space(&state) || state.close.is_some() || state.gone {
                break;
            }
            state.put(self.0.form.event(event));
            count += 1;
        }
        drop(state);
        self.0.taker.wake();
        count
    }

    /// Waits until half of the space is free; `false` when nothing can be put in any more.
    pub(super) async fn space(&self) -> bool {
        loop {
            let freed = self.0.space.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            {
                let state = self.state();
                if state.close.is_some() || state.gone {
                    return false;
                }
                if self.has_space(&state) {
                    return true;
                }
            }
            freed.await;
        }
    }

    /// Ends it after what waits, or at once when the reason says so. The first reason counts.
    pub(super) fn close(&self, close: Close) {
        self.state().end(close);
        self.0.space.notify_waiters();
        self.0.taker.wake();
    }

    /// Nobody takes out any more: everything is dropped, and nothing is kept from now on.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.gone = true;
        state.drop_all();
        self.0.space.notify_waiters();
    }

    /// Bytes that wait to be taken out, with what keeping them takes.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.state().bytes
    }

    /// Why it ends, if it does.
    pub(super) fn closed(&self) -> Option<Close> {
        self.state().close
    }

    fn has_space(&self, state: &State) -> bool {
        state.bytes <= self.0.limits.bytes() / 2 && state.frames.len() <= self.0.limits.frames / 2
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, frame: Encoded) {
        self.bytes += frame.bytes().len() + OVERHEAD;
        self.frames.push_back(frame);
    }

    fn end(&mut self, close: Close) {
        if self.close.is_none() {
            self.close = Some(close);
            if close.drops_backlog() {
                self.drop_all();
            }
        }
    }

    fn drop_all(&mut self) {
        self.frames = VecDeque::new();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pressure::{Level, Pressure},
        wire::Protocol,
    };
    use proptest::prelude::*;

    fn outbox(bytes: usize, frames: usize) -> Queue {
        Queue::new(
            RoomId::parse("aaa").unwrap(),
            Form::Frames(Protocol::Json),
            Limits {
                bytes,
                frames,
                pressure: Pressure::default(),
            },
        )
    }

    fn frame(size: usize) -> Encoded {
        Encoded::Binary(vec![0; size].into())
    }

    fn take(outbox: &Queue) -> Poll<Taken> {
        outbox.poll_take(&mut Context::from_waker(std::task::Waker::noop()))
    }

    proptest! {
        #[test]
        fn it_never_holds_more_than_its_bound_and_keeps_the_order(steps in prop::collection::vec(prop::option::weighted(0.7, 1..30_000usize), 1..200)) {
            let outbox = outbox(256 * 1024, 256);
            let (mut put, mut got) = (Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Some(size) => {
                        outbox.extend(&[frame(size)]);
                        put.push(size);
                    }
                    None => if let Poll::Ready(Taken::Frames(frames)) = take(&outbox) {
                        got.extend(frames.iter().map(|frame| frame.bytes().len()));
                    }
                }
                let state = outbox.state();
                prop_assert!(state.bytes <= 256 * 1024 && state.frames.len() <= 256);
                prop_assert_eq!(state.bytes, state.frames.iter().map(|frame| frame.bytes().len() + OVERHEAD).sum::<usize>());
                prop_assert!(put.starts_with(&got));
                if state.close.is_some() {
                    prop_assert!(state.frames.is_empty());
                    break;
                }
            }
        }
    }

    #[test]
    fn a_slow_client_is_told_so_instead_of_its_backlog() {
        let outbox = outbox(1000, 100);
        outbox.extend(&[frame(100)]);
        assert_eq!(outbox.waiting_bytes(), 100 + OVERHEAD);
        (1..10).for_each(|_| outbox.extend(&[frame(100)]));
        assert_eq!(
            outbox.waiting_bytes(),
            0,
            "what a slow client did not take is not kept"
        );
        assert_eq!(take(&outbox), Poll::Ready(Taken::Close(Close::Slow)));
    }

    #[test]
    fn a_client_may_let_less_wait_when_memory_is_short() {
        let outbox = outbox(8_000, 100);
        outbox.extend(&[frame(1_000), frame(1_000)]);
        assert_eq!(outbox.closed(), None);
        outbox.0.limits.pressure.set(Level::Tight);
        outbox.extend(&[frame(1)]);
        assert_eq!(outbox.closed(), None);
        outbox.0.limits.pressure.set(Level::Short);
        outbox.extend(&[frame(1)]);
        assert_eq!(outbox.closed(), Some(Close::Slow));
    }

    #[test]
    fn another_end_comes_after_what_waits() {
        let outbox = outbox(1000, 100);
        outbox.extend(&[frame(1), frame(2)]);
        outbox.close(Close::Replaced);
        outbox.close(Close::Operator);
        outbox.extend(&[frame(3)]);
        assert_eq!(
            take(&outbox),
            Poll::Ready(Taken::Frames(vec![frame(1), frame(2)]))
        );
        assert_eq!(take(&outbox), Poll::Ready(Taken::Close(Close::Replaced)));
    }
}
