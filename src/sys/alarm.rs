//! A thread that runs one future and sleeps in between, until somebody wakes it or one of its alarms is due: for a task
//! that is woken many times a second. A timer of async-io wakes its helper thread whenever it is set and again when it is
//! due, and that one wakes ours; it has a grain of a millisecond on MIPS besides. An alarm is the time limit of the sleep.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

thread_local! {
    /// The alarms of this thread.
    static ALARMS: RefCell<Vec<Rc<Slot>>> = const { RefCell::new(Vec::new()) };
    /// How many calls of [`block_on`] this thread is in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

#[derive(Debug, Default)]
struct Slot {
    due: Cell<Option<Instant>>,
    waker: RefCell<Option<Waker>>,
}

/// Wakes a task of its thread, under [`block_on`] only.
#[derive(Debug)]
pub struct Alarm(Rc<Slot>);

impl Default for Alarm {
    fn default() -> Self {
        Alarm::new()
    }
}

impl Alarm {
    /// One that is not set.
    pub fn new() -> Self {
        let slot = Rc::new(Slot::default());
        ALARMS.with_borrow_mut(|alarms| alarms.push(slot.clone()));
        Alarm(slot)
    }

    /// Sets it to this time, in place of what it was set to; with none it will not wake anybody.
    pub fn set(&self, at: Option<Instant>) {
        self.0.due.set(at);
    }

    /// Whether the time has come; if not, the task is woken when it does.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        debug_assert!(DEPTH.get() > 0, "an alarm rings under alarm::block_on only");
        if self.0.due.get().is_some_and(|due| due <= Instant::now()) {
            return Poll::Ready(());
        }
        let mut waker = self.0.waker.borrow_mut();
        match &mut *waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

/// Waits until this time, by an alarm.
pub async fn until(at: Instant) {
    let alarm = Alarm::new();
    alarm.set(Some(at));
    poll_fn(|cx| alarm.poll(cx)).await;
}

/// Waits until `register`, which has the task woken by whatever there may be to do, says that there is something, or else
/// until the task is woken: then there may be something, and whoever waits looks for himself. What a descriptor is then said
/// to be is not asked: async-io does not count an event that comes in the very round of its reactor in which it was asked
/// for, and since each question asks anew, two threads may wake each other for long before one of them is counted.
pub async fn woken(mut register: impl FnMut(&mut Context<'_>) -> bool) {
    let mut is_woken = false;
    poll_fn(|cx| match std::mem::replace(&mut is_woken, true) || register(cx) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

impl Drop for Alarm {
    fn drop(&mut self) {
        ALARMS.with_borrow_mut(|alarms| alarms.retain(|slot| !Rc::ptr_eq(slot, &self.0)));
    }
}

/// Wakes whose alarms are due, each once; returns when the next one is.
fn ring() -> Option<Instant> {
    ALARMS.with_borrow(|alarms| {
        let (mut next, mut now) = (None::<Instant>, None);
        for slot in alarms {
            let Some(due) = slot.due.get().filter(|_| slot.waker.borrow().is_some()) else { continue };
            if due > *now.get_or_insert_with(Instant::now) {
                next = Some(next.map_or(due, |next| next.min(due)));
            } else if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
        next
    })
}

/// Wakes a thread that has no work; woken twice before it looks, it looks once.
struct Sleeper {
    thread: Thread,
    is_woken: AtomicBool,
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_woken.swap(true, Ordering::AcqRel) {
            self.thread.unpark();
        }
    }
}

/// Runs a future to its end on this thread, with its alarms.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let _within = Within::new();
    let sleeper = Arc::new(Sleeper { thread: thread::current(), is_woken: AtomicBool::new(false) });
    let waker = Waker::from(sleeper.clone());
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
        loop {
            // Also where there is work anyway, or one who works without a pause would hold the alarms up.
            let next = ring();
            if sleeper.is_woken.swap(false, Ordering::AcqRel) {
                break;
            }
            match next {
                None => thread::park(),
                Some(due) => thread::park_timeout(due.saturating_duration_since(Instant::now())),
            }
        }
    }
}

struct Within;

impl Within {
    fn new() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Within
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use smol::future::FutureExt as _;

    use super::*;

    async fn rung(alarm: &Alarm) {
        poll_fn(|cx| alarm.poll(cx)).await;
    }

    #[test]
    fn it_wakes_at_the_time_it_was_set_to_last_and_each_time_anew() {
        block_on(async {
            let alarm = Alarm::new();
            for _ in 0..3 {
                let start = Instant::now();
                alarm.set(Some(start + Duration::from_secs(3600)));
                let due = start + Duration::from_millis(5);
                alarm.set(Some(due));
                rung(&alarm).await;
                assert!(Instant::now() >= due);
            }
            alarm.set(Some(Instant::now()));
            rung(&alarm).await;
            let due = Instant::now() + Duration::from_millis(5);
            until(due).await;
            assert!(Instant::now() >= due);
        });
    }

    #[test]
    fn one_that_is_not_set_wakes_nobody_and_other_wakers_work_beside() {
        block_on(async {
            let alarm = Alarm::new();
            alarm.set(Some(Instant::now() + Duration::from_millis(1)));
            alarm.set(None);
            let pause = async {
                // Woken by async-io's thread.
                async_io::Timer::after(Duration::from_millis(20)).await;
                false
            };
            let ring = async {
                rung(&alarm).await;
                true
            };
            assert!(!ring.or(pause).await);
        });
    }

    #[test]
    fn of_several_each_wakes_its_own_task_and_none_is_left_of_those_that_are_gone() {
        let order = RefCell::new(Vec::new());
        let executor = smol::LocalExecutor::new();
        let task = |after: u64| {
            let order = &order;
            executor.spawn(async move {
                let alarm = Alarm::new();
                alarm.set(Some(Instant::now() + Duration::from_millis(after)));
                rung(&alarm).await;
                order.borrow_mut().push(after);
            })
        };
        let tasks = [task(30), task(0), task(10)];
        block_on(executor.run(async {
            for task in tasks {
                task.await;
            }
        }));
        let mut all = order.borrow().clone();
        all.sort_unstable();
        assert_eq!(all, [0, 10, 30]);
        assert!(ALARMS.with_borrow(Vec::is_empty));
    }

    #[test]
    fn what_is_woken_goes_on_whatever_is_said() {
        let asked = Cell::new(0);
        let says = |what: bool| {
            asked.set(asked.get() + 1);
            what
        };
        block_on(woken(|_| says(true)));
        block_on(woken(|cx| {
            cx.waker().wake_by_ref();
            says(false)
        }));
        assert_eq!(asked.get(), 2);
    }

    #[test]
    fn one_rings_beside_work_that_never_pauses() {
        let executor = smol::LocalExecutor::new();
        let _endless = executor.spawn(async {
            loop {
                smol::future::yield_now().await;
            }
        });
        let ring = executor.spawn(until(Instant::now() + Duration::from_millis(5)));
        block_on(executor.run(ring));
    }

    #[test]
    fn a_waker_of_another_thread_ends_the_sleep() {
        let (tell, told) = smol::channel::bounded(1);
        let other = thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            tell.send_blocking(7).unwrap();
        });
        let alarm = Alarm::new();
        alarm.set(Some(Instant::now() + Duration::from_secs(3600)));
        let value = block_on(async {
            let ring = async {
                rung(&alarm).await;
                0
            };
            async { told.recv().await.unwrap() }.or(ring).await
        });
        assert_eq!(value, 7);
        other.join().unwrap();
    }
}
