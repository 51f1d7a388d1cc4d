//! A counter for many cores.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The number of places.
const PLACES: usize = 16;

/// A number in a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place(AtomicU64);

/// A sum to which each thread adds in its own place, so that cores do not pass a cache line
/// around. Threads share places if there are more threads than places.
#[derive(Debug, Default)]
pub(crate) struct Spread([Place; PLACES]);

/// The place of the next thread.
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % PLACES;
}

impl Spread {
    /// Adds to the sum.
    pub(crate) fn add(&self, count: u64) {
        // A thread that ends has no place any more.
        let place = MINE.try_with(|place| *place).unwrap_or(0);
        self.0[place].0.fetch_add(count, Ordering::Relaxed);
    }

    /// Returns the sum.
    pub(crate) fn sum(&self) -> u64 {
        let counts = self.0.iter().map(|place| place.0.load(Ordering::Relaxed));
        counts.fold(0, u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_threads_than_places_add_to_one_sum() {
        let spread = Spread::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * PLACES + 1 {
                scope.spawn(|| (0..100).for_each(|count| spread.add(count)));
            }
        });
        assert_eq!(spread.sum(), (2 * PLACES as u64 + 1) * 4_950);
    }
}
