//! Drops futures at each of their awaits, to test promises about cancel safety.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// The most polls that a future may need. More mean that it never completes.
const MOST_POLLS: usize = 10_000;

/// Polls a future up to `polls` times, each time after it was woken, and then drops it. Returns
/// the output if the future completes before.
pub async fn drop_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Calls `attempt` with 0, 1, 2, … polls, until it returns true. An attempt makes the future
/// anew, drops it with [`drop_after`], and checks the promise. It returns whether the future
/// completed. Returns the number of polls that the future needed.
///
/// # Panics
/// Panics if the future does not complete after 10,000 polls.
pub async fn drop_at_each_await(mut attempt: impl AsyncFnMut(usize) -> bool) -> usize {
    for polls in 0..MOST_POLLS {
        if attempt(polls).await {
            return polls;
        }
    }
    panic!("the future does not complete after {MOST_POLLS} polls");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_future_is_dropped_at_each_of_its_awaits() {
        let mut reached = Vec::new();
        let polls = drop_at_each_await(async |polls| {
            let mut at = 0;
            let work = async {
                for step in 1..=3 {
                    at = step;
                    tokio::task::yield_now().await;
                }
            };
            let done = drop_after(polls, work).await.is_some();
            reached.push(at);
            done
        })
        .await;
        assert_eq!((polls, reached), (4, vec![0, 1, 2, 3, 3]));
    }
}
