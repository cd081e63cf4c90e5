//! DataFusion's planning errors as Icecap's.

use std::error::Error as StdError;

use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use icecap_table::Error;

/// What a failure of DataFusion means to the caller of a statement. An error of ours inside comes out unchanged.
pub fn from_datafusion(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => external(inner),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => from_datafusion(*inner),
        DataFusionError::Collection(errors) => match errors.into_iter().next() {
            Some(first) => from_datafusion(first),
            None => Error::bug("a failure without an error"),
        },
        DataFusionError::Shared(shared) => match std::sync::Arc::try_unwrap(shared) {
            Ok(inner) => from_datafusion(inner),
            Err(shared) => match find(shared.as_ref()) {
                Some(ours) => copy(ours),
                None => Error::invalid(shared.strip_backtrace()),
            },
        },
        DataFusionError::ArrowError(inner, _) => from_arrow(*inner),
        DataFusionError::SchemaError(inner, _) => schema(&inner),
        DataFusionError::SQL(inner, _) => Error::invalid(inner.to_string()),
        DataFusionError::Plan(message)
        | DataFusionError::Configuration(message)
        | DataFusionError::Execution(message) => Error::invalid(message),
        DataFusionError::NotImplemented(message) if message.contains("Subquery(") => Error::unsupported(
            "this subquery cannot be planned as a join: compare what it takes from around it by `=`, and without LIMIT or \
             UNION inside, or write the join yourself",
        ),
        DataFusionError::NotImplemented(message) => {
            Error::unsupported(format!("this is not supported yet: {message}"))
        }
        DataFusionError::ResourcesExhausted(message) => {
            Error::new(icecap_table::ErrorKind::Exhausted, message)
        }
        DataFusionError::IoError(inner) => {
            Error::unavailable("reading or writing failed while a query ran").with_source(inner)
        }
        DataFusionError::Internal(message) => Error::bug(message),
        other => Error::bug(other.strip_backtrace()),
    }
}

fn from_arrow(error: ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(inner) => external(inner),
        ArrowError::DivideByZero => Error::invalid("division by zero"),
        ArrowError::CastError(message)
        | ArrowError::ComputeError(message)
        | ArrowError::ArithmeticOverflow(message)
        | ArrowError::ParseError(message)
        | ArrowError::InvalidArgumentError(message) => Error::invalid(message),
        ArrowError::NotYetImplemented(message) => Error::unsupported(message),
        other => Error::bug(other.to_string()),
    }
}

fn external(inner: Box<dyn StdError + Send + Sync>) -> Error {
    match inner.downcast::<Error>() {
        Ok(ours) => *ours,
        Err(inner) => match inner.downcast::<DataFusionError>() {
            Ok(inner) => from_datafusion(*inner),
            Err(inner) => match inner.downcast::<ArrowError>() {
                Ok(inner) => from_arrow(*inner),
                Err(inner) => Error::bug(inner.to_string()),
            },
        },
    }
}

fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut error = Some(error);
    while let Some(current) = error {
        if let Some(ours) = current.downcast_ref::<Error>() {
            return Some(ours);
        }
        error = current.source();
    }
    None
}

fn copy(error: &Error) -> Error {
    let copied = Error::new(error.kind(), error.message());
    error.context().iter().fold(copied, |copied, (key, value)| copied.with(key.clone(), value.clone()))
}

fn schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } if valid_fields.is_empty() => Error::invalid(
            format!("column {} does not exist: there is no table here to take it from", field.flat_name()),
        ),
        SchemaError::FieldNotFound { field, valid_fields } => {
            const MOST: usize = 12;
            let mut names: Vec<String> =
                valid_fields.iter().take(MOST).map(|field| field.flat_name()).collect();
            if valid_fields.len() > MOST {
                names.push("…".to_owned());
            }
            Error::invalid(format!(
                "column {} does not exist: the columns here are {}",
                field.flat_name(),
                names.join(", ")
            ))
        }
        SchemaError::AmbiguousReference { field } => {
            Error::invalid(format!("column {} is ambiguous: write its table before it", field.name()))
        }
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            Error::invalid(format!("column {name} is there twice: give one of them another name with AS"))
        }
    }
}
