//! The table of all options. Each option is a flag, a `TIDINGS_*` variable and a key of the file.
//!
//! The table replaces a library. `figment` merges values before it reads them, so a mistake in a
//! file loses its line number. `confique` keeps documentation and variables with a field, but knows
//! neither flags nor lists. A command line would therefore need each option a second time. In this
//! table, one entry serves all three.

mod injected;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::NodeConfigError;
use crate::value::{
    AuthKind, Collector, Count, InvalidValue, JwtAlgorithm, Listen, Log, LogFormat, Network,
    OptionValue, Origin, RedisUrl, Size, SyncMode, Time,
};

/// The common prefix of all variables.
const PREFIX: &str = "TIDINGS_";

/// The source of an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Given,
    Variable,
    File,
}

/// An option: its names, and the function that reads it.
#[derive(Debug)]
#[non_exhaustive]
pub struct OptionInfo {
    name: &'static str,
    help: &'static [&'static str],
    /// The placeholder of a value in the help, such as `COUNT`.
    pub value_name: &'static str,
    /// The heading above the option in the help.
    pub heading: &'static str,
    /// True if the option takes several values, separated by commas.
    pub is_list: bool,
    /// True if the option without a value means `true`.
    pub is_switch: bool,
    read: fn(&mut Options, &OsStr) -> Result<(), InvalidValue>,
    merge: fn(&mut Options, &Options),
    debug: fn(&Options) -> Option<String>,
}

impl OptionInfo {
    /// Returns the name in the file. On a command line, the name begins with `--`.
    pub fn name(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Returns the name of the variable.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.to_uppercase())
    }

    /// Returns the description of the option, with its default.
    pub fn help(&self) -> String {
        let lines: Vec<_> = self.help.iter().map(|line| line.trim()).collect();
        lines.join(" ")
    }

    /// Returns the default from the help. The limits for strangers have no default on a server
    /// without strangers.
    pub(crate) fn default(&self, strangers: bool) -> Option<String> {
        let help = self.help();
        let (_, value) = help.split_once("[default: ").or_else(|| {
            let found = help.split_once("[for strangers: ")?;
            // For all these options, 0 means no limit.
            Some(if strangers { found } else { ("", "0]") })
        })?;
        value.strip_suffix(']').map(str::to_owned)
    }
}

macro_rules! options {
    ($($heading:literal {
        $($(#[doc = $help:literal])+ $(#[serde($serde:ident)])?
        $name:ident: $type:ty = $value:literal,)+
    })+) => {
        /// The options that are set. All other options have their defaults.
        ///
        /// ```
        /// use tidings_node::{NodeConfig, Options};
        ///
        /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
        /// let mut options = Options::default();
        /// options.set("listen", "127.0.0.1:0")?;
        /// options.set("max-events", "500")?;
        /// let config = NodeConfig::load(options)?;
        /// assert_eq!(config.bus.log_limits.max_events, 500);
        /// # Ok(())
        /// # }
        /// ```
        #[derive(Debug, Default, Clone, Deserialize)]
        #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
        pub struct Options {
            $($($(#[serde($serde)])? pub(crate) $name: Option<$type>,)+)+
            /// The text and the source of each option that is set.
            #[serde(skip)]
            texts: BTreeMap<&'static str, (Source, String)>,
        }

        /// Every option.
        static ALL: &[OptionInfo] = &[$($(OptionInfo {
            name: stringify!($name),
            help: &[$($help),+],
            value_name: $value,
            heading: $heading,
            is_list: <$type as OptionValue>::IS_LIST,
            is_switch: <$type as OptionValue>::IS_SWITCH,
            read: |options, text| {
                options.$name = Some(OptionValue::read(text)?);
                Ok(())
            },
            merge: |options, other| options.$name = options.$name.take().or(other.$name.clone()),
            debug: |options| options.$name.as_ref().map(|value| format!("{value:?}")),
        },)+)+];
    };
}

options! {
    "Options" {
        /// The address to listen on; port 0 picks a free port [default: 127.0.0.1:8000]
        listen: Listen = "ADDR:PORT",

        /// A TOML file that sets any option except this one. Its keys are the names of
        /// the options, such as `max-events = 500`
        #[serde(skip)]
        config: PathBuf = "FILE",

        /// Which messages to log to standard error: a level for everything or for a
        /// module [default: info,hyper=warn]
        log: Log = "FILTER",

        /// The format of the log: `text`, or `json` for one JSON object per line
        /// [default: text]
        log_format: LogFormat = "FORMAT",

        /// The collector that receives a span of every request, by OTLP over HTTP, such
        /// as http://127.0.0.1:4318. Needs a program built with the feature `otlp`. The
        /// variables `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`,
        /// `OTEL_TRACES_SAMPLER` and `OTEL_EXPORTER_OTLP_HEADERS` are read too
        otlp: Collector = "URL",

        /// Web pages that may connect, besides the pages of this server: a list of
        /// origins such as https://app.example, or `*` for every page. Programs that are
        /// not browsers may always connect
        allow_origin: Vec<Origin> = "ORIGIN",

        /// The address of Redis, which lets several servers work as one:
        /// redis://HOST:PORT, rediss:// for TLS,
        /// redis+sentinel://HOST:PORT,HOST:PORT/MASTER, or
        /// redis+cluster://HOST:PORT,HOST:PORT. Put USER:PASSWORD@ before the host if
        /// Redis asks for a password
        redis: RedisUrl = "URL",

        /// The name of this server among several servers. The default is the name of the
        /// machine and the port
        node_name: String = "NAME",
    }
    "Authentication" {
        /// How clients prove who they are: `none`, `jwt` or `keys`. With `none`, only
        /// programs on this machine may connect, unless `allow-anonymous` is set
        /// [default: none]
        auth: AuthKind = "KIND",

        /// The key that checks tokens: for HS256 a file with the secret (at least 32
        /// bytes; a line end after it is ignored; a PEM file is refused), for other
        /// algorithms a file with the public key as PEM, or the https address of a JWKS
        jwt_key: String = "FILE|URL",

        /// The algorithm that signed the tokens: HS256, RS256, ES256 or EdDSA. The
        /// algorithm that a token itself names is never trusted [default: HS256]
        jwt_algorithm: JwtAlgorithm = "ALG",

        /// Accepted audiences (`aud`): a token must name one of them
        jwt_audience: Vec<String> = "NAME",

        /// Accepted issuers (`iss`): a token must come from one of them
        jwt_issuer: Vec<String> = "NAME",

        /// How far the clocks of this server and the issuer may differ, at most 5m
        /// [default: 30s]
        jwt_leeway: Time<0> = "TIME",

        /// The file of the API keys. The server reads it again when it changes
        api_keys: PathBuf = "FILE",

        /// The file of a secret, of 32 bytes at least, that answer links are signed
        /// with: links with which a person answers one question without a token. The
        /// same for all servers of one Redis; without it there are no such links
        answer_link_key: PathBuf = "FILE",

        /// Let every client that reaches the server connect without a token, from other
        /// machines too
        allow_anonymous: bool = "BOOL",

        /// Accept tokens as `?token=…` in the URL too, for clients that cannot send
        /// headers. Proxies on the way may write such tokens to their logs
        token_in_query: bool = "BOOL",
    }
    "TLS and proxies" {
        /// The certificate chain as PEM, to serve https:// and wss://. The server reads
        /// it again when it changes, and on SIGHUP
        tls_cert: PathBuf = "FILE",

        /// The private key of the certificate as PEM
        tls_key: PathBuf = "FILE",

        /// Certificates of authorities as PEM. Clients are asked for a certificate from one
        /// of them, and may have none. An authenticator of your own program sees it
        tls_client_ca: PathBuf = "FILE",

        /// Host names that requests may name, besides those of this machine. Checked when
        /// the server listens on this machine only, and always when a name is given
        allow_host: Vec<String> = "NAME",

        /// Networks of proxies, such as 10.0.0.0/8, whose `X-Forwarded-For` and
        /// `Forwarded` headers are trusted to name the client
        trusted_proxy: Vec<Network> = "NET",

        /// Trusted proxies send PROXY protocol version 2. Connections from other
        /// addresses are refused
        proxy_protocol: bool = "BOOL",
    }
    "Tasks" {
        /// Events kept per task [default: 1000]
        max_events: Count<1> = "COUNT",

        /// Bytes of events kept per task. The oldest events go when this limit or
        /// `max-events` is reached [default: 256KiB]
        max_task_bytes: Size<1_024> = "SIZE",

        /// How long the events of a task are kept after it has ended [default: 1h]
        finished_ttl: Time<0> = "TIME",

        /// How long the last state of a task is kept after it has ended [default: 24h]
        pinned_ttl: Time<0> = "TIME",

        /// How long a task that never ends is kept after its last event [default: 24h]
        idle_ttl: Time<0> = "TIME",

        /// Bytes kept in memory for all tasks together. Beyond it, the tasks that ended
        /// first lose their events first [default: 256MiB]
        max_total_bytes: Size<65_536> = "SIZE",

        /// Bytes of the total for what clients hold besides tasks: subscriptions, unread
        /// answers, clients that are away. A quarter of the total unless this is set
        /// [default: 64MiB]
        max_clients_bytes: Size<0> = "SIZE",

        /// Bytes that one client may hold besides tasks. A quarter of what all clients
        /// may hold unless this is set [default: 16MiB]
        client_bytes: Size<0> = "SIZE",

        /// The size of the largest event that may be published [default: 64KiB]
        max_event_bytes: Size<256> = "SIZE",

        /// Event ids remembered per task, so that a retry is not published twice
        /// [default: 1024]
        idempotency_ids: Count<1> = "COUNT",

        /// How long an event id is remembered [default: 5m]
        idempotency_ttl: Time<0> = "TIME",
    }
    "Storage" {
        /// The directory that keeps tasks over a restart, for one server at a time.
        /// Without it, tasks are kept in memory only
        data_dir: PathBuf = "DIR",

        /// When an event is safe on disk: `every-commit` (before it is acknowledged and
        /// delivered), `interval:MS` (at most MS milliseconds later), or `os` (when the
        /// operating system writes it) [default: interval:50]
        sync: SyncMode = "MODE",

        /// Bytes of events kept on disk per task [default: 64MiB]
        max_stored_task_bytes: Size<65_536> = "SIZE",

        /// Bytes of events kept on disk for all tasks together. Beyond it, the tasks that
        /// ended first lose their events first [default: 8GiB]
        max_stored_bytes: Size<1_048_576> = "SIZE",

        /// How long an event is kept on disk, however much room there is [default: 7d]
        stored_ttl: Time<0> = "TIME",

        /// The directory for backups that `tidings backup` asks a running server to make.
        /// Without it, the server makes none
        backup_dir: PathBuf = "DIR",
    }
    "Connections" {
        /// The time between two heartbeats on a quiet connection. Keep it below the idle
        /// timeout of the proxies on the way [default: 25s]
        heartbeat_interval: Time<10> = "TIME",

        /// How long a client may read nothing of what the server sends before it is
        /// disconnected [default: 30s]
        write_timeout: Time<10> = "TIME",

        /// How long the positions of a disconnected client are kept, so that it can
        /// resume; 0s keeps none [default: 5m]
        offline_ttl: Time<0> = "TIME",

        /// Connections at a time. Each takes a file descriptor, see `ulimit -n` [default:
        /// 15000]
        max_connections: Count<1> = "COUNT",

        /// Tasks and patterns that one connection may subscribe to [default: 1000]
        max_subscriptions: Count<1> = "COUNT",

        /// The size of the largest message from a client [default: 64KiB]
        max_message_bytes: Size<256> = "SIZE",

        /// The size of the largest body of a request [default: 1MiB]
        max_body_bytes: Size<1_024> = "SIZE",

        /// Bytes of answers that may wait on one connection for a client that does not
        /// read. Beyond it, the server reads nothing from that client [default: 64KiB]
        max_unread_bytes: Size<1_024> = "SIZE",

        /// A client that is this many events behind gets progress and output merged, and
        /// may skip `log` events; a `gap` tells it which [default: 256]
        skip_behind: Count<0> = "COUNT",

        /// Personal messages kept for a client [default: 100]
        inbox_messages: Count<1> = "COUNT",

        /// How long a client may take to send the head of a request [default: 15s]
        header_timeout: Time<10> = "TIME",

        /// How long a client may take to send the body of a request [default: 15s]
        body_timeout: Time<10> = "TIME",
    }
    "Limits of one client (0 is no limit)" {
        /// Connections at a time from one address (IPv6: one /64) [for strangers: 1000]
        address_connections: Count<0> = "COUNT",

        /// Connections at a time of one subject [for strangers: 1000]
        subject_connections: Count<0> = "COUNT",

        /// New connections a second from one address [for strangers: 100]
        handshake_rate: Count<0> = "COUNT",

        /// Messages a second on one connection [for strangers: 2000]
        message_rate: Count<0> = "COUNT",

        /// Bytes a second on one connection [for strangers: 4MiB]
        byte_rate: Size<0> = "SIZE",

        /// Messages, requests and events a second of one client: a subject, or else an
        /// address [for strangers: 5000]
        client_message_rate: Count<0> = "COUNT",

        /// Bytes a second of one client [for strangers: 8MiB]
        client_byte_rate: Size<0> = "SIZE",

        /// New tasks a second of one client [for strangers: 100]
        client_task_rate: Count<0> = "COUNT",

        /// Tasks matched and events read a second for one client; a quarter as many
        /// in a burst [for strangers: 20000]
        client_work_rate: Count<0> = "COUNT",

        /// Failed requests a second from one address before the client has proved who it
        /// is; fifty times as many in a burst [for strangers: 10]
        failure_rate: Count<0> = "COUNT",

        /// Refused messages and requests a second of one client before its connections
        /// end; ten times as many in a burst [for strangers: 100]
        client_refusal_rate: Count<0> = "COUNT",

        /// HTTP connections at a time. WebSockets and event streams are not counted
        /// [default: 4096]
        max_http_connections: Count<1> = "COUNT",

        /// HTTP connections at a time from one address. Trusted proxies have no such
        /// limit [default: 1024]
        address_http_connections: Count<1> = "COUNT",

        /// Requests and event streams at a time on one HTTP/2 connection [default: 128]
        max_http2_streams: Count<1> = "COUNT",

        /// How long an HTTP/2 connection may stay open without a request [default: 60s]
        http2_idle_timeout: Time<10> = "TIME",
    }
    "Stopping" {
        /// When the server stops, it tells clients to reconnect spread over this time
        /// [default: 5s]
        drain_window: Time<0> = "TIME",

        /// How long stopping may take. Connections that are left then are cut [default:
        /// 10s]
        drain_deadline: Time<0> = "TIME",
    }
}

/// Returned when an option cannot be set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// No option has this name.
    #[error("there is no option {name}")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The value is not valid for this option.
    #[error("{name} is wrong")]
    Invalid {
        /// The option.
        name: String,
        /// The reason why the value is invalid.
        #[source]
        cause: InvalidValue,
    },
}

impl Options {
    /// Returns all options.
    pub fn all() -> &'static [OptionInfo] {
        ALL
    }

    /// Sets an option by its name in the file, as a flag with this value would. Values of a list
    /// are separated by commas.
    ///
    /// # Errors
    /// Returns [`OptionError`] if no option has this name or the value is not valid.
    pub fn set(&mut self, name: &str, value: impl AsRef<OsStr>) -> Result<(), OptionError> {
        let Some(info) = ALL.iter().find(|info| info.name() == name) else {
            return Err(OptionError::Unknown {
                name: name.to_owned(),
            });
        };
        self.read(info, value.as_ref(), Source::Given)
            .map_err(|cause| OptionError::Invalid {
                name: name.to_owned(),
                cause,
            })
    }

    fn read(
        &mut self,
        info: &'static OptionInfo,
        value: &OsStr,
        source: Source,
    ) -> Result<(), InvalidValue> {
        (info.read)(self, value)?;
        let text = value.to_string_lossy().into_owned();
        self.texts.insert(info.name, (source, text));
        Ok(())
    }

    /// Reads the variables of this process. `others` are variables with the same prefix that belong
    /// to other programs.
    ///
    /// # Errors
    /// Returns an error if a value is wrong. Also returns an error if a variable begins with
    /// `TIDINGS_` but is not an option, because a mistyped variable would have no effect.
    pub fn from_env(others: &[&str]) -> Result<Self, NodeConfigError> {
        Self::from_variables(std::env::vars_os(), others)
    }

    fn from_variables(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        others: &[&str],
    ) -> Result<Self, NodeConfigError> {
        let mut options = Self::default();
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
                continue;
            };
            let name = name.to_owned();
            match ALL.iter().find(|info| info.variable() == name) {
                Some(info) => options
                    .read(info, &value, Source::Variable)
                    .map_err(|cause| NodeConfigError::Variable { name, cause })?,
                None if others.contains(&name.as_str()) => {}
                None if injected::is_injected(&name, &value.to_string_lossy()) => {}
                None => return Err(NodeConfigError::UnknownVariable { name }),
            }
        }
        Ok(options)
    }

    /// Reads a TOML file.
    pub(crate) fn from_file(path: &Path) -> Result<Self, NodeConfigError> {
        let text = fs::read_to_string(path).map_err(|cause| NodeConfigError::FileUnreadable {
            path: path.to_owned(),
            cause,
        })?;
        let wrong = |cause| NodeConfigError::FileWrong {
            path: path.to_owned(),
            cause,
        };
        let mut options: Self = toml::from_str(&text).map_err(wrong)?;
        let table: toml::Table = toml::from_str(&text).map_err(wrong)?;
        for info in ALL {
            if let Some(value) = table.get(&info.name()) {
                let text = plain(value);
                options.texts.insert(info.name, (Source::File, text));
            }
        }
        Ok(options)
    }

    /// Returns these options, with the values of `other` for options that are not set here.
    #[must_use]
    pub fn or(mut self, other: &Self) -> Self {
        for info in ALL {
            (info.merge)(&mut self, other);
        }
        for (name, text) in &other.texts {
            self.texts.entry(name).or_insert_with(|| text.clone());
        }
        self
    }

    /// Returns the text and the source of an option, if it is set.
    pub(crate) fn text(&self, info: &OptionInfo) -> Option<&(Source, String)> {
        self.texts.get(info.name)
    }

    /// Returns the options with another value in `other`, by their names in the file.
    pub(crate) fn changed(&self, other: &Self) -> Vec<String> {
        ALL.iter()
            .filter(|info| (info.debug)(self) != (info.debug)(other))
            .map(OptionInfo::name)
            .collect()
    }
}

fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(","),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Boolean(yes) => yes.to_string(),
        // Reading the file has already refused values of other kinds.
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
