//! Arrow's IPC stream, for programs: types arrive as they are, nothing becomes text.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use icecap_table::Error;

use super::{OutputResult, RowWriter};

pub(super) struct ArrowWriter {
    schema: SchemaRef,
    /// Encodes into memory, one batch at a time; made with the first.
    stream: Option<StreamWriter<Vec<u8>>>,
}

impl ArrowWriter {
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self { schema, stream: None }
    }

    fn stream(&mut self) -> Result<&mut StreamWriter<Vec<u8>>, Error> {
        Ok(match &mut self.stream {
            Some(stream) => stream,
            empty => empty.insert(StreamWriter::try_new(Vec::new(), &self.schema).map_err(unencoded)?),
        })
    }

    fn encode(
        &mut self,
        out: &mut dyn Write,
        step: impl FnOnce(&mut StreamWriter<Vec<u8>>) -> Result<(), ArrowError>,
    ) -> OutputResult {
        let stream = self.stream()?;
        step(stream).map_err(unencoded)?;
        out.write_all(stream.get_ref())?;
        stream.get_mut().clear();
        Ok(())
    }
}

impl RowWriter for ArrowWriter {
    fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> OutputResult {
        self.encode(out, |stream| stream.write(batch))
    }

    fn finish(&mut self, out: &mut dyn Write) -> OutputResult {
        self.encode(out, StreamWriter::finish)
    }
}

fn unencoded(error: ArrowError) -> Error {
    Error::unsupported("the result cannot be written as an Arrow stream: use --format json")
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, Decimal128Array, Int32Array, ListArray, StringArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::Int32Type;
    use arrow::ipc::reader::StreamReader;

    use super::*;

    fn bytes(schema: SchemaRef, batches: &[RecordBatch]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = ArrowWriter::new(schema);
        for batch in batches {
            writer.write(batch, &mut out).unwrap();
        }
        writer.finish(&mut out).unwrap();
        out
    }

    #[test]
    fn every_batch_comes_back_as_it_was() {
        let price = Decimal128Array::from(vec![Some(150), None]).with_precision_and_scale(9, 2).unwrap();
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
        let batch = RecordBatch::try_from_iter([
            ("id", Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef),
            ("name", Arc::new(StringArray::from(vec![None, Some("日本")]))),
            ("price", Arc::new(price)),
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None]).with_timezone("UTC"))),
            ("list", Arc::new(list)),
        ])
        .unwrap();
        let batches = [batch.clone(), batch.slice(1, 1)];
        let bytes = bytes(batch.schema(), &batches);
        let read = StreamReader::try_new(bytes.as_slice(), None).unwrap();
        assert_eq!(read.schema(), batch.schema());
        assert_eq!(read.collect::<Result<Vec<_>, _>>().unwrap(), batches);
    }

    #[test]
    fn a_result_without_rows_has_its_schema() {
        let schema = RecordBatch::try_from_iter([("id", Arc::new(Int32Array::from(vec![1])) as ArrayRef)])
            .unwrap()
            .schema();
        let bytes = bytes(Arc::clone(&schema), &[]);
        let read = StreamReader::try_new(bytes.as_slice(), None).unwrap();
        assert_eq!(read.schema(), schema);
        assert_eq!(read.count(), 0);
    }
}
