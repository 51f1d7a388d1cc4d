//! `tidings token`: creates a token, or decodes one.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tidings_auth::{
    Algorithm, JwtAuthenticator, JwtConfig, KeySource, NewKey, TokenIssuer, explain,
};
use tidings_connections::{Authenticator as _, Credentials, Permission, Permissions, Scope};
use tidings_protocol::{Target, Timestamp};

use super::{FileError, read};
use crate::value::{JwtAlgorithm, Time};

/// The default lifetime of a token.
const LIFETIME: std::time::Duration = std::time::Duration::from_secs(3_600);

const EXAMPLES: &str = "\
Examples:
  tidings token --jwt-key secret --watch 'build-*' --expires 1h
  tidings token --jwt-key secret --subject worker-7 --publish 'build-7*'
  tidings token --api-keys keys.toml --subject ci --publish 'build-*'
  tidings token --explain eyJhbGciOi…
  tidings token --explain - < token

The token stands alone on standard output. A permission takes task ids and
patterns such as 'build-*', several separated by commas; what is not given is
not allowed.";

/// Create a token or an API key for a server, or decode a token
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The key that signs the token. For HS256 this is the server's secret file, otherwise a
    /// private key as PEM
    #[arg(long, env = "TIDINGS_JWT_KEY", value_name = "FILE")]
    jwt_key: Option<PathBuf>,

    /// The signature algorithm: HS256, RS256, ES256 or EdDSA [default: HS256]
    #[arg(long, env = "TIDINGS_JWT_ALGORITHM", value_name = "ALG")]
    jwt_algorithm: Option<JwtAlgorithm>,

    /// The audience of the token
    #[arg(long, env = "TIDINGS_JWT_AUDIENCE", value_name = "NAME")]
    jwt_audience: Option<String>,

    /// The issuer of the token
    #[arg(long, env = "TIDINGS_JWT_ISSUER", value_name = "NAME")]
    jwt_issuer: Option<String>,

    /// Create an API key instead of a token, and append its hash to this file
    #[arg(long, value_name = "FILE")]
    api_keys: Option<PathBuf>,

    /// Tasks that the token's owner may watch
    #[arg(long, value_name = "TASKS", value_delimiter = ',')]
    watch: Vec<Target>,

    /// Tasks that the token's owner may publish events to
    #[arg(long, value_name = "TASKS", value_delimiter = ',')]
    publish: Vec<Target>,

    /// Tasks whose questions may be answered; the tasks that may be commanded are included
    #[arg(long, value_name = "TASKS", value_delimiter = ',')]
    answer: Vec<Target>,

    /// Tasks that may be commanded
    #[arg(long, value_name = "TASKS", value_delimiter = ',')]
    command: Vec<Target>,

    /// Tasks that the token's owner may remove; `*` also allows connections, messages and metrics
    #[arg(long, value_name = "TASKS", value_delimiter = ',')]
    admin: Vec<Target>,

    /// The person or program that the token identifies
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,

    /// The lifetime of the token [default: 1h; API keys: unlimited]
    #[arg(long, value_name = "TIME")]
    expires: Option<Time<1_000>>,

    /// Show the content of a token; `-` reads it from standard input
    #[arg(long, value_name = "TOKEN")]
    explain: Option<String>,
}

impl Arguments {
    fn algorithm(&self) -> Algorithm {
        self.jwt_algorithm.map_or(Algorithm::HS256, |known| known.0)
    }

    fn permissions(&self) -> Permissions {
        let scope = |targets: &[Target]| targets.iter().cloned().collect::<Scope>();
        Permissions::default()
            .with(Permission::Watch, scope(&self.watch))
            .with(Permission::Publish, scope(&self.publish))
            .with(Permission::Answer, scope(&self.answer))
            .with(Permission::Command, scope(&self.command))
            .with(Permission::Admin, scope(&self.admin))
    }
}

/// Runs the command.
pub(crate) async fn run(options: &Arguments) -> Result<String, FileError> {
    if let Some(token) = &options.explain {
        read_token(options, token).await
    } else if let Some(path) = &options.api_keys {
        make_key(options, path)
    } else if let Some(path) = &options.jwt_key {
        make_token(options, path)
    } else {
        Err(FileError::Arguments(
            "a token needs a key to sign it: --jwt-key FILE or TIDINGS_JWT_KEY (for an API key: --api-keys FILE)",
        ))
    }
}

fn make_token(options: &Arguments, path: &Path) -> Result<String, FileError> {
    let issuer = TokenIssuer::new(options.algorithm(), &read(path)?);
    let issuer = issuer.map_err(|cause| FileError::Key {
        path: path.to_owned(),
        cause,
    })?;
    let lifetime = options.expires.map_or(LIFETIME, |time| time.get());
    let subject = options.subject.as_deref().unwrap_or_default();
    let token = issuer
        .audience(options.jwt_audience.clone())
        .issuer(options.jwt_issuer.clone())
        .issue(subject, &options.permissions(), lifetime)
        .map_err(FileError::Issue)?;
    Ok(token.reveal().to_owned())
}

fn make_key(options: &Arguments, path: &Path) -> Result<String, FileError> {
    let Some(subject) = &options.subject else {
        return Err(FileError::Arguments(
            "an API key needs a subject: add --subject NAME",
        ));
    };
    let end = options
        .expires
        .map(|time| Timestamp::from(SystemTime::now() + time.get()));
    let made = NewKey::generate(subject, &options.permissions(), end).map_err(FileError::NewKey)?;
    let file = OpenOptions::new().append(true).create(true).open(path);
    let written = file.and_then(|mut file| file.write_all(made.entry.as_bytes()));
    written.map_err(|cause| FileError::Unwritable {
        path: path.to_owned(),
        cause,
    })?;
    Ok(made.key.reveal().to_owned())
}

async fn read_token(options: &Arguments, token: &str) -> Result<String, FileError> {
    let mut piped = String::new();
    let token = if token == "-" {
        io::stdin()
            .read_to_string(&mut piped)
            .map_err(FileError::Input)?;
        piped.trim()
    } else {
        token
    };
    let said = explain(token).map_err(FileError::Explain)?;
    let now = Timestamp::from(SystemTime::now());
    let time = if said.has_expired(now) {
        "the token has expired".to_owned()
    } else {
        let left = std::time::Duration::from_secs(said.left(now).as_secs());
        format!("valid for another {}", humantime::format_duration(left))
    };
    Ok(format!(
        "{said}\ntime       {time}\nsignature  {}",
        signature(options, token).await?
    ))
}

/// Returns the result of verifying the token, as far as the arguments allow.
async fn signature(options: &Arguments, token: &str) -> Result<String, FileError> {
    let Some(path) = &options.jwt_key else {
        return Ok("not checked; to check it, add --jwt-key FILE".to_owned());
    };
    let Ok(keys) = KeySource::file(options.algorithm(), &read(path)?) else {
        return Ok("not checked; this needs the public key, which the server has".to_owned());
    };
    let config = JwtConfig::new(options.algorithm())
        .audience(options.jwt_audience.clone())
        .issuer(options.jwt_issuer.clone());
    let asked = JwtAuthenticator::new(config, keys);
    let answer = asked
        .authenticate(Credentials::new(Some(token), None))
        .await;
    Ok(match answer {
        Ok(_) => "good: a server with this key accepts it".to_owned(),
        Err(error) => format!("a server with this key refuses it: {error}"),
    })
}
