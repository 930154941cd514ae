//! Where the parts of a node spawn their tasks. Many nodes can run in one process (a simulation):
//! each then runs within a [`Scope`], which all tasks that they spawn inherit, so that a node as a
//! whole can be frozen, as SIGSTOP does, or killed.

use std::{pin::pin, sync::Arc};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

tokio::task_local! {
    static SCOPE: Scope;
}

/// The tasks of one node. Clones are the same scope.
#[derive(Clone)]
pub struct Scope(Arc<watch::Sender<Pace>>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    Running,
    Frozen,
    Dead,
}

impl Default for Scope {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Pace::Running)))
    }
}

impl Scope {
    /// No task is polled until [`Self::thaw`]. Their timers go on.
    pub fn freeze(&self) {
        self.set(Pace::Frozen);
    }

    /// All tasks go on where they were.
    pub fn thaw(&self) {
        self.set(Pace::Running);
    }

    /// No task is polled any more; each is dropped. Nothing can be spawned within the scope from
    /// now on.
    pub fn kill(&self) {
        self.set(Pace::Dead);
    }

    fn set(&self, pace: Pace) {
        self.0
            .send_if_modified(|now| *now != Pace::Dead && std::mem::replace(now, pace) != pace);
    }

    /// Runs a task within the scope; `None` when the scope is killed before the task has ended.
    /// What it drops then is dropped within the scope too.
    pub async fn run<F: Future>(self, task: F) -> Option<F::Output> {
        let mut pace = self.0.subscribe();
        let within = async {
            let mut task = pin!(task);
            loop {
                let now = *pace.borrow_and_update();
                match now {
                    Pace::Dead => return None,
                    // The scope itself holds the sender, so this never fails.
                    Pace::Frozen => drop(pace.changed().await),
                    Pace::Running => tokio::select! {
                        biased; // A task of a scope that was just stopped must not take one more step.
                        _ = pace.changed() => {}
                        output = &mut task => return Some(output),
                    },
                }
            }
        };
        SCOPE.scope(self.clone(), within).await
    }
}

/// Spawns a task into the scope of the one that spawns it, if that is in one.
pub(crate) fn spawn(tasks: &TaskTracker, task: impl Future<Output = ()> + Send + 'static) {
    match SCOPE.try_with(Scope::clone) {
        Ok(scope) => drop(tasks.spawn(scope.run(task))),
        Err(_) => drop(tasks.spawn(task)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use tokio::time::{Duration, sleep};

    /// Counts seconds in a task that a task of the scope has spawned.
    fn counting(scope: &Scope) -> Arc<AtomicU32> {
        let count = Arc::<AtomicU32>::default();
        let counter = count.clone();
        tokio::spawn(scope.clone().run(async move {
            spawn(&TaskTracker::new(), async move {
                loop {
                    sleep(Duration::from_secs(1)).await;
                    counter.fetch_add(1, Relaxed);
                }
            });
        }));
        count
    }

    async fn seconds(count: u64) {
        sleep(Duration::from_millis(count * 1000 + 500)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_task_spawns_freezes_with_it_and_goes_on_with_it() {
        let scope = Scope::default();
        let count = counting(&scope);
        seconds(3).await;
        scope.freeze();
        seconds(10).await;
        assert_eq!(count.load(Relaxed), 3);
        scope.thaw();
        seconds(0).await;
        assert_eq!(
            count.load(Relaxed),
            4,
            "the second that was under way has long passed"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_killed_stays_dead() {
        let scope = Scope::default();
        let count = counting(&scope);
        seconds(3).await;
        scope.kill();
        scope.thaw();
        let late = counting(&scope);
        seconds(10).await;
        assert_eq!((count.load(Relaxed), late.load(Relaxed)), (3, 0));
        assert_eq!(scope.run(async {}).await, None);
    }
}
