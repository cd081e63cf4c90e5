//! The arguments of `icecap lambda-local`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};
use icecap_table::{Error, Result};

use crate::lambda_local::{Faults, Limits, Rule, ServiceSettings};
use crate::quantity::parse_duration;

const EXAMPLES: &str = "\
Examples:
  Serve the writer function, at most four processes at once:
    icecap lambda-local --function icecap-writer=target/release/icecap-writer --concurrency 4

  Write through it:
    export AWS_ENDPOINT_URL_LAMBDA=http://127.0.0.1:9001 AWS_REGION=us-east-1
    export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
    icecap sql --writers lambda:icecap-writer -f load.sql

  See how a client bears a process killed at its third invocation and every
  tenth answer lost:
    icecap lambda-local --function f=./bootstrap --fault kill@3 --fault drop-reply%10 --seed 7

It starts processes when they are asked for and ends them when they have
nothing to do. The first line on standard output tells its address; GET /status
tells what runs. Signatures are not checked. The functions' own credentials are
the AWS_ variables of this process.";

/// `icecap lambda-local`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct LambdaLocalCommand {
    /// Where clients reach it; port 0 takes any free one
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "ICECAP_LISTEN",
        hide_env = true,
        default_value = "127.0.0.1:9001"
    )]
    pub listen: SocketAddr,

    /// A function and the program that runs it (a Lambda bootstrap); repeatable
    #[arg(long, value_name = "NAME=PATH", required = true)]
    function: Vec<String>,

    /// Invocations of a function at once; more are throttled
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,

    /// How long an invocation may take
    #[arg(long, value_name = "TIME", default_value = "900s", value_parser = parse_duration)]
    timeout: Duration,

    /// Memory of a process in MB of 2^20 bytes; one that has more is killed
    #[arg(long, value_name = "MB", default_value = "2048", value_parser = clap::value_parser!(u64).range(128..=10240))]
    memory: u64,

    /// How long a process is kept that has nothing to do
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    idle_ttl: Duration,

    /// A variable of the functions' environment; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    variable: Vec<String>,

    /// Stop processes between invocations, as Lambda does
    #[arg(long)]
    freeze: bool,

    /// Something that goes wrong: KIND@N[,N…] at the N-th invocation or KIND%PERCENT by chance, KIND one of kill (with
    /// +MS: so long after the delivery), drop-reply, duplicate, throttle; repeatable
    #[arg(long, value_name = "FAULT")]
    fault: Vec<Rule>,

    /// What chance is drawn from
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,

    /// Listen where others reach it
    #[arg(long)]
    pub allow_remote: bool,

    /// Log to standard error; -vv tells what the functions write
    #[arg(short, long, env = "ICECAP_VERBOSE", hide_env = true, action = ArgAction::Count)]
    pub verbose: u8,
}

impl LambdaLocalCommand {
    /// The service that is asked for.
    ///
    /// # Errors
    /// `Invalid` for a function or variable that is not NAME=VALUE.
    pub(crate) fn settings(&self) -> Result<ServiceSettings> {
        let pair = |flag: &str, text: &str| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                Ok((name.to_owned(), value.to_owned()))
            }
            _ => Err(Error::invalid(format!("--{flag} takes NAME=VALUE, not {text:?}"))),
        };
        let functions = self.function.iter().map(|text| pair("function", text));
        let variables = self.variable.iter().map(|text| pair("variable", text));
        Ok(ServiceSettings {
            functions: functions
                .map(|function| function.map(|(name, path)| (name, PathBuf::from(path))))
                .collect::<Result<_>>()?,
            limits: Limits {
                concurrency: usize::from(self.concurrency),
                timeout: self.timeout,
                memory_mb: self.memory,
                idle_ttl: self.idle_ttl,
            },
            faults: Faults::new(self.fault.clone(), self.seed),
            variables: variables.collect::<Result<_>>()?,
            freeze: self.freeze,
        })
    }
}
