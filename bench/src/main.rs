//! The bench's command: `bench run`, `bench profile`, `bench data`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};
use icecap_bench::data::{self, Table};
use icecap_bench::machine::{Machine, commit_id};
use icecap_bench::workload::{self, Peer, Plan, Profiler, RestCatalog, Workload};
use icecap_bench::{BenchError, Result, measure, report, rewrite};
use serde_json::{Value, json};

#[derive(Debug, Parser)]
#[command(name = "bench", about = "Measures Icecap beside its peers", subcommand_required = true)]
struct Cli {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// Runs workloads; prints the figures and writes them as JSON
    Run(RunArgs),
    /// Records where the processor's time goes in Icecap's part of workloads; writes a text for each
    Profile(ProfileArgs),
    /// Makes TPC-H tables as Parquet files and prints their paths
    Data(DataArgs),
    #[command(name = measure::SUBCOMMAND, hide = true)]
    Measure {
        usage_file: PathBuf,
        program: OsString,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    #[command(name = rewrite::SUBCOMMAND, hide = true)]
    Rewrite { threads: usize, from: PathBuf, to: PathBuf },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// What to measure; repeatable; by default those that need no server and no Spark
    #[arg(long, value_enum)]
    workload: Vec<Workload>,
    /// Runs of each engine
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    repeats: u16,
    /// Engines beside Icecap; repeatable; by default all
    #[arg(long, value_enum)]
    peer: Vec<Peer>,
    /// Measures Icecap alone
    #[arg(long, conflicts_with = "peer")]
    no_peers: bool,
    /// The address of an Iceberg REST catalog, through which DuckDB writes; its tables' files must be on this machine
    #[arg(long, value_name = "URL")]
    rest_catalog: Option<String>,
    /// Starts such a catalog instead: a program and its arguments, {port} where it listens, {folder} a folder for it
    #[arg(long, value_name = "COMMAND", conflicts_with = "rest_catalog")]
    rest_catalog_command: Option<String>,
    /// The Python with the peers; by default that of scripts/setup-readers
    #[arg(long)]
    python: Option<PathBuf>,
    /// Where the JSON goes
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct ProfileArgs {
    /// What to look into
    #[arg(value_enum, required = true)]
    workload: Vec<Workload>,
    /// Runs whose samples are added up
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    repeats: u16,
    /// Samples a second and core
    #[arg(long, default_value_t = 499, value_parser = clap::value_parser!(u32).range(1..))]
    frequency: u32,
    /// The folder of the texts, WORKLOAD.txt each; by default they are only printed
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
}

/// What a run and a profile have in common.
#[derive(Debug, Args)]
struct CommonArgs {
    /// TPC-H's scale factor: 1 is 6 million rows of lineitem
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// INSERTs of the inserts workload
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    inserts: u16,
    /// INSERTs of the steady workload; fewer than 41 have no first and last 20
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u16).range(41..))]
    steady_inserts: u16,
    /// Partitions of the partitions5000 workload
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u16).range(1..))]
    partitions: u16,
    /// Iceberg's format version of the tables that row-level statements change; PyIceberg writes 2 only
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=3))]
    format_version: u8,
    /// Data files of the optimize workload
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(2..))]
    small_files: u16,
    /// Icecap's --memory, but for partitions5000, which has its own
    #[arg(long, default_value = "512MB")]
    memory: String,
    /// Threads of every engine; by default one for each core
    #[arg(long)]
    threads: Option<usize>,
    /// The icecap binary; by default the one beside this
    #[arg(long)]
    icecap: Option<PathBuf>,
    /// The icecap-writer binary of the lambda workload; by default the one beside this
    #[arg(long)]
    writer: Option<PathBuf>,
    /// Where the runs write: the disk that is measured; by default the system's temporary folder
    #[arg(long)]
    scratch: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct DataArgs {
    /// TPC-H's scale factor
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// The tables; repeatable; by default all
    #[arg(long, value_enum)]
    table: Vec<Table>,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Commands::Run(args) => run(&args),
        Commands::Profile(args) => profile(&args),
        Commands::Data(args) => make_data(&args),
        Commands::Rewrite { threads, from, to } => rewrite::run(threads, &from, &to),
        Commands::Measure { usage_file, program, args } => {
            return match measure::child(&usage_file, &program, &args) {
                Ok(status) => ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)),
                Err(error) => fail(&error),
            };
        }
    };
    outcome.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

fn fail(error: &BenchError) -> ExitCode {
    eprintln!("bench: {error}");
    ExitCode::FAILURE
}

fn run(args: &RunArgs) -> Result<()> {
    let scratch = scratch(&args.common)?;
    let plan = plan_of_run(args, scratch.path())?;
    let default = Workload::value_variants().iter().copied().filter(|one| one.by_default());
    let workloads = if args.workload.is_empty() { default.collect() } else { args.workload.clone() };
    let (mut series, mut failures) = (Vec::new(), Vec::new());
    for one in workloads {
        eprintln!("bench: {}", one.name());
        // What the other workloads measured is not lost.
        match workload::run(one, &plan) {
            Ok(more) => series.extend(more),
            Err(error) => failures.push(format!("{}: {error}", one.name())),
        }
    }
    let commit = commit_id(Path::new(env!("CARGO_MANIFEST_DIR")));
    let machine = Machine::here();
    let report = report::json(&series, &plan, &machine, &commit, &versions(&plan));
    println!("{}", heading(&machine, &commit));
    print!("{}", report::table(&series, &plan));
    if let Some(path) = &args.out {
        std::fs::write(path, format!("{report:#}\n"))?;
    }
    if failures.is_empty() { Ok(()) } else { Err(BenchError(failures.join("\nbench: "))) }
}

fn profile(args: &ProfileArgs) -> Result<()> {
    let scratch = scratch(&args.common)?;
    let mut plan = plan(&args.common, scratch.path(), args.repeats)?;
    let commit = commit_id(Path::new(env!("CARGO_MANIFEST_DIR")));
    for one in &args.workload {
        eprintln!("bench: {}", one.name());
        let folder = scratch.path().join(format!("profile-{}", one.name()));
        let profiler = Profiler { perf: "perf".into(), folder, frequency: args.frequency };
        plan.profiler = Some(profiler.clone());
        workload::run(*one, &plan)?;
        let text = format!(
            "{}: where the processor's time goes in Icecap\n{}\nscale {}, {} runs, {}\n{}",
            one.name(),
            heading(&Machine::here(), &commit),
            plan.scale,
            plan.repeats,
            versions(&plan)["icecap"].as_str().unwrap_or_default(),
            profiler.profile()?.text(),
        );
        println!("{text}");
        if let Some(folder) = &args.out {
            std::fs::create_dir_all(folder)?;
            std::fs::write(folder.join(format!("{}.txt", one.name())), text)?;
        }
    }
    Ok(())
}

fn heading(machine: &Machine, commit: &str) -> String {
    let memory = machine.memory_bytes as f64 / 1e9;
    format!("commit {commit}\n{} x {}, {memory:.1} GB, kernel {}", machine.cores, machine.cpu, machine.kernel)
}

fn scratch(args: &CommonArgs) -> Result<tempfile::TempDir> {
    match &args.scratch {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            Ok(tempfile::tempdir_in(folder)?)
        }
        None => Ok(tempfile::tempdir()?),
    }
}

fn plan_of_run(args: &RunArgs, scratch: &Path) -> Result<Plan> {
    let mut plan = plan(&args.common, scratch, args.repeats)?;
    plan.peers = match (args.no_peers, args.peer.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => Peer::value_variants().to_vec(),
        (false, false) => args.peer.clone(),
    };
    plan.rest_catalog = match (&args.rest_catalog, &args.rest_catalog_command) {
        (Some(address), _) => Some(RestCatalog::Address(address.clone())),
        (None, command) => command.clone().map(RestCatalog::Command),
    };
    if let Some(python) = &args.python {
        plan.python.clone_from(python);
    }
    if !plan.peers.is_empty() {
        must_exist("the peers' Python (run scripts/setup-readers, or give --no-peers)", &plan.python)?;
    }
    Ok(plan)
}

/// A plan without peers.
fn plan(args: &CommonArgs, scratch: &Path, repeats: u16) -> Result<Plan> {
    let bench = std::env::current_exe()?;
    let icecap = args.icecap.clone().unwrap_or_else(|| bench.with_file_name("icecap"));
    must_exist("the icecap binary (build it, or give --icecap)", &icecap)?;
    let writer = args.writer.clone().unwrap_or_else(|| bench.with_file_name("icecap-writer"));
    let cache = cache()?;
    Ok(Plan {
        bench,
        icecap,
        writer,
        python: cache.join("py/bin/python"),
        scripts: Path::new(env!("CARGO_MANIFEST_DIR")).join("peers"),
        cache,
        scratch: scratch.to_owned(),
        scale: args.scale,
        repeats: repeats.into(),
        inserts: args.inserts.into(),
        steady_inserts: args.steady_inserts.into(),
        partitions: args.partitions.into(),
        memory: args.memory.clone(),
        threads: args.threads.unwrap_or_else(|| Machine::here().cores),
        format_version: args.format_version,
        small_files: args.small_files.into(),
        peers: Vec::new(),
        rest_catalog: None,
        profiler: None,
    })
}

fn must_exist(what: &str, path: &Path) -> Result<()> {
    if path.exists() { Ok(()) } else { Err(BenchError(format!("{what} is not at {}", path.display()))) }
}

fn make_data(args: &DataArgs) -> Result<()> {
    let all = Table::value_variants().to_vec();
    for table in if args.table.is_empty() { &all } else { &args.table } {
        println!("{}", data::ensure(&cache()?, args.scale, *table)?.display());
    }
    Ok(())
}

/// `${ICECAP_CACHE:-$HOME/.cache/icecap}`.
fn cache() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    match (set("ICECAP_CACHE"), set("HOME")) {
        (Some(cache), _) => Ok(cache.into()),
        (None, Some(home)) => Ok(Path::new(&home).join(".cache/icecap")),
        (None, None) => Err(BenchError("set ICECAP_CACHE to a folder for generated data".to_owned())),
    }
}

fn versions(plan: &Plan) -> Value {
    let told = |program: &Path, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let module =
        |name: &str| told(&plan.python, &["-c", &format!("import {name}; print({name}.__version__)")]);
    let mut versions = json!({ "icecap": told(&plan.icecap, &["--version"]) });
    for peer in &plan.peers {
        let name = peer.name();
        versions[name] = json!(module(if *peer == Peer::Spark { "pyspark" } else { name }));
    }
    versions
}
