//! Parallel work on a few threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Calls `work` for every item, on at most `limit` threads. Returns the results in the order of the
/// items, or the first failure. After a failure no further item is started, and those in progress are
/// finished: the next push need not send again what a registry has received of them.
pub fn map<T: Send, R: Send, E: Send>(
    items: Vec<T>,
    limit: usize,
    work: impl Fn(T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let threads = limit.min(items.len());
    let queue = Mutex::new(items.into_iter().enumerate());
    let (results, has_failed) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !has_failed.load(Ordering::Relaxed)
                    && let Some((index, item)) = next()
                {
                    let result = work(item);
                    has_failed.fetch_or(result.is_err(), Ordering::Relaxed);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn results_have_the_order_of_the_items() {
        let doubled = map((0..100).collect(), 4, |n: i32| Ok::<_, ()>(2 * n)).unwrap();
        assert_eq!(doubled, (0..100).map(|n| 2 * n).collect::<Vec<_>>());
        assert_eq!(map(Vec::<i32>::new(), 4, Ok::<_, ()>), Ok(vec![]));
    }

    #[test]
    fn no_item_is_started_after_a_failure() {
        let started = AtomicUsize::new(0);
        let failed = map((0..100).collect(), 1, |n: usize| {
            started.fetch_add(1, Ordering::Relaxed);
            if n == 3 { Err(n) } else { Ok(n) }
        });
        assert_eq!((failed, started.into_inner()), (Err(3), 4));
    }
}
