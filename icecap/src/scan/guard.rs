//! Errors and panics of a decoder, told with the files that they are about.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::execution::SendableRecordBatchStream;
use futures::{FutureExt, Stream, StreamExt, stream};
use icecap_table::{Error, ErrorKind};

use super::reader::OpenFiles;
use crate::plan::error::{from_datafusion, to_datafusion};

/// Ends a stream with an error where a decoder fails or panics, naming the files that were being read.
pub(crate) fn guarded(
    batches: SendableRecordBatchStream,
    open: Arc<OpenFiles>,
    partition: usize,
) -> impl Stream<Item = DfResult<RecordBatch>> + Send {
    stream::unfold(Some(batches), move |batches| {
        let open = Arc::clone(&open);
        async move {
            let mut batches = batches?;
            match AssertUnwindSafe(batches.next()).catch_unwind().await {
                Ok(Some(Ok(batch))) => Some((Ok(batch), Some(batches))),
                Ok(Some(Err(error))) => Some((Err(named(error, &open.of(partition))), None)),
                Ok(None) => None,
                Err(_) => {
                    let error = Error::corrupt("a Parquet file could not be decoded: the decoder gave up");
                    Some((Err(to_datafusion(with_files(error, &open.of(partition)))), None))
                }
            }
        }
    })
}

/// What a decoder says is about the stored bytes: a scan computes nothing that a statement asked for.
pub(super) fn named(error: DataFusionError, files: &[String]) -> DataFusionError {
    let stored =
        matches!(error.find_root(), DataFusionError::ParquetError(_) | DataFusionError::ArrowError(..));
    let error = from_datafusion(error);
    let error = match error.kind() {
        ErrorKind::Invalid if stored => error.with_kind(ErrorKind::Corrupt),
        ErrorKind::Exhausted | ErrorKind::Cancelled => return to_datafusion(error),
        _ => error,
    };
    if error.context().iter().any(|(key, _)| key == "file") {
        return to_datafusion(error);
    }
    to_datafusion(with_files(error, files))
}

fn with_files(error: Error, files: &[String]) -> Error {
    if files.is_empty() { error } else { error.with("file", files.join(" or ")) }
}
