//! Tokens of Keystone, validated with the Identity API v3.
//!
//! The service logs in with an account of its own, and asks Keystone with that token who the
//! caller behind another token is. Answers are kept for a while, by the token's digest.

use std::error::Error as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, anyhow};
use chrono::{DateTime, Utc};
use moka::Expiry;
use moka::future::Cache;
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, Semaphore};

use super::{AuthError, Identity};
use crate::outgoing;
use crate::runtime::MainRuntime;

/// The most tokens whose answers are kept; those used least recently go first.
const KEPT: u64 = 10_000;

/// Validations in flight at a time: few, as a slow Keystone must come to each of them in time, yet
/// enough to keep two of its workers busy; docs/clients.md has the figures.
const ASKERS: usize = 4;

/// How long the refusal of a token is kept. A token that was refused never becomes valid, but
/// memory is better spent on others.
const REFUSAL_KEPT: Duration = Duration::from_secs(5);

/// How long a refused login is not tried again: Keystone may lock an account after a few.
const LOGIN_REFUSAL_KEPT: Duration = Duration::from_secs(5);

/// The most bytes of an answer that are read. A token without its catalog takes a few thousand.
const LONGEST_ANSWER: usize = 1 << 20;

/// How long before its end the service's own token is renewed.
const RENEWED_BEFORE: Duration = Duration::from_mins(1);

/// How the service reaches Keystone, and as whom.
pub struct Account {
    /// The v3 endpoint, without a slash at its end.
    pub url: String,
    pub username: String,
    pub password: String,
    pub project: String,
    /// The domain of user and project, by its id.
    pub domain: String,
    /// The longest time that the answer on a token may take, logins included.
    pub timeout: Duration,
    /// The longest time that a valid answer is kept.
    pub cache: Duration,
}

/// Keystone, as far as tokens go.
pub struct Keystone {
    asked: Arc<Asked>,
    answers: Cache<[u8; 32], Answer>,
    runtime: MainRuntime,
}

/// Keystone, when it is asked.
struct Asked {
    account: Account,
    client: Client,
    /// What the last login came to; locked while the next is under way, so that many ask once.
    own: Mutex<Login>,
    /// Those who may ask at a time: more would only wait in Keystone's own queue, until it spends
    /// its time on answers that nobody waits for any more. For the same reason who has waited for
    /// half of `timeout` gives its turn up: the other half is left for the answer.
    askers: Semaphore,
}

#[derive(Default)]
enum Login {
    /// None was tried, or it failed by no fault of the account.
    #[default]
    Wanted,
    Done {
        token: String,
        renewed_at: Instant,
    },
    Refused {
        until: Instant,
    },
}

/// What Keystone said of a token.
#[derive(Clone)]
struct Answer {
    identity: Option<Identity>,
    kept: Duration,
}

struct AsLongAsKept;

impl Expiry<[u8; 32], Answer> for AsLongAsKept {
    fn expire_after_create(&self, _: &[u8; 32], answer: &Answer, _: Instant) -> Option<Duration> {
        Some(answer.kept)
    }
}

/// Why Keystone told nothing of a token; none of it is the caller's fault.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("Keystone does not answer: {0}")]
    Unreachable(String),
    #[error("Keystone is not trusted; does KEYSTONE_CA_FILE hold its authority? {0}")]
    Distrusted(String),
    #[error("Keystone gives no answer within {0:?} (KEYSTONE_TIMEOUT)")]
    Late(Duration),
    #[error("Keystone's answer {0}; is KEYSTONE_URL its v3 endpoint?")]
    Unreadable(String),
    #[error("Keystone is too busy with the tokens of others")]
    Busy,
    #[error("Keystone answers {0} where it should not")]
    Unexpected(StatusCode),
    #[error("KEYSTONE_URL is not the v3 endpoint of Keystone: there the answer to a login is {0}")]
    NotThere(StatusCode),
    #[error(
        "Keystone refuses to log the service in; mend KEYSTONE_USERNAME, KEYSTONE_PASSWORD, KEYSTONE_PROJECT or KEYSTONE_DOMAIN"
    )]
    LoginRefused,
    #[error(
        "Keystone does not let the account of KEYSTONE_USERNAME validate tokens; give it the role admin or service in KEYSTONE_PROJECT"
    )]
    ValidationForbidden,
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        // Each error names itself only: what to mend stands in the last of them.
        let error = error.without_url();
        let mut said = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            said = format!("{said}: {error}");
            cause = error.source();
        }
        let is_distrust = said.contains("certificate");
        said.truncate(said.floor_char_boundary(400));
        if is_distrust { Self::Distrusted(said) } else { Self::Unreachable(said) }
    }
}

#[derive(Deserialize)]
struct TokenBody {
    token: Token,
}

#[derive(Deserialize)]
struct Token {
    user: Named,
    project: Option<Named>,
    #[serde(default)]
    roles: Vec<Role>,
    expires_at: DateTime<Utc>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

#[derive(Deserialize)]
struct Role {
    name: String,
}

impl Token {
    async fn read(mut response: Response) -> Result<Self, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                return Err(Failure::Unreadable(format!("is longer than {LONGEST_ANSWER} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        // Where it goes wrong, not what stands there: that may be a secret.
        let place =
            |error: serde_json::Error| format!("is no token at line {}, column {}", error.line(), error.column());
        let body: TokenBody = serde_json::from_slice(&body).map_err(|error| Failure::Unreadable(place(error)))?;
        Ok(body.token)
    }

    /// What is left of its life, and none after its end.
    fn life(&self) -> Duration {
        let now = DateTime::<Utc>::from(SystemTime::now());
        (self.expires_at - now).to_std().unwrap_or_default()
    }
}

impl Keystone {
    /// Prepares to ask, on the runtime that this is called on; nothing is sent yet, so that the service
    /// starts before Keystone does.
    ///
    /// # Errors
    /// Where `ca_file` (`KEYSTONE_CA_FILE`) holds no certificates in PEM.
    pub fn new(account: Account, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let mut client = outgoing::client();
        if let Some(path) = ca_file {
            let name = || format!("The file {} (KEYSTONE_CA_FILE)", path.display());
            let pem = fs::read(path).with_context(|| format!("{} cannot be read", name()))?;
            let certificates = Certificate::from_pem_bundle(&pem).ok().filter(|certificates| !certificates.is_empty());
            let certificates = certificates.ok_or_else(|| anyhow!("{} holds no certificates in PEM.", name()))?;
            client = client.tls_certs_merge(certificates);
        }
        let client = client.build().context("No HTTP client for Keystone can be made (KEYSTONE_CA_FILE)")?;
        let answers = Cache::builder().max_capacity(KEPT).expire_after(AsLongAsKept).build();
        let asked = Asked { account, client, own: Mutex::default(), askers: Semaphore::new(ASKERS) };
        Ok(Self { asked: Arc::new(asked), answers, runtime: MainRuntime::this() })
    }

    /// Where callers get their tokens.
    pub fn url(&self) -> &str {
        &self.asked.account.url
    }

    /// Who stands behind a token. Equal tokens in flight ask once.
    ///
    /// # Errors
    /// [`AuthError::Unauthenticated`] for a token that Keystone does not know, or that it could
    /// not be asked of; [`AuthError::Unavailable`] when Keystone tells nothing.
    pub async fn identity(&self, token: &[u8]) -> Result<Identity, AuthError> {
        let token = str::from_utf8(token).ok().filter(|token| is_plausible(token)).ok_or(AuthError::Unauthenticated)?;
        let key = Sha256::digest(token.as_bytes()).into();
        let end = Instant::now() + self.asked.account.timeout;
        let ask = async {
            let (asked, token) = (Arc::clone(&self.asked), token.to_owned());
            self.runtime.run(async move { asked.ask(&token).await }).await
        };
        // An asking that takes too long fails for all who wait for it. Where the caller that asked
        // has gone, another begins anew with an end of its own, which is not that of all others.
        let asked = self.answers.try_get_with(key, self.in_time(end, ask));
        match self.in_time(end, asked).await {
            Ok(answer) => answer.identity.ok_or(AuthError::Unauthenticated),
            Err(failure) => Err(AuthError::Unavailable(failure.to_string())),
        }
    }

    /// Gives up at `end`.
    async fn in_time<T, E: From<Failure>>(
        &self,
        end: Instant,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let late = |_| Err(Failure::Late(self.asked.account.timeout).into());
        tokio::time::timeout_at(end.into(), answer).await.unwrap_or_else(late)
    }
}

impl Asked {
    async fn ask(&self, token: &str) -> Result<Answer, Failure> {
        let turn = tokio::time::timeout(self.account.timeout / 2, self.askers.acquire()).await;
        let _permit = turn.map_err(|_| Failure::Busy)?.expect("the semaphore is never closed");
        let own = self.own_token(None).await?;
        if let Some(answer) = self.validate(&own, token).await? {
            return Ok(answer);
        }
        // Keystone no longer knows the service's token, as after a restart with other keys.
        let own = self.own_token(Some(&own)).await?;
        self.validate(&own, token).await?.ok_or(Failure::Unexpected(StatusCode::UNAUTHORIZED))
    }

    /// The service's own token; another one than `refused`.
    async fn own_token(&self, refused: Option<&str>) -> Result<String, Failure> {
        let mut own = self.own.lock().await;
        let now = Instant::now();
        match &*own {
            Login::Done { token, renewed_at } if Some(token.as_str()) != refused && *renewed_at > now => {
                return Ok(token.clone());
            }
            Login::Refused { until } if *until > now => return Err(Failure::LoginRefused),
            Login::Wanted | Login::Done { .. } | Login::Refused { .. } => {}
        }
        // Forgotten first: where Keystone is slow, this caller's time may end before the login does,
        // and the next must not begin with a refusal again.
        *own = Login::Wanted;
        let (token, renewed_at) = self.login().await.inspect_err(|failure| {
            if matches!(failure, Failure::LoginRefused) {
                *own = Login::Refused { until: Instant::now() + LOGIN_REFUSAL_KEPT };
            }
        })?;
        *own = Login::Done { token: token.clone(), renewed_at };
        Ok(token)
    }

    /// A token of the service's own, and when it is to be renewed.
    async fn login(&self) -> Result<(String, Instant), Failure> {
        let Account { url, username, password, project, domain, .. } = &self.account;
        let domain = json!({ "id": domain });
        let body = json!({ "auth": {
            "identity": {
                "methods": ["password"],
                "password": { "user": { "name": username, "password": password, "domain": domain } },
            },
            "scope": { "project": { "name": project, "domain": domain } },
        } });
        let response = send(self.client.post(format!("{url}/auth/tokens")).json(&body)).await?;
        match response.status() {
            StatusCode::CREATED => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(Failure::LoginRefused),
            status if status.is_redirection() => return Err(Failure::NotThere(status)),
            StatusCode::OK | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                return Err(Failure::NotThere(response.status()));
            }
            status => return Err(Failure::Unexpected(status)),
        }
        let token = response.headers().get("X-Subject-Token").and_then(|token| token.to_str().ok()).map(str::to_owned);
        let token = token.ok_or_else(|| Failure::Unreadable("to a login has no X-Subject-Token".to_owned()))?;
        let life = Token::read(response).await?.life();
        let used = life.checked_sub(RENEWED_BEFORE).unwrap_or(life / 2);
        Ok((token, Instant::now() + used))
    }

    /// Asks who the caller is; `None` where Keystone refuses the service's own token.
    async fn validate(&self, own: &str, token: &str) -> Result<Option<Answer>, Failure> {
        let request = self.client.get(format!("{}/auth/tokens?nocatalog", self.account.url));
        let response = send(request.header("X-Auth-Token", own).header("X-Subject-Token", token)).await?;
        let refusal = Answer { identity: None, kept: REFUSAL_KEPT };
        match response.status() {
            StatusCode::OK => {}
            // It does not know the token, or cannot even read a request with it.
            StatusCode::NOT_FOUND
            | StatusCode::BAD_REQUEST
            | StatusCode::URI_TOO_LONG
            | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => return Ok(Some(refusal)),
            StatusCode::UNAUTHORIZED => return Ok(None),
            StatusCode::FORBIDDEN => return Err(Failure::ValidationForbidden),
            status => return Err(Failure::Unexpected(status)),
        }
        let token = Token::read(response).await?;
        let life = token.life();
        if life.is_zero() {
            return Ok(Some(refusal));
        }
        let identity = Identity {
            user: token.user.id,
            project: token.project.map(|project| project.id),
            roles: token.roles.into_iter().map(|role| role.name).collect(),
        };
        if !identity.is_usable() {
            return Err(Failure::Unreadable("names a project without a usable id".to_owned()));
        }
        Ok(Some(Answer { identity: Some(identity), kept: life.min(self.account.cache) }))
    }
}

/// Asks once more where a connection ends without an answer: one that was kept may end just as it is used again.
async fn send(request: RequestBuilder) -> reqwest::Result<Response> {
    let again = request.try_clone();
    match (request.send().await, again) {
        (Err(error), Some(again)) if !error.is_connect() && !error.is_timeout() => again.send().await,
        (sent, _) => sent,
    }
}

/// Whether Keystone could have made it: printable ASCII of less than 8 KiB.
fn is_plausible(token: &str) -> bool {
    token.len() < 8192 && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The v3 endpoint of `KEYSTONE_URL`, as it may stand in a header.
///
/// # Errors
/// Where it is no URL of HTTP or HTTPS, or carries a user, a query or a fragment. Only a value
/// without a user is shown.
pub fn endpoint(value: &str) -> anyhow::Result<String> {
    let plain = Url::parse(value).ok().filter(|url| {
        let is_plain = url.username().is_empty() && url.password().is_none();
        matches!(url.scheme(), "http" | "https") && is_plain && url.query().is_none() && url.fragment().is_none()
    });
    let shown = if value.contains('@') { "..." } else { value };
    let refused = || {
        anyhow!(
            "The value '{shown}' of KEYSTONE_URL is not accepted; it takes the v3 endpoint of Keystone, such as \
             https://keystone.example.org:5000/v3."
        )
    };
    Ok(plain.ok_or_else(refused)?.as_str().trim_end_matches('/').to_owned())
}
