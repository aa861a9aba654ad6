//! Waiting for the worker's answer.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// One value that the worker will hand over, or will not: it may end before.
pub(super) struct Promise<T>(Arc<(Mutex<State<T>>, Condvar)>);

enum State<T> {
    Open,
    Kept(T),
    Broken,
}

/// The worker's end. Dropped without an answer it breaks the promise.
pub(super) struct Promiser<T>(Arc<(Mutex<State<T>>, Condvar)>);

pub(super) fn promise<T>() -> (Promiser<T>, Promise<T>) {
    let shared = Arc::new((Mutex::new(State::Open), Condvar::new()));
    (Promiser(shared.clone()), Promise(shared))
}

impl<T> Promiser<T> {
    pub(super) fn keep(self, value: T) {
        self.settle(State::Kept(value));
    }

    fn settle(&self, state: State<T>) {
        let (lock, settled) = &*self.0;
        let mut current = lock.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*current, State::Open) {
            *current = state;
            settled.notify_all();
        }
    }
}

impl<T> Drop for Promiser<T> {
    fn drop(&mut self) {
        self.settle(State::Broken);
    }
}

impl<T> Promise<T> {
    /// Waits for the answer; none if there will be none.
    pub(super) fn wait(self) -> Option<T> {
        let (lock, settled) = &*self.0;
        let mut state = lock.lock().unwrap_or_else(PoisonError::into_inner);
        while matches!(*state, State::Open) {
            state = settled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match std::mem::replace(&mut *state, State::Broken) {
            State::Kept(value) => Some(value),
            State::Open | State::Broken => None,
        }
    }

    /// Waits for the promise to be kept or broken; false if it is neither in time.
    pub(super) fn settles_within(&self, time: Duration) -> bool {
        let (lock, settled) = &*self.0;
        let state = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let open = |state: &mut State<T>| matches!(state, State::Open);
        let waited = settled.wait_timeout_while(state, time, open);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}
