//! The requests that Glimpse sends itself.

use reqwest::ClientBuilder;
use reqwest::redirect::Policy;

/// A client that goes straight to whom it is told to ask: not through what `HTTP_PROXY` may name,
/// which is to see neither passwords nor tokens, and not on to another.
pub fn client() -> ClientBuilder {
    // Fails only where one is installed already, which then serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let agent = concat!("glimpse/", env!("CARGO_PKG_VERSION"));
    ClientBuilder::new().no_proxy().redirect(Policy::none()).user_agent(agent)
}
