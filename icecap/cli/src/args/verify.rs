//! The arguments of `icecap verify`.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgAction, Args};
use icecap::engine::EngineSettings;

use crate::quantity::parse_bytes;

const EXAMPLES: &str = "\
Examples:
  icecap verify trips
  icecap verify --metadata-only sales.orders sales.returns
  icecap verify /data/lake/db/t/metadata/00042-9f0c.metadata.json

Everything is read and nothing is written. Exit status: 0 when all tables are
sound; 1 after what is wrong on standard output and error[corrupt] on standard
error.";

/// What is to be verified, and how.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = EXAMPLES)]
pub struct VerifyCommand {
    /// Tables, by name or by the path of a metadata file
    #[arg(value_name = "TABLE", required = true, value_parser = NonEmptyStringValueParser::new())]
    pub tables: Vec<String>,

    /// Leave the data files' content alone: their existence and length are checked all the same
    #[arg(long)]
    pub metadata_only: bool,

    /// One JSON object for each table
    #[arg(long)]
    pub json: bool,

    /// Where tables are kept
    #[arg(long, value_name = "DIR", env = "ICECAP_WAREHOUSE", hide_env = true, default_value = "./warehouse",
          value_parser = NonEmptyStringValueParser::new())]
    pub warehouse: String,

    /// The catalog; by default the file catalog.db in the warehouse
    #[arg(long, value_name = "URI", env = "ICECAP_CATALOG", hide_env = true)]
    pub catalog: Option<String>,

    /// A prefix outside the warehouse where tables may lie; repeatable
    #[arg(
        long,
        value_name = "PREFIX",
        env = "ICECAP_ALLOW_LOCATION",
        hide_env = true,
        value_delimiter = ','
    )]
    pub allow_location: Vec<String>,

    /// Memory for reading the data, such as 512MB (10^6) or 1GiB (2^30)
    #[arg(long, value_name = "SIZE", env = "ICECAP_MEMORY", hide_env = true, value_parser = parse_bytes)]
    pub memory: Option<u64>,

    /// Worker threads; by default one for each core
    #[arg(long, value_name = "N", env = "ICECAP_THREADS", hide_env = true,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// Where a check that outgrows its memory spills
    #[arg(long, value_name = "DIR", env = "ICECAP_TEMP_DIR", hide_env = true)]
    pub temp_dir: Option<PathBuf>,

    /// Log to standard error; -vv and -vvv tell more
    #[arg(short, long, env = "ICECAP_VERBOSE", hide_env = true, action = ArgAction::Count)]
    pub verbose: u8,
}

impl VerifyCommand {
    /// The engine that looks.
    pub(crate) fn settings(&self) -> EngineSettings {
        EngineSettings {
            catalog: self.catalog.clone(),
            allow_location: self.allow_location.clone(),
            memory_bytes: self.memory,
            threads: self.threads.map(usize::from),
            temp_dir: self.temp_dir.clone(),
            ..EngineSettings::new(&self.warehouse)
        }
    }
}
