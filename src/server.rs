//! The process around the API: start, stop, and nothing else.

use std::io::Write as _;
use std::path::Path;

use actix_web::middleware::{NormalizePath, TrailingSlash, from_fn};
use actix_web::{App, HttpServer, web};
use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Settings;
use crate::http::{self, Service};
use crate::store::Target;

/// Brings the schema up to date and applies the seeds.
///
/// # Errors
/// A wrong setting, a database out of reach, and every seed that is refused.
pub async fn migrate(settings: &Settings) -> anyhow::Result<()> {
    let target = settings.target()?;
    prepare(&target, settings, settings.seeds_dir()).await
}

async fn prepare(target: &Target, settings: &Settings, seeds: Option<&Path>) -> anyhow::Result<()> {
    target.reach(true, settings.connect_timeout).await?;
    target.migrate(seeds).await
}

/// Serves until SIGTERM or SIGINT, then finishes the requests in flight.
///
/// # Errors
/// A wrong setting, a database that cannot be used, and an address that cannot be had.
pub async fn serve(settings: &Settings) -> anyhow::Result<()> {
    let target = settings.target()?;
    let service = Service {
        access: settings.access()?,
        limits: settings.limits()?,
        public_url: settings.public_url().map(str::to_owned),
        store: target.clone().open(settings.patience()),
    };
    if settings.migrate {
        prepare(&target, settings, settings.seeds_dir()).await?;
    } else {
        target.reach(false, settings.connect_timeout).await?;
        target.check_schema().await?;
    }

    let service = web::Data::new(service);
    let shared = service.clone();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(shared.clone())
            .wrap(NormalizePath::new(TrailingSlash::MergeOnly))
            .wrap(from_fn(http::version_by_media_type))
            .wrap(from_fn(http::envelope))
            .configure(http::configure)
    })
    .disable_signals()
    .shutdown_timeout(settings.shutdown_timeout.as_secs().max(1))
    .bind(settings.listen)
    .with_context(|| format!("The address {} (LISTEN) cannot be had", settings.listen))?;

    let address = server.addrs().first().copied().context("the server has no address")?;
    let server = server.run();
    let handle = server.handle();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    actix_web::rt::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: finishing the requests in flight"),
            _ = interrupt.recv() => tracing::info!("SIGINT: finishing the requests in flight"),
        }
        handle.stop(true).await;
    });
    writeln!(std::io::stdout(), "listening on http://{address}").context("standard output is closed")?;
    server.await?;
    service.store.close().await;
    Ok(())
}
