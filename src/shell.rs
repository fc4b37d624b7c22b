//! What a shell and `man` know of the program, made from the same description as `--help`.

use std::io::{self, Write as _};

use anyhow::Context as _;
use clap_mangen::Man;

use crate::config::{self, Completions, ManPage};

/// Prints the completions for a shell.
///
/// # Errors
/// Where standard output cannot be written.
pub fn completions(asked: Completions) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(asked.shell, &mut config::command(), "glimpse", &mut script);
    print(&script)
}

/// Prints the manual page of the program, or of one of its commands.
///
/// # Errors
/// A command that there is not, and where standard output cannot be written.
pub fn man(asked: &ManPage) -> anyhow::Result<()> {
    let mut command = config::command();
    command.build();
    let described = match &asked.of {
        None => &command,
        Some(name) => command
            .find_subcommand(name)
            .with_context(|| format!("There is no command {name}; `glimpse help` lists them."))?,
    };
    let mut page = Vec::new();
    Man::new(described.clone()).render(&mut page)?;
    print(&page)
}

fn print(bytes: &[u8]) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
