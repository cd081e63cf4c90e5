//! Reads a stream in a task of its own, some batches ahead of whoever takes them.

use std::sync::Arc;

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use futures::StreamExt;
use tokio::sync::Semaphore;

/// What one permit stands for: a semaphore counts in 32 bits.
const PERMIT_BYTES: usize = 1 << 10;

/// The rows of `rows`, read up to so many batches and so many bytes ahead, and one batch more. The reading ends with the
/// stream.
pub(super) fn ahead(
    mut rows: SendableRecordBatchStream,
    batches: usize,
    bytes: usize,
) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let limit = u32::try_from(bytes / PERMIT_BYTES).unwrap_or(u32::MAX).max(1);
    let room = Arc::new(Semaphore::new(usize::try_from(limit).unwrap_or(Semaphore::MAX_PERMITS)));
    let mut reader = RecordBatchReceiverStream::builder(Arc::clone(&schema), batches);
    let queue = reader.tx();
    {
        let room = Arc::clone(&room);
        reader.spawn(async move {
            while let Some(batch) = rows.next().await {
                let failed = batch.is_err();
                if let Ok(batch) = &batch {
                    // Given back by whoever takes the batch.
                    let Ok(permits) = room.acquire_many(permits(batch, limit)).await else { break };
                    permits.forget();
                }
                if queue.send(batch).await.is_err() || failed {
                    break;
                }
            }
            Ok(())
        });
    }
    let taken = reader.build().inspect(move |batch| {
        if let Ok(batch) = batch {
            room.add_permits(permits(batch, limit) as usize);
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, taken))
}

/// What a batch takes of the room: all of it when it is larger.
fn permits(batch: &RecordBatch, limit: u32) -> u32 {
    // Not what the buffers hold: batches of one source share them.
    let bytes: usize =
        batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum();
    u32::try_from(bytes / PERMIT_BYTES).unwrap_or(u32::MAX).min(limit)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use datafusion::arrow::array::{ArrayRef, Int64Array};
    use datafusion::error::DataFusionError;
    use futures::{TryStreamExt, stream};

    use super::*;

    fn batch(rows: usize) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
        RecordBatch::try_from_iter([("a", column)]).unwrap()
    }

    /// Batches of 8,192 bytes, and how many were asked for.
    fn source(count: usize, failing: bool) -> (SendableRecordBatchStream, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let last = failing.then(|| Err(DataFusionError::Execution("broken".to_owned())));
        let rows = stream::iter((0..count).map(|_| Ok(batch(1024))).chain(last))
            .inspect(move |_| _ = counted.fetch_add(1, Ordering::SeqCst));
        let rows = RecordBatchStreamAdapter::new(batch(0).schema(), rows);
        (Box::pin(rows), asked)
    }

    /// How many were read ahead, when no more will be.
    async fn settled(asked: &AtomicUsize) -> usize {
        let mut last = 0;
        loop {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            match asked.load(Ordering::SeqCst) {
                now if now == last => return now,
                now => last = now,
            }
        }
    }

    #[tokio::test]
    async fn it_reads_ahead_by_batches_and_by_bytes() {
        // Three in the queue and one that finds no place there.
        let (rows, asked) = source(50, false);
        let mut rows = ahead(rows, 3, usize::MAX);
        assert_eq!(settled(&asked).await, 4);
        rows.next().await;
        assert_eq!(settled(&asked).await, 5);
        // Two fit, the third finds no room.
        let (rows, asked) = source(50, false);
        let mut rows = ahead(rows, 10, 2 * 8192 + 100);
        assert_eq!(settled(&asked).await, 3);
        rows.next().await;
        assert_eq!(settled(&asked).await, 4);
    }

    #[tokio::test]
    async fn batches_larger_than_the_room_come_too() {
        let (rows, _) = source(50, false);
        let rows: Vec<RecordBatch> = ahead(rows, 4, 100).try_collect().await.unwrap();
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 50 * 1024);
    }

    #[tokio::test]
    async fn an_error_comes_after_the_rows_before_it() {
        let (rows, _) = source(5, true);
        let mut rows = ahead(rows, 4, 1 << 20);
        for _ in 0..5 {
            rows.next().await.unwrap().unwrap();
        }
        assert!(rows.next().await.unwrap().unwrap_err().to_string().contains("broken"));
        assert!(rows.next().await.is_none());
    }
}
