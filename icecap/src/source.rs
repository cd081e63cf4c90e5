//! Reading files that are no tables: `read_parquet`, `read_csv` and `read_json`.
//!
//! [`table_function`] turns a call into a provider: the files are listed, their schema is found, and what
//! travels is [`SourceScanExec`], a scan node of our own, because DataFusion's encoding drops CSV options.
//! Paths are relative to the working directory, or `s3://` locations; a [`SourcePolicy`] may hold them below
//! prefixes.

mod args;
mod bytes;
mod csv;
mod exec;
mod files;
mod hive;
mod json;
mod message;
mod parquet;
mod policy;
mod remote;
mod rows;
mod table;

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use icecap_table::storage::Storage;
use icecap_table::{Error, Result};

pub use csv::CsvOptions;
pub use exec::SourceScanExec;
pub use json::JsonOptions;
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
    storage: &Storage,
) -> Result<Arc<dyn TableProvider>> {
    let input = match name {
        "read_parquet" => {
            let args = args::ReadParquet::parse(args)?;
            let files = files::list(&args.files.paths, &["parquet"], policy, storage).await?;
            let folders = args.files.folders(&files)?;
            (parquet::read(storage, files, args.union_by_name).await?, folders)
        }
        "read_csv" => {
            let args = args::ReadCsv::parse(args)?;
            let files = files::list(&args.files.paths, &["csv", "csv.gz"], policy, storage).await?;
            let folders = args.files.folders(&files)?;
            (csv::read(args.options, storage, files).await?, folders)
        }
        "read_json" => {
            let args = args::ReadJson::parse(args)?;
            let suffixes = ["json", "json.gz", "jsonl", "jsonl.gz", "ndjson", "ndjson.gz"];
            let files = files::list(&args.files.paths, &suffixes, policy, storage).await?;
            let folders = args.files.folders(&files)?;
            (json::read(args.options, args.columns, storage, files).await?, folders)
        }
        other => {
            return Err(Error::unsupported(format!(
                "the table function {other} is not supported: read_parquet, read_csv and read_json are"
            )));
        }
    };
    let (input, (fields, values)) = input;
    Ok(Arc::new(SourceTable::new(input.with_folders(fields, values)?, storage.clone())))
}

#[cfg(test)]
mod tests;
