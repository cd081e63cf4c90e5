//! The bench's command: `bench run`, `bench data`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};
use icecap_bench::data::{self, Table};
use icecap_bench::machine::{Machine, commit_id};
use icecap_bench::workload::{self, Peer, Plan, Workload};
use icecap_bench::{BenchError, Result, measure, report};
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
    /// Makes TPC-H tables as Parquet files and prints their paths
    Data(DataArgs),
    #[command(name = measure::SUBCOMMAND, hide = true)]
    Measure {
        usage_file: PathBuf,
        program: OsString,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// What to measure; repeatable; by default everything
    #[arg(long, value_enum)]
    workload: Vec<Workload>,
    /// TPC-H's scale factor: 1 is 6 million rows of lineitem
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Runs of each engine
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    repeats: u16,
    /// INSERTs of the inserts workload
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    inserts: u16,
    /// Icecap's --memory in the ctas workload
    #[arg(long, default_value = "512MB")]
    memory: String,
    /// Threads of every engine; by default one for each core
    #[arg(long)]
    threads: Option<usize>,
    /// Engines beside Icecap in the ctas workload; repeatable; by default all
    #[arg(long, value_enum)]
    peer: Vec<Peer>,
    /// Measures Icecap alone
    #[arg(long, conflicts_with = "peer")]
    no_peers: bool,
    /// The icecap binary; by default the one beside this
    #[arg(long)]
    icecap: Option<PathBuf>,
    /// The Python with the peers; by default that of scripts/setup-readers
    #[arg(long)]
    python: Option<PathBuf>,
    /// Where the runs write: the disk that is measured; by default the system's temporary folder
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// Where the JSON goes
    #[arg(long)]
    out: Option<PathBuf>,
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
        Commands::Data(args) => make_data(&args),
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
    let scratch = match &args.scratch {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            tempfile::tempdir_in(folder)?
        }
        None => tempfile::tempdir()?,
    };
    let plan = plan(args, scratch.path())?;
    let everything = Workload::value_variants().to_vec();
    let workloads = if args.workload.is_empty() { everything } else { args.workload.clone() };
    let mut series = Vec::new();
    for one in workloads {
        eprintln!("bench: {one:?}");
        series.extend(workload::run(one, &plan)?);
    }
    let commit = commit_id(Path::new(env!("CARGO_MANIFEST_DIR")));
    let machine = Machine::here();
    let report = report::json(&series, &plan, &machine, &commit, &versions(&plan));
    println!(
        "commit {commit}\n{} x {}, {:.1} GB, kernel {}",
        machine.cores,
        machine.cpu,
        machine.memory_bytes as f64 / 1e9,
        machine.kernel
    );
    print!("{}", report::table(&series, &plan));
    if let Some(path) = &args.out {
        std::fs::write(path, format!("{report:#}\n"))?;
    }
    Ok(())
}

fn plan(args: &RunArgs, scratch: &Path) -> Result<Plan> {
    let bench = std::env::current_exe()?;
    let icecap = args.icecap.clone().unwrap_or_else(|| bench.with_file_name("icecap"));
    let peers = match (args.no_peers, args.peer.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => Peer::value_variants().to_vec(),
        (false, false) => args.peer.clone(),
    };
    let python =
        args.python.clone().map_or_else(|| Ok(cache()?.join("py/bin/python")), Ok::<_, BenchError>)?;
    for (what, path, needed) in [
        ("the icecap binary (build it, or give --icecap)", &icecap, true),
        ("the peers' Python (run scripts/setup-readers, or give --no-peers)", &python, !peers.is_empty()),
    ] {
        if needed && !path.exists() {
            return Err(BenchError(format!("{what} is not at {}", path.display())));
        }
    }
    Ok(Plan {
        bench,
        icecap,
        python,
        scripts: Path::new(env!("CARGO_MANIFEST_DIR")).join("peers"),
        cache: cache()?,
        scratch: scratch.to_owned(),
        scale: args.scale,
        repeats: args.repeats.into(),
        inserts: args.inserts.into(),
        memory: args.memory.clone(),
        threads: args.threads.unwrap_or_else(|| Machine::here().cores),
        peers,
    })
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
        let name = format!("{peer:?}").to_lowercase();
        versions[&name] = json!(module(&name));
    }
    versions
}
