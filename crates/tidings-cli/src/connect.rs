//! Connects the client commands to the server.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tidings_client::{Client, ClientBuilder, Status};

use crate::Failure;
use crate::output::say;
use crate::token::Token;

/// The address of the server, and the token for it.
#[derive(Debug, clap::Args)]
pub struct Server {
    /// The address of the server: http, https, ws or wss
    #[arg(
        long,
        env = "TIDINGS_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8000",
        help_heading = "Server"
    )]
    pub(crate) url: String,

    #[command(flatten)]
    token: Token,

    /// A PEM file of certificate authorities to trust, besides the system's
    #[arg(long, env = "TIDINGS_CA", value_name = "FILE", help_heading = "Server")]
    ca: Option<PathBuf>,
}

impl Server {
    /// Returns a builder with the address, the token and the certificates. The caller
    /// may add settings.
    pub(crate) fn builder(&self) -> Result<ClientBuilder, Failure> {
        let mut builder = Client::builder(self.url.clone());
        if let Some(token) = self.token.read()? {
            builder = builder.token(token);
        }
        if let Some(path) = &self.ca {
            let pem = std::fs::read(path).map_err(|cause| Failure::Read {
                path: path.clone(),
                cause,
            })?;
            builder = builder.root_certificates(pem);
        }
        Ok(builder)
    }

    /// Returns the token for the server.
    pub(crate) fn token(&self) -> Result<Option<String>, Failure> {
        self.token.read()
    }

    /// Waits for an answer of the server, up to a time limit.
    pub(crate) async fn within<T>(
        &self,
        timeout: Duration,
        answer: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let answer = tokio::time::timeout(timeout, answer).await;
        answer.map_err(|_| Failure::Timeout {
            url: self.url.clone(),
            after: timeout,
        })
    }

    /// Returns the variables with which a child command reaches the same server as this
    /// one. A token is passed on only as a file, because a token in a variable would be
    /// visible.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let absolute = |path: &Path| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            path.to_str().map(str::to_owned)
        };
        let token = self.token.file().and_then(absolute);
        let ca = self.ca.as_deref().and_then(absolute);
        let mut variables = vec![("TIDINGS_URL", self.url.clone())];
        variables.extend(token.map(|path| ("TIDINGS_TOKEN_FILE", path)));
        variables.extend(ca.map(|path| ("TIDINGS_CA", path)));
        variables
    }

    /// Returns a client that reports on standard error when the server is away.
    ///
    /// # Errors
    /// Returns an error if the address is not valid or a certificate file cannot be
    /// read.
    pub fn client(&self) -> Result<Client, Failure> {
        let client = self.builder()?.build()?;
        tokio::spawn(tell(self.url.clone(), client.watch_status()));
        Ok(client)
    }
}

/// Prints once that the server is away, and once that the server is back.
async fn tell(url: String, mut status: tokio::sync::watch::Receiver<Status>) {
    let mut away = false;
    loop {
        match status.borrow_and_update().clone() {
            Status::Waiting(loss) if !away => {
                away = true;
                say(&away_message(&url, &loss));
            }
            Status::Connected if away => {
                away = false;
                say("connected");
            }
            Status::Stopped(_) => return,
            _ => {}
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// Returns a message that the server is away, with the reason and the remedy.
pub(crate) fn away_message(url: &str, loss: &tidings_client::Loss) -> String {
    let reason = crate::chain(loss);
    format!("{url} is away, trying again (is it running? --url says where): {reason}")
}

/// Runs a command on a new runtime, which ends with the command.
///
/// # Errors
/// Returns an error if the system refuses threads to the runtime, or if the command
/// fails.
pub fn block_on(
    main: impl Future<Output = Result<ExitCode, Failure>>,
) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Failure::System)?;
    let done = runtime.block_on(main);
    // Do not wait for threads: one that reads standard input would never end.
    runtime.shutdown_background();
    done
}
