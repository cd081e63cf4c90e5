//! CPU work on several threads, results in order.

use std::sync::{Arc, Mutex, PoisonError};

use icecap_table::{Error, Result};
use tokio::task::JoinSet;

/// Does `work` to each item, on the calling task and up to `parallel - 1` others.
///
/// Items are begun in their order, so the costliest should come first. When the future is dropped, items
/// that are begun are finished, the others are not begun.
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
        let mut done = Vec::new();
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            match next {
                Some((at, item)) => done.push((at, work(item)?)),
                None => return Ok::<_, Error>(done),
            }
        }
    };
    let mut helpers = JoinSet::new();
    for _ in 1..parallel.min(count) {
        let drain = drain.clone();
        helpers.spawn(async move { drain() });
    }
    let mut done = drain()?;
    while let Some(joined) = helpers.join_next().await {
        done.extend(joined.map_err(|e| Error::bug("encoding stopped").with_source(e))??);
    }
    done.sort_unstable_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

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
