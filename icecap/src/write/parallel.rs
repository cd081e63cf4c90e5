//! CPU work on several threads, results in order.

use std::sync::{Arc, Mutex, PoisonError};

use icecap_table::{Error, Result};
use tokio::task::JoinSet;

/// Does `work` to each item, on the calling task and up to `parallel - 1` others.
///
/// Items are begun in their order, so the costliest should come first. Between items other tasks have their turn. When
/// the future is dropped, items that are begun are finished, the others are not begun.
///
/// # Errors
/// The first error; other items may have been worked on.
pub(crate) async fn in_parallel<T, R, F>(items: Vec<T>, parallel: usize, work: F) -> Result<Vec<R>>
where
    T: Send + 'static,
    R: Send + 'static,
    F: Fn(T) -> Result<R> + Clone + Send + 'static,
{
    if parallel <= 1 || items.len() <= 1 {
        return items.into_iter().map(work).collect();
    }
    let count = items.len();
    let queue = Arc::new(Mutex::new(items.into_iter().enumerate()));
    let drain = move || {
        let (queue, work) = (Arc::clone(&queue), work.clone());
        async move {
            let mut done = Vec::new();
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                match next {
                    Some((at, item)) => done.push((at, work(item)?)),
                    None => return Ok::<_, Error>(done),
                }
                // Others have short turns between reads that they wait for: what comes next is got ready meanwhile.
                tokio::task::yield_now().await;
            }
        }
    };
    let mut helpers = JoinSet::new();
    for _ in 1..parallel.min(count) {
        helpers.spawn(drain());
    }
    offer_woken();
    let mut done = drain().await?;
    while let Some(joined) = helpers.join_next().await {
        done.extend(joined.map_err(|e| Error::bug("encoding stopped").with_source(e))??);
    }
    done.sort_unstable_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// Lets other threads of the runtime take what the calling task spawned or woke last. It would wait for this thread
/// otherwise, whatever others have to do: for work that makes no pause.
///
/// Tokio keeps the task that was made ready last beside the worker's queue, where no other worker looks. The next one
/// takes its place there and sends it to the queue.
pub(crate) fn offer_woken() {
    drop(tokio::spawn(async {}));
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    fn is_set_in_time(flag: &AtomicBool) -> bool {
        let started = Instant::now();
        while !flag.load(Ordering::SeqCst) {
            if started.elapsed() > Duration::from_secs(20) {
                return false;
            }
            std::thread::yield_now();
        }
        true
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_threads_work_at_once() {
        let here = tokio::spawn(async {
            let begun = Arc::new([const { AtomicBool::new(false) }; 2]);
            let both = move |at: usize| {
                begun[at].store(true, Ordering::SeqCst);
                Ok(is_set_in_time(&begun[1 - at]))
            };
            in_parallel(vec![0, 1], 2, both).await.unwrap()
        });
        assert_eq!(here.await.unwrap(), [true, true]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_task_that_was_woken_does_not_wait_for_its_waker() {
        let here = tokio::spawn(async {
            let flag = Arc::new(AtomicBool::new(false));
            let set = Arc::clone(&flag);
            drop(tokio::spawn(async move { set.store(true, Ordering::SeqCst) }));
            offer_woken();
            is_set_in_time(&flag)
        });
        assert!(here.await.unwrap());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn others_have_their_turn_between_items() {
        let here = tokio::spawn(async {
            let flag = Arc::new(AtomicBool::new(false));
            let set = Arc::clone(&flag);
            drop(tokio::spawn(async move { set.store(true, Ordering::SeqCst) }));
            in_parallel(vec![(); 8], 2, move |()| Ok(flag.load(Ordering::SeqCst))).await.unwrap()
        });
        assert!(here.await.unwrap().contains(&true));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn results_come_in_order_from_any_number_of_threads() {
        for parallel in 0..5 {
            let doubled = in_parallel((0..100).collect(), parallel, |n: i32| Ok(n * 2)).await.unwrap();
            assert_eq!(doubled, (0..100).map(|n| n * 2).collect::<Vec<_>>());
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn an_error_comes_through() {
        let failing = |n: i32| if n == 7 { Err(Error::invalid("seven")) } else { Ok(n) };
        assert_eq!(in_parallel((0..50).collect(), 3, failing).await.unwrap_err().message(), "seven");
    }
}
