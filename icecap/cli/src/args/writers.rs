//! `--writers`, and the arguments of the processes that it starts.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgAction, Args};
use icecap::dispatch::ChildProgram;

/// Processes at most: what a machine could take.
const MAX_CHILDREN: usize = 1024;

/// Where writes run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum WritersArg {
    /// In this process.
    #[default]
    InProcess,
    /// In so many processes of our own.
    Children(usize),
    /// In this Lambda function.
    Lambda(String),
}

impl FromStr for WritersArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(function) = text.strip_prefix("lambda:") {
            let named = !function.is_empty();
            return if named {
                Ok(Self::Lambda(function.to_owned()))
            } else {
                Err("lambda:FUNCTION".to_owned())
            };
        }
        match text.parse() {
            Ok(count) if (1..=MAX_CHILDREN).contains(&count) => Ok(Self::Children(count)),
            Ok(_) => Err(format!("between 1 and {MAX_CHILDREN} processes")),
            Err(_) => Err("a number of processes, or lambda:FUNCTION".to_owned()),
        }
    }
}

/// `icecap writer`: runs tasks that come on standard input. Started by `icecap sql --writers N`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct WriterCommand {
    /// Tasks come on standard input, answers go to standard output
    #[arg(long, required = true)]
    stdio: bool,

    /// Worker threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,

    /// Log to standard error
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

impl WriterCommand {
    /// How `program` is started as a writer.
    pub(crate) fn program(path: PathBuf, threads: Option<usize>, verbosity: u8) -> ChildProgram {
        let mut args: Vec<OsString> = vec!["writer".into(), "--stdio".into()];
        if let Some(threads) = threads {
            args.extend(["--threads".into(), threads.to_string().into()]);
        }
        args.extend((0..verbosity).map(|_| "-v".into()));
        ChildProgram { path, args }
    }
}
