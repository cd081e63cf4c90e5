//! Reading files that are no tables: `read_parquet` and `read_csv`.
//!
//! [`table_function`] turns a call into a provider: the files are listed, their schema is found, and what
//! travels is [`SourceScanExec`], a scan node of our own, because DataFusion's encoding drops CSV options.
//! Paths are relative to the working directory; a [`SourcePolicy`] may hold them below prefixes.

mod args;
mod csv;
mod exec;
mod files;
mod message;
mod parquet;
mod policy;
mod table;

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};

pub use csv::CsvOptions;
pub use exec::SourceScanExec;
pub(crate) use message::SourceMessage;
pub use policy::SourcePolicy;
pub use table::{SourceFile, SourceFormat, SourceInput, SourceTable};

use crate::sql::Value;

/// The provider of a table function's call. Names in `args` are lower-case.
///
/// # Errors
/// `Invalid` for wrong arguments or files that do not fit together, `NotFound` when no file is there, `Denied`
/// by the policy, `Unsupported` for another function.
pub async fn table_function(
    name: &str,
    args: &[(Option<String>, Value)],
    policy: &SourcePolicy,
) -> Result<Arc<dyn TableProvider>> {
    let storage = Storage::local();
    match name {
        "read_parquet" => {
            let args = args::ReadParquet::parse(args)?;
            let paths = files::list(&args.paths, &["parquet"], policy).await?;
            Ok(Arc::new(SourceTable::new(parquet::read(&storage, paths).await?, storage)))
        }
        "read_csv" => {
            let args = args::ReadCsv::parse(args)?;
            let paths = files::list(&args.paths, &["csv", "csv.gz"], policy).await?;
            Ok(Arc::new(SourceTable::new(csv::read(args.options, paths).await?, storage)))
        }
        other => Err(Error::unsupported(format!(
            "the table function {other} is not supported: read_parquet and read_csv are"
        ))),
    }
}

#[cfg(test)]
mod tests;
