//! What is made from the command line's own description: completions for shells, and manual pages.

use clap::{Args, Command};
use clap_complete::Shell;
use icecap_table::{Error, Result};

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  icecap completions bash > ~/.local/share/bash-completion/completions/icecap
  icecap completions zsh > ~/.zfunc/_icecap      (a folder of your fpath)
  icecap completions fish > ~/.config/fish/completions/icecap.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  icecap man | man -l -
  icecap man sql > ~/.local/share/man/man1/icecap-sql.1";

#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub(super) struct CompletionsArgs {
    /// The shell that the script is for
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

#[derive(Debug, Args)]
#[command(after_help = MAN_EXAMPLES)]
pub(super) struct ManArgs {
    /// The command whose page is wanted, such as sql; by default that of icecap itself
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

impl CompletionsArgs {
    /// The script.
    pub(super) fn script(&self, command: Command) -> Result<String> {
        let mut command = shown(command);
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        text(script)
    }
}

impl ManArgs {
    /// The page, as roff.
    pub(super) fn page(&self, command: Command) -> Result<String> {
        let mut command = shown(command);
        command.build();
        let command = match &self.command {
            None => command,
            Some(name) => command
                .get_subcommands()
                .find(|found| found.get_name() == name)
                .cloned()
                .map(|found| found.display_name(format!("icecap-{name}")))
                .ok_or_else(|| {
                    Error::invalid(format!("there is no command {name}: `icecap --help` lists them"))
                })?,
        };
        let mut page = Vec::new();
        clap_mangen::Man::new(command)
            .manual("Icecap")
            .render(&mut page)
            .map_err(|error| Error::bug("the manual page could not be made").with_source(error))?;
        text(page)
    }
}

/// The command without what is hidden, which completion scripts would offer.
fn shown(command: Command) -> Command {
    let arguments = command.get_arguments().filter(|found| !found.is_hide_set()).cloned();
    let subcommands = command.get_subcommands().filter(|found| !found.is_hide_set()).cloned().map(shown);
    let mut bare = Command::new(command.get_name().to_owned())
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .args(arguments.collect::<Vec<_>>())
        .subcommands(subcommands.collect::<Vec<_>>());
    if let Some(about) = command.get_about() {
        bare = bare.about(about.clone());
    }
    match command.get_after_help() {
        Some(help) => bare.after_help(help.clone()),
        None => bare,
    }
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| Error::bug("generated text is not UTF-8").with_source(error))
}
