//! The `icecap` command: arguments in, statements through the engine, results and errors out.
//!
//! What a statement means is decided in the engine; here live only what a shell sees: flags and their
//! environment variables ([`args`]), where SQL text comes from ([`script`], or a person in the `shell`),
//! how rows and summaries look ([`output`]), how an error is printed and which exit status it gives ([`failure`]),
//! and Ctrl-C. Only `run` (and completion in the shell) talks to the engine.

pub mod args;
mod colour;
pub mod command;
pub mod failure;
mod interrupt;
mod lambda_local;
pub mod output;
mod progress;
pub mod quantity;
mod run;
pub mod script;
mod session;
mod shell;
mod verify;
mod writer;
