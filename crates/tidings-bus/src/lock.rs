//! Locks that have a place in an order.
//!
//! A test that calls [`check_order`] checks the order: a thread that takes a lock while it holds one
//! of the same place or of a later place panics. The test therefore finds an order that could hang,
//! even if it does not hang in this run. Release builds check nothing, and the locks are those of
//! the standard library.
//!
//! A panic while a lock is held does not poison it. The next holder continues.
//!
//! `docs/architecture.md` lists the locks, and what each may be held across.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{
    Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    TryLockError,
};

use place::Place;

/// Set while the order is checked.
#[cfg(debug_assertions)]
static CHECKED: AtomicBool = AtomicBool::new(false);

/// Checks the order of all locks in this process from now on. Does nothing in release builds.
pub fn check_order() {
    #[cfg(debug_assertions)]
    CHECKED.store(true, Ordering::Relaxed);
}

/// The places of the locks, in the order in which a thread may take them.
pub mod place {
    /// A place in the order.
    pub trait Place {
        /// The number of the place. A thread that holds a lock takes only locks of larger numbers.
        const AT: u8;
    }

    macro_rules! places {
        ($($(#[$doc:meta])* $name:ident,)+) => {
            enum Order { $($name,)+ }

            $(
                $(#[$doc])*
                #[derive(Debug)]
                pub enum $name {}

                impl Place for $name {
                    const AT: u8 = Order::$name as u8;
                }
            )+

            #[cfg(debug_assertions)]
            pub(super) const NAMES: &[&str] = &[$(stringify!($name),)+];
        };
    }

    places! {
        /// The event handlers of a bus.
        Handlers,
        /// The reports of a task that this process does.
        Job,
        /// The state of a connection, or of a subscription inside the process.
        Subscriber,
        /// The registry of clients. Its holder never waits for a connection.
        Clients,
        /// The clients that a node of a cluster has claimed.
        Claims,
        /// Held by the one publisher that makes room for its event.
        Room,
        /// The registry of tasks.
        Tasks,
        /// The rules of a task.
        Rules,
        /// Held while an event is appended that is saved later.
        Publishing,
        /// The watchers of the children of tasks.
        ChildWatchers,
        /// The log of a task, or the list of its watchers.
        Topic,
        /// The parents and children of tasks.
        Forest,
        /// The counts of clients' connections.
        Counts,
        /// The limits of clients.
        Limits,
        /// A lock whose holder takes no other lock.
        Leaf,
    }
}

/// A mutex with a place.
#[derive(Debug)]
pub struct Lock<T, P>(Mutex<T>, PhantomData<fn() -> P>);

impl<T, P: Place> Lock<T, P> {
    /// Creates a lock around a value.
    pub const fn new(value: T) -> Self {
        Self(Mutex::new(value), PhantomData)
    }

    /// Takes the lock if nobody has it.
    ///
    /// # Panics
    /// The same as for [`lock`](Self::lock).
    pub fn try_lock(&self) -> Option<Guard<'_, T, P>> {
        let held = Held::new();
        let value = match self.0.try_lock() {
            Ok(value) => value,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Guard { value, _held: held })
    }

    /// Waits for the lock and takes it.
    ///
    /// # Panics
    /// Panics if the [order is checked](check_order), and the thread holds a lock of this place or
    /// of a later one.
    pub fn lock(&self) -> Guard<'_, T, P> {
        let held = Held::new();
        let value = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Guard { value, _held: held }
    }
}

impl<T: Default, P: Place> Default for Lock<T, P> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// A lock that is held.
#[derive(Debug)]
pub struct Guard<'a, T, P: Place> {
    value: MutexGuard<'a, T>,
    _held: Held<P>,
}

impl<T, P: Place> Guard<'_, T, P> {
    /// Waits for a notification. The lock is released in the meantime.
    #[must_use]
    pub fn wait(self, notified: &Condvar) -> Self {
        let value = notified
            .wait(self.value)
            .unwrap_or_else(PoisonError::into_inner);
        Self { value, ..self }
    }
}

impl<T, P: Place> Deref for Guard<'_, T, P> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T, P: Place> DerefMut for Guard<'_, T, P> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// A lock for many readers or one writer, with a place.
#[derive(Debug)]
pub struct SharedLock<T, P>(RwLock<T>, PhantomData<fn() -> P>);

impl<T, P: Place> SharedLock<T, P> {
    /// Creates a lock around a value.
    pub const fn new(value: T) -> Self {
        Self(RwLock::new(value), PhantomData)
    }

    /// Takes the lock to read.
    ///
    /// # Panics
    /// The same as for [`Lock::lock`].
    pub fn read(&self) -> Reading<'_, T, P> {
        let held = Held::new();
        let value = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Reading { value, _held: held }
    }

    /// Takes the lock to write.
    ///
    /// # Panics
    /// The same as for [`Lock::lock`].
    pub fn write(&self) -> Writing<'_, T, P> {
        let held = Held::new();
        let value = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Writing { value, _held: held }
    }
}

impl<T: Default, P: Place> Default for SharedLock<T, P> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// A shared lock that is held to read.
#[derive(Debug)]
pub struct Reading<'a, T, P: Place> {
    value: RwLockReadGuard<'a, T>,
    _held: Held<P>,
}

impl<T, P: Place> Deref for Reading<'_, T, P> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A shared lock that is held to write.
#[derive(Debug)]
pub struct Writing<'a, T, P: Place> {
    value: RwLockWriteGuard<'a, T>,
    _held: Held<P>,
}

impl<T, P: Place> Deref for Writing<'_, T, P> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T, P: Place> DerefMut for Writing<'_, T, P> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// Marks a place as held by this thread. Does nothing in release builds.
#[derive(Debug)]
struct Held<P: Place>(PhantomData<(P, *const ())>);

#[cfg(debug_assertions)]
thread_local! {
    /// The places that this thread holds, one bit for each.
    static HELD: std::cell::Cell<u16> = const { std::cell::Cell::new(0) };
}

impl<P: Place> Held<P> {
    #[cfg(debug_assertions)]
    fn new() -> Self {
        let held = HELD.get();
        let later = held >> P::AT;
        if later != 0 && CHECKED.load(Ordering::Relaxed) && !std::thread::panicking() {
            let first = u32::from(P::AT) + later.trailing_zeros();
            panic!(
                "a lock of {} is taken under a lock of {}: see Locks in docs/architecture.md",
                place::NAMES[usize::from(P::AT)],
                place::NAMES[first as usize]
            );
        }
        HELD.set(held | (1 << P::AT));
        Self(PhantomData)
    }

    #[cfg(not(debug_assertions))]
    fn new() -> Self {
        Self(PhantomData)
    }
}

#[cfg(debug_assertions)]
impl<P: Place> Drop for Held<P> {
    fn drop(&mut self) {
        HELD.set(HELD.get() & !(1 << P::AT));
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::place::{Claims, Clients, Topic};
    use super::*;

    #[test]
    fn locks_are_taken_in_order_and_released_in_any_order() {
        check_order();
        let (first, second) = (Lock::<_, Clients>::new(1), Lock::<_, Claims>::new(2));
        let held = first.lock();
        let inner = second.lock();
        drop(held);
        assert_eq!(*inner, 2);
        drop(inner);
        assert_eq!(*first.lock(), 1);
    }

    #[test]
    #[should_panic(expected = "a lock of Clients is taken under a lock of Claims")]
    fn the_wrong_order_panics() {
        check_order();
        let (first, second) = (Lock::<_, Clients>::new(1), Lock::<_, Claims>::new(2));
        let _held = second.lock();
        let _inner = first.lock();
    }

    #[test]
    #[should_panic(expected = "a lock of Topic is taken under a lock of Topic")]
    fn two_locks_of_one_place_panic() {
        check_order();
        let (one, other) = (Lock::<_, Topic>::new(1), SharedLock::<_, Topic>::new(2));
        let _held = other.read();
        let _inner = one.lock();
    }
}
