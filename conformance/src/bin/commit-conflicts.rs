//! Runs pairs of concurrent commits through the committer: `commit-conflicts FILE`, status 1 when one is not as required.

use std::path::PathBuf;
use std::process::ExitCode;

use icecap_conformance::conflicts::run_file;

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let (Some(file), None) = (args.next(), args.next()) else {
        eprintln!("usage: commit-conflicts FILE");
        return ExitCode::FAILURE;
    };
    let report = match run_file(&PathBuf::from(file)).await {
        Ok(report) => report,
        Err(failure) => {
            eprintln!("{failure}");
            return ExitCode::FAILURE;
        }
    };
    for (id, why) in &report.failures {
        println!("FAILED {id}: {why}");
    }
    let outcomes: Vec<String> =
        report.outcomes.iter().map(|(word, count)| format!("{count} {word}")).collect();
    println!(
        "{} cases: {}; {} of the committed ones with the rows of one after the other; {} failed",
        report.cases(),
        outcomes.join(", "),
        report.serial,
        report.failures.len()
    );
    if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
