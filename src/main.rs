//! The program: reads the settings, then does what the command says.

use std::io::ErrorKind::BrokenPipe;
use std::io::{Write as _, stderr, stdout};
use std::process::ExitCode;

use glimpse::config::{Cli, Command, Unknown};
use glimpse::{config, explain, export, generate, health, import, server, shell, telemetry};

fn main() -> ExitCode {
    match run() {
        Ok(status) => status,
        Err(error) => {
            // Whether or not anybody reads it, the status tells.
            let _ = writeln!(stderr(), "glimpse: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let Cli { command, settings, given, unknown } = Cli::read()?;
    telemetry::start(&settings.rust_log, settings.log_format)?;
    let command = command.unwrap_or(Command::Serve);
    // A health check runs every few seconds, and would fill the log with them.
    let unknown = if matches!(command, Command::Health(_)) { Vec::new() } else { unknown };
    for Unknown { name, meant } in unknown {
        let hint = meant.map(|meant| format!("; {meant} may be meant")).unwrap_or_default();
        tracing::warn!("the file .env sets {name}, which is no setting{hint}");
    }
    actix_web::rt::System::new().block_on(async {
        match command {
            Command::Serve => server::serve(&settings).await?,
            Command::Migrate => return server::migrate(&settings).await,
            Command::Explain(asked) => explain::explain(&asked, &settings).await?,
            Command::Health(asked) => health::health(&asked, &settings).await?,
            Command::Completions(asked) => shell::completions(asked)?,
            Command::Man(asked) => shell::man(&asked)?,
            Command::Config => {
                let printed = config::print(&given, stdout().lock());
                printed.or_else(|error| if error.kind() == BrokenPipe { Ok(()) } else { Err(error) })?;
                settings.check()?;
            }
            Command::Export(asked) => export::export(&asked, &settings).await?,
            Command::Import(asked) => return import::import(&asked, &settings).await,
            Command::Generate(asked) => return generate::generate(asked, &settings).await,
        }
        Ok(ExitCode::SUCCESS)
    })
}
