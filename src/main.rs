//! The program: reads the settings, then does what the command says.

use std::process::ExitCode;

use glimpse::config::{Cli, Command};
use glimpse::{explain, generate, server, telemetry};

fn main() -> ExitCode {
    match run() {
        Ok(status) => status,
        Err(error) => {
            eprintln!("glimpse: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let Cli { command, settings } = Cli::read()?;
    telemetry::start(&settings.rust_log, settings.log_format)?;
    actix_web::rt::System::new().block_on(async {
        match command.unwrap_or(Command::Serve) {
            Command::Serve => server::serve(&settings).await?,
            Command::Migrate => server::migrate(&settings).await?,
            Command::Explain(asked) => explain::explain(&asked, &settings).await?,
            Command::Generate(asked) => return generate::generate(asked, &settings).await,
        }
        Ok(ExitCode::SUCCESS)
    })
}
