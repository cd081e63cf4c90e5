//! The command line as values: flags, their environment variables, and what is not built yet.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::error::ErrorKind as ClapKind;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use icecap_table::{Error, Result};

use crate::output::Format;
use crate::quantity::{parse_bytes, parse_duration};
use crate::script::Source;

mod generated;
mod lambda_local;
mod verify;
mod writers;

use generated::{CompletionsArgs, ManArgs};
pub use lambda_local::LambdaLocalCommand;
pub use verify::VerifyCommand;
pub use writers::{WriterCommand, WritersArg};

/// The longest token of `--id`, in bytes: it is kept in the ledger.
const TOKEN_BYTES: usize = 1024;

const EXAMPLES: &str = "\
Examples:
  icecap sql -e \"CREATE TABLE trips (id bigint, day date) PARTITIONED BY (month(day))\"
  icecap sql -e \"INSERT INTO trips SELECT * FROM read_parquet('trips.parquet')\"
  icecap sql -e \"SELECT count(*) FROM trips\"
  icecap verify trips

`icecap sql --help` tells the rest.";

const SQL_EXAMPLES: &str = "\
Examples:
  Type statements, with history and completion (on a terminal, without -e and -f):
    icecap sql

  Make a table in ./warehouse from a CSV file:
    icecap sql -e \"CREATE TABLE trips AS SELECT * FROM read_csv('trips.csv.gz')\"

  Run a file, then a query whose result goes into another file:
    icecap sql -f load.sql -e \"SELECT * FROM trips\" --format csv > trips.csv

  Change rows, after a look at what would change:
    icecap sql -e \"EXPLAIN (DRY RUN) DELETE FROM trips WHERE day < DATE '2024-01-01'\"
    icecap sql -e \"MERGE INTO trips USING read_csv('new.csv') AS n ON trips.id = n.id
      WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *\"

  Join small files, then let go of old snapshots and of files that nothing names:
    icecap sql -e \"OPTIMIZE trips REWRITE DATA USING BIN_PACK; VACUUM trips\"

  Read statements from a pipe, with half a gigabyte of memory:
    cat load.sql | icecap sql --warehouse /data/lake --memory 512MB

  Keep tables on S3, the catalog in a local file:
    icecap sql --warehouse s3://bucket/lake --catalog sqlite:catalog.db -f load.sql

  Write in four processes of its own, with a gigabyte for all of them together:
    icecap sql --writers 4 --memory 1GB -f load.sql

  Write in a Lambda function (or in `icecap lambda-local`, on this machine):
    icecap sql --warehouse s3://lake/tables --catalog sqlite:catalog.db --writers lambda:icecap-writer -f load.sql

  Run at most once, however often it is started:
    icecap sql --id nightly-2026-01-02 -f nightly.sql

The last statement's result goes to standard output, summaries of earlier
writes to standard error.

S3 is reached as the AWS command reaches it: AWS_PROFILE (SSO too), AWS_REGION,
AWS_ACCESS_KEY_ID …; AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL names another
server, https or http, whose buckets are addressed by path. With -v each
statement tells its requests.

The shell keeps what was typed in ~/.local/state/icecap/history; ICECAP_HISTORY
names another file, or none when it is empty.

Every flag but --id has an environment variable: --temp-dir is ICECAP_TEMP_DIR.
Repeatable ones take several values there, separated by commas.

Exit status: 0; 1 after `error[<kind>]: …` on standard error, with nothing done
by the statement that failed; 2 when it is not known whether it took effect.";

#[derive(Debug, Parser)]
#[command(
    name = "icecap",
    version,
    about = "Runs SQL write statements on Apache Iceberg tables",
    after_help = EXAMPLES,
    propagate_version = true,
    subcommand_required = true,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Runs statements in order and stops at the first error; earlier ones stay
    Sql(Box<SqlArgs>),
    /// Prints a completion script for a shell
    Completions(CompletionsArgs),
    /// Prints a manual page
    Man(ManArgs),
    #[command(hide = true, disable_help_flag = true, disable_version_flag = true)]
    Serve(Later),
    #[command(hide = true, disable_help_flag = true, disable_version_flag = true)]
    Catalog(Later),
    #[command(hide = true, disable_help_flag = true, disable_version_flag = true)]
    Commit(Later),
    #[command(hide = true, disable_help_flag = true, disable_version_flag = true)]
    Compact(Later),
    #[command(hide = true, disable_help_flag = true, disable_version_flag = true)]
    Check(Later),
    /// Runs Lambda functions on this machine, behind Lambda's own API
    LambdaLocal(Box<LambdaLocalCommand>),
    #[command(hide = true)]
    Writer(WriterCommand),
    /// Proves that tables are what their metadata says, whoever wrote them; reads only
    Verify(Box<VerifyCommand>),
}

/// The arguments of a command that is not built yet: any.
#[derive(Debug, Args)]
struct Later {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, num_args = 0..)]
    _rest: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(after_help = SQL_EXAMPLES)]
struct SqlArgs {
    /// SQL to run, one statement or several with `;` between; repeatable, in order with -f
    #[arg(
        short,
        long,
        value_name = "SQL",
        env = "ICECAP_EXECUTE",
        hide_env = true,
        allow_hyphen_values = true
    )]
    execute: Vec<String>,

    /// File of SQL to run, or - for standard input; repeatable, in order with -e
    #[arg(short, long, value_name = "FILE", env = "ICECAP_FILE", hide_env = true)]
    file: Vec<PathBuf>,

    /// Where tables are kept: a directory, or s3://BUCKET/PREFIX
    #[arg(long, value_name = "DIR", env = "ICECAP_WAREHOUSE", hide_env = true, default_value = "./warehouse",
          value_parser = NonEmptyStringValueParser::new())]
    warehouse: String,

    /// The catalog, such as sqlite:PATH; by default the file catalog.db in a local warehouse, needed with s3://
    #[arg(long, value_name = "URI", env = "ICECAP_CATALOG", hide_env = true)]
    catalog: Option<String>,

    /// What the last result looks like
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        env = "ICECAP_FORMAT",
        hide_env = true,
        default_value = "table"
    )]
    format: FormatArg,

    /// Run at most once: the same token with the same statements returns the recorded result
    #[arg(long, value_name = "TOKEN", value_parser = NonEmptyStringValueParser::new())]
    id: Option<String>,

    /// Memory for query and write buffers, such as 512MB (10^6) or 1GiB (2^30)
    #[arg(long, value_name = "SIZE", env = "ICECAP_MEMORY", hide_env = true, value_parser = parse_bytes)]
    memory: Option<u64>,

    /// Worker threads; by default one for each core
    #[arg(long, value_name = "N", env = "ICECAP_THREADS", hide_env = true,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Parts every write into exactly so many tasks, however small it is: for tests
    #[arg(long, value_name = "N", env = "ICECAP_TASKS", hide = true,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    tasks: Option<u16>,

    /// How many tasks of a write run at once; by default as many as there are processes, 200 of a function
    #[arg(long, value_name = "N", env = "ICECAP_SLOTS", hide = true,
          value_parser = clap::value_parser!(u16).range(1..=10_000))]
    slots: Option<u16>,

    /// Statements come as JSON texts on standard input, one a line, and each is answered by a line: for programs
    #[arg(long, env = "ICECAP_SESSION", hide = true, conflicts_with_all = ["execute", "file"])]
    session: bool,

    /// Where queries that outgrow their memory spill
    #[arg(long, value_name = "DIR", env = "ICECAP_TEMP_DIR", hide_env = true)]
    temp_dir: Option<PathBuf>,

    /// Time after which a statement is given up, such as 30s or 5m
    #[arg(long, value_name = "TIME", env = "ICECAP_TIMEOUT", hide_env = true, value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// A prefix outside the warehouse, path or s3://…, where tables may lie; repeatable
    #[arg(long, value_name = "PREFIX", env = "ICECAP_ALLOW_LOCATION", hide_env = true)]
    allow_location: Vec<String>,

    /// A prefix, path or s3://…, that files may be read from (read_parquet, read_csv); repeatable; by default any
    #[arg(long, value_name = "PREFIX", env = "ICECAP_ALLOW_READ", hide_env = true)]
    allow_read: Vec<String>,

    /// Log to standard error; -vv and -vvv tell more
    #[arg(short, long, env = "ICECAP_VERBOSE", hide_env = true, action = ArgAction::Count)]
    verbose: u8,

    /// Where writes run: N processes of its own, or a Lambda function; by default in this process
    #[arg(long, value_name = "N|lambda:FUNCTION", env = "ICECAP_WRITERS", hide_env = true)]
    writers: Option<WritersArg>,

    #[arg(long, hide = true, env = "ICECAP_COMMIT")]
    commit: Option<String>,

    #[arg(long, hide = true, env = "ICECAP_LEDGER")]
    ledger: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// Aligned columns, for a person
    Table,
    /// One object a line
    Json,
    /// Comma-separated, with a header
    Csv,
    /// Arrow's IPC stream, for programs
    Arrow,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Text to print (help, version); nothing else is to be done.
    Print(String),
    /// Statements to run.
    Sql(Box<SqlCommand>),
    /// Functions to serve.
    LambdaLocal(Box<LambdaLocalCommand>),
    /// A writer process of another `icecap`.
    Writer(WriterCommand),
    /// Tables to verify.
    Verify(Box<VerifyCommand>),
}

/// `icecap sql`, its arguments checked.
#[derive(Debug, Clone, PartialEq)]
pub struct SqlCommand {
    /// Where the SQL comes from, in order; empty when nothing was said: a person, or standard input.
    pub sources: Vec<Source>,
    /// The format of the last result.
    pub format: Format,
    /// `--warehouse`.
    pub warehouse: String,
    /// `--catalog`.
    pub catalog: Option<String>,
    /// `--id`.
    pub token: Option<String>,
    /// `--memory`, in bytes.
    pub memory_bytes: Option<u64>,
    /// `--threads`.
    pub threads: Option<usize>,
    /// `--tasks`.
    pub tasks: Option<usize>,
    /// `--slots`.
    pub slots: Option<usize>,
    /// `--session`: statements come from a program, one after another.
    pub session: bool,
    /// `--temp-dir`.
    pub temp_dir: Option<PathBuf>,
    /// `--timeout`.
    pub timeout: Option<Duration>,
    /// `--allow-location`.
    pub allow_location: Vec<String>,
    /// `--allow-read`; `None` allows any.
    pub allow_read: Option<Vec<String>>,
    /// How often `-v` was given.
    pub verbosity: u8,
    /// `--writers`.
    pub writers: WritersArg,
}

/// Reads the command line (program name first) and the environment.
///
/// # Errors
/// `Invalid` for a wrong flag or value, `Unsupported` for what Icecap does not do yet.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation> {
    let matches = match Cli::command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => return explain(&error),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    let later = |name: &str| Err(Error::unsupported(format!("`icecap {name}` is not supported yet")));
    match cli.command {
        Subcommands::Sql(args) => {
            let matches = matches
                .subcommand_matches("sql")
                .ok_or_else(|| Error::bug("the arguments of a parsed command are gone"))?;
            Ok(Invocation::Sql(Box::new(args.check(matches)?)))
        }
        Subcommands::Completions(args) => Ok(Invocation::Print(args.script(Cli::command())?)),
        Subcommands::Man(args) => Ok(Invocation::Print(args.page(Cli::command())?)),
        Subcommands::Serve(_) => later("serve"),
        Subcommands::Catalog(_) => later("catalog"),
        Subcommands::Commit(_) => later("commit"),
        Subcommands::Compact(_) => later("compact"),
        Subcommands::Check(_) => later("check"),
        Subcommands::LambdaLocal(command) => Ok(Invocation::LambdaLocal(command)),
        Subcommands::Writer(command) => Ok(Invocation::Writer(command)),
        Subcommands::Verify(command) => Ok(Invocation::Verify(command)),
    }
}

/// Help and version are text to print; anything else is a usage error.
fn explain(error: &clap::Error) -> Result<Invocation> {
    let text = error.render().to_string();
    match error.kind() {
        ClapKind::DisplayHelp | ClapKind::DisplayVersion => Ok(Invocation::Print(text)),
        ClapKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Err(Error::invalid(format!("a command is needed\n\n{}", text.trim_end())))
        }
        _ => Err(Error::invalid(text.strip_prefix("error: ").unwrap_or(&text).trim_end())),
    }
}

impl SqlArgs {
    fn check(self, matches: &ArgMatches) -> Result<SqlCommand> {
        let later = |flag: &str, value: &Option<String>| match value {
            Some(_) => Err(Error::unsupported(format!("--{flag} is not supported yet"))),
            None => Ok(()),
        };
        later("commit", &self.commit)?;
        later("ledger", &self.ledger)?;
        if self.id.as_ref().is_some_and(|token| token.len() > TOKEN_BYTES) {
            return Err(Error::invalid(format!("the token of --id is longer than {TOKEN_BYTES} bytes")));
        }
        let allow_read = several(matches, "allow_read", self.allow_read.clone());
        Ok(SqlCommand {
            sources: self.sources(matches),
            format: match self.format {
                FormatArg::Table => Format::Table,
                FormatArg::Json => Format::Json,
                FormatArg::Csv => Format::Csv,
                FormatArg::Arrow => Format::Arrow,
            },
            warehouse: self.warehouse,
            catalog: self.catalog,
            token: self.id,
            memory_bytes: self.memory,
            threads: self.threads.map(usize::from),
            tasks: self.tasks.map(usize::from),
            slots: self.slots.map(usize::from),
            session: self.session,
            temp_dir: self.temp_dir,
            timeout: self.timeout,
            allow_location: several(matches, "allow_location", self.allow_location),
            allow_read: Some(allow_read).filter(|prefixes| !prefixes.is_empty()),
            verbosity: self.verbose,
            writers: self.writers.unwrap_or_default(),
        })
    }

    /// `-e` and `-f` in the order given; without either on the command line those of the environment.
    fn sources(&self, matches: &ArgMatches) -> Vec<Source> {
        let inline = self.execute.iter().cloned().map(Source::Inline);
        let files = self.file.iter().map(|path| match path.to_str() {
            Some("-") => Source::Stdin,
            _ => Source::File(path.clone()),
        });
        let given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let places = |id: &str| matches.indices_of(id).into_iter().flatten().collect::<Vec<_>>();
        let mut sources: Vec<(usize, Source)> = match (given("execute"), given("file")) {
            (true, false) => inline.map(|source| (0, source)).collect(),
            (false, true) => files.map(|source| (0, source)).collect(),
            (true, true) => {
                let inline = places("execute").into_iter().zip(inline);
                inline.chain(places("file").into_iter().zip(files)).collect()
            }
            (false, false) => inline.chain(files).map(|source| (0, source)).collect(),
        };
        sources.sort_by_key(|(place, _)| *place);
        sources.into_iter().map(|(_, source)| source).collect()
    }
}

/// The values of a repeatable flag; an environment variable holds them separated by commas.
fn several(matches: &ArgMatches, id: &str, values: Vec<String>) -> Vec<String> {
    if matches.value_source(id) != Some(ValueSource::EnvVariable) {
        return values;
    }
    let parts = values.iter().flat_map(|value| value.split(','));
    parts.map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
