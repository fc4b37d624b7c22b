//! The process around the API: start, stop, and nothing else.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use actix_server::{Server, ServerHandle};
use actix_web::middleware::{Condition, NormalizePath, TrailingSlash, from_fn};
use actix_web::{App, web};
use anyhow::{Context as _, ensure};
use sd_notify::NotifyState;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use tokio::sync::oneshot;

use crate::config::Settings;
use crate::faults::Faults;
use crate::files::allow_many;
use crate::http::{self, Drain, Metrics, Service};
use crate::stop::signalled;
use crate::store::Target;

/// Brings the schema up to date and applies the seeds. The status is that of a signal where one has
/// stopped it.
///
/// # Errors
/// A wrong setting, a database out of reach, and every seed that is refused.
pub async fn migrate(settings: &Settings) -> anyhow::Result<ExitCode> {
    let signal = signalled()?;
    let target = settings.target()?;
    tokio::select! {
        done = prepare(&target, settings, settings.seeds_dir()) => done.map(|()| ExitCode::SUCCESS),
        signal = signal => {
            let _ = writeln!(io::stderr(), "glimpse: Stopped; what was whole before stays.");
            Ok(signal.into())
        }
    }
}

async fn prepare(target: &Target, settings: &Settings, seeds: Option<&Path>) -> anyhow::Result<()> {
    target.reach(true, settings.connect_timeout).await?;
    target.while_it_answers(settings.connect_timeout, target.migrate(seeds)).await
}

/// Serves until SIGTERM, SIGINT or SIGHUP, then finishes the requests in flight.
///
/// # Errors
/// A wrong setting, a database that cannot be used, and an address that cannot be had.
pub async fn serve(settings: &Settings) -> anyhow::Result<()> {
    let mut signal = Box::pin(signalled()?);
    let target = settings.target()?;
    let store = target.clone().open(settings.patience());
    let mut service = Service {
        address: settings.listen,
        faults: settings.faults()?,
        access: settings.access()?,
        limits: settings.limits()?,
        public_url: settings.public_url()?,
        metrics: Metrics::new(&store),
        drain: Drain::default(),
        store,
    };
    let ready = async {
        if settings.migrate {
            prepare(&target, settings, settings.seeds_dir()).await?;
        } else {
            target.reach(false, settings.connect_timeout).await?;
            target.check_schema(settings.connect_timeout).await?;
        }
        target.hold().await
    };
    let held = tokio::select! {
        held = ready => held?,
        signal = &mut signal => {
            tracing::info!("{}: ended before it served", signal.name);
            return Ok(());
        }
    };

    // From here on it is known which file is served.
    service.store.check_file().await?;

    for rule in service.faults.iter().flat_map(Faults::rules) {
        tracing::warn!("requests will fail on purpose (FAULTS_FILE), by {rule}");
    }
    let listener =
        listen(settings.listen).with_context(|| format!("The address {} (LISTEN) cannot be had", settings.listen))?;
    service.address = listener.local_addr().context("the server has no address")?;
    let door = listener.try_clone().context("the address cannot be shared")?;
    let service = web::Data::new(service);
    let apart = settings.metrics_listen().map(|address| serve_metrics(&service, address, settings)).transpose()?;
    let (shared, has_metrics) = (service.clone(), apart.is_none());
    let app = move || {
        App::new()
            .app_data(shared.clone())
            .wrap(Condition::new(shared.faults.is_some(), from_fn(http::faults_at_the_door)))
            .wrap(NormalizePath::new(TrailingSlash::MergeOnly))
            .wrap(from_fn(http::version_by_media_type))
            .wrap(from_fn(http::envelope))
            .configure(|config| {
                let mut routes = http::unversioned_routes();
                if has_metrics {
                    routes.push(http::metrics_route());
                }
                http::configure_api(config, &shared, routes);
            })
    };
    let (workers, clients) = clients(service.store.files())?;
    let server = Server::build().workers(workers).max_concurrent_connections(clients);
    let server = server.disable_signals().shutdown_timeout(settings.shutdown_timeout.as_secs() + 1);
    let (stopping, patience) = (server.graceful_shutdown_signal(), settings.client_timeout);
    let server = server.listen("api", listener, move || http::serve(app(), patience, stopping.clone()))?;
    let server = server.run();
    let handle = server.handle();
    let (stopping, longest) = (service.clone(), settings.shutdown_timeout);
    // What the process itself needs to end.
    let spare = longest / 16;
    let (late, is_late) = oneshot::channel();
    actix_web::rt::spawn(async move {
        let signal = signal.await;
        tracing::info!("{}: finishing the requests in flight", signal.name);
        tell_systemd(NotifyState::Stopping);
        let began = Instant::now();
        // The library drops what it has accepted and not read yet, and the kernel what it has not accepted.
        shut(&door);
        drop(door);
        stopping.drain.run((longest / 4).min(DRAINED)).await;
        actix_web::rt::spawn(handle.stop(true));
        // What still waits for the database gets its 503 while there is time to send it.
        let grace = (longest / 4).min(Duration::from_secs(1));
        tokio::time::sleep(longest.saturating_sub(grace + began.elapsed())).await;
        stopping.store.give_up();
        tokio::time::sleep(longest.saturating_sub(began.elapsed() + spare)).await;
        // Nobody waits any more where the server has ended before.
        let _ = late.send(());
    });
    tell_systemd(NotifyState::Ready);
    writeln!(std::io::stdout(), "listening on http://{}", service.address).context("standard output is closed")?;
    tokio::select! {
        ended = server => ended?,
        // Only clients that do not take their answers are left.
        _ = is_late => tracing::warn!("stopping with connections open after {longest:?} (SHUTDOWN_TIMEOUT)"),
    }
    if let Some(apart) = apart {
        apart.stop(false).await;
    }
    service.store.give_up();
    // They are all back but for those of requests that were cut off.
    let _ = tokio::time::timeout(spare / 2, service.store.close()).await;
    held.release().await;
    Ok(())
}

/// Serves the metrics on an address of their own, until the handle stops it.
fn serve_metrics(
    service: &web::Data<Service>,
    address: SocketAddr,
    settings: &Settings,
) -> anyhow::Result<ServerHandle> {
    let service = service.clone();
    let app = move || {
        let app = App::new().app_data(service.clone());
        let app = app.wrap(Condition::new(service.faults.is_some(), from_fn(http::faults_at_the_door)));
        let app = app.wrap(from_fn(http::envelope));
        app.configure(|config| http::configure(config, vec![http::metrics_route()]))
    };
    let listener = listen(address).with_context(|| format!("The address {address} (METRICS_LISTEN) cannot be had"))?;
    tracing::info!("serving the metrics on http://{}/metrics", listener.local_addr()?);
    let server = Server::build().workers(1).max_concurrent_connections(READERS).disable_signals();
    let (stopping, patience) = (server.graceful_shutdown_signal(), settings.client_timeout);
    let server = server.listen("metrics", listener, move || http::serve(app(), patience, stopping.clone()))?;
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    Ok(handle)
}

/// The most connections to metrics that are served apart.
const READERS: usize = 64;

/// The files that a process has open beside those of its clients, readers of metrics and database.
const OTHER_FILES: usize = 64;

/// How many clients are worth their work, for each worker.
const CLIENTS: usize = 25_600;

/// The number of workers, and of the clients that each of them serves at once: no more than there
/// are files for, so that there are always some for the database. The others wait to be let in.
///
/// # Errors
/// Where there are not enough files for a client of each worker.
fn clients(of_database: usize) -> anyhow::Result<(usize, usize)> {
    let workers = thread::available_parallelism().map_or(2, usize::from);
    let Some(files) = allow_many() else { return Ok((workers, CLIENTS)) };
    let least = of_database + OTHER_FILES + workers;
    ensure!(files >= least, "No more than {files} files may be open (ulimit -n); at least {least} are needed.");
    let clients = (files.saturating_sub(of_database + OTHER_FILES + READERS) / workers).clamp(1, CLIENTS);
    if clients * workers < 1000 {
        tracing::warn!(
            "no more than {} clients are served at once, because {files} files may be open (ulimit -n)",
            clients * workers
        );
    }
    Ok((workers, clients))
}

/// The longest that requests are taken after the signal to end.
const DRAINED: Duration = Duration::from_secs(1);

/// Lets nobody in any more who has not begun to connect, while those who have can still be accepted.
/// Whoever comes now gets no answer from the kernel, tries again within a second, and finds the
/// address closed, or the next server.
fn shut(door: &TcpListener) {
    // Of each packet that begins a connection (its 14th byte of TCP has SYN) nothing is kept, of the others all.
    const DROP_SYN: [SockFilter; 4] = [
        SockFilter::new(LOAD_BYTE, 0, 0, 13),
        SockFilter::new(JUMP_IF_SET, 0, 1, 0x02),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    if let Err(error) = SockRef::from(door).attach_filter(&DROP_SYN) {
        tracing::warn!("connections are taken to the end, and some may be lost: {error}");
    }
}

/// Tells systemd, where it has started this process and wants to know.
fn tell_systemd(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!("systemd cannot be told: {error}");
    }
}

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Takes an address, also where connections of a process that was there before are still in their end.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
