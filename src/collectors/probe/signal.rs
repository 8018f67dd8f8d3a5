//! Something that one task tells another on the same thread.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

/// Raised by one, waited for by another.
#[derive(Debug, Default)]
pub struct Signal {
    is_raised: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Signal {
    /// Wakes the one who waits, or will.
    pub fn raise(&self) {
        self.is_raised.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Ready once for each time that it was raised, unless that was several times in a row.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_raised.take() {
            return Poll::Ready(());
        }
        self.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}
