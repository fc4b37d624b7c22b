//! `glimpse health`: asks the server whether it lives, as the health check of a container does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, bail, ensure};

use crate::config::{Health, Settings};
use crate::outgoing;

/// Asks the server on this machine whose address is `LISTEN`, or whether its database answers, too.
///
/// # Errors
/// Where it does not answer in time, or not with 200.
pub async fn health(asked: &Health, settings: &Settings) -> anyhow::Result<()> {
    ensure!(settings.listen.port() != 0, "LISTEN has port 0, so that nobody knows which port the server has taken.");
    let path = if asked.ready { "/ready" } else { "/healthcheck" };
    let url = format!("http://{}{path}", reached_at(settings.listen));
    let client = outgoing::client().timeout(asked.timeout).build().context("No HTTP client can be made")?;
    let answer = client.get(&url).send().await;
    match answer.map(|answer| answer.status().as_u16()) {
        Ok(200) => Ok(()),
        Ok(status) => bail!("{url} answers {status}."),
        Err(error) if error.is_timeout() => bail!("{url} does not answer within {:?}.", asked.timeout),
        Err(_) => bail!("Nothing answers at {url}."),
    }
}

/// An address at which a server is reached that listens on all of them.
fn reached_at(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
