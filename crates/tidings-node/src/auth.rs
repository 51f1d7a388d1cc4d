//! Authentication as the options configure it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidings_auth::{Algorithm, ApiKeys, JwtAuthenticator, JwtConfig, KeySource};
use tidings_connections::Authenticator;

use crate::error::NodeConfigError;
use crate::options::Options;
use crate::value::AuthKind;
use tidings_connections::chain;

/// The way in which clients are authenticated.
#[derive(Debug, Clone)]
pub(crate) enum Auth {
    /// No authentication: every client that can reach the server has access.
    Nobody {
        /// True if an operator has explicitly allowed other machines to reach the server.
        anonymous: bool,
    },
    /// Clients need a JSON Web Token.
    Jwt {
        /// The rules that a token must meet.
        config: JwtConfig,
        /// The file or the address of the verification keys.
        key: String,
    },
    /// Clients need an API key from this file.
    Keys(PathBuf),
    /// The program that embeds the node authenticates clients itself.
    Own(OwnAuthenticator),
}

impl Default for Auth {
    fn default() -> Self {
        Self::Nobody { anonymous: false }
    }
}

/// The authenticator of the program that embeds the node.
#[derive(Clone)]
pub(crate) struct OwnAuthenticator(pub(crate) Arc<dyn Authenticator>);

impl std::fmt::Debug for OwnAuthenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnAuthenticator(..)")
    }
}

/// An authenticator together with the source of its keys.
pub(crate) struct Asking {
    pub(crate) authenticator: Arc<dyn Authenticator>,
    /// The keys in files, if they can be read again while the node runs.
    pub(crate) keys: Option<Keys>,
    /// The authenticator and the address of its keys, if they come from a provider.
    provider: Option<(Arc<JwtAuthenticator>, String)>,
}

impl Asking {
    fn with(authenticator: Arc<dyn Authenticator>, keys: Keys) -> Self {
        Self {
            authenticator,
            keys: Some(keys),
            provider: None,
        }
    }

    /// Fetches keys from their provider, so that a wrong address is noticed early.
    pub(crate) async fn warm_up(&self) {
        let Some((asking, url)) = &self.provider else {
            return;
        };
        if let Err(error) = asking.warm_up().await {
            // The provider may start after the node. Until then, tokens are refused.
            let error = chain(&error);
            tracing::warn!(%url, error, "the keys for tokens cannot be fetched yet");
        }
    }
}

/// Keys that come from a file.
#[derive(Clone)]
pub(crate) enum Keys {
    /// The file of API keys. The node also checks regularly whether the file has changed.
    Api(ApiKeys, PathBuf),
    /// The key that verifies tokens.
    Jwt(Arc<JwtAuthenticator>, Algorithm, PathBuf),
}

impl Keys {
    /// Reads the keys again and logs the result. If that fails, the old keys stay in use.
    pub(crate) fn read_again(&self) {
        match self.replace() {
            Ok(path) => tracing::info!(path = %path.display(), "the keys were read again"),
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(
                    error,
                    "the keys could not be read; the old keys stay in use"
                );
            }
        }
    }

    fn replace(&self) -> Result<&Path, NodeConfigError> {
        match self {
            Self::Api(keys, path) => {
                let replaced = keys.replace(&read_text(path)?);
                replaced.map_err(|cause| NodeConfigError::Keys {
                    path: path.clone(),
                    cause,
                })?;
                Ok(path)
            }
            Self::Jwt(asking, algorithm, path) => {
                asking.replace(from_file(*algorithm, path)?);
                Ok(path)
            }
        }
    }
}

impl Auth {
    pub(crate) fn from_options(options: &Options) -> Result<Self, NodeConfigError> {
        let anonymous = options.allow_anonymous.unwrap_or_default();
        let wrong = |text| Err(NodeConfigError::Auth(text));
        match options.auth.unwrap_or(AuthKind::None) {
            AuthKind::None if options.jwt_key.is_some() => {
                wrong("--jwt-key has no effect without authentication by tokens: add --auth jwt")
            }
            AuthKind::None if options.api_keys.is_some() => {
                wrong("--api-keys has no effect without authentication by keys: add --auth keys")
            }
            AuthKind::None => Ok(Self::Nobody { anonymous }),
            _ if anonymous => {
                wrong("--allow-anonymous and --auth contradict each other: choose one")
            }
            AuthKind::Jwt => {
                let Some(key) = options.jwt_key.clone() else {
                    return wrong("--auth jwt needs the key of the tokens: add --jwt-key FILE|URL");
                };
                let algorithm = options
                    .jwt_algorithm
                    .map_or(Algorithm::HS256, |known| known.0);
                let mut config = JwtConfig::new(algorithm)
                    .audience(options.jwt_audience.clone().unwrap_or_default())
                    .issuer(options.jwt_issuer.clone().unwrap_or_default());
                if let Some(leeway) = options.jwt_leeway {
                    config = config.leeway(leeway.get());
                }
                Ok(Self::Jwt { config, key })
            }
            AuthKind::Keys => options.api_keys.clone().map_or_else(
                || wrong("--auth keys needs the file with the keys: add --api-keys FILE"),
                |path| Ok(Self::Keys(path)),
            ),
        }
    }

    /// Returns true if clients are authenticated.
    pub(crate) fn asks(&self) -> bool {
        !matches!(self, Self::Nobody { .. })
    }

    /// Refuses to listen for other machines without authentication, unless the operator has allowed
    /// it.
    pub(crate) fn check(&self, addr: SocketAddr) -> Result<(), NodeConfigError> {
        match self {
            Self::Nobody { anonymous: false } if !addr.ip().is_loopback() => {
                Err(NodeConfigError::Exposed { addr })
            }
            Self::Nobody { anonymous: true } if !addr.ip().is_loopback() => {
                tracing::warn!(%addr, "no authentication: everybody who reaches this address can watch and publish");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Returns the authenticator, or `None` without authentication. Reads files, but makes no
    /// request to a provider.
    pub(crate) fn read(&self) -> Result<Option<Asking>, NodeConfigError> {
        match self {
            Self::Nobody { .. } => Ok(None),
            Self::Own(own) => Ok(Some(Asking {
                authenticator: Arc::clone(&own.0),
                keys: None,
                provider: None,
            })),
            Self::Jwt { config, key } => {
                let (algorithm, path) = (config.algorithm, Path::new(key));
                if key.contains("://") {
                    let keys = KeySource::jwks(algorithm, key).map_err(NodeConfigError::setting)?;
                    let asking = Arc::new(JwtAuthenticator::new(config.clone(), keys));
                    return Ok(Some(Asking {
                        authenticator: Arc::clone(&asking) as Arc<_>,
                        keys: None,
                        provider: Some((asking, key.clone())),
                    }));
                }
                let keys = from_file(algorithm, path)?;
                let asking = Arc::new(JwtAuthenticator::new(config.clone(), keys));
                let again = Keys::Jwt(Arc::clone(&asking), algorithm, path.to_owned());
                Ok(Some(Asking::with(asking, again)))
            }
            Self::Keys(path) => {
                let keys =
                    ApiKeys::parse(&read_text(path)?).map_err(|cause| NodeConfigError::Keys {
                        path: path.clone(),
                        cause,
                    })?;
                let again = Keys::Api(keys.clone(), path.clone());
                Ok(Some(Asking::with(Arc::new(keys), again)))
            }
        }
    }
}

fn from_file(algorithm: Algorithm, path: &Path) -> Result<KeySource, NodeConfigError> {
    let bytes = read(path)?;
    KeySource::file(algorithm, &bytes).map_err(|cause| NodeConfigError::Key {
        path: path.to_owned(),
        cause,
    })
}

/// Reads the bytes of a file that an option names.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, NodeConfigError> {
    fs::read(path).map_err(|cause| NodeConfigError::Unreadable {
        path: path.to_owned(),
        cause,
    })
}

/// Reads the text of a file that an option names.
pub(crate) fn read_text(path: &Path) -> Result<String, NodeConfigError> {
    fs::read_to_string(path).map_err(|cause| NodeConfigError::Unreadable {
        path: path.to_owned(),
        cause,
    })
}

/// The time between two checks of files that may have changed.
pub(crate) const LOOK: Duration = Duration::from_secs(5);

/// Reads API keys again when their file changes. A key that was removed from the file is refused
/// from then on.
pub(crate) async fn follow(keys: Keys) {
    let Keys::Api(_, path) = &keys else {
        return;
    };
    let mut changed = Changed::new(path.clone());
    loop {
        tokio::time::sleep(LOOK).await;
        if changed.look() {
            keys.read_again();
        }
    }
}

/// Detects whether a file has changed since the last check.
pub(crate) struct Changed {
    path: PathBuf,
    seen: Option<(std::time::SystemTime, u64)>,
}

impl Changed {
    pub(crate) fn new(path: PathBuf) -> Self {
        let mut changed = Self { path, seen: None };
        changed.look();
        changed
    }

    /// Returns true if the file has changed. A missing file counts as unchanged, because it may be
    /// missing for a moment while it is replaced.
    pub(crate) fn look(&mut self) -> bool {
        let Ok(about) = fs::metadata(&self.path) else {
            return false;
        };
        let Ok(modified) = about.modified() else {
            return false;
        };
        let now = Some((modified, about.len()));
        std::mem::replace(&mut self.seen, now) != now
    }
}
