//! Errors that cross DataFusion: ours go through unharmed, DataFusion's own get the kind that a caller acts on.

use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use icecap_table::{Error, ErrorKind};
use parquet::errors::ParquetError;

/// Carries an Icecap error through DataFusion; [`from_datafusion`] gets it back.
pub fn to_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The Icecap error that a DataFusion error is or means.
pub fn from_datafusion(error: DataFusionError) -> Error {
    if let Some(inner) = icecap_error(&error) {
        return inner;
    }
    let kind = kind_of(&error);
    let message = match &error {
        DataFusionError::ResourcesExhausted(text) => {
            format!("out of memory: {text}; raise --memory, or lower --threads")
        }
        other => strip(&other.to_string()),
    };
    Error::new(kind, message)
}

/// A copy of the Icecap error that DataFusion, Arrow or Parquet wrapped.
fn icecap_error(error: &(dyn std::error::Error + 'static)) -> Option<Error> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some(copy(found));
        }
        // These do not all answer `source()` with what they wrap.
        let inner: Option<&(dyn std::error::Error + 'static)> = match error.downcast_ref::<DataFusionError>()
        {
            Some(DataFusionError::External(inner)) => Some(inner.as_ref()),
            Some(DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner)) => {
                Some(inner.as_ref())
            }
            Some(DataFusionError::ArrowError(inner, _)) => Some(inner.as_ref()),
            Some(DataFusionError::ParquetError(inner)) => Some(inner.as_ref()),
            Some(DataFusionError::Shared(inner)) => Some(inner.as_ref()),
            Some(DataFusionError::Collection(all)) => all.first().map(|first| first as _),
            _ => None,
        };
        let inner = inner.or_else(|| match error.downcast_ref::<ArrowError>() {
            Some(ArrowError::ExternalError(inner)) => Some(inner.as_ref()),
            _ => None,
        });
        let inner = inner.or_else(|| match error.downcast_ref::<ParquetError>() {
            Some(ParquetError::External(inner)) => Some(inner.as_ref()),
            _ => None,
        });
        at = inner.or_else(|| error.source());
    }
    None
}

pub(crate) fn copy(error: &Error) -> Error {
    let mut copy = Error::new(error.kind(), error.message());
    for (key, value) in error.context() {
        copy = copy.with(key.clone(), value.clone());
    }
    if let Some(after) = error.retry_after() {
        copy = copy.with_retry_after(after);
    }
    match std::error::Error::source(error) {
        Some(source) => copy.with_source(source.to_string()),
        None => copy,
    }
}

fn kind_of(error: &DataFusionError) -> ErrorKind {
    match error.find_root() {
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::Configuration(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::Execution(_) => ErrorKind::Invalid,
        DataFusionError::NotImplemented(_) => ErrorKind::Unsupported,
        DataFusionError::ResourcesExhausted(_) => ErrorKind::Exhausted,
        DataFusionError::ParquetError(_) => ErrorKind::Corrupt,
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => ErrorKind::Unavailable,
        DataFusionError::ArrowError(error, _) => match error.as_ref() {
            ArrowError::NotYetImplemented(_) => ErrorKind::Unsupported,
            ArrowError::CastError(_)
            | ArrowError::ParseError(_)
            | ArrowError::ComputeError(_)
            | ArrowError::DivideByZero
            | ArrowError::ArithmeticOverflow(_)
            | ArrowError::InvalidArgumentError(_) => ErrorKind::Invalid,
            ArrowError::ParquetError(_) | ArrowError::IpcError(_) => ErrorKind::Corrupt,
            ArrowError::IoError(..) => ErrorKind::Unavailable,
            ArrowError::MemoryError(_) => ErrorKind::Exhausted,
            _ => ErrorKind::Bug,
        },
        DataFusionError::ExecutionJoin(_) | DataFusionError::Internal(_) => ErrorKind::Bug,
        _ => ErrorKind::Bug,
    }
}

/// DataFusion's messages begin with their own class ("Error during planning: "), which the kind says already.
fn strip(message: &str) -> String {
    const CLASSES: [&str; 8] = [
        "Error during planning: ",
        "Execution error: ",
        "External error: ",
        "Schema error: ",
        "Arrow error: ",
        "SQL error: ",
        "This feature is not implemented: ",
        "Optimizer rule failed: ",
    ];
    let mut text = message;
    while let Some(rest) = CLASSES.iter().find_map(|class| text.strip_prefix(class)) {
        text = rest;
    }
    text.to_owned()
}

/// Whether DataFusion means a column or a table that does not exist.
pub fn is_unknown_name(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::SchemaError(inner, _) if matches!(inner.as_ref(), SchemaError::FieldNotFound { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_errors_survive_every_wrapping() {
        let ours = || Error::conflict("moved").with("table", "a.b");
        let wrapped = [
            to_datafusion(ours()),
            to_datafusion(ours()).context("while writing"),
            DataFusionError::ArrowError(Box::new(ArrowError::ExternalError(Box::new(ours()))), None),
            DataFusionError::ParquetError(Box::new(ParquetError::External(Box::new(ours())))),
            DataFusionError::Shared(std::sync::Arc::new(to_datafusion(ours()))),
            DataFusionError::Collection(vec![to_datafusion(ours())]),
        ];
        for error in wrapped {
            let error = from_datafusion(error);
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert_eq!(error.to_string(), "moved (table: a.b)");
        }
    }

    #[test]
    fn datafusion_errors_get_the_kind_a_caller_acts_on() {
        let plan = from_datafusion(DataFusionError::Plan("no such column".into()));
        assert_eq!((plan.kind(), plan.message()), (ErrorKind::Invalid, "no such column"));
        let memory = from_datafusion(DataFusionError::ResourcesExhausted("sort".into()));
        assert_eq!(memory.kind(), ErrorKind::Exhausted);
        let overflow = ArrowError::ArithmeticOverflow("1 + 2".into());
        assert_eq!(
            from_datafusion(DataFusionError::ArrowError(Box::new(overflow), None)).kind(),
            ErrorKind::Invalid
        );
        assert_eq!(from_datafusion(DataFusionError::Internal("x".into())).kind(), ErrorKind::Bug);
    }
}
