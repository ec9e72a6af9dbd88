//! A few things at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// `work` on every item, on at most `limit` threads; the results in the items' order, or the
/// first failure. After a failure no further item is begun, and those under way are finished:
/// what a registry has of them is not sent again by the next push.
pub fn map<T: Send, R: Send, E: Send>(
    items: Vec<T>,
    limit: usize,
    work: impl Fn(T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let threads = limit.min(items.len());
    let queue = Mutex::new(items.into_iter().enumerate());
    let (done, has_failed) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !has_failed.load(Ordering::Relaxed)
                    && let Some((index, item)) = next()
                {
                    let result = work(item);
                    has_failed.fetch_or(result.is_err(), Ordering::Relaxed);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn results_keep_the_order() {
        let doubled = map((0..100).collect(), 4, |n: i32| Ok::<_, ()>(2 * n)).unwrap();
        assert_eq!(doubled, (0..100).map(|n| 2 * n).collect::<Vec<_>>());
        assert_eq!(map(Vec::<i32>::new(), 4, Ok::<_, ()>), Ok(vec![]));
    }

    #[test]
    fn nothing_is_begun_after_a_failure() {
        let begun = AtomicUsize::new(0);
        let failed = map((0..100).collect(), 1, |n: usize| {
            begun.fetch_add(1, Ordering::Relaxed);
            if n == 3 { Err(n) } else { Ok(n) }
        });
        assert_eq!((failed, begun.into_inner()), (Err(3), 4));
    }
}
