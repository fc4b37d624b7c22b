//! Who asks, and what that lets them see.
//!
//! A token becomes a [`Caller`] or a refusal; a caller and its `is_public` become a [`View`].

pub mod keystone;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use self::keystone::Keystone;
use crate::query::{IsPublic, Markers, Scope, View};

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody in particular, where no token is asked for: there is nobody to hide anything from.
    Unrestricted,
    /// Somebody without a token, where that is allowed.
    Anonymous,
    Authenticated(Identity),
}

/// What a token stands for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    pub user: String,
    /// Owns images, and has images shared with it. Without one only public images are seen.
    pub project: Option<String>,
    pub roles: Vec<String>,
}

impl Identity {
    /// Whether its project, if any, can own images: its id is not empty, and is text to both engines.
    fn is_usable(&self) -> bool {
        self.project.as_deref().is_none_or(|project| !project.is_empty() && !project.contains('\0'))
    }

    /// Role names are compared without regard to letter case, as in the reference.
    fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own.eq_ignore_ascii_case(role))
    }
}

impl Caller {
    /// The project that is asking, for the log.
    pub fn project(&self) -> Option<&str> {
        match self {
            Self::Authenticated(identity) => identity.project.as_deref(),
            Self::Unrestricted | Self::Anonymous => None,
        }
    }

    /// What the caller sees of a query that asks for `is_public`.
    ///
    /// Members see public images, their project's own and those shared with it, whatever they
    /// ask for. So does an admin, who sees everything with `none` and all that is not public
    /// with `false`.
    pub fn view(&self, is_public: IsPublic) -> View {
        let identity = match self {
            Self::Unrestricted => {
                let listed = match is_public {
                    IsPublic::Absent | IsPublic::None => Scope::All,
                    IsPublic::True => Scope::Public,
                    IsPublic::False => Scope::NotPublic,
                };
                return View { listed, markers: Markers::Any };
            }
            Self::Anonymous => return View { listed: Scope::Public, markers: Markers::Listed },
            Self::Authenticated(identity) => identity,
        };
        let own = || identity.project.clone().map_or(Scope::Public, Scope::Project);
        if !identity.has_role("admin") {
            return View { listed: own(), markers: Markers::Listed };
        }
        let listed = match is_public {
            IsPublic::Absent | IsPublic::True => own(),
            IsPublic::None => Scope::All,
            IsPublic::False => Scope::NotPublic,
        };
        View { listed, markers: Markers::Any }
    }
}

/// Why a request has no caller.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AuthError {
    /// No token where one is needed, or one that nobody knows: 401.
    #[error("A valid token is needed in the header X-Auth-Token.")]
    Unauthenticated,
    /// A caller with none of the allowed roles: 403.
    #[error("None of your roles may use this service.")]
    Forbidden,
    /// Nobody can tell at the moment: 503, with the cause for the log.
    #[error("Tokens cannot be validated at the moment.")]
    Unavailable(String),
}

/// How callers are told apart.
pub enum Authenticator {
    None,
    Tokens(Tokens),
    Keystone(Box<Keystone>),
}

/// Whether a request needs a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// None is looked at.
    Never,
    /// More is seen with one.
    Optional,
    Always,
}

/// Who may ask at all.
pub struct Access {
    authenticator: Authenticator,
    anonymous_public: bool,
    allowed_roles: Vec<String>,
}

impl Access {
    /// With `anonymous_public` a request without a token is let in; where `allowed_roles` has
    /// any, an authenticated caller needs one of them.
    pub fn new(authenticator: Authenticator, anonymous_public: bool, allowed_roles: Vec<String>) -> Self {
        Self { authenticator, anonymous_public, allowed_roles }
    }

    pub fn need(&self) -> Need {
        match &self.authenticator {
            Authenticator::None => Need::Never,
            _ if self.anonymous_public => Need::Optional,
            _ => Need::Always,
        }
    }

    /// The value of `WWW-Authenticate` in a 401 (RFC 9110, 11.6.1).
    pub fn challenge(&self) -> String {
        match &self.authenticator {
            Authenticator::None | Authenticator::Tokens(_) => "Token realm=\"glimpse\"".to_owned(),
            Authenticator::Keystone(keystone) => format!("Keystone uri=\"{}\"", keystone.url()),
        }
    }

    /// The caller behind the value of `X-Auth-Token`, blanks around it not counted.
    ///
    /// # Errors
    /// [`AuthError`], before anything else of the request is looked at.
    pub async fn caller(&self, token: Option<&[u8]>) -> Result<Caller, AuthError> {
        let token = token.map(<[u8]>::trim_ascii).filter(|token| !token.is_empty());
        let identity = match (&self.authenticator, token) {
            (Authenticator::None, _) => return Ok(Caller::Unrestricted),
            (_, None) if self.anonymous_public => return Ok(Caller::Anonymous),
            (_, None) => return Err(AuthError::Unauthenticated),
            (Authenticator::Tokens(tokens), Some(token)) => {
                tokens.identity(token).cloned().ok_or(AuthError::Unauthenticated)?
            }
            (Authenticator::Keystone(keystone), Some(token)) => keystone.identity(token).await?,
        };
        let allowed = self.allowed_roles.is_empty() || self.allowed_roles.iter().any(|role| identity.has_role(role));
        if allowed { Ok(Caller::Authenticated(identity)) } else { Err(AuthError::Forbidden) }
    }
}

/// The tokens of `AUTH_TOKENS_FILE`, kept by their digests: none stays in memory in clear, and
/// how long a look-up takes tells nothing of them.
pub struct Tokens(HashMap<[u8; 32], Identity>);

impl Tokens {
    /// Reads `{"TOKEN": {"user": "...", "project": "..." or null, "roles": ["member"]}}`.
    ///
    /// # Errors
    /// By file, line and column, without showing what stands there: it may be a token.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let name = || format!("The file {} (AUTH_TOKENS_FILE)", path.display());
        let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", name()))?;
        let file: HashMap<String, Identity> = serde_json::from_str(&text).map_err(|error| {
            anyhow::anyhow!(
                "{} is not of the form {{\"TOKEN\": {{\"user\": \"...\", \"project\": \"...\" or null, \
                 \"roles\": [\"member\"]}}}} at line {}, column {}.",
                name(),
                error.line(),
                error.column()
            )
        })?;
        let mut tokens = HashMap::new();
        for (token, identity) in file {
            if token.is_empty() || token.trim_ascii() != token || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                bail!("{} has a token that no header can carry: printable ASCII without blanks is needed.", name());
            }
            if !identity.is_usable() {
                bail!("{} has a project without a usable name; write null for a caller without a project.", name());
            }
            tokens.insert(Sha256::digest(token.as_bytes()).into(), identity);
        }
        Ok(Self(tokens))
    }

    fn identity(&self, token: &[u8]) -> Option<&Identity> {
        self.0.get::<[u8; 32]>(&Sha256::digest(token).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authenticated(project: Option<&str>, roles: &[&str]) -> Caller {
        Caller::Authenticated(Identity {
            user: "u".to_owned(),
            project: project.map(str::to_owned),
            roles: roles.iter().map(|&role| role.to_owned()).collect(),
        })
    }

    #[test]
    fn each_caller_has_its_view() {
        use IsPublic::{Absent, False, None as Unset, True};
        let own = || Scope::Project("p".to_owned());
        let cases = [
            (Caller::Unrestricted, [Scope::All, Scope::All, Scope::Public, Scope::NotPublic], Markers::Any),
            (Caller::Anonymous, [Scope::Public, Scope::Public, Scope::Public, Scope::Public], Markers::Listed),
            (authenticated(Some("p"), &["member"]), [own(), own(), own(), own()], Markers::Listed),
            (
                authenticated(None, &["member"]),
                [Scope::Public, Scope::Public, Scope::Public, Scope::Public],
                Markers::Listed,
            ),
            (authenticated(Some("p"), &["AdMiN"]), [own(), Scope::All, own(), Scope::NotPublic], Markers::Any),
            (
                authenticated(None, &["admin"]),
                [Scope::Public, Scope::All, Scope::Public, Scope::NotPublic],
                Markers::Any,
            ),
        ];
        for (caller, scopes, markers) in cases {
            for (is_public, listed) in [Absent, Unset, True, False].into_iter().zip(scopes) {
                assert_eq!(caller.view(is_public), View { listed, markers }, "{caller:?} {is_public:?}");
            }
        }
    }
}
